"""Steps that keep one state per key and window, and emit windows as they change or close.

A window closes when the stream time reaches its end and the delay of its kind, at the record that
brings that time and before it; a record that comes for a closed window is late. Both are judged
record by record, wherever batches end. The keys of the store begin with the window's end, so that
what closes is read in one range, and only where something may close.
"""

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

from processor.attempt import Fault
from processor.operators.aggregates.aggregators import Aggregation
from processor.operators.aggregates.by_key import Stamped, stamped
from processor.operators.base import (
    LATE,
    NO_TIME,
    AnyBatch,
    Closing,
    Context,
    Holding,
    Outputs,
    Reporting,
    Unattributed,
    closing_of,
    due_of,
    encoded_keys,
)
from processor.operators.windows.early import Changed, Early
from processor.operators.windows.kinds import Windows
from processor.records import (
    LATEST,
    Batch,
    Offset,
    Policy,
    Timestamp,
    highest_so_far,
    in_order,
)
from processor.serdes import Serde
from processor.serdes.base import decoded
from processor.serdes.windowed import Windowed, until
from processor.state.keyvalue import EncodedStore, StoreSpec

WindowEmit: TypeAlias = Literal["close", "change", "checkpoint"]
"""When a window is emitted: once, when it closes; at every change; the last one at a checkpoint."""

FINAL = 2
"""The output of a step with early results that has the results of windows that have closed."""

States: TypeAlias = EncodedStore[Windowed[Any], Stamped]


class LateError(ValueError):
    """A record came after all windows that have its time had closed."""


class NoWindowError(ValueError):
    """A record's time is beyond all calendars."""


class Change(NamedTuple):
    """What a row has made of a window, and the highest time in there; None: it is no more."""

    window: Windowed[Any]
    result: Any
    row: int
    time: Timestamp


