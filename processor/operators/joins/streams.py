"""Joins of two streams: rows of equal keys whose times are close to each other.

Both sides are kept as long as a row may come that is not late and matches them. What has no match
yet is noted in an index in the order of time, so that what closes is read in one range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from operator import not_
from struct import Struct
from typing import Any, ClassVar, NamedTuple

from processor.attempt import attempt
from processor.operators.base import (
    LATE,
    AnyBatch,
    Closing,
    Context,
    Holding,
    Outputs,
    Unattributed,
    encoded_keys,
)
from processor.operators.joins.pages import Page, Pages, Row, before
from processor.operators.joins.tables import LEFT, RIGHT, JoinKind
from processor.operators.windows.windowed import LateError, note_lost
from processor.records import (
    Batch,
    Policy,
    Timestamp,
    in_order,
)
from processor.serdes import Serde
from processor.state.keyvalue import EncodedStore

LATE_RIGHT = 2
"""The output that has the late rows of the right side; `LATE` has those of the left one."""

_LATE_OF = (LATE, LATE_RIGHT)
_NOTED = Struct(">QB")  # in the index: time and side; the key follows


class Span(NamedTuple):
    """Which times match, all in milliseconds.

    A row on the right matches one on the left from `before` earlier until `after` later. Rows may
    be late by `grace` beyond that.
    """

    before: int
    after: int
    grace: int

    @property
    def stretch(self) -> int:
        """The time that one page is for: what matches a row is in two of them at most."""
        return max(1, self.before + self.after)

    @property
    def kept(self) -> int:
        """How far the stream time has to be past a row so that nothing can match it any more."""
        return self.before + self.after + self.grace

    def matching(self, side: int, time: Timestamp) -> tuple[int, int]:
        """The first and last time of the other side that match a row of this side."""
        earlier, later = (self.before, self.after) if side == LEFT else (self.after, self.before)
        return max(0, time - earlier), time + later

    def late(self, side: int, time: Timestamp, now: Timestamp) -> bool:
        """Whether a row that comes now is late: all that it could match may be gone."""
        return self.matching(side, time)[1] + self.grace < now


class _Given(NamedTuple):
    """A row's side, its value, and that as bytes."""

    side: int
    value: Any
    data: bytes


