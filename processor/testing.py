"""TopologyDriver: a topology at work without Kafka, for tests.

The same core as in production, as one slot that has all partitions; topics are lists, committed
state is in memory, and time stands still until the test lets it go on.

    def test_big_orders() -> None:
        driver = TopologyDriver(topology)
        driver.pipe("orders", key="ann", value=Order(user="ann", amount=700))
        assert driver.read("big-orders") == [("ann", {"user": "ann", "big": True})]
        assert driver.store("orders-count") == {"ann": 1}
"""

import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from processor.durations import milliseconds
from processor.errors import UsageError
from processor.operators.aggregate import STAMPED
from processor.operators.base import NO_TIME
from processor.records import (
    Batch,
    Headers,
    Offset,
    Partition,
    RawBatch,
    Record,
    Timestamp,
    TopicPartition,
)
from processor.runtime.commands import (
    Abort,
    Aborted,
    Assigned,
    Command,
    Commit,
    Committed,
    Event,
    Fetch,
    Fetched,
    Finish,
    LookUp,
    OpenTask,
    Persist,
    Position,
    Produce,
    ReachedEnd,
    SendOffsets,
    TaskOpened,
    Tick,
)
from processor.runtime.options import WorkerOptions
from processor.runtime.worker import Worker
from processor.serdes import Serde
from processor.serdes.memory_registry import MemoryRegistry
from processor.state.keyvalue import KeyValueStore, StoreSpec
from processor.state.overlay import Overlay
from processor.state.shared import ReadOnlyStore, SharedStore
from processor.state.store import MemoryStore
from processor.topology.graph import Policy, Sink, Source
from processor.topology.plan import Layout, StoreId, TaskId, lay_out, plan
from processor.topology.topology import Topology

R = TypeVar("R")

_CHECKPOINT_INTERVAL, _IDLE_TIMEOUT = 1_000_000, 1


