# ruff: noqa: BLE001 - whatever a user's function raises makes its record bad
"""One record's way through a topology, by the book: for the reference interpreter alone.

Knows what each step means for a single record. State is dicts of bytes; whoever calls has made a
copy of it and throws that away if the record fails.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

from processor.operators import stateless
from processor.operators.aggregates import by_key as aggregate
from processor.operators.changes import Change, ChangeOperator
from processor.operators.concurrent import MapAsync
from processor.operators.deduplicate import Deduplicate
from processor.operators.joins.foreign_key import ForeignKeyJoin, Respond, Subscribe
from processor.operators.joins.global_tables import GlobalJoin
from processor.operators.joins.streams import StreamStreamJoin
from processor.operators.joins.tables import Cogroup, StreamTableJoin, TableTableJoin
from processor.operators.process import Process
from processor.operators.tables.derived import AggregateChanges, CountChanges, Derived, Regroup
from processor.operators.windows.windowed import WindowStep
from processor.records import Record, Timestamp
from processor.state.keyvalue import StoreSpec
from processor.topology.graph import Edge, Node, Sink, Source, Step
from tests.properties import global_tables, joins, policies, tables, windowed

Raw = Record[bytes | None, bytes | None]
Rows = list[Record[Any, Any]]
Punctuation = tuple[str, int, int]  # step, number of the punctuator, time


class Bad(policies.Failed):
    def __init__(self, step: str, reason: str) -> None:
        self.step, self.reason = step, reason


class PunctuationFailed(Exception):
    def __init__(self, step: str, number: int, time: int) -> None:
        self.which = (step, number, time)
        self.step = step


@dataclass
class TaskState:
    stream_time: int = -1
    stores: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    changed: dict[str, dict[bytes, bytes | None]] = field(default_factory=dict)
    """What changed since the last checkpoint, and what was there before."""
    windows: dict[str, dict[bytes, Rows]] = field(default_factory=dict)
    """All records of sliding windows."""

    def put(self, store: str, key: bytes, data: bytes | None) -> None:
        self.changed[store].setdefault(key, self.stores[store].get(key))
        if data is None:
            self.stores[store].pop(key, None)
        else:
            self.stores[store][key] = data


class Trial:
    """One record's way through a copy of the task's state.

    Args:
        nodes: The task's.
        state: A copy that this record alone may change.
        skip: Punctuations to leave out.
        advance: Whether the record lets the stream time go on, to `time`.
        now: The wall clock.
        limit: Larger outputs make the record bad.
    """

    def __init__(
        self,
        nodes: tuple[Node, ...],
        state: TaskState,
        skip: set[Punctuation],
        *,
        advance: bool,
        now: int,
        limit: int,
    ) -> None:
        self._nodes = nodes
        steps = [node for node in nodes if isinstance(node, Step)]
        self.specs = {spec.name: spec for step in steps for spec in step.stores}
        self.state = state
        self.skip = skip
        self.fired: set[Punctuation] = set()
        self.brought = windowed.Brought()
        self.notes: list[windowed.Noted] = []
        self.time = state.stream_time
        self.delays = windowed.delays(nodes)
        self._advance = advance
        self.now = now
        self._limit = limit

    def seen_by(self, node: Node, row: Record[Any, Any] | None = None) -> int:
        """The stream time that a node sees, at a result just before that was due."""
        due = None if row is None else windowed.due_of(row)
        time = self.time if due is None else min(self.time, due - 1)
        return max(-1, time - self.delays[node.name])

    def since(self, node: Node) -> int:
        """The same before the record."""
        return max(-1, self.state.stream_time - self.delays[node.name])

    def run(self, entry: Edge, rows: Rows) -> list[tuple[str, Raw]]:
        flows = {entry: rows}
        if isinstance(entry.node, Step) and isinstance(entry.node.operator, ChangeOperator):
            flows = {Edge(entry.node, port): made for port, made in tables.ports(rows).items()}
        outputs: list[tuple[str, Raw]] = []
        for node in self._nodes:
            sided = isinstance(node, Step) and node.operator.sided
            # Each reader has values of its own.
            given = [
                (number, deepcopy(row))
                for number, parent in enumerate(node.parents)
                for row in flows.get(parent, ())
            ]
            inputs = [
                row._replace(value=(number, row.value)) if sided else row for number, row in given
            ]
            inputs = windowed.Watched(self.brought, inputs)
            if isinstance(node, Sink):
                outputs += policies.sink(node, inputs, self._sink)
            elif isinstance(node, Step):
                for port, made in policies.step(node, inputs, self._step).items():
                    if made:
                        flows[Edge(node, port)] = made
        return outputs

    def _sink(self, node: Sink, rows: Rows) -> list[tuple[str, Raw]]:
        choose = (lambda _: node.topic) if isinstance(node.topic, str) else node.topic
        topics = [call(node, choose, row) for row in rows]
        raws: list[Raw] = []
        for row in rows:
            try:
                key = None if row.key is None else node.key.encode(row.key)
                value = None if row.value is None else node.value.encode(row.value)
            except Exception:
                raise Bad(node.name, "serialize") from None
            raws.append(Record(key, value, row.timestamp, row.headers))
        if any(_size(raw) > self._limit for raw in raws):
            raise Bad(node.name, "too-large")
        return list(zip(topics, raws, strict=True))

    def _step(self, node: Step, rows: Rows) -> dict[int, Rows]:  # noqa: C901, PLR0911, PLR0912
        operator = node.operator
        match operator:
            case stateless.Filter():
                return {
                    0: [
                        r
                        for r in rows
                        if bool(call(node, operator.predicate, r.value)) == operator.keep
                    ]
                }
            case stateless.MapValues():
                return {0: [r._replace(value=call(node, operator.function, r.value)) for r in rows]}
            case MapAsync():
                made = [call(node, asyncio.run, operator.function(r.value)) for r in rows]
                if (join := operator.join) is not None:
                    made = [call(node, join, r.value, v) for r, v in zip(rows, made, strict=True)]
                return {0: [r._replace(value=v) for r, v in zip(rows, made, strict=True)]}
            case stateless.KeyBy():
                return {0: [r._replace(key=call(node, operator.function, r.value)) for r in rows]}
            case stateless.Map():
                return {0: [_pair(r, call(node, operator.function, r.key, r.value)) for r in rows]}
            case stateless.FlatMap():
                lists = [call(node, _listed(operator.function), r.key, r.value) for r in rows]
                return {
                    0: [
                        _pair(r, pair) for r, made in zip(rows, lists, strict=True) for pair in made
                    ]
                }
            case stateless.FlatMapValues():
                lists = [call(node, _listed(operator.function), r.value) for r in rows]
                return {
                    0: [
                        r._replace(value=v)
                        for r, made in zip(rows, lists, strict=True)
                        for v in made
                    ]
                }
            case stateless.Peek():
                for row in rows:
                    call(node, operator.function, row.key, row.value)
                return {0: rows}
            case stateless.Split():
                return self._split(node, operator, rows)
            case GlobalJoin():
                return {0: global_tables.joined(node, operator, rows)}
            case stateless.Merge() | Cogroup():
                return {0: rows}
            case Process():
                return {0: self._process(node, operator, rows)}
            case Deduplicate():
                return {0: self._deduplicate(node, operator, rows)}
            case (
                StreamTableJoin()
                | TableTableJoin()
                | StreamStreamJoin()
                | Subscribe()
                | Respond()
                | ForeignKeyJoin()
            ):
                return joins.join(self, node, operator, rows)
            case WindowStep():
                return windowed.step(self, node, operator, rows)
            case aggregate.TableOperator():
                return tables.ports(self._table(node, operator, rows))
            case Derived():
                return tables.ports(self._each(node, tables.derived, rows))
            case Regroup():
                return {0: self._each(node, tables.regrouped, rows)}
            case _:
                raise TypeError(f"the reference does not know {operator!r}")

    def _split(self, node: Step, operator: stateless.Split, rows: Rows) -> dict[int, Rows]:
        made: dict[int, Rows] = {}
        for row in rows:
            port = 0
            while port < len(operator.predicates):
                if call(node, operator.predicates[port], row.value):
                    break
                port += 1
            made.setdefault(port, []).append(row)
        return made

    def _each(self, node: Step, function: Callable[..., Rows], rows: Rows) -> Rows:
        made: Rows = []
        for row in rows:
            with policies.at(row):
                made += call(node, function, node.operator, row)
        return made

    # Steps with state

    def _table(self, node: Step, operator: aggregate.TableOperator, rows: Rows) -> Rows:
        (spec,) = node.stores
        store = self.state.stores[spec.name]
        keys = keys_of(node, spec.key.encode, rows)
        held: dict[bytes, tuple[int, Any] | None] = {}
        emitted: Rows = []
        for key, row in zip(keys, rows, strict=True):
            if key not in held:
                held[key] = spec.value.decode(store[key]) if key in store else None
            before = held[key]
            old = tables.copied(spec, before) if operator.emit == "change" else None
            with policies.at(row):
                held[key] = self._fold(node, operator, before, row)
                new = _now(node, operator, held[key])
            time = row.timestamp
            if before is not None and not isinstance(operator, aggregate.Latest):
                time = Timestamp(max(before[0], time))
            emitted.append(row._replace(value=Change(old, new), timestamp=time))
            if isinstance(operator, aggregate.Latest):
                _kept(node, spec, held[key])  # a value that the next row replaces, too
        for key, pair in held.items():
            self.state.put(spec.name, key, _kept(node, spec, pair))
        return emitted if operator.emit == "change" else []

    def _fold(
        self,
        node: Step,
        operator: aggregate.TableOperator,
        before: tuple[int, Any] | None,
        row: Record[Any, Any],
    ) -> tuple[int, Any] | None:
        latest = row.timestamp if before is None else max(before[0], row.timestamp)
        match operator:
            case CountChanges():
                count = tables.counted(before, row.value)
                return None if count is None else (latest, count)
            case aggregate.Count():
                return latest, 1 if before is None else before[1] + 1
            case aggregate.Latest():
                return None if row.value is None else (row.timestamp, row.value)
            case aggregate.Aggregate():
                add = tables.added if isinstance(operator, AggregateChanges) else _added
                result = call(node, add, operator, before, row.value)
                return None if result is None else (latest, result)
            case _:
                raise TypeError(f"the reference does not know {operator!r}")

    def _deduplicate(self, node: Step, operator: Deduplicate, rows: Rows) -> Rows:
        (spec,) = node.stores
        store = self.state.stores[spec.name]
        keys = keys_of(node, operator.key.encode, rows)
        if operator.identity is not None:
            identities: list[Any] = []
            for row in rows:
                with policies.at(row):
                    identities.append(call(node, operator.identity, row.value))
            keys = [
                len(key).to_bytes(4, "big") + key + identity
                for key, identity in zip(keys, identities, strict=True)
            ]
        passing: Rows = []
        for key, row in zip(keys, rows, strict=True):
            seen = spec.value.decode(store[key]) if key in store else None
            if seen is None or self.seen_by(node, row) - seen >= operator.within:
                passing.append(row)
                self.state.put(spec.name, key, spec.value.encode(self.seen_by(node, row)))
        now = self.seen_by(node)
        if now // operator.within > self.since(node) // operator.within:
            for key, data in list(store.items()):
                if spec.value.decode(data) <= now - operator.within:
                    self.state.put(spec.name, key, None)
        return passing

    def _process(self, node: Step, operator: Process, rows: Rows) -> Rows:
        made: Rows = []
        time = self.since(node)
        for row in rows:
            since, time = time, max(time, self.seen_by(node, row))
            if self._advance:
                made += self.punctuations(node, "stream", since, time)
            with policies.at(row):
                outputs = call(node, _records(operator.function), row, _View(self, time))
                tags = windowed.closing_of(row), windowed.due_of(row)
                made += [windowed.tagged(each, *tags) for each in outputs]
        if self._advance:
            made += self.punctuations(node, "stream", time, self.seen_by(node))
        return made

    def punctuations(self, node: Step, clock: str, since: int, now: int) -> Rows:
        operator = node.operator
        assert isinstance(operator, Process)
        made: Rows = []
        for number, punctuator in enumerate(operator.punctuators):
            time = now // punctuator.every * punctuator.every
            due = punctuator.clock == clock and since >= 0 and since < time <= now
            if not due or (node.name, number, time) in self.skip:
                continue
            self.fired.add((node.name, number, time))
            try:
                view = _View(self, since if clock == "stream" else self.since(node))
                made += _records(punctuator.function)(Timestamp(time), view)
            except Exception:
                raise PunctuationFailed(node.name, number, time) from None
        return made


class _View:
    """What a function given to `process` sees."""

    def __init__(self, trial: Trial, stream_time: int) -> None:
        self._trial = trial
        self.stream_time = Timestamp(stream_time)
        self.now = Timestamp(trial.now)

    def store(self, spec: StoreSpec[Any, Any]) -> "_Store":
        return _Store(self._trial, spec)


class _Store:
    def __init__(self, trial: Trial, spec: StoreSpec[Any, Any]) -> None:
        self._trial = trial
        self._spec = spec
        self._data = trial.state.stores[spec.name]

    def get(self, key: Any, default: Any = None) -> Any:
        data = self._data.get(self._spec.key.encode(key))
        return default if data is None else self._spec.value.decode(data)

    def get_many(self, keys: Iterable[Any]) -> list[Any]:
        return [self.get(key) for key in keys]

    def put(self, key: Any, value: Any) -> None:
        data = None if value is None else self._spec.value.encode(value)
        self._trial.state.put(self._spec.name, self._spec.key.encode(key), data)

    def delete(self, key: Any) -> None:
        self.put(key, None)

    def __contains__(self, key: Any) -> bool:
        return self._spec.key.encode(key) in self._data

    def items(
        self, start: Any = None, end: Any = None, *, reverse: bool = False
    ) -> Iterator[tuple[Any, Any]]:
        first = b"" if start is None else self._spec.key.encode(start)
        last = None if end is None else self._spec.key.encode(end)
        for key, data in sorted(self._data.items(), reverse=reverse):
            if key >= first and (last is None or key < last):
                yield self._spec.key.decode(key), self._spec.value.decode(data)


def decode(node: Source, raw: Raw) -> Record[Any, Any]:
    if raw.timestamp < 0 and node.time is None:
        raise Bad(node.name, "timestamp")
    try:
        key = None if raw.key is None else node.key.decode(raw.key)
        value = None if raw.value is None else node.value.decode(raw.value)
    except Exception:
        raise Bad(node.name, "decode") from None
    return Record(key, value, _event_time(node, value, raw.timestamp), raw.headers)


def _event_time(node: Source, value: Any, own: Timestamp) -> Timestamp:
    time: Any = own
    if node.time is not None and value is not None:
        try:
            assert callable(node.time.of)
            time = node.time.of(value)
        except Exception:
            time = None
    if not isinstance(time, int) or time < 0:
        time = own if node.time is not None and node.time.invalid == "record-time" else -1
    if time < 0:
        raise Bad(node.name, "timestamp")
    return Timestamp(time)


def keys_of(node: Step, encode: Callable[[Any], bytes], rows: Rows) -> list[bytes]:
    for row in rows:
        with policies.at(row):
            if row.key is None:
                raise Bad(node.name, "null-key")
    keys: list[bytes] = []
    for row in rows:
        with policies.at(row):
            try:
                keys.append(encode(row.key))
            except Exception:
                raise Bad(node.name, "key") from None
    return keys


def call(node: Node, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception:
        raise Bad(node.name, "function") from None


def _listed(function: Callable[..., Iterable[Any]]) -> Callable[..., list[Any]]:
    return lambda *arguments: list(function(*arguments))


def _records(function: Callable[..., Any]) -> Callable[..., Rows]:
    return lambda *arguments: list(function(*arguments) or ())


def _added(operator: aggregate.Aggregate, before: tuple[int, Any] | None, value: Any) -> Any:
    if before is not None:
        result = operator.add(before[1], value)
    else:
        result = value if operator.start is None else operator.add(operator.start(), value)
    if result is value and type(value) not in (int, str, float, bool, bytes, NoneType):
        return operator.value.decode(operator.value.encode(value))  # it is the store's from now on
    return result


def _kept(node: Step, spec: StoreSpec[Any, Any], pair: tuple[int, Any] | None) -> bytes | None:
    try:
        return None if pair is None else spec.value.encode(pair)
    except Exception:
        raise Bad(node.name, "state") from None


def _now(node: Step, operator: aggregate.TableOperator, pair: tuple[int, Any] | None) -> Any:
    """The value as a table that emits every change emits it."""
    if pair is None or operator.emit != "change":
        return None
    if isinstance(operator, aggregate.Aggregate):
        data = call(node, operator.value.encode, pair[1])
        return operator.value.decode(data)
    return pair[1]


def _pair(row: Record[Any, Any], pair: tuple[Any, Any]) -> Record[Any, Any]:
    return row._replace(key=pair[0], value=pair[1])


def _size(raw: Raw) -> int:
    named = sum(len(name) + len(data or b"") + 10 for name, data in raw.headers)
    return len(raw.key or b"") + len(raw.value or b"") + named + 100