@dataclass(frozen=True)
class StreamStreamJoin(Holding):
    """Joins each row with those of the other side that came before it and match.

    A row without a match, on a side whose rows have a result in any case, has that when the stream
    time has gone so far that nothing can match it any more.
    """

    heeds_time: ClassVar[bool] = True
    sided: ClassVar[bool] = True

    stores: tuple[str, str]
    """Of the left side and of the right one."""
    unmatched: str
    """The index; only for left and outer joins."""
    joiner: Callable[[Any, Any], Any]
    kind: JoinKind
    span: Span
    key: Serde[Any]
    values: tuple[Serde[Any], Serde[Any]]
    late: Policy | None
    """What happens to late rows that no later step reads; None: as of others that are bad."""

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: the results that rows bring about, with the later of the two times."""
        batch = self._given(batch.select([value is not None for _, value in batch.values]), context)
        loose = [key is None and self.alone(given.side) for key, given in _keyed(batch)]
        single = self._joined_alone(batch.select(loose), context)
        keys, batch = encoded_keys(self.key, batch.select(list(map(not_, loose))), context)
        keys, batch, late = self._in_time(keys, batch, context)
        run = _Run(self, context)
        run.load(keys, batch)
        matches = run.walk(keys, batch)
        run.save()
        return in_order([single, self._joined(matches, batch, context)]), *late

    @property
    def longest_wait(self) -> int:
        """Rows without a match wait for one."""
        return 0 if self.kind == "inner" else self.span.kept + 1

    def advance(self, context: Context) -> AnyBatch | None:
        """The results of rows that stay without a match; what matches nothing any more goes."""
        since = 0 if context.resumed else max(0, context.clock.stream_time - self.span.kept)
        until = max(0, context.clock.end_time - self.span.kept)
        closed = self._closed(since, until, context) if self.kind != "inner" else None
        first, last = (before(self.span.stretch, time) for time in (since, until))
        for name in self.stores if first < last else ():
            store: EncodedStore[bytes, Page] = context.stores[name]
            store.save([page for page, _ in store.items(first, last)], {})
        return closed

    @property
    def holds_back(self) -> bool:
        """Rows without a match wait until nothing can match them."""
        return self.kind != "inner"

    def held_until(self, context: Context) -> Timestamp | None:
        """When the last row that has no match until now has its result without one."""
        last = None if self.kind == "inner" else context.stores[self.unmatched].last()
        if last is None:
            return None
        time, _ = _NOTED.unpack_from(last)
        return Timestamp(time + self.span.kept + 1)

    def alone(self, side: int) -> bool:
        """Whether a row of that side has a result without a match."""
        return self.kind == "outer" or (self.kind == "left" and side == LEFT)

    def _given(self, batch: AnyBatch, context: Context) -> AnyBatch:
        """The rows with their values' bytes beside them."""

        def give(sided: tuple[int, Any]) -> _Given:
            side, value = sided
            return _Given(side, value, self.values[side].encode(value))

        given, faults = attempt(give, batch.values)
        return (context.reject(batch, faults, "state") if faults else batch).with_values(given)

    def _in_time(
        self, keys: Sequence[bytes], batch: AnyBatch, context: Context
    ) -> tuple[Sequence[bytes], AnyBatch, Outputs]:
        """The rows that are not late, and those of each side that are."""
        times = context.clock.times(batch)
        context.judge("judged", len(batch))
        rows = zip(batch.values, batch.timestamps, times, strict=True)
        late = [self.span.late(given.side, time, now) for given, time, now in rows]
        if not any(late):
            return keys, batch, ()
        context.judge("late", sum(late))
        kept = list(map(not_, late))
        rows = tuple(self._late_rows(batch, late, times, side, context) for side in (LEFT, RIGHT))
        return list(compress(keys, kept)), batch.select(kept), rows

    def _late_rows(
        self,
        batch: AnyBatch,
        late: Sequence[bool],
        times: Sequence[Timestamp],
        side: int,
        context: Context,
    ) -> AnyBatch:
        """Those of one side, which are noted unless a later step reads them."""
        mask = [
            is_late and given.side == side
            for is_late, given in zip(late, batch.values, strict=True)
        ]
        rows = batch.select(mask)
        rows = rows.with_values([given.value for given in rows.values])
        if _LATE_OF[side] in context.ports_read:
            return rows
        errors = [
            LateError(
                f"the record is {now - time} ms behind the stream time: what it could be joined "
                "with may be gone"
            )
            for time, now in zip(rows.timestamps, compress(times, mask), strict=True)
        ]
        context.note(rows, errors, "late", self.late)
        return rows

    def _joined(
        self, matches: Sequence[Sequence[Row]], batch: AnyBatch, context: Context
    ) -> AnyBatch:
        """Each row with each of its matches."""
        pairs = [
            self._pair(given, other, fresh=number > 0)
            for given, found in zip(batch.values, matches, strict=True)
            for number, other in enumerate(found)
        ]
        rows = batch.take([row for row, found in enumerate(matches) for _ in found])
        others = (time for found in matches for time, _ in found)
        times = list(map(max, rows.timestamps, others))
        rows = Batch(rows.keys, rows.values, times, rows.offsets, rows.headers)
        lefts, rights = [left for left, _ in pairs], [right for _, right in pairs]
        values, rows = context.call(self.joiner, rows, lefts, rights)
        return rows.with_values(values)

    def _pair(self, given: _Given, other: Row, *, fresh: bool) -> tuple[Any, Any]:
        """Values that no other pair shares, as a joiner may change them."""
        value = self.values[given.side].decode(given.data) if fresh else given.value
        found = self.values[1 - given.side].decode(other[1])
        return (value, found) if given.side == LEFT else (found, value)

    def _joined_alone(self, batch: AnyBatch, context: Context) -> AnyBatch:
        """The rows' results without a match."""

        def join(given: _Given) -> Any:
            pair = (given.value, None) if given.side == LEFT else (None, given.value)
            return self.joiner(*pair)

        values, batch = context.call(join, batch, batch.values)
        return batch.with_values(values)

    def _closed(self, since: int, until: int, context: Context) -> AnyBatch | None:
        """The rows from `since` to before `until` that have no match, as results."""
        index: EncodedStore[bytes, bytes] = context.stores[self.unmatched]
        if since == until:
            return None
        names = [name for name, _ in index.items(_NOTED.pack(since, 0), _NOTED.pack(until, 0))]
        index.save(names, {})
        rows, closings = self._rows_of(names, context)
        context.failures.closed += [
            closing for closing in closings if closing not in context.failures.lost
        ]
        if context.failures.lost:
            shown = rows.with_values([given.value for given in rows.values])
            note_lost(shown, closings, context)
            rows = rows.select([closing not in context.failures.lost for closing in closings])
        return self._joined_alone(rows, context)

    def _rows_of(
        self, names: Sequence[bytes], context: Context
    ) -> tuple[AnyBatch, Sequence[Closing]]:
        """The rows that the index has by these names, and what their results are known by."""
        noted = [(name[_NOTED.size :], *_NOTED.unpack_from(name)) for name in names]
        rows = [
            (self.key.decode(key), self._decoded(side, data), time, Closing(context.step, each))
            for (key, time, side), found in zip(noted, _Run(self, context).find(noted), strict=True)
            for each, (_, data) in _numbered(_NOTED.pack(time, side) + key, found)
        ]
        keys, values, times, closings = map(list, zip(*rows, strict=True)) if rows else ([],) * 4
        offsets = [
            context.made(time + self.span.kept + 1, closing.key)
            for time, closing in zip(times, closings, strict=True)
        ]
        return Batch(keys, values, times, offsets), closings

    def _decoded(self, side: int, data: bytes) -> _Given:
        return _Given(side, self.values[side].decode(data), data)


