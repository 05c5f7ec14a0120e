"""What every operator is: batch in, batches out, all state in named stores.

Operators are frozen data; the graph holds them as they are and every task uses the same ones. What
changes from task to task and from batch to batch is in the `Context`.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import is_
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeAlias, TypeVar, cast

from processor.attempt import Fault, attempt
from processor.records import (
    NO_OFFSET,
    Batch,
    Offset,
    Policy,
    Record,
    Timestamp,
    highest_so_far,
)
from processor.serdes.base import Serde, attempt_all
from processor.state.keyvalue import Stores
from processor.state.shared import ReadOnlyStore

R = TypeVar("R")

AnyBatch: TypeAlias = Batch[Any, Any]
Outputs: TypeAlias = tuple[AnyBatch, ...]

NO_TIME = Timestamp(-1)
"""The stream time of a task that has seen no record."""

LATE = 1
"""The output of a windowed step that has its late records."""


Punctuality: TypeAlias = Literal["judged", "late", "partly-late"]
"""What is counted of the rows that come to a step which can be too late for them: all of them, and
those that were; or were for some of their windows.
"""


class Rejected(NamedTuple):
    """A row that failed: the input record `offset` has to be left out."""

    offset: Offset
    step: str
    reason: str
    error: Exception
    policy: Policy | None = None  # the step's own; None: as the source or the settings say
    row: tuple[AnyBatch, int] | None = None  # as it came to the step


class Punctuation(NamedTuple):
    """One call of one punctuator."""

    step: str
    punctuator: int
    time: Timestamp


class Closing(NamedTuple):
    """A result that a step gives on its own as stream time passes, such as a window's."""

    step: str
    key: bytes


class ResultOffset(int):
    """The offset of a result that a step gives on its own: an offset with two things more.

    As a number it is the offset of the record that brought the result's time, so that batches are
    ordered by it as by any other. A record that fails downstream differs from a result that fails
    there by `closing`. A result is there before its time has come: `due` is when that is, by the
    stream time of the task.
    """

    closing: Closing | None
    due: Timestamp

    @staticmethod
    def at(offset: Offset, due: Timestamp, closing: Closing | None) -> Offset:
        """The offset of a result; None: it comes again from its step if it fails."""
        made = ResultOffset(offset)
        made.closing, made.due = closing, due
        return Offset(made)


def closing_of(offset: int) -> Closing | None:
    """Which result a row stands for that has this offset; None: a record."""
    return offset.closing if isinstance(offset, ResultOffset) else None


def due_of(offset: int) -> Timestamp | None:
    """The task's stream time that the result with this offset has waited for; None: a record."""
    return offset.due if isinstance(offset, ResultOffset) else None


class Bringing(NamedTuple):
    """The input record that brings a result, and the stream time of the task that it waits for."""

    offset: Offset
    due: Timestamp


class NullKeyError(ValueError):
    """A record without a key reached a step that keeps state by key."""


class Unattributed(Exception):
    """A batch failed in a way that names no row; row by row it is found out."""

    policy: Policy | None = None  # as in `Rejected`


class Refusing(Protocol):
    """Says which records are refused where they are to be written."""

    def faults(
        self, topic: str, raw: Batch[bytes | None, bytes | None], offsets: Sequence[Offset]
    ) -> list[Fault]:
        """Those rows, whose offsets are these."""
        ...