@dataclass(frozen=True)
class WindowStep(Holding, Reporting):
    """What the windowed steps share: keys, late records, and what follows from stream time.

    Args:
        store: Its name.
        windows: The kind.
        aggregation: How values become one.
        key: Serde of the keys.
        emit: When windows are emitted.
        late: What happens to late records; None: as of others that are bad.
        kept: How long after its end a window stays in the store, milliseconds.
        early: What is emitted before windows close; only where they are emitted when they close.
    """

    heeds_time: ClassVar[bool] = True

    store: str
    windows: Windows
    aggregation: Aggregation
    key: Serde[Any]
    emit: WindowEmit
    late: Policy | None
    kept: int
    early: Early | None

    @abstractmethod
    def fold(
        self, keys: Sequence[bytes], batch: AnyBatch, context: Context, changed: Changed | None
    ) -> Outputs:
        """Brings rows into their windows: the changes, if all are emitted, and the late rows."""

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """What is emitted for the rows, and before them; and the late ones."""
        keys, batch = self.accepted(batch, context)
        context.judge("judged", len(batch))
        if self.early is None:
            return self.fold(keys, batch, context, None)
        changed = Changed(self.early, context)
        moments = changed.moments()
        if not moments:
            made = self.fold(keys, batch, context, changed)
        else:
            made = self._fold_between(moments, keys, batch, context, changed)
        changed.save()
        return *made, batch.select(())

    def _fold_between(
        self,
        moments: Sequence[Timestamp],
        keys: Sequence[bytes],
        batch: AnyBatch,
        context: Context,
        changed: Changed,
    ) -> Outputs:
        """Folds the rows between the moments at which results are emitted."""
        times, first = highest_so_far(context.clock.times(batch), NO_TIME), 0
        emitted: list[AnyBatch] = []
        late: list[AnyBatch] = []
        for moment in (*moments, None):
            end = len(batch) if moment is None else bisect_left(times, moment, first)
            if end > first:
                rows = batch.take(range(first, end))
                late.append(self.fold(keys[first:end], rows, context, changed)[LATE])
            if moment is not None:
                emitted.append(self._so_far(moment, context, changed))
            first = end
        return in_order(emitted), in_order(late) if late else batch.select(())

    def _so_far(self, moment: Timestamp, context: Context, changed: Changed) -> AnyBatch:
        """What has changed in windows that are open at this stream time."""
        windows = changed.take(until(moment - self.windows.delay + 1))
        states = self.states(context).load(windows)
        so_far = {window: states.get(window) for window in windows}
        return self._results(context, so_far, lambda _: moment)

    @cached_property
    def _stamped(self) -> Serde[Stamped]:
        return stamped(self.aggregation.value)

    def spec(self, context: Context) -> StoreSpec[Windowed[Any], Stamped]:
        """The store's, as others read it: with results."""
        return context.stores[self.store].spec

    def states(self, context: Context) -> States:
        """The store with the states in it, of which others read the results."""
        return context.stores[self.store].holding(self._stamped)

    def accepted(self, batch: AnyBatch, context: Context) -> tuple[Sequence[bytes], AnyBatch]:
        """The rows' keys as bytes; rows without one, or beyond all calendars, are rejected."""
        keys, batch = encoded_keys(self.key, batch, context)
        if max(batch.timestamps, default=0) < LATEST:
            return keys, batch
        error = NoWindowError("the record's timestamp is after the year 9997: no window has it")
        bad = [Fault(row, error) for row, time in enumerate(batch.timestamps) if time >= LATEST]
        keys = list(compress(keys, (time < LATEST for time in batch.timestamps)))
        return keys, context.reject(batch, bad, "timestamp")

    def emitted(self, batch: AnyBatch, changes: Iterable[Change]) -> AnyBatch:
        """The changes as rows."""
        changes = list(changes)
        rows = batch.take([change.row for change in changes])
        rows = rows.with_values([change.result for change in changes])
        rows = rows.with_timestamps([change.time for change in changes])
        return rows.with_keys([change.window for change in changes])

    def late_rows(
        self, batch: AnyBatch, mask: Sequence[bool], times: Sequence[Timestamp], context: Context
    ) -> AnyBatch:
        """The rows that are late; `times` has the stream time at each row.

        They are noted, unless a step downstream reads them.
        """
        late = batch.select(mask)
        context.judge("late", len(late))
        if LATE in context.ports_read:
            return late
        errors = [
            LateError(
                f"the record is {now - time} ms behind the stream time: the windows that have its "
                f"time ({self.windows}) were closed"
            )
            for time, now in zip(late.timestamps, compress(times, mask), strict=True)
        ]
        context.note(late, errors, "late", self.late)
        return late

    def save(self, context: Context, keys: Iterable[bytes], held: dict[bytes, Stamped]) -> None:
        """Writes what the keys hold now."""
        try:
            self.states(context).save(keys, held)
        except Exception as error:
            raise Unattributed from error

    # Stream time

    @property
    def longest_wait(self) -> int:
        """Results of closing windows wait for late records."""
        return self.windows.delay if self.emit == "close" else 0

    @property
    def longest_lag(self) -> int:
        """A result has the highest time of its records: as early as its window begins."""
        if self.emit == "change":
            return 0
        return (self.windows.delay if self.emit == "close" else self.kept) + self.windows.span

    def advance(self, context: Context) -> AnyBatch | None:
        """The results of windows that have closed; what is kept no longer leaves the store.

        Where changes are emitted at checkpoints, the last ones of windows that leave before.
        """
        closes, delay = self.emit == "close", self.windows.delay
        so_far = None if self.early is None else self._so_far_at_the_end(context)
        due = self._between(context, delay) if closes else {}
        emitted = self._with_gone(due, context)
        rows = [self._results(context, emitted, _after(delay))] if emitted else []
        expired = due
        if not closes or self.kept > delay:
            expired = self._between(context, self.kept)
        if self.emit == "checkpoint" and self._any_end(context, self.kept):
            changed = self.states(context).changed(*self._range(context, self.kept))
            rows += [self._results(context, changed, _after(self.kept))] if changed else []
        if expired:
            self.forget(list(expired), context)
            self.states(context).save(expired, {})
        if so_far is not None:
            rows.append(so_far)
        return in_order(rows) if rows else None

    def ports(self, batch: AnyBatch, context: Context) -> Outputs:
        """All results, and apart from late records those of windows that have closed."""
        if self.early is None:
            return (batch,)
        delay = self.windows.delay + context.clock.delay
        closed = [
            value is not None and window.end + delay <= (due_of(offset) or NO_TIME)
            for window, value, offset in zip(batch.keys, batch.values, batch.offsets, strict=True)
        ]
        return batch, batch.select(()), batch.select(closed)

    @property
    def holds_back(self) -> bool:
        """What is emitted when windows close waits for that."""
        return self.emit == "close"

    def held_until(self, context: Context) -> Timestamp | None:
        """When the last window closes that is open now, or was emitted and is gone."""
        if self.emit != "close":
            return None
        last = [self.states(context).last()]
        if self.early is not None:
            last.append(context.stores[self.early.store].last())
        ends = [self.spec(context).key.decode(name).end for name in last if name is not None]
        return Timestamp(max(ends) + self.windows.delay) if ends else None

    def _so_far_at_the_end(self, context: Context) -> AnyBatch | None:
        """What is emitted before windows close, if the stream time came to it without a row."""
        assert self.early is not None
        changed = Changed(self.early, context)
        emitted = [self._so_far(moment, context, changed) for moment in changed.moments()[:1]]
        changed.save()
        return emitted[0] if emitted else None

    def _with_gone(
        self, due: Mapping[bytes, Stamped], context: Context
    ) -> Mapping[bytes, Stamped | None]:
        """What closes, and what would if it were still there, and was emitted."""
        delay = self.windows.delay
        if self.early is None or not self._any_end(context, delay):
            return due
        gone = Changed(self.early, context).close(*self._range(context, delay))
        return dict(sorted({**dict.fromkeys(gone), **due}.items()))

    def _between(self, context: Context, delay: int) -> dict[bytes, Stamped]:
        """The windows for which the stream time has come to `delay` after their end."""
        if not self._any_end(context, delay):
            return {}
        return self.states(context).scan(*self._range(context, delay))

    def _any_end(self, context: Context, delay: int) -> bool:
        """Whether the stream time may have come to `delay` after the end of any window."""
        since, to = context.clock.stream_time - delay, context.clock.end_time - delay
        return self._may_be_behind(context, delay) or self.windows.ends_in(since, to)

    def _range(self, context: Context, delay: int) -> tuple[bytes, bytes]:
        """The keys of the windows for which this pass comes to `delay` after their end."""
        behind = self._may_be_behind(context, delay)
        first = b"" if behind else until(context.clock.stream_time - delay + 1)
        return first, until(context.clock.end_time - delay + 1)

    def _may_be_behind(self, context: Context, delay: int) -> bool:
        """Whether windows may be there that an earlier run has left, as its grace was longer.

        Of those that are kept after they have closed nobody knows whether they were emitted.
        """
        return context.resumed and delay == self.kept

    def forget(self, keys: Sequence[bytes], context: Context) -> None:
        """Does what a kind needs besides when windows leave the store."""

    def _results(
        self,
        context: Context,
        windows: Mapping[bytes, Stamped | None],
        emitted_at: Callable[[int], Timestamp],
    ) -> AnyBatch:
        """Windows as rows at the records that brought their time, without those that are lost.

        When that is, `emitted_at` says of a window's end.
        """
        names = [*windows]
        keys = decoded(self.spec(context).key, names)
        offsets = context.made_all([emitted_at(window.end) for window in keys], names)
        times = [
            _gone_at(window.end, emitted_at(window.end)) if held is None else held[0]
            for window, held in zip(keys, windows.values(), strict=True)
        ]
        states = [None if held is None else held[1] for held in windows.values()]
        rows = context.emit(self._result, Batch(keys, states, times, offsets))
        closings = [each for each in map(closing_of, rows.offsets) if each is not None]
        if not (lost := context.failures.lost):
            context.failures.closed += closings
            return rows
        taken = [closing not in lost for closing in closings]
        context.failures.closed += compress(closings, taken)
        note_lost(rows, closings, context)
        return rows.select(taken)

    def _result(self, state: Any) -> Any:
        return None if state is None else self.aggregation.last_result(state)

    def changes(self, context: Context) -> AnyBatch | None:
        """The last change of each window since the last checkpoint."""
        if self.emit != "checkpoint":
            return None
        gone = context.clock.stream_time - self.kept
        changed = [
            (window, held)
            for window, held in self.states(context).changes()
            if held is not None or window.end > gone
        ]
        states: AnyBatch = Batch(
            [window for window, _ in changed],
            [None if held is None else held[1] for _, held in changed],
            [context.clock.stream_time if held is None else held[0] for _, held in changed],
            [Offset(row) for row in range(len(changed))],
        )
        return context.emit(self._result, states).numbered()


def _gone_at(end: int, now: Timestamp) -> Timestamp:
    """The time of a result for a window that is gone; nothing may be ahead of its time."""
    return Timestamp(max(0, min(end - 1, now)))


def _after(delay: int) -> Callable[[int], Timestamp]:
    return lambda end: Timestamp(end + delay)


def note_lost(rows: AnyBatch, closings: Sequence[Closing], context: Context) -> None:
    """Notes the rows that failed on their way in an earlier try."""
    for row, closing in enumerate(closings):
        if closing in context.failures.lost:
            rejected = context.failures.lost[closing]._replace(
                offset=rows.offsets[row], row=(rows, row)
            )
            context.failures.noted.append(rejected)
