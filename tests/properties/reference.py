# ruff: noqa: BLE001 - whatever a user's function raises makes its record bad
"""The reference interpreter: what a topology means, one record at a time.

Slow and plain on purpose. State is dicts, a record that fails is undone by throwing a copy away,
and going back to the last checkpoint is going back to a copy made then. Of the package it uses the
graph and the serdes, and nothing that runs batches, keeps overlays or commits.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, NamedTuple

from processor.operators import aggregate, stateless
from processor.operators.deduplicate import Deduplicate
from processor.operators.process import Process
from processor.records import Offset, Partition, Record, Timestamp, TopicPartition
from processor.serdes import auto
from processor.state.keyvalue import StoreSpec
from processor.topology.graph import Edge, Node, Sink, Source, Step
from processor.topology.plan import Layout, StoreId, Subtopology, TaskId

Raw = Record[bytes | None, bytes | None]
Rows = list[Record[Any, Any]]
Punctuation = tuple[str, int, int]  # step, number of the punctuator, time
Partitioner = Callable[[bytes | None, int], int]


class Letter(NamedTuple):
    """A dead letter: the record, where it came from, what failed and why."""

    record: Raw
    origin: TopicPartition
    offset: int
    step: str
    reason: str


class Bad(Exception):
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
    changed: dict[str, dict[bytes, None]] = field(default_factory=dict)


@dataclass
class World:
    """Everything that going back to a checkpoint takes back."""

    tasks: dict[TaskId, TaskState]
    offsets: Counter[TopicPartition] = field(default_factory=Counter)
    written: dict[TopicPartition, list[Raw]] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    bad: Counter[tuple[str, str]] = field(default_factory=Counter)


class Reference:
    """A topology at work, by the book.

    Args:
        layout: The topology's.
        inputs: What is in the input topics.
        partitioner: The partition that a key belongs to, of so many.
        max_record_bytes: Larger outputs make their record bad.
        uncommitted: Whether internal topics are read before they are committed.
    """

    def __init__(
        self,
        layout: Layout,
        inputs: dict[TopicPartition, list[Raw]],
        partitioner: Partitioner,
        max_record_bytes: int = 1_000_000,
        *,
        uncommitted: bool = False,
    ) -> None:
        self._layout = layout
        self._inputs = inputs
        self._partitioner = partitioner
        self._limit = max_record_bytes
        self._uncommitted = uncommitted
        self._sources = {
            topic: (part, source)
            for part in layout.plan.subtopologies
            for source in part.sources
            for topic in source.topics
        }
        parts = layout.plan.subtopologies
        tasks = {task: _new_task(parts[task.subtopology]) for task in sorted(layout.tasks)}
        self.world = World(tasks)
        self._committed = deepcopy(self.world)
        self._clock = -1
        self._now = -1

    @property
    def sources(self) -> list[TopicPartition]:
        """All partitions that are read, in order."""
        return sorted(
            TopicPartition(topic, Partition(number))
            for topic in self._sources
            for number in range(self._layout.partitions[topic])
        )

    def unread(self, source: TopicPartition) -> int:
        """How many records that can be read are not processed yet."""
        return len(self._log(source)) - self.world.offsets[source]

    def deliver(self, source: TopicPartition, count: int) -> None:
        """Works on the next records of a partition."""
        log = self._log(source)
        for _ in range(min(count, self.unread(source))):
            offset = self.world.offsets[source]
            self._record(source, offset, log[offset])
            self.world.offsets[source] += 1

    def tick(self, clock: int) -> None:
        """The clock on the wall is `clock` now."""
        since, self._clock = self._clock, clock
        self._now = clock
        for task in self.world.tasks:
            for node in self._nodes(task):
                if isinstance(node, Step) and isinstance(node.operator, Process):
                    rows = self._wall_punctuations(task, node, since)
                    self._made(task, node, rows)

    def checkpoint(self) -> None:
        """Tables tell of their changes, then everything counts."""
        for task in self.world.tasks:
            for node in self._nodes(task):
                if _tells_at_checkpoints(node):
                    rows = self._changes(self.world.tasks[task], node)
                    self._made(task, node, rows)
        for state in self.world.tasks.values():
            state.changed = {name: {} for name in state.changed}
        self._committed = deepcopy(self.world)

    def go_back(self, *, crash: bool = False) -> None:
        """Takes back everything since the last checkpoint."""
        self.world = deepcopy(self._committed)
        if crash:
            self._clock = self._now = -1

    def stores(self) -> dict[StoreId, dict[bytes, bytes]]:
        """The committed contents of all stores."""
        return {
            StoreId(name, task.partition): store
            for task, state in self._committed.tasks.items()
            for name, store in state.stores.items()
        }

    def outputs(self) -> dict[TopicPartition, list[Raw]]:
        """The committed outputs."""
        return self._committed.written

    def letters(self) -> list[Letter]:
        """The committed dead letters."""
        return self._committed.letters

    def _log(self, source: TopicPartition) -> list[Raw]:
        if source in self._inputs:
            return self._inputs[source]
        world = self.world if self._uncommitted else self._committed
        return world.written.get(source, [])

    def _nodes(self, task: TaskId) -> tuple[Node, ...]:
        return self._layout.plan.subtopologies[task.subtopology].nodes

    def _trial(self, task: TaskId, skip: set[Punctuation], *, advance: bool) -> "_Trial":
        state = deepcopy(self.world.tasks[task])
        return _Trial(self, self._nodes(task), state, skip, advance=advance)

    # One record

    def _record(self, source: TopicPartition, offset: int, raw: Raw) -> None:
        task = self._layout.task_of(source)
        _, node = self._sources[source.topic]
        skip: set[Punctuation] = set()
        while True:
            trial = self._trial(task, skip, advance=True)
            try:
                row = _decode(node, raw)
                trial.time = max(trial.state.stream_time, raw.timestamp)
                outputs = trial.run(Edge(node), [row])
            except PunctuationFailed as failed:
                skip.add(failed.which)
            except Bad as bad:
                if not trial.fired:
                    self._letter(bad, raw, source, offset)
                    return
                skip |= trial.fired
            else:
                trial.state.stream_time = trial.time
                self._accept(task, trial, outputs)
                return

    def _accept(self, task: TaskId, trial: "_Trial", outputs: list[tuple[str, Raw]]) -> None:
        self.world.tasks[task] = trial.state
        self.world.bad.update((step, "punctuation") for step, _, _ in trial.skip)
        for topic, record in outputs:
            number = self._partitioner(record.key, self._layout.partitions.get(topic, 1))
            log = TopicPartition(topic, Partition(number))
            self.world.written.setdefault(log, []).append(record)

    def _letter(self, bad: Bad, raw: Raw, origin: TopicPartition, offset: int) -> None:
        self.world.bad[bad.step, bad.reason] += 1
        raw = raw._replace(timestamp=Timestamp(max(0, raw.timestamp)))
        self.world.letters.append(Letter(raw, origin, offset, bad.step, bad.reason))

    def _made(self, task: TaskId, node: Node, rows: Rows) -> None:
        """Rows that no record stands for: each on its own way behind the node."""
        for number, row in enumerate(rows):
            trial = self._trial(task, set(), advance=False)
            try:
                outputs = trial.run(Edge(node), [deepcopy(row)])
            except Bad as bad:
                shown = Record(_shown(row.key), _shown(row.value), row.timestamp, row.headers)
                self._letter(bad, shown, TopicPartition(node.name, task.partition), number)
            else:
                self._accept(task, trial, outputs)

    def _wall_punctuations(self, task: TaskId, node: Step, since: int) -> Rows:
        skip: set[Punctuation] = set()
        while True:
            trial = self._trial(task, skip, advance=False)
            try:
                rows = trial.punctuations(node, "wall", since, self._clock)
            except PunctuationFailed as failed:
                skip.add(failed.which)
            else:
                self._accept(task, trial, [])
                return rows

    def _changes(self, state: TaskState, node: Step) -> Rows:
        (spec,) = node.stores
        rows: Rows = []
        for key in state.changed[spec.name]:
            data = state.stores[spec.name].get(key)
            time, value = (state.stream_time, None) if data is None else spec.value.decode(data)
            rows.append(Record(spec.key.decode(key), value, Timestamp(time)))
        return rows


class _Trial:
    """One record's way through a copy of the task's state."""

    def __init__(
        self,
        reference: Reference,
        nodes: tuple[Node, ...],
        state: TaskState,
        skip: set[Punctuation],
        *,
        advance: bool,
    ) -> None:
        self._nodes = nodes
        self.state = state
        self.skip = skip
        self.fired: set[Punctuation] = set()
        self.time = state.stream_time
        self._advance = advance
        self._reference = reference

    def run(self, entry: Edge, rows: Rows) -> list[tuple[str, Raw]]:
        flows = {entry: rows}
        outputs: list[tuple[str, Raw]] = []
        for node in self._nodes:
            inputs = [row for parent in node.parents for row in flows.get(parent, ())]
            if isinstance(node, Sink):
                outputs += self._sink(node, inputs)
            elif isinstance(node, Step):
                for port, made in self._step(node, inputs).items():
                    if made:
                        flows[Edge(node, port)] = made
        return outputs

    def _sink(self, node: Sink, rows: Rows) -> list[tuple[str, Raw]]:
        choose = (lambda _: node.topic) if isinstance(node.topic, str) else node.topic
        topics = [_call(node, choose, row) for row in rows]
        raws: list[Raw] = []
        for row in rows:
            try:
                key = None if row.key is None else node.key.encode(row.key)
                value = None if row.value is None else node.value.encode(row.value)
            except Exception:
                raise Bad(node.name, "serialize") from None
            raws.append(Record(key, value, row.timestamp, row.headers))
        if any(_size(raw) > self._reference._limit for raw in raws):
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
                        if bool(_call(node, operator.predicate, r.value)) == operator.keep
                    ]
                }
            case stateless.MapValues():
                return {
                    0: [r._replace(value=_call(node, operator.function, r.value)) for r in rows]
                }
            case stateless.KeyBy():
                return {0: [r._replace(key=_call(node, operator.function, r.value)) for r in rows]}
            case stateless.Map():
                return {0: [_pair(r, _call(node, operator.function, r.key, r.value)) for r in rows]}
            case stateless.FlatMap():
                lists = [_call(node, _listed(operator.function), r.key, r.value) for r in rows]
                return {
                    0: [
                        _pair(r, pair) for r, made in zip(rows, lists, strict=True) for pair in made
                    ]
                }
            case stateless.FlatMapValues():
                lists = [_call(node, _listed(operator.function), r.value) for r in rows]
                return {
                    0: [
                        r._replace(value=v)
                        for r, made in zip(rows, lists, strict=True)
                        for v in made
                    ]
                }
            case stateless.Peek():
                for row in rows:
                    _call(node, operator.function, row.key, row.value)
                return {0: rows}
            case stateless.Split():
                return self._split(node, operator, rows)
            case stateless.Merge():
                return {0: rows}
            case Process():
                return {0: self._process(node, operator, rows)}
            case Deduplicate():
                return {0: self._deduplicate(node, operator, rows)}
            case aggregate.TableOperator():
                return {0: self._table(node, operator, rows)}
            case _:
                raise TypeError(f"the reference does not know {operator!r}")

    def _split(self, node: Step, operator: stateless.Split, rows: Rows) -> dict[int, Rows]:
        made: dict[int, Rows] = {}
        for row in rows:
            port = 0
            while port < len(operator.predicates):
                if _call(node, operator.predicates[port], row.value):
                    break
                port += 1
            made.setdefault(port, []).append(row)
        return made

    # Steps with state

    def _table(self, node: Step, operator: aggregate.TableOperator, rows: Rows) -> Rows:
        (spec,) = node.stores
        store = self.state.stores[spec.name]
        keys = _keys(node, spec.key.encode, rows)
        held: dict[bytes, tuple[int, Any] | None] = {}
        told: Rows = []
        for key, row in zip(keys, rows, strict=True):
            if key not in held:
                held[key] = spec.value.decode(store[key]) if key in store else None
            held[key] = self._fold(node, operator, held[key], row)
            told.append(row._replace(value=_now(node, operator, held[key])))
        for key, pair in held.items():
            self.state.changed[spec.name][key] = None
            if pair is None:
                store.pop(key, None)
                continue
            try:
                store[key] = spec.value.encode(pair)
            except Exception:
                raise Bad(node.name, "state") from None
        return told if operator.emit == "change" else []

    def _fold(
        self,
        node: Step,
        operator: aggregate.TableOperator,
        before: tuple[int, Any] | None,
        row: Record[Any, Any],
    ) -> tuple[int, Any] | None:
        latest = row.timestamp if before is None else max(before[0], row.timestamp)
        match operator:
            case aggregate.Count():
                return latest, 1 if before is None else before[1] + 1
            case aggregate.Latest():
                return None if row.value is None else (row.timestamp, row.value)
            case aggregate.Aggregate():
                result = _call(node, _added, operator, before, row.value)
                return None if result is None else (latest, result)
            case _:
                raise TypeError(f"the reference does not know {operator!r}")

    def _deduplicate(self, node: Step, operator: Deduplicate, rows: Rows) -> Rows:
        (spec,) = node.stores
        store = self.state.stores[spec.name]
        keys = _keys(node, operator.key.encode, rows)
        if operator.identity is not None:
            identities = [_call(node, operator.identity, row.value) for row in rows]
            keys = [
                len(key).to_bytes(4, "big") + key + identity
                for key, identity in zip(keys, identities, strict=True)
            ]
        passing: Rows = []
        for key, row in zip(keys, rows, strict=True):
            seen = spec.value.decode(store[key]) if key in store else None
            if seen is None or self.time - seen >= operator.within:
                passing.append(row)
                self._put(spec.name, key, spec.value.encode(self.time))
        if self.time // operator.within > self.state.stream_time // operator.within:
            for key, data in list(store.items()):
                if spec.value.decode(data) <= self.time - operator.within:
                    self._put(spec.name, key, None)
        return passing

    def _process(self, node: Step, operator: Process, rows: Rows) -> Rows:
        made: Rows = []
        if self._advance:
            made = self.punctuations(node, "stream", self.state.stream_time, self.time)
        view = _View(self, self.time)
        for row in rows:
            made += _call(node, _records(operator.function), row, view)
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
                view = _View(self, self.state.stream_time)
                made += _records(punctuator.function)(Timestamp(time), view)
            except Exception:
                raise PunctuationFailed(node.name, number, time) from None
        return made

    def _put(self, store: str, key: bytes, data: bytes | None) -> None:
        self.state.changed[store][key] = None
        if data is None:
            self.state.stores[store].pop(key, None)
        else:
            self.state.stores[store][key] = data


class _View:
    """What a function given to `process` sees."""

    def __init__(self, trial: _Trial, stream_time: int) -> None:
        self._trial = trial
        self.stream_time = Timestamp(stream_time)
        self.now = Timestamp(trial._reference._now)

    def store(self, spec: StoreSpec[Any, Any]) -> "_Store":
        return _Store(self._trial, spec)


class _Store:
    def __init__(self, trial: _Trial, spec: StoreSpec[Any, Any]) -> None:
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
        self._trial._put(self._spec.name, self._spec.key.encode(key), data)

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


def _new_task(part: Subtopology) -> TaskState:
    names = [spec.name for spec in part.stores]
    return TaskState(-1, {name: {} for name in names}, {name: {} for name in names})


def _tells_at_checkpoints(node: Node) -> bool:
    return (
        isinstance(node, Step)
        and isinstance(node.operator, aggregate.TableOperator)
        and node.operator.emit == "checkpoint"
    )


def _decode(node: Source, raw: Raw) -> Record[Any, Any]:
    if raw.timestamp < 0:
        raise Bad(node.name, "timestamp")
    try:
        key = None if raw.key is None else node.key.decode(raw.key)
        value = None if raw.value is None else node.value.decode(raw.value)
    except Exception:
        raise Bad(node.name, "decode") from None
    return Record(key, value, raw.timestamp, raw.headers)


def _keys(node: Step, encode: Callable[[Any], bytes], rows: Rows) -> list[bytes]:
    if any(row.key is None for row in rows):
        raise Bad(node.name, "null-key")
    try:
        return [encode(row.key) for row in rows]
    except Exception:
        raise Bad(node.name, "key") from None


def _call(node: Node, function: Callable[..., Any], *arguments: Any) -> Any:
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


def _now(node: Step, operator: aggregate.TableOperator, pair: tuple[int, Any] | None) -> Any:
    """The value as a table that tells every change tells it."""
    if pair is None or operator.emit != "change":
        return None
    if isinstance(operator, aggregate.Aggregate):
        data = _call(node, operator.value.encode, pair[1])
        return operator.value.decode(data)
    return pair[1]


def _pair(row: Record[Any, Any], pair: tuple[Any, Any]) -> Record[Any, Any]:
    return row._replace(key=pair[0], value=pair[1])


def _size(raw: Raw) -> int:
    named = sum(len(name) + len(data or b"") + 10 for name, data in raw.headers)
    return len(raw.key or b"") + len(raw.value or b"") + named + 100


def _shown(value: Any) -> bytes | None:
    try:
        return None if value is None else auto.encode(value)
    except (TypeError, ValueError):
        return repr(value).encode(errors="backslashreplace")


__all__ = ["Letter", "Offset", "Raw", "Reference"]