@dataclass(slots=True)
class Clock:
    """The stream time of a task, and how it goes on row by row during one pass of a batch.

    All times that a step sees are those at the step: where steps upstream hold results back, these
    come when the stream time of the task is ahead of them, so here it is behind by that delay.
    """

    task_time: Timestamp = NO_TIME  # stream time of the task as of the last record before this pass
    now: Timestamp = NO_TIME  # wall clock of the last tick
    delay: int = 0
    """How far the stream time at the present step is behind that of the task."""
    latest: Timestamp | None = None
    """The stream time is moved no further by rows, whatever their timestamps; None: any."""
    ahead: Sequence[Offset] = ()
    """Of this pass, the rows that would have."""
    promised: Timestamp | None = None
    """While a table emits what it held back: the stream time at the last checkpoint."""
    brought: Sequence[Timestamp | None] | None = None
    """For each row by its number the stream time that it brings; None: its own timestamp."""
    reached: dict[str, Timestamp] = field(default_factory=dict[str, Timestamp])
    """How far stream time has come in this pass, for the steps that let it pass by themselves."""
    _offsets: Sequence[Offset] = ()
    _timestamps: Sequence[Timestamp] = ()
    _running: Sequence[Timestamp] | None = None

    def enter(self, batches: Collection[AnyBatch], *, advance: bool) -> None:
        """Begins a pass; with `advance` the rows of the batches let the stream time go on."""
        self._offsets, self._timestamps = _in_order(batches) if advance else ((), ())
        self._running = None
        self.ahead = ()
        if advance and (known := self.brought) is not None:
            self._timestamps = [
                time if (emitted := known[offset]) is None else emitted
                for offset, time in zip(self._offsets, self._timestamps, strict=True)
            ]

        if self.latest is not None and max(self._timestamps, default=NO_TIME) > self.latest:
            pairs = zip(self._offsets, self._timestamps, strict=True)
            self.ahead = [offset for offset, time in pairs if time > self.latest]
            self._timestamps = [min(time, self.latest) for time in self._timestamps]

    def enter_time(self, time: Timestamp) -> None:
        """Begins a pass in which the stream time goes on to there without a record."""
        self._offsets, self._timestamps, self._running = (NO_OFFSET,), (time,), None

    @property
    def stream_time(self) -> Timestamp:
        """The stream time as of the last record before this pass."""
        return self._here(self.task_time)

    @property
    def end_time(self) -> Timestamp:
        """The stream time after the last record of this pass."""
        return self._here(self.end_task_time)

    @property
    def has_times(self) -> bool:
        """Whether rows of this pass let the stream time go on; not so where inputs are idle."""
        return bool(self._timestamps)

    @property
    def end_task_time(self) -> Timestamp:
        """The stream time of the task after the last record of this pass."""
        return max(self.task_time, max(self._timestamps, default=self.task_time))

    @property
    def _times(self) -> Sequence[Timestamp]:
        """The task's stream time at each record of this pass; most steps do not ask."""
        if self._running is None:
            self._running = highest_so_far(self._timestamps, self.task_time)
        return self._running

    def times(self, batch: AnyBatch) -> Sequence[Timestamp]:
        """The stream time at each row: the highest timestamp of the task up to its record.

        A result that a step gave on its own is there just before its time.
        """
        times = self._task_times(batch)
        if not (delay := self.delay):
            return times
        return [max(NO_TIME, Timestamp(time - delay)) for time in times]

    def _task_times(self, batch: AnyBatch) -> Sequence[Timestamp]:
        if batch.offsets is self._offsets:
            return self._times
        at = dict(zip(self._offsets, self._times, strict=True))
        times = [at.get(offset, self.task_time) for offset in batch.offsets]
        if ResultOffset in set(map(type, batch.offsets)):
            times = list(map(_before_due, batch.offsets, times))
        return times

    def places(self, batch: AnyBatch, lag: int) -> Sequence[Timestamp]:
        """The times at which rows have their place among those of other tasks, each its own.

        A row that is behind what was promised has its place there: it is late where it goes, too.
        One that is ahead of the stream time of its task does not have others wait for it.

        Args:
            batch: Rows that are written.
            lag: How far rows may be behind the stream time of the task without being late.
        """
        if self.promised is not None:
            least = max(NO_TIME, Timestamp(self.promised - lag))
            return [max(least, time) for time in batch.timestamps]
        times = self._task_times(batch)
        if not lag and times == batch.timestamps:
            return times
        return [
            max(min(own, time), NO_TIME, Timestamp(time - lag))
            for own, time in zip(batch.timestamps, times, strict=True)
        ]

    def moments(self, since: Timestamp, until: Timestamp) -> Sequence[Timestamp]:
        """The stream times of this pass after `since` up to `until`."""
        first, end = self._row(since + 1), self._row(until + 1)
        return list(map(self._here, dict.fromkeys(self._times[first:end])))

    def crossing(self, time: Timestamp) -> Offset:
        """The first input record of this pass at which the stream time has reached `time`."""
        return self._offset(self._row(time))

    def reached_at(self, time: Timestamp) -> Timestamp:
        """The stream time at that record: at least `time`, which this pass must have reached."""
        return self._here(self._times[self._row(time)])

    def bringing(self, due: int) -> "Bringing":
        """What brings a result that waits for a stream time, and when it is there.

        Args:
            due: The stream time at the present step.
        """
        row = self._row(due)
        before = self._times[row - 1] if row else self.task_time
        # What is overdue, such as after a restart with less grace, is not there before this pass.
        known = max(Timestamp(due + self.delay), Timestamp(before + 1))
        return Bringing(self._offset(row), known)

    def _offset(self, row: int) -> Offset:
        return self._offsets[row] if row < len(self._offsets) else NO_OFFSET

    def _row(self, time: int) -> int:
        """The first record of this pass at which the stream time has reached `time`."""
        return bisect_left(self._times, time + self.delay)

    def _here(self, task_time: Timestamp) -> Timestamp:
        return max(NO_TIME, Timestamp(task_time - self.delay))