class _Run:
    """One batch's way through the stores."""

    def __init__(self, step: StreamStreamJoin, context: Context) -> None:
        self._step = step
        stores = (context.stores[name] for name in step.stores)
        self._sides = tuple(Pages(store, step.span.stretch) for store in stores)
        self._context = context
        self._noted: dict[bytes, bool] = {}

    def load(self, keys: Sequence[bytes], batch: AnyBatch) -> None:
        """Reads the pages that the rows go to, and those that they are looked for in."""
        span = self._step.span
        rows = list(zip(keys, batch.values, batch.timestamps, strict=True))
        for number, side in enumerate(self._sides):
            side.load(
                [side.head(key, time) for key, given, time in rows if given.side == number],
                [
                    head
                    for key, given, time in rows
                    if given.side != number
                    for head in side.heads(key, *span.matching(given.side, time))
                ],
            )

    def walk(self, keys: Sequence[bytes], batch: AnyBatch) -> list[list[Row]]:
        """Adds the rows one after the other; the matches that each one finds."""
        return list(map(self._row, keys, batch.values, batch.timestamps))

    def find(self, noted: Sequence[tuple[bytes, int, int]]) -> list[list[Row]]:
        """The rows of these keys, times and sides."""
        for number, side in enumerate(self._sides):
            heads = (side.heads(key, time, time) for key, time, of in noted if of == number)
            side.load((), list(chain.from_iterable(heads)))
        return [self._sides[side].find(key, time, time) for key, time, side in noted]

    def save(self) -> None:
        """Writes what has changed."""
        gone = [name for name, is_there in self._noted.items() if not is_there]
        fresh = {name: b"" for name, is_there in self._noted.items() if is_there}
        try:
            for side in self._sides:
                side.save()
            if self._noted:
                index: EncodedStore[bytes, bytes] = self._context.stores[self._step.unmatched]
                index.save((*index.load(gone), *fresh), fresh)
        except Exception as error:
            raise Unattributed from error

    def _row(self, key: bytes, given: _Given, time: Timestamp) -> list[Row]:
        side, other = given.side, 1 - given.side
        found = self._sides[other].find(key, *self._step.span.matching(side, time))
        self._sides[side].add(key, (time, given.data))
        if found and self._step.alone(other):
            self._noted |= dict.fromkeys((_NOTED.pack(at, other) + key for at, _ in found), False)
        elif not found and self._step.alone(side):
            self._noted[_NOTED.pack(time, side) + key] = True
        return found


def _numbered(name: bytes, rows: Sequence[Row]) -> Iterator[tuple[bytes, Row]]:
    """Each row with a name of its own."""
    return ((name + number.to_bytes(4, "big"), row) for number, row in enumerate(rows))


def _keyed(batch: AnyBatch) -> Iterator[tuple[Any, _Given]]:
    return zip(batch.keys, batch.values, strict=True)