@dataclass(slots=True)
class _Kafka:
    """What would be in Kafka and on disk: it outlives the worker."""

    logs: defaultdict[TopicPartition, list[Record[bytes | None, bytes | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    positions: dict[TopicPartition, Position] = field(
        default_factory=dict[TopicPartition, Position]
    )
    stores: defaultdict[StoreId, MemoryStore] = field(
        default_factory=lambda: defaultdict(MemoryStore)
    )

    tables: dict[str, SharedStore] = field(default_factory=dict[str, SharedStore])
    """The global tables by their topics."""


class TopologyDriver:
    """Runs a topology record by record, or in batches as large as a test wants.

    Each call of `pipe` and `advance` works through everything that follows from it and then makes
    a checkpoint, so that outputs and stores can be looked at; with `auto_checkpoint=False` only
    `checkpoint()` does, and what is read before is what a `read_uncommitted` consumer would see.

    Args:
        topology: The topology.
        partitions: Of every input topic, or by topic.
        on_bad_record: As the setting of that name.
        auto_checkpoint: Whether to make a checkpoint after each call.
        start: The time on the wall clock, milliseconds.

    Raises:
        TopologyError: The topology is wrong.
        TopicMismatch: The partition counts do not fit it.
        UsageError: `partitions` lacks a topic.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        partitions: int | Mapping[str, int] = 1,
        on_bad_record: Policy = "dead-letter",
        auto_checkpoint: bool = True,
        start: int = 0,
    ) -> None:
        made = plan(topology)
        counts = (
            dict.fromkeys(made.inputs, partitions) if isinstance(partitions, int) else partitions
        )
        if missing := set(made.inputs).difference(counts):
            raise UsageError(f"partitions= lacks {', '.join(sorted(missing))}")
        self._layout: Layout = lay_out(made, counts)
        self._options = WorkerOptions(
            checkpoint_interval=_CHECKPOINT_INTERVAL,
            idle_timeout=_IDLE_TIMEOUT,
            on_bad_record=on_bad_record,
        )
        self._auto_checkpoint = auto_checkpoint
        self._kafka = _Kafka(
            tables={topic: SharedStore(MemoryStore()) for topic in self._layout.plan.tables}
        )
        self.registry = MemoryRegistry()
        """What stands for the schema registry: it takes every schema."""
        self._now = Timestamp(start)
        self._elapsed = 0
        self._read: Counter[TopicPartition] = Counter()
        self._uncommitted: defaultdict[TopicPartition, list[int]] = defaultdict(list)
        self.restart()

    @property
    def now(self) -> Timestamp:
        """The time on the wall clock, milliseconds."""
        return self._now

    @property
    def bad_records(self) -> Mapping[tuple[str, str], int]:
        """How many records were bad, by step and reason."""
        return self._worker.bad_records.counts

    def pipe(
        self,
        topic: str,
        *records: Record[Any, Any],
        key: Any = None,
        value: Any = None,
        timestamp: int | None = None,
        headers: Headers = (),
    ) -> None:
        """Writes one record to an input topic (key, value, ...), or several as one batch.

        The timestamp, milliseconds, is by default the time on the wall clock.
        """
        source = self._source(topic)
        if not records:
            time = self._now if timestamp is None else Timestamp(timestamp)
            records = (Record(key, value, time, headers),)
        for record in records:
            data = Record(
                self._known(_encoded, source.key, record.key),
                self._known(_encoded, source.value, record.value),
                record.timestamp,
                record.headers,
            )
            self._write(topic, data)
        self._settle()

    def pipe_bytes(
        self,
        topic: str,
        *,
        key: bytes | None = None,
        value: bytes | None,
        timestamp: int | None = None,
    ) -> None:
        """Writes one record as it is, such as one that can't be decoded."""
        self._source(topic)
        time = self._now if timestamp is None else Timestamp(timestamp)
        self._write(topic, Record(key, value, time))
        self._settle()

    def advance(self, duration: str | float) -> None:
        """Lets the wall clock go on, by such as "10s" or by seconds."""
        self._now = Timestamp(self._now + milliseconds(duration, "advance"))
        self._tell(Tick(self._now, self._elapsed))
        self._settle()

    def idle(self) -> None:
        """Lets no input come for `idle_timeout`: what is held back, such as windows, is told."""
        self._deliver_all()
        for source in sorted(self._own):
            self._tell(ReachedEnd(source, self._fetched[source]))
        self._tell(Tick(self._now, self._elapsed))
        self._elapsed += _IDLE_TIMEOUT
        self._tell(Tick(self._now, self._elapsed))
        self._settle()

    def checkpoint(self) -> None:
        """Commits everything so far, and what follows from it."""
        self._deliver_all()
        while self._commit():
            self._deliver_all()

    def restart(self) -> None:
        """Goes on as after a crash: from the last checkpoint, with nothing that came after it.

        What was written since then is gone, whether it was read or not; input stays, and is worked
        on again with the next call.
        """
        self._drop_uncommitted()
        layout = self._layout
        self._own = frozenset(
            TopicPartition(topic, Partition(number))
            for topic, count in layout.partitions.items()
            for number in range(count)
        )
        self._worker = Worker(layout, self._own, self._options)
        self._fetched: dict[TopicPartition, Offset] = {}
        self._pending: dict[TopicPartition, Position] = {}
        self._written: dict[StoreId, Offset] = {}
        self._execute(self._worker.start())
        self._tell(Assigned(self._own))
        self._tell(Tick(self._now, self._elapsed))

    def read(self, topic: str) -> list[tuple[Any, Any]]:
        """Keys and values written to a topic since the last call, decoded as they were encoded."""
        return [(record.key, record.value) for record in self.read_records(topic)]

    def read_records(self, topic: str) -> list[Record[Any, Any]]:
        """As `read`, with timestamps and headers."""
        key, value = self._serdes(topic)
        found: list[Record[Any, Any]] = []
        for log in sorted(log for log in self._kafka.logs if log.topic == topic):
            fresh = self._kafka.logs[log][self._read[log] :]
            self._read[log] += len(fresh)
            found += [
                Record(
                    self._known(_decoded, key, record.key),
                    self._known(_decoded, value, record.value),
                    record.timestamp,
                    record.headers,
                )
                for record in fresh
            ]
        return found

    def dead_letters(self) -> list[Record[bytes | None, bytes | None]]:
        """The dead letters since the last call: as they were read, with headers that say why."""
        return self.read_records(self._layout.plan.dead_letters)

    def store(self, name: str) -> dict[Any, Any]:
        """Everything committed in a store, of all partitions; of a table the values alone."""
        for topic, table in self._layout.plan.global_tables:
            if table.name == name:
                return dict(ReadOnlyStore(table, self._kafka.tables[topic]).items())
        specs = (spec for part in self._layout.plan.subtopologies for spec in part.stores)
        spec = next((spec for spec in specs if spec.name == name), None)
        if spec is None:
            raise UsageError(f"the topology has no store {name!r}")
        stores = [store for known, store in self._kafka.stores.items() if known.name == name]
        views = (KeyValueStore(spec, Overlay(store, 0), 0) for store in stores)
        is_table = spec.value.name.startswith(STAMPED)
        return {
            key: value[1] if is_table else value for view in views for key, value in view.items()
        }

    def _settle(self) -> None:
        if self._auto_checkpoint:
            self.checkpoint()
        else:
            self._deliver_all()

    def _deliver_all(self) -> None:
        """Delivers what there is to read until nothing follows any more."""
        while sources := sorted(source for source in self._own if self._unread(source)):
            for source in sources:
                self._deliver(source)

    def _commit(self) -> bool:
        before = self._worker.checkpoints
        self._elapsed += _CHECKPOINT_INTERVAL
        self._tell(Tick(self._now, self._elapsed))
        return self._worker.checkpoints > before

    def _unread(self, source: TopicPartition) -> bool:
        return len(self._kafka.logs[source]) > self._fetched[source]

    def _deliver(self, source: TopicPartition) -> None:
        first = self._fetched[source]
        records = self._kafka.logs[source][first:]
        self._fetched[source] = Offset(first + len(records))
        headers = [record.headers for record in records]
        batch: RawBatch = Batch(
            [record.key for record in records],
            [record.value for record in records],
            [record.timestamp for record in records],
            [Offset(first + row) for row in range(len(records))],
            headers if any(headers) else None,
        )
        self._tell(Fetched(source, batch))

    def _tell(self, event: Event) -> None:
        self._execute(self._worker.handle(event))

    def _execute(self, commands: list[Command]) -> None:
        for command in commands:
            self._carry_out(command)

    def _carry_out(self, command: Command) -> None:
        match command:
            case OpenTask(task):
                self._open(task)
            case Produce():
                self._produce(command)
            case SendOffsets(positions):
                self._pending = dict(positions)
            case Fetch(offsets):
                self._fetched |= offsets
            case Commit():
                self._kafka.positions |= self._pending
                self._uncommitted.clear()
                written, self._written = self._written, {}
                self._tell(Committed(written))
            case Persist(store, changes, position):
                self._kafka.stores[store].write(changes, position)
            case Abort():
                self._drop_uncommitted()
                self._tell(Aborted())
            case LookUp(missing):
                self.registry.answer(missing)
            case Finish(error) if error is not None:
                raise error
            case _:
                pass

    def _open(self, task: TaskId) -> None:
        part = self._layout.plan.subtopologies[task.subtopology]
        ids = {spec.name: StoreId(spec.name, task.partition) for spec in part.stores}
        stores = {name: self._kafka.stores[store] for name, store in ids.items()}
        sources = (source for source in self._own if self._layout.task_of(source) == task)
        start = {source: self._kafka.positions.get(source, _BEGINNING) for source in sources}
        shared = {
            spec.name: ReadOnlyStore(spec, self._kafka.tables[topic])
            for topic, spec in self._layout.plan.global_tables
        }
        self._tell(TaskOpened(task, stores, start, shared=shared))

    def _produce(self, command: Produce) -> None:
        batch = command.records
        headers = batch.headers or ((),) * len(batch)
        for row in zip(batch.keys, batch.values, batch.timestamps, headers, strict=True):
            log = self._append(command.topic, command.partition, Record(*row))
            self._uncommitted[log].append(len(self._kafka.logs[log]) - 1)
        if command.store is not None:
            log = TopicPartition(command.topic, Partition(command.partition or 0))
            self._written[command.store] = Offset(len(self._kafka.logs[log]) - 1)

    def _drop_uncommitted(self) -> None:
        for log, rows in self._uncommitted.items():
            self._read[log] -= sum(row < self._read[log] for row in rows)
            for row in reversed(rows):
                del self._kafka.logs[log][row]
        self._uncommitted.clear()

    def _append(
        self, topic: str, partition: int | None, record: Record[bytes | None, bytes | None]
    ) -> TopicPartition:
        if partition is None:
            count = self._layout.partitions.get(topic, 1)
            partition = zlib.crc32(record.key or b"") % count
        log = TopicPartition(topic, Partition(partition))
        self._kafka.logs[log].append(record)
        return log

    def _known(self, function: Callable[[Any, Any], R], serde: Any, value: Any) -> R:
        """What the function gives, with the schemas known that it asks for."""
        return self.registry.resolve(lambda: function(serde, value))

    def _write(self, topic: str, record: Record[bytes | None, bytes | None]) -> None:
        """Writes a record of the test's; global tables have it at once."""
        if (table := self._kafka.tables.get(topic)) is None:
            self._append(topic, None, record)
        elif record.key is not None:
            position = Offset(table.position(Partition(0)) + 1)
            table.write(Partition(0), {record.key: record.value}, position)

    def _source(self, topic: str) -> Source | StoreSpec[Any, Any]:
        tables = dict(self._layout.plan.global_tables)
        if topic in tables:
            return tables[topic]
        parts = self._layout.plan.subtopologies
        sources = (source for part in parts for source in part.sources if topic in source.topics)
        found = next(sources, None)
        if found is None:
            inputs = ", ".join((*self._layout.plan.inputs, *tables))
            raise UsageError(f"the topology does not read {topic!r}; it reads {inputs}")
        return found

    def _serdes(self, topic: str) -> tuple[Serde[Any] | None, Serde[Any] | None]:
        """How records of a topic were encoded; None: as bytes, where several ways or none fit."""
        if topic == self._layout.plan.dead_letters:
            return None, None
        nodes = [node for part in self._layout.plan.subtopologies for node in part.nodes]
        sinks = [node for node in nodes if isinstance(node, Sink)]
        fixed = [node for node in sinks if node.topic == topic]
        chosen = [node for node in sinks if callable(node.topic)]
        found = fixed or chosen
        return _common([node.key for node in found]), _common([node.value for node in found])


_BEGINNING = Position(Offset(0), NO_TIME)


def _common(serdes: list[Serde[Any]]) -> Serde[Any] | None:
    return serdes[0] if len({serde.name for serde in serdes}) == 1 else None


def _encoded(serde: Serde[Any], value: Any) -> bytes | None:
    return None if value is None else serde.encode(value)


def _decoded(serde: Serde[Any] | None, data: bytes | None) -> Any:
    return data if data is None or serde is None else serde.decode(data)