@dataclass(slots=True)
class Failures:
    """What went wrong in one try of a batch, what is left out of it, and what was late."""

    rejected: list[Rejected] = field(default_factory=list[Rejected])
    punctuated: list[Punctuation] = field(default_factory=list[Punctuation])
    failed: list[tuple[Punctuation, Exception]] = field(
        default_factory=list[tuple[Punctuation, Exception]]
    )
    skip: dict[Punctuation, Exception] = field(default_factory=dict[Punctuation, Exception])
    """Punctuations to leave out, and why."""
    noted: list[Rejected] = field(default_factory=list[Rejected])
    """Rows that steps leave out by themselves, so that nothing has to be undone."""
    closed: list[Closing] = field(default_factory=list[Closing])
    """Results that steps gave on their own."""
    lost: dict[Closing, Rejected] = field(default_factory=dict[Closing, Rejected])
    """Those to leave out, and why."""
    judged: Counter[tuple[str, Punctuality]] = field(
        default_factory=Counter[tuple[str, "Punctuality"]]
    )
    """Of how many rows steps have judged in this try whether they are late, and what came of it."""
    refused: Refusing | None = None
    """What Kafka has refused before of what this pass makes, if anything."""

    def begin(self) -> None:
        """Begins a try: nothing has failed yet."""
        self.rejected, self.punctuated, self.failed = [], [], []
        self.noted, self.closed = [], []
        self.judged = Counter()


