"""Windows by the book, for the reference interpreter."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple

from processor.operators.aggregates.aggregators import Adding, Counting
from processor.operators.aggregates.composed import Composed
from processor.operators.base import LATE
from processor.operators.joins.streams import StreamStreamJoin
from processor.operators.windows.keyed import (
    CountedStep,
    KeyedStep,
    SessionStep,
    SlidingStep,
    entries_serde,
)
from processor.operators.windows.kinds import Aligned
from processor.operators.windows.windowed import WindowStep
from processor.records import Record, Timestamp
from processor.serdes.windowed import Windowed, windowed
from processor.topology.graph import Edge, Node, Step
from tests.properties import policies

if TYPE_CHECKING:
    from tests.properties.one_record import Bad, Trial

AnyRecord = Record[Any, Any]
Rows = list[AnyRecord]
Held = tuple[int, Any] | None
Entry = tuple[int, int, int]


WAS_EMITTED = b"\x01"


class Closing(NamedTuple):
    """A window's result at the record that brought its time."""

    step: str
    key: bytes


class Noted(NamedTuple):
    """A row that is left out without anything being undone."""

    bad: "Bad"
    row: AnyRecord


@dataclass
class Brought:
    """What one record brings besides its own outputs."""

    lost: dict[Closing, "Bad"] = field(default_factory=dict)
    closed: list[Closing] = field(default_factory=list)
    at: AnyRecord | None = None

    def guilty(self, bad: "Bad") -> Closing | None:
        """The result that failed, where it wasn't the record."""
        row = bad.row or self.at
        return None if bad.reason == "state" or row is None else closing_of(row)


class Watched(list[AnyRecord]):
    """Rows that show which of them is being looked at."""

    def __init__(self, brought: Brought, rows: Rows) -> None:
        super().__init__(rows)
        self.brought = brought

    def __iter__(self) -> Iterator[AnyRecord]:
        for row in super().__iter__():
            self.brought.at = row
            yield row


def closing_of(row: AnyRecord) -> Closing | None:
    return getattr(row, "closing", None)


def due_of(row: AnyRecord) -> int | None:
    """The task's stream time that a result has waited for."""
    return getattr(row, "due", None)


def tagged(row: AnyRecord, closing: Closing | None, due: int | None) -> AnyRecord:
    """The row as a result of a window; what `_replace` makes of it is one as well."""
    if closing is None:
        return row
    kind: Any = type("Result", (Record,), {"closing": closing, "due": due})
    return kind._make(row)


def delays(nodes: tuple[Node, ...]) -> dict[str, int]:
    """How far stream time at the nodes is behind the task's: by the longest way to them."""
    found: dict[str, int] = {}
    for node in nodes:
        ways = [found[edge.node.name] + _kept_back(edge.node) for edge in node.parents]
        found[node.name] = max(ways, default=0)
    return found


def _kept_back(node: Node) -> int:
    match node:
        case Step(operator=WindowStep(emit="close") as operator):
            return operator.windows.delay
        case Step(operator=StreamStreamJoin(kind="left" | "outer", span=span)):
            return span.before + span.after + span.grace + 1
        case _:
            return 0


def step(trial: "Trial", node: Step, operator: WindowStep, rows: Rows) -> dict[int, Rows]:
    """What comes of one record's rows, and of the time that it brings."""
    return Windowing(trial, node, operator).run(rows)


def changes(state: Any, node: Step, now: int) -> Rows:
    """What a step emits at a checkpoint, at the stream time that it sees."""
    operator, spec = node.operator, node.stores[0]
    assert isinstance(operator, WindowStep)
    rows: Rows = []
    for name in state.changed[spec.name]:
        data = state.stores[spec.name].get(name)
        window = spec.key.decode(name)
        if data is None and window.end + operator.kept <= now:
            continue
        time, value = (now, None) if data is None else spec.value.decode(data)
        rows.append(Record(window, value, Timestamp(time)))
    return rows


