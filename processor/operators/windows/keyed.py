"""Windows that depend on the records of their key: sessions, sliding windows, windows by count.

A second store has the windows of each key, so that those near a record are found without a scan.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from struct import Struct
from typing import Any, Final, TypeAlias

from processor.operators.aggregates.by_key import Stamped
from processor.operators.base import AnyBatch, Context, Outputs
from processor.operators.windows.early import Changed
from processor.operators.windows.kinds import Counted, Session, Sliding
from processor.operators.windows.windowed import Change, WindowStep
from processor.records import Timestamp
from processor.serdes import Serde
from processor.serdes.windowed import PREFIX, Windowed, span_bytes, span_of

_ENTRY: Final = Struct(">qqq")

Entry: TypeAlias = tuple[int, int, int]
"""A window of a key: its start, its end, and how many records it has, where that matters."""


def _encode(entries: Sequence[Entry]) -> bytes:
    return b"".join(_ENTRY.pack(*entry) for entry in entries)


def _decode(data: bytes) -> list[Entry]:
    return list(_ENTRY.iter_unpack(data))


entries_serde: Serde[list[Entry]] = Serde("windows", _encode, _decode)
"""For the store that has the windows of each key."""


@dataclass(frozen=True)
class KeyedStep(WindowStep):
    """What they share: a batch reads the windows of all its keys at once, and so it writes."""

    index: str
    """The store that has the windows of each key."""

    @abstractmethod
    def take(self, row: "Row", work: "Work") -> list[Change] | None:
        """Brings one row in; returns what is to be emitted for it, None if the row is late."""

    def fold(
        self, keys: Sequence[bytes], batch: AnyBatch, context: Context, changed: Changed | None
    ) -> Outputs:
        """What is to be emitted for each row, and the late rows."""
        times = context.clock.times(batch)
        work = Work(self, keys, context)

        def take(*columns: Any) -> list[Change] | None:
            return self.take(Row(*columns), work)

        columns = keys, batch.keys, batch.values, batch.timestamps, times, range(len(batch))
        changes, left = context.call(take, batch, *columns)
        if len(left) < len(batch):  # all of it is undone, and tried again without the others
            return batch.select(()), batch.select(())
        work.save()
        if changed is not None:
            work.mark(changed)
        late = self.late_rows(batch, [each is None for each in changes], times, context)
        return self.emitted(batch, (change for each in changes for change in each or ())), late

    def forget(self, keys: Sequence[bytes], context: Context) -> None:
        """The windows of each key are those that are kept."""
        gone: dict[bytes, set[tuple[int, int]]] = {}
        for key in keys:
            gone.setdefault(key[PREFIX:], set()).add(span_of(key))
        index = context.stores[self.index]
        known = index.load(list(gone))
        left = {
            key: [entry for entry in known.get(key, ()) if entry[:2] not in spans]
            for key, spans in gone.items()
        }
        index.save(left, {key: entries for key, entries in left.items() if entries})


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its key in bytes and as it is, and the stream time at it."""

    name: bytes
    key: Any
    value: Any
    time: Timestamp
    now: Timestamp
    number: int

    def change(self, entry: Entry, result: Any, time: Timestamp) -> Change:
        """What the row has made of a window."""
        return Change(Windowed(self.key, *entry[:2]), result, self.number, time)

    def latest(self, before: Stamped | None) -> Timestamp:
        """The highest time of what was there before and the row."""
        return self.time if before is None else max(before[0], self.time)


class Work:
    """The windows of all keys of a batch, and their states, as they are row by row."""

    def __init__(self, step: KeyedStep, keys: Sequence[bytes], context: Context) -> None:
        self._step = step
        self._context = context
        distinct = list(dict.fromkeys(keys))
        self.entries: dict[bytes, list[Entry]] = {key: [] for key in distinct}
        """The windows of each key, in order."""
        self._loaded = context.stores[step.index].load(distinct)
        self.entries |= self._loaded
        known = [_name(key, each) for key, entries in self._loaded.items() for each in entries]
        self._held = step.states(context).load(known)
        self._before = () if step.early is None else frozenset(self._held)
        self._touched: dict[bytes, None] = {}

    def held(self, key: bytes, entry: Entry) -> Stamped | None:
        """The highest time of a window's records, and its state; None where that was deleted."""
        return self._held.get(_name(key, entry))

    def put(self, key: bytes, entry: Entry, held: Stamped | None) -> None:
        """Sets the state of a window; None deletes it."""
        name = _name(key, entry)
        self._touched[name] = None
        if held is None:
            self._held.pop(name, None)
        else:
            self._held[name] = held

    def save(self) -> None:
        """Writes everything."""
        self._step.save(self._context, self._touched, self._held)
        loaded = self._loaded
        changed = {key: each for key, each in self.entries.items() if each != loaded.get(key, [])}
        filled = {key: entries for key, entries in changed.items() if entries}
        self._context.stores[self._step.index].save(changed, filled)

    def mark(self, changed: Changed) -> None:
        """Notes which windows are not as they were."""
        changed.mark(self._touched, self._before, self._held)


def _name(key: bytes, entry: Entry) -> bytes:
    return span_bytes(*entry[:2]) + key