@dataclass(slots=True)
class Context:
    """What operators see and say during one pass of a batch through one task."""

    stores: Stores
    clock: Clock = field(default_factory=Clock)
    failures: Failures = field(default_factory=Failures)
    step: str = ""
    """The present step; `enter_step` sets it."""
    resumed: bool = True
    """Whether stores may hold what an earlier run of the task should have closed by now."""
    ports_read: frozenset[int] = frozenset()
    """The outputs of the present step that later ones read."""
    shared: Mapping[str, ReadOnlyStore[Any, Any]] = field(
        default_factory=dict[str, ReadOnlyStore[Any, Any]]
    )
    """The global tables."""
    delays: Mapping[str, int] = field(default_factory=dict[str, int])
    """How far the stream time of steps is behind that of the task, by their names."""
    paired: frozenset[str] = frozenset()
    """The tables whose changes somebody reads, by the names of their steps."""

    def begin(self) -> None:
        """Begins a try."""
        self.failures.begin()
        self.clock.reached = {}

    def enter_step(self, name: str) -> None:
        """A step begins to work."""
        self.step, self.clock.delay = name, self.delays.get(name, 0)

    @property
    def wants_changes(self) -> bool:
        """Whether somebody reads the changes of the table that the present step makes."""
        return self.step in self.paired

    def made(self, due: int, key: bytes) -> Offset:
        """The offset of a result that the present step gives on its own.

        Args:
            due: The stream time that it waited for.
            key: Which of the step's results it is.
        """
        return ResultOffset.at(*self.clock.bringing(due), Closing(self.step, key))

    def made_all(self, dues: Sequence[int], keys: Sequence[bytes]) -> list[Offset]:
        """As `made`, of many results, of which most wait for the same few times."""
        bringing = {due: self.clock.bringing(due) for due in set(dues)}
        return [
            ResultOffset.at(*bringing[due], Closing(self.step, key))
            for due, key in zip(dues, keys, strict=True)
        ]

    def call(
        self, function: Callable[..., R], batch: AnyBatch, *columns: Sequence[Any]
    ) -> tuple[list[R], AnyBatch]:
        """The function's results for all rows, and the rows left: those that did not fail."""
        results, faults = attempt(function, *columns)
        return results, self.reject(batch, faults, "function") if faults else batch

    def reject(self, batch: AnyBatch, faults: Sequence[Fault], reason: str) -> AnyBatch:
        """Notes the rows that failed and returns the others."""
        mask = [True] * len(batch)
        for row, error in faults:
            mask[row] = False
            place = batch, row
            bad = Rejected(batch.offsets[row], self.step, reason, error, row=place)
            self.failures.rejected.append(bad)
        return batch.select(mask)

    def emit(self, result: Callable[[Any], Any], states: AnyBatch) -> AnyBatch:
        """States as results; those that can't be emitted are noted, nothing has to be undone.

        What is emitted at a checkpoint, at no record, is noted as a result of the step itself.
        """
        results, faults = attempt(result, states.values)
        if not faults:
            return states.with_values(results)
        mask = [True] * len(states)
        for row, error in faults:
            mask[row] = False
            place = states, row
            offset = states.offsets[row]
            if closing_of(offset) is None:
                offset = ResultOffset.at(
                    NO_OFFSET, self.clock.task_time, Closing(self.step, b"%d" % row)
                )
            self.failures.noted.append(Rejected(offset, self.step, "function", error, row=place))
        return states.select(mask).with_values(results)

    def judge(self, outcome: Punctuality, rows: int) -> None:
        """Counts rows of which the present step has judged whether they are late."""
        if rows:
            self.failures.judged[self.step, outcome] += rows

    def note(
        self, rows: AnyBatch, errors: Sequence[Exception], reason: str, policy: Policy | None
    ) -> None:
        """Notes rows that the step leaves out, without anything to be undone."""
        for row, (offset, error) in enumerate(zip(rows.offsets, errors, strict=True)):
            noted = Rejected(offset, self.step, reason, error, policy, (rows, row))
            self.failures.noted.append(noted)


def _before_due(offset: int, time: Timestamp) -> Timestamp:
    due = due_of(offset)
    return time if due is None else min(time, Timestamp(due - 1))


def _in_order(batches: Collection[AnyBatch]) -> tuple[Sequence[Offset], Sequence[Timestamp]]:
    """Offsets and timestamps of all rows in order."""
    if len(batches) == 1:
        (batch,) = batches
        return batch.offsets, batch.timestamps
    pairs = sorted(
        pair for batch in batches for pair in zip(batch.offsets, batch.timestamps, strict=True)
    )
    return [offset for offset, _ in pairs], [time for _, time in pairs]