class Windowing:
    def __init__(self, trial: "Trial", node: Step, operator: WindowStep) -> None:
        self.trial, self.node, self.operator = trial, node, operator
        self.spec = node.stores[0]
        self.states = trial.state.stores[self.spec.name]
        self.name = windowed(operator.key).encode
        self.delay = operator.windows.delay
        self.held: dict[Windowed[Any], Held] = {}
        self.touched: dict[Windowed[Any], None] = {}
        self.emitted: Rows = []

    def run(self, rows: Rows) -> dict[int, Rows]:
        from tests.properties.one_record import keys_of  # noqa: PLC0415 - it knows this module

        keys = keys_of(self.node, self.operator.key.encode, rows)
        emitted_early = not self.trial._advance
        early: Rows = []
        late: Rows = []
        for key, row in zip(keys, rows, strict=True):
            if not emitted_early and self.now(row) >= self.now():
                early, emitted_early = self.early(), True
            with policies.at(row):
                if not self.take(key, row):
                    late.append(row)
        if not emitted_early:
            early = self.early()
        self.save()
        finals, lost = self.close() if self.trial._advance else ([], [])
        emitted = self.emitted if self.operator.emit == "change" else []
        if isinstance(self.operator, CountedStep):
            emitted = self.emitted
        if Edge(self.node, LATE) not in self.read:
            for row in late:
                self.note(row, "late", self.operator.late)
        self.trial.notes += lost
        ports = {0: emitted + finals + early, 1: late}
        if self.operator.early is not None:
            ports[2] = [row for row in finals if row.value is not None]
        return ports

    @property
    def read(self) -> set[Edge]:
        return {edge for node in self.trial._nodes for edge in node.parents}

    def note(self, row: AnyRecord, reason: str, policy: str | None) -> None:
        from tests.properties.one_record import Bad  # noqa: PLC0415 - it knows this module

        bad = Bad(self.node.name, reason)
        bad.policy = policy
        policies.late(self.node, row, bad)
        self.trial.notes.append(Noted(bad, row))

    # Time

    def close(self) -> tuple[Rows, list[Noted]]:
        operator, since, to = self.operator, self.trial.since(self.node), self.now()
        if isinstance(operator, CountedStep):
            return [], []
        delay = self.delay if operator.emit == "close" else operator.kept
        there = {
            "close": dict(self.states),
            "checkpoint": self.trial.state.changed[self.spec.name],
            "change": {},
        }[operator.emit]
        due = [name for name in there if since < self.end(name) + delay <= to]
        if operator.early is not None:
            marks = operator.early.store
            for name, mark in list(self.trial.state.stores[marks].items()):
                if self.end(name) + delay <= to:
                    self.trial.state.put(marks, name, None)
                    if name not in self.states and mark == WAS_EMITTED:
                        due.append(name)
        due.sort()
        rows, lost = self.results(due, lambda end: end + delay)
        expired = [name for name in self.states if self.end(name) + operator.kept <= to]
        for name in expired:
            self.forget(name)
            self.trial.state.put(self.spec.name, name, None)
        return rows, lost

    def early(self) -> Rows:
        """What was changed since the last multiple of the interval, where one is passed."""
        early, since, to = self.operator.early, self.trial.since(self.node), self.now()
        if early is None or since // early.every == to // early.every:
            return []
        self.save()
        marks = self.trial.state.stores[early.store]
        due = sorted(name for name in marks if self.end(name) + self.delay > to)
        for name in due:
            self.trial.state.put(early.store, name, None)
        rows, lost = self.results(due, lambda _: to)
        self.trial.notes += lost
        return rows

    def mark(self, name: bytes, *, there: bool) -> None:
        """Notes that a window is no more as it was emitted, or was never emitted."""
        if self.operator.early is None:
            return
        store = self.operator.early.store
        mark = self.trial.state.stores[store].get(name)
        was_emitted = mark == WAS_EMITTED or (mark is None and name in self.states)
        if there:
            self.trial.state.put(store, name, WAS_EMITTED if was_emitted else b"")
        elif was_emitted or mark is not None:
            self.trial.state.put(store, name, WAS_EMITTED if was_emitted else None)

    def end(self, name: bytes) -> int:
        return self.spec.key.decode(name).end

    def now(self, row: AnyRecord | None = None) -> int:
        return self.trial.seen_by(self.node, row)

    def results(
        self, names: list[bytes], emitted_at: Callable[[int], int]
    ) -> tuple[Rows, list[Noted]]:
        brought = self.trial.brought
        rows: Rows = []
        lost: list[Noted] = []
        for name in names:
            window = self.spec.key.decode(name)
            data = self.states.get(name)
            time, value = (max(0, min(window.end - 1, emitted_at(window.end))), None)
            if data is not None:
                time, value = self.spec.value.decode(data)
            closing = Closing(self.node.name, name)
            due = emitted_at(window.end) + self.trial.delays[self.node.name]
            due = max(due, self.trial.state.stream_time + 1)
            row = tagged(Record(window, value, Timestamp(time)), closing, due)
            if closing in brought.lost:
                lost.append(Noted(brought.lost[closing], row))
            else:
                brought.closed.append(closing)
                rows.append(row)
        return rows, lost

    def forget(self, name: bytes) -> None:
        if isinstance(self.operator, KeyedStep):
            start, end = self.spec.key.decode(name)[1:]
            key = self.operator.key.encode(self.spec.key.decode(name).key)
            left = [each for each in self.entries(key) if each[:2] != (start, end)]
            self.put_entries(key, left)

    # Records

    def take(self, key: bytes, row: AnyRecord) -> bool:
        match self.operator:
            case SessionStep():
                return self.session(key, row)
            case SlidingStep():
                return self.sliding(key, row)
            case CountedStep():
                return self.counted(key, row)
            case _:
                return self.aligned(row, self.now(row))

    def aligned(self, row: AnyRecord, now: int) -> bool:
        windows = self.operator.windows
        assert isinstance(windows, Aligned)
        spans = windows.spans(row.timestamp)
        opened = [span for span in spans if span.end + self.delay > now]
        if 0 < len(opened) < len(spans):
            self.note(row, "partly-late", "skip")
        for span in opened:
            window = Windowed(row.key, *span)
            before = self.get(window)
            self.set(window, self.added(before, row))
            self.emit(row, window, before)
        return bool(opened)

    def session(self, key: bytes, row: AnyRecord) -> bool:
        assert isinstance(self.operator, SessionStep)
        gap, now = self.operator.windows.gap, self.now(row)
        opened = [each for each in self.entries(key) if each[1] + self.delay > now]
        near = [
            each
            for each in opened
            if each[0] <= row.timestamp + gap and row.timestamp - gap < each[1]
        ]
        start = min([row.timestamp, *(each[0] for each in near)])
        end = max([row.timestamp + 1, *(each[1] for each in near)])
        if end + self.delay <= now:
            return False
        before: Held = None
        for each in near:
            window = Windowed(row.key, *each[:2])
            held = self.get(window)
            before = self.merged(before, held)
            self.set(window, None)
            if each[:2] != (start, end):
                alone = row if held is None else row._replace(timestamp=Timestamp(held[0]))
                self.emit(alone, window, None)
        window = Windowed(row.key, start, end)
        if (held := self.added(before, row)) is not None:
            self.set(window, held)
        self.emit(row, window, before)
        left = [each for each in self.entries(key) if each not in near]
        there = [] if self.get(window) is None else [(start, end, 0)]
        self.put_entries(key, sorted(left + there))
        return True

    def sliding(self, key: bytes, row: AnyRecord) -> bool:
        """From all records of the key so far, whatever was made of them before."""
        assert isinstance(self.operator, SlidingStep)
        size, time, now = self.operator.windows.size, row.timestamp, self.now(row)
        if time + 1 + self.delay <= now:
            return False
        records = self.trial.state.windows.setdefault(self.node.name, {}).setdefault(key, [])
        known = {each[:2] for each in self.entries(key)}
        self.added(None, row)  # which fails by the record alone
        records.append(row._replace(headers=()))
        entries: list[Entry] = []
        for start in sorted({t for r in records for t in (r.timestamp - size, r.timestamp + 1)}):
            end = start + size + 1
            inside = [each for each in records if start <= each.timestamp < end]
            if not inside:
                continue
            if end + self.operator.kept <= now:
                entries += [(start, end, 0)] if (start, end) in known else []
                continue
            entries.append((start, end, 0))
            if start <= time < end or (start, end) not in known:
                window, held = Windowed(row.key, start, end), None
                before = self.get(window)
                for each in inside:
                    held = self.added(held, each)
                self.set(window, held)
                self.emit(row, window, before)
        self.put_entries(key, entries)
        return True

    def counted(self, key: bytes, row: AnyRecord) -> bool:
        assert isinstance(self.operator, CountedStep)
        entries = self.entries(key) or [(row.timestamp, row.timestamp + 1, 0)]
        ((start, end, count),) = entries
        before = self.get(Windowed(row.key, start, end))
        self.set(Windowed(row.key, start, end), None)
        window = Windowed(row.key, min(start, row.timestamp), max(end, row.timestamp + 1))
        held = self.added(before, row)
        if count + 1 < self.operator.windows.size:
            self.set(window, held)
            self.put_entries(key, [(window.start, window.end, count + 1)])
        else:
            self.put_entries(key, [])
            if held is not None:
                time = Timestamp(held[0])
                self.emitted.append(
                    row._replace(key=window, value=self.shown(held), timestamp=time)
                )
        return True

    # States

    def get(self, window: Windowed[Any]) -> Held:
        if window not in self.held:
            data = self.states.get(self.name(window))
            kept = self.operator._stamped.decode
            self.held[window] = None if data is None else kept(data)
        return self.held[window]

    def set(self, window: Windowed[Any], held: Held) -> None:
        self.held[window] = held
        self.touched[window] = None

    def save(self) -> None:
        from tests.properties.one_record import Bad  # noqa: PLC0415 - it knows this module

        for window in self.touched:
            held = self.held[window]
            try:
                data = None if held is None else self.operator._stamped.encode(held)
            except Exception:  # noqa: BLE001 - whatever a serde raises
                raise Bad(self.node.name, "state") from None
            self.mark(self.name(window), there=data is not None)
            self.trial.state.put(self.spec.name, self.name(window), data)
        self.touched.clear()

    def emit(self, row: AnyRecord, window: Windowed[Any], before: Held) -> None:
        """With the highest time of what the window has, or had."""
        if self.operator.emit == "change":
            held = self.get(window)
            times = [each[0] for each in (before, held) if each is not None]
            time = Timestamp(max(times, default=row.timestamp))
            if held is None:
                time = Timestamp(max(time, row.timestamp))
            value = self.shown(held)
            self.emitted.append(row._replace(key=window, value=value, timestamp=time))

    def shown(self, held: Held) -> Any:
        from tests.properties.one_record import call  # noqa: PLC0415 - it knows this module

        if held is None:
            return None
        serde = self.operator.aggregation.value
        copied = call(self.node, lambda: serde.decode(serde.encode(held[1])))
        aggregation = self.operator.aggregation
        if isinstance(aggregation, Composed):
            pairs = zip(aggregation.parts, copied, strict=True)
            return aggregation.model(**{part.name: part.aggregator.result(s) for part, s in pairs})
        return copied

    def added(self, before: Held, row: AnyRecord) -> Held:
        from tests.properties.one_record import call  # noqa: PLC0415 - it knows this module

        aggregation = self.operator.aggregation
        match aggregation:
            case Counting():
                state = 1 if before is None else before[1] + 1
            case Adding():
                state = call(self.node, _added, aggregation, before, row.value)
            case Composed():
                state = call(self.node, _composed, aggregation, before, row)
            case _:
                raise TypeError(f"the reference does not know {aggregation!r}")
        latest = row.timestamp if before is None else max(before[0], row.timestamp)
        return None if state is None else (latest, state)

    def merged(self, one: Held, other: Held) -> Held:
        from tests.properties.one_record import call  # noqa: PLC0415 - it knows this module

        if one is None or other is None:
            return one or other
        aggregation = self.operator.aggregation
        state: Any
        match aggregation:
            case Counting():
                state = one[1] + other[1]
            case Adding():
                state = call(self.node, aggregation.merger, one[1], other[1])  # pyright: ignore[reportArgumentType]
            case _:
                state = call(self.node, aggregation.merge, one[1], other[1])
        return max(one[0], other[0]), state

    def entries(self, key: bytes) -> list[Entry]:
        data = self.trial.state.stores[self.index].get(key)
        return [] if data is None else entries_serde.decode(data)

    def put_entries(self, key: bytes, entries: list[Entry]) -> None:
        data = entries_serde.encode(entries) if entries else None
        self.trial.state.put(self.index, key, data)

    @property
    def index(self) -> str:
        assert isinstance(self.operator, KeyedStep)
        return self.operator.index


def _added(aggregation: Adding, before: Held, value: Any) -> Any:
    if before is not None:
        result = aggregation.function(before[1], value)
    else:
        result = (
            value if aggregation.start is None else aggregation.function(aggregation.start(), value)
        )
    if result is value and type(value) not in (int, str, float, bool, bytes, NoneType):
        return aggregation.value.decode(aggregation.value.encode(value))
    return result


def _composed(aggregation: Composed, before: Held, row: AnyRecord) -> Any:
    states = (
        [part.aggregator.start() for part in aggregation.parts] if before is None else before[1]
    )
    made: list[Any] = []
    for (_, aggregator, get), state in zip(aggregation.parts, states, strict=True):
        item = row.value if get is None else get(row.value)
        if item is not None and aggregator.timed:
            item = row.timestamp, item
        made.append(state if item is None else aggregator.add(state, item))
    states = zip(aggregation.parts, deepcopy(made), strict=True)
    aggregation.model(**{part.name: part.aggregator.result(state) for part, state in states})
    return made