@dataclass(frozen=True)
class SessionStep(KeyedStep):
    """Records no more than the gap apart; one between two sessions makes them one."""

    windows: Session

    def take(self, row: Row, work: Work) -> list[Change] | None:
        """Joins the row with the open sessions near it; they are no more if it is another then."""
        gap, delay = self.windows.gap, self.windows.delay
        opened = [each for each in work.entries[row.name] if each[1] + delay > row.now]
        near = [each for each in opened if each[0] - gap <= row.time < each[1] + gap]
        start, end = row.time, row.time + 1
        if near:  # sessions of a key are in order and apart
            start, end = min(start, near[0][0]), max(end, near[-1][1])
        if end + delay <= row.now:
            return None
        merged = (start, end, 0)
        helds = [work.held(row.name, each) for each in near]
        before = self._merged(helds)
        for each in near:
            work.put(row.name, each, None)
        state = self.aggregation.add(before and before[1], row.value, row.time)
        # A closed one stays until it leaves the store: a later row may be of an earlier time.
        far = [each for each in work.entries[row.name] if each not in near]
        latest = row.latest(before)
        if state is None:
            work.entries[row.name] = far
        else:
            work.put(row.name, merged, (latest, state))
            work.entries[row.name] = sorted([*far, merged])
        if self.emit != "change":
            return []
        changes = [
            row.change(each, None, held[0] if held else row.time)
            for each, held in zip(near, helds, strict=True)
            if each != merged
        ]
        result = None if state is None else self.aggregation.result(state)
        return [*changes, row.change(merged, result, latest)]

    def _merged(self, states: Sequence[Stamped | None]) -> Stamped | None:
        def merge(one: Stamped, other: Stamped) -> Stamped:
            return max(one[0], other[0]), self.aggregation.merge(one[1], other[1])

        there = [state for state in states if state is not None]
        return reduce(merge, there) if there else None


@dataclass(frozen=True)
class SlidingStep(KeyedStep):
    """A window that ends with each record, and one that begins after it if it has any (KIP-450).

    The state of a new window is that of one that has the same records: of the last that ends before
    the row, or of the last that has the row. All of these are known as long as no window was left
    out that a row should have been in; so a row is late when the first of its windows is closed.
    """

    windows: Sliding

    def take(self, row: Row, work: Work) -> list[Change] | None:
        """Adds the row to all windows that have its time, and makes those that it brings."""
        time = row.time
        if time + 1 + self.windows.delay <= row.now:
            return None
        entries = [each for each in work.entries[row.name] if each[1] + self.kept > row.now]
        having = [each for each in entries if each[0] <= time < each[1]]
        made = self._made(row, entries, having, work)
        latest: dict[Entry, Timestamp] = {}
        for each in having:
            before = work.held(row.name, each)
            made[each], latest[each] = self._added(before, row), row.latest(before)
        for entry in sorted(made):
            work.put(row.name, entry, made[entry])
        gone = {entry for entry, held in made.items() if held is None}
        work.entries[row.name] = sorted({*work.entries[row.name], *made} - gone)
        if self.emit != "change":
            return []
        return [
            row.change(entry, None, latest.get(entry, row.time))
            if (held := made[entry]) is None
            else row.change(entry, self.aggregation.result(held[1]), held[0])
            for entry in sorted(made)
        ]

    def _made(
        self, row: Row, entries: Sequence[Entry], having: Sequence[Entry], work: Work
    ) -> dict[Entry, Stamped | None]:
        """The windows that the row brings: after the one before it, up to it, and after it."""
        size, time = self.windows.size, row.time
        starts = {each[0] for each in entries}
        before = next((each for each in reversed(entries) if each[1] <= time), None)
        held = before and work.held(row.name, before)
        behind = next((each for each in reversed(having) if each[1] > time + 1), None)
        later = behind and work.held(row.name, behind)
        made: dict[Entry, Stamped | None] = {}
        previous = self._previous(row, held, having, work)
        if previous is not None and previous + 1 not in starts and previous + 1 + size >= time:
            made[_window(previous + 1, size)] = self._added(None, row)
        if time - size not in starts:
            base = held if held and held[0] >= time - size else None
            copied = base and (base[0], self.aggregation.copy(base[1]))
            made[_window(time - size, size)] = self._added(copied, row)
        if time + 1 not in starts and later and later[0] > time:
            made[_window(time + 1, size)] = later[0], self.aggregation.copy(later[1])
        return made

    def _previous(
        self, row: Row, held: Stamped | None, having: Sequence[Entry], work: Work
    ) -> int | None:
        """The time of the last record before the row."""
        upto = next((each for each in having if each[1] == row.time + 1), None)
        own = upto and work.held(row.name, upto)
        if own and own[0] < row.time:
            return own[0]
        return held and held[0]

    def _added(self, before: Stamped | None, row: Row) -> Stamped | None:
        state = self.aggregation.add(before and before[1], row.value, row.time)
        if state is None:
            return None
        return row.latest(before), state


def _window(start: int, size: int) -> Entry:
    return start, start + size + 1, 0


@dataclass(frozen=True)
class CountedStep(KeyedStep):
    """So many records of a key; the result comes with the last of them."""

    windows: Counted

    def take(self, row: Row, work: Work) -> list[Change] | None:
        """Adds the row to the window of its key, which spans the times of its records."""
        entry = next(iter(work.entries[row.name]), (row.time, row.time + 1, 0))
        before = work.held(row.name, entry)
        work.put(row.name, entry, None)
        grown = min(entry[0], row.time), max(entry[1], row.time + 1), entry[2] + 1
        state = self.aggregation.add(before and before[1], row.value, row.time)
        latest = row.latest(before)
        if grown[2] < self.windows.size:
            work.put(row.name, grown, None if state is None else (latest, state))
            work.entries[row.name] = [grown]
            return []
        work.entries[row.name] = []
        return [] if state is None else [row.change(grown, self.aggregation.result(state), latest)]

    def advance(self, context: Context) -> AnyBatch | None:
        """Time closes none of them."""
        del context

    @property
    def holds_back(self) -> bool:
        """They wait for records and not for time."""
        return False

    def held_until(self, context: Context) -> Timestamp | None:
        """Time closes none of them."""
        del context