class Operator:
    """A step of the dataflow. The defaults are those of a step that keeps no state."""

    sided: ClassVar[bool] = False
    """Whether the values come with the number of the parent that they are from, see `of_parent`."""

    of_changes: ClassVar[bool] = False
    """Whether the rows are changes of a table, old and new values, that no record stands for."""

    heeds_time: ClassVar[bool] = False
    """Whether results depend on stream time, or on the order of records from several partitions.

    A fold without a window does not: a count is the same, in whichever order records come.
    """

    @property
    def longest_wait(self) -> int:
        """How long after their time results may come that the step gives on its own."""
        return 0

    @property
    def longest_lag(self) -> int:
        """How far the timestamps of such results may be behind the time at which they come."""
        return self.longest_wait

    def ports(self, batch: AnyBatch, context: Context) -> Outputs:
        """The batch as each output port gives it; for what `changes`, `advance` and `tick` made."""
        del context
        return (batch,)

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """Works on a batch; returns one batch for each output port."""
        raise NotImplementedError


class Reporting(Operator):
    """A table: it may hold changes back until the checkpoint."""

    def changes(self, context: Context) -> AnyBatch | None:
        """What is held back until the checkpoint, or None; its offsets are row numbers."""
        raise NotImplementedError


class Timed(Operator):
    """A step of which something follows as stream time passes, whether records reach it or not."""

    def advance(self, context: Context) -> AnyBatch | None:
        """What follows from stream time having passed by the end of this pass, or None."""
        raise NotImplementedError


class Holding(Timed):
    """A step that may hold results back until the stream time goes on."""

    @property
    def holds_back(self) -> bool:
        """Whether it does, as it is set."""
        return True

    def held_until(self, context: Context) -> Timestamp | None:
        """The stream time at which all that is held back now is emitted; None: there is none."""
        raise NotImplementedError


class Clocked(Operator):
    """A step of which something follows as the wall clock goes on."""

    def tick(self, since: Timestamp, context: Context) -> AnyBatch | None:
        """What follows from the wall clock having gone from `since` to `context.now`, or None."""
        raise NotImplementedError


def of_parent(number: int, batch: AnyBatch) -> AnyBatch:
    """The rows with pairs for values: the number of the parent they are from, and the value."""
    return batch.with_values(list(zip(repeat(number), batch.values)))


def encoded_keys(
    serde: Serde[Any], batch: AnyBatch, context: Context
) -> tuple[Sequence[bytes], AnyBatch]:
    """The rows' keys as bytes; rows that have none, or one that the serde refuses, are rejected."""
    # By identity: `None in batch.keys` asks keys for ==, and arrays answer that with an array.
    if any(map(is_, batch.keys, repeat(None))):
        error = NullKeyError("the record has no key, but this step keeps state by key")
        missing = [Fault(row, error) for row, key in enumerate(batch.keys) if key is None]
        batch = context.reject(batch, missing, "null-key")
    keys, faults = attempt_all(serde, batch.keys)
    return keys, context.reject(batch, faults, "key") if faults else batch


def checked(record: Any) -> Record[Any, Any]:
    """What a user's function returned for a record.

    Raises:
        TypeError: It is not a record, or its headers have another form.
        ValueError: Its timestamp can't be written.
    """
    if not isinstance(record, Record):
        raise TypeError(
            f"{type(record).__name__} is no Record: return or yield Record(key, value, timestamp), "
            "or record._replace(value=...)"
        )
    time: Any = record.timestamp
    if type(time) is not int or time < 0:
        raise ValueError(f"a record's timestamp is milliseconds since 1970, not {time!r}")
    headers: Any = record.headers
    for name, data in headers:
        if type(name) is not str or not (data is None or type(data) is bytes):
            raise TypeError("a record's headers are pairs of a str and bytes or None")
    return cast("Record[Any, Any]", record)
