"""Tables that do something on their own as stream time passes: expire, or emit later.

Each has a second store in which what is due is in the order of time. What is due is rounded up to
a hundredth of the time to wait, so that most batches have nothing to look for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import compress
from operator import not_
from struct import Struct
from typing import Any, ClassVar, NamedTuple

from processor.operators.aggregates.by_key import Stamped, TableOperator
from processor.operators.base import (
    AnyBatch,
    Closing,
    Context,
    Holding,
    Outputs,
    ResultOffset,
    Timed,
    Unattributed,
    closing_of,
    encoded_keys,
)
from processor.operators.changes import Change, ChangeOperator, change_serde
from processor.records import LATEST, Batch, Offset, Timestamp, in_order
from processor.serdes import Serde, bytes_serde
from processor.state.keyvalue import EncodedStore, StoreSpec

EXPIRY = "-expiry"
"""What follows a table's name in the name of the store that has what is due."""


def expiry_of(name: str) -> StoreSpec[bytes, bytes]:
    """The store that has what is due."""
    return StoreSpec(name + EXPIRY, bytes_serde, bytes_serde)


@dataclass(frozen=True, slots=True)
class Wait:
    """How long something waits, in milliseconds."""

    time: int

    @property
    def _grain(self) -> int:
        return max(1, self.time // 100)

    @property
    def longest(self) -> int:
        """How long it waits at most."""
        return self.time + self._grain - 1

    def end(self, begin: int) -> Timestamp:
        """The stream time at which the wait is over."""
        return Timestamp(-(-(begin + self.time) // self._grain) * self._grain)

    def ends_in(self, context: Context) -> bool:
        """Whether any wait may be over by the end of this pass that was not before."""
        grain = self._grain
        return (
            context.resumed or context.clock.end_time // grain > context.clock.stream_time // grain
        )


class Due:
    """What is due in one pass, in the order of time and then of the keys' bytes."""

    def __init__(
        self,
        store: EncodedStore[bytes, bytes],
        wait: Wait,
        context: Context,
        *,
        overdue: bool = False,
    ) -> None:
        self._store = store
        self._end = context.clock.end_time
        self._heap: list[tuple[Timestamp, bytes]] = []
        self._is_whole = False
        if overdue or wait.ends_in(context):
            since = Timestamp(0 if overdue else context.clock.stream_time + 1)
            last = _entry(Timestamp(self._end + 1), b"")
            self._heap = [_parts(entry) for entry, _ in store.items(_entry(since, b""), last)]

    def move(self, key: bytes, before: Timestamp | None, after: Timestamp | None) -> None:
        """The key is due at another time than before; None: not at all."""
        if before == after:
            return
        if before is not None:
            self._store.delete(_entry(before, key))
        if after is not None:
            self._store.put(_entry(after, key), b"")
            if self._is_whole or after <= self._end:
                heappush(self._heap, (after, key))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is due in this pass so far."""
        return not self._heap

    @property
    def earliest(self) -> float:
        """When the next is due, as far as it is in this pass; it may have been moved since."""
        return self._heap[0][0] if self._heap else math.inf

    def pop(self, until: Timestamp) -> tuple[Timestamp, bytes] | None:
        """The next that is due up to then, if any; it may have been moved since."""
        return heappop(self._heap) if self._heap and self._heap[0][0] <= until else None

    def first(self) -> tuple[Timestamp, bytes]:
        """The next that is due at any time; it may have been moved since."""
        if not self._is_whole:
            start = _entry(Timestamp(0), b"")
            self._heap = sorted(_parts(entry) for entry, _ in self._store.items(start))
            self._is_whole = True
        return heappop(self._heap)


def _entry(time: Timestamp, key: bytes) -> bytes:
    return time.to_bytes(8, "big") + key


def _parts(entry: bytes) -> tuple[Timestamp, bytes]:
    return Timestamp(int.from_bytes(entry[:8], "big")), entry[8:]


@dataclass(slots=True)
class _Emitted:
    """The rows that a step emits in one pass."""

    context: Context
    keys: list[Any] = field(default_factory=list[Any])
    changes: list[Change] = field(default_factory=list[Change])
    times: list[Timestamp] = field(default_factory=list[Timestamp])
    offsets: list[Offset] = field(default_factory=list[Offset])

    def add(self, key: Any, change: Change, time: Timestamp, offset: Offset) -> None:
        """Emits what a record brought about, or what came with time, see `of_its_own`."""
        closing = closing_of(offset)
        if closing is not None and closing in self.context.failures.lost:
            row: AnyBatch = Batch([key], [change.new], [time], [offset])
            rejected = self.context.failures.lost[closing]._replace(offset=offset, row=(row, 0))
            self.context.failures.noted.append(rejected)
            return
        if closing is not None:
            self.context.failures.closed.append(closing)
        self.keys.append(key)
        self.changes.append(change)
        self.times.append(time)
        self.offsets.append(offset)

    def of_its_own(self, due: Timestamp, key: bytes, offset: Offset | None = None) -> Offset:
        """The offset of a row that came with time, and not with the record at that offset."""
        if offset is None:
            return self.context.made(due, _entry(due, key))
        return ResultOffset.at(offset, LATEST, Closing(self.context.step, _entry(due, key)))

    def batch(self) -> AnyBatch:
        """All of them."""
        return Batch(self.keys, self.changes, self.times, self.offsets)


@dataclass(frozen=True)
class Expiring(TableOperator, Timed):
    """A table whose values are deleted when the stream time is a time to live behind their own.

    What expires at a record does so before the record's own rows come. Rows that would have
    expired when they come are late, and left out.
    """

    heeds_time: ClassVar[bool] = True

    of: TableOperator
    """Makes the values, and emits them."""
    wait: Wait

    def fold(
        self, held: dict[bytes, Stamped], keys: Sequence[bytes], batch: AnyBatch, context: Context
    ) -> tuple[Sequence[Any], AnyBatch]:
        """As the table without a time to live."""
        return self.of.fold(held, keys, batch, context)

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """Changes, if all are emitted: those of the rows, and in between what expires."""
        batch, ends = self._timely(batch, context)
        run = _Run(self, context, overdue=False)
        is_over = min(ends, default=context.clock.end_time + 1) <= context.clock.end_time
        if not context.clock.has_times or (run.due.is_empty and not is_over):
            return run.work_on(batch)
        first, times = 0, context.clock.times(batch)
        while first < len(batch):
            run.expire(times[first])
            limit, row = run.due.earliest, first
            while row < len(batch) and times[row] < limit:
                limit, row = min(limit, ends[row]), row + 1
            run.add(run.work_on(batch.take(range(first, row))))
            first = row
        run.expire(context.clock.end_time)
        return self.ports(run.rows(), context)

    def changes(self, context: Context) -> AnyBatch | None:
        """As the table without a time to live."""
        return self.of.changes(context)

    def advance(self, context: Context) -> AnyBatch | None:
        """What expires with records that do not reach this step."""
        run = _Run(self, context, overdue=context.resumed)
        run.expire(context.clock.end_time)
        return run.rows()

    def _timely(self, batch: AnyBatch, context: Context) -> tuple[AnyBatch, list[Timestamp]]:
        """The rows that do not expire when they come, and when they do; the others are noted."""
        ends = list(map(self.wait.end, batch.timestamps))
        context.judge("judged", len(batch))
        if min(ends, default=context.clock.end_time + 1) > context.clock.end_time:
            return batch, ends
        mask = [end > now for end, now in zip(ends, context.clock.times(batch), strict=True)]
        late = batch.select(list(map(not_, mask)))
        context.judge("late", len(late))
        context.note(late, [_LATE] * len(late), "late", "skip")
        return batch.select(mask), list(compress(ends, mask))


class _Run:
    """One batch's way through a table with a time to live."""

    def __init__(self, step: Expiring, context: Context, *, overdue: bool) -> None:
        self._step = step
        self._context = context
        self._store: EncodedStore[Any, Stamped] = context.stores[step.store]
        self._times = self._store.holding(_time_alone)
        self.due = Due(context.stores[step.store + EXPIRY], step.wait, context, overdue=overdue)
        self._emitted = _Emitted(context)
        self._pieces: list[AnyBatch] = []

    def work_on(self, batch: AnyBatch) -> Outputs:
        """Rows between which nothing expires; notes when their keys are due."""
        all_keys, batch = encoded_keys(self._store.spec.key, batch, self._context)
        keys = list(dict.fromkeys(all_keys))
        before = self._times.load(keys)
        made = self._step.of.process(batch, self._context)
        after = self._times.load(keys)
        for key in keys:
            self.due.move(key, self._end(before.get(key)), self._end(after.get(key)))
        return made

    def add(self, made: Outputs) -> None:
        """What has come of rows, after what was emitted before."""
        self._flush()
        self._pieces.append(made[-1])  # the changes, where they are read

    def expire(self, now: Timestamp) -> None:
        """Deletes what is due by then, unless time stands still in this pass."""
        while self._context.clock.has_times and (found := self.due.pop(now)) is not None:
            time, key = found
            if self._end(self._times.load([key]).get(key)) != time:
                continue
            (held,) = self._store.read([key])
            self._store.save([key], {})
            self.due.move(key, time, None)
            context = self._context
            offset = self._emitted.of_its_own(time, key)
            change = Change(held and held[1], None)
            shown = self._store.spec.key.decode(key)
            self._emitted.add(shown, change, context.clock.reached_at(time), offset)

    def rows(self) -> AnyBatch:
        """All that is emitted."""
        self._flush()
        return in_order(self._pieces)

    def _flush(self) -> None:
        rows, self._emitted = self._emitted.batch(), _Emitted(self._context)
        if self._step.emit == "checkpoint":
            rows = rows.select(())
        elif not self._context.wants_changes:
            rows = rows.with_values([change.new for change in rows.values])
        self._pieces.append(rows)

    def _end(self, time: Timestamp | None) -> Timestamp | None:
        return None if time is None else self._step.wait.end(time)


def _no_value(_: Timestamp) -> bytes:
    raise NotImplementedError("times are read only")


_time_alone: Serde[Timestamp] = Serde(
    "time", _no_value, lambda data: Timestamp(int.from_bytes(data[:8], "big", signed=True))
)
"""Reads of a table's value only when it is from."""

_LATE = ValueError("the record is older than the table's time to live")


class Buffered(NamedTuple):
    """A change that is to be emitted later."""

    due: Timestamp
    time: Timestamp
    change: Change


def buffered_serde(value: Serde[Any]) -> Serde[Buffered]:
    """Sixteen bytes of times, and the change."""
    change = change_serde(value)

    def encode(held: Buffered) -> bytes:
        return _TIMES.pack(held.due, held.time) + change.encode(held.change)

    def decode(data: bytes) -> Buffered:
        due, time = _TIMES.unpack(data[: _TIMES.size])
        return Buffered(due, time, change.decode(data[_TIMES.size :]))

    return Serde(f"buffered({change.name})", encode, decode, shape=value.shape)


_TIMES = Struct(">qq")
_COUNT = b""
"""The key of the number of changes in the buffer; shorter than any other."""


@dataclass(frozen=True)
class Suppress(ChangeOperator, Holding):
    """Holds changes back until the stream time is `wait` behind the first of those of a key.

    Then the last one is emitted, as a change from what was emitted before; what comes later than
    that, if with the very record that lets the time pass, waits again, so that it does not matter
    which other records a task has. If there are more keys than `most`, what is due first is emitted
    at once.
    """

    heeds_time: ClassVar[bool] = True

    of_changes: ClassVar[bool] = True

    store: str
    wait: Wait
    most: int

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """The changes that are emitted by now."""
        run = _Suppressing(self, context, overdue=False)
        keys, batch = encoded_keys(run.store.spec.key, batch, context)
        columns = batch.values, batch.timestamps, batch.offsets, context.clock.times(batch)
        for key, change, time, offset, now in zip(keys, *columns, strict=True):
            run.emit(Timestamp(now - 1))
            run.hold(key, change, time)
            run.emit(now, key, offset)
            run.emit_surplus(offset)
        return self.ports(run.finished(), context)

    @property
    def longest_wait(self) -> int:
        """Changes wait for others of their key."""
        return self.wait.longest

    def advance(self, context: Context) -> AnyBatch | None:
        """What is emitted with records that do not reach this step."""
        return _Suppressing(self, context, overdue=context.resumed).finished()

    def held_until(self, context: Context) -> Timestamp | None:
        """When the last change is emitted that is held back now."""
        last = context.stores[self.store + EXPIRY].last()
        return None if not last else _parts(last)[0]


class _Suppressing:
    """One batch's way through the step."""

    def __init__(self, step: Suppress, context: Context, *, overdue: bool) -> None:
        self._step = step
        self._context = context
        self.store: EncodedStore[Any, Buffered] = context.stores[step.store]
        self._expiry: EncodedStore[bytes, bytes] = context.stores[step.store + EXPIRY]
        self._due = Due(self._expiry, step.wait, context, overdue=overdue)
        self._emitted = _Emitted(context)
        self._before = self._count = int.from_bytes(self._expiry.get(_COUNT, b""), "big")

    def hold(self, key: bytes, change: Change, time: Timestamp) -> None:
        """Holds a change back, or adds it to the one of its key that is held."""
        (held,) = self.store.read([key])
        if held is None:
            end = self._step.wait.end(time)
            self._due.move(key, None, end)
            self._count += 1
            held = Buffered(end, time, change)
        else:
            held = Buffered(held.due, time, Change(held.change.old, change.new))
        _save(self.store, key, held)

    def emit(
        self, now: Timestamp, changed: bytes | None = None, offset: Offset | None = None
    ) -> None:
        """Emits what is due by now: where its time came, or with the record that has changed it."""
        while (found := self._due.pop(now)) is not None:
            self._emit(found, offset if found[1] == changed else None)

    def emit_surplus(self, offset: Offset) -> None:
        """Emits what is due first until there is room."""
        while self._count > self._step.most:
            self._emit(self._due.first(), offset)

    def finished(self) -> AnyBatch:
        """Emits what is due by the end of the pass; all rows."""
        self.emit(self._context.clock.end_time)
        if self._count != self._before:
            count = {_COUNT: self._count.to_bytes(8, "big")} if self._count else {}
            self._expiry.save([_COUNT], count)
        return self._emitted.batch()

    def _emit(self, found: tuple[Timestamp, bytes], offset: Offset | None) -> None:
        time, key = found
        (held,) = self.store.read([key])
        if held is None or held.due != time:
            return
        self.store.save([key], {})
        self._due.move(key, time, None)
        self._count -= 1
        if held.change.old is not None or held.change.new is not None:
            own = self._emitted.of_its_own(time, key, offset)
            self._emitted.add(self.store.spec.key.decode(key), held.change, held.time, own)


def _save(store: EncodedStore[Any, Any], key: bytes, held: Any) -> None:
    try:
        store.save([key], {} if held is None else {key: held})
    except Exception as error:
        raise Unattributed from error
