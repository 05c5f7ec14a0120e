"""TopologyDriver: a topology at work without Kafka.

The same core as in production, as one slot that has all partitions; topics and committed state are
in memory, and time stands still until the test lets it go on.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

from processor.durations import Duration, milliseconds
from processor.errors import UsageError
from processor.operators.aggregates.by_key import STAMPED
from processor.operators.base import NO_TIME
from processor.records import (
    Headers,
    Offset,
    Partition,
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
    EndsSeen,
    Event,
    Fetch,
    Fetched,
    Finish,
    LookAtEnds,
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
from processor.runtime.worker import Worker
from processor.serdes import Serde, key_serde_for, serde_for
from processor.serdes.memory_registry import MemoryRegistry
from processor.state.keyvalue import KeyValueStore, StoreSpec
from processor.state.overlay import Overlay
from processor.state.shared import ReadOnlyStore, SharedStore
from processor.state.store import MemoryStore
from processor.testing.memory import MemoryKafka
from processor.testing.options import checked_start, partition_counts, worker_options
from processor.topology.graph import Policy, Sink, Source
from processor.topology.plan import Layout, StoreId, TaskId, lay_out, plan
from processor.topology.topology import Topology

R = TypeVar("R")
V = TypeVar("V")

_CHECKPOINT_INTERVAL, _IDLE_TIMEOUT = 1_000_000, 1


class TopologyDriver:
    """Runs a topology record by record, or in batches as large as a test wants.

    Each call of `pipe` and `advance` works through everything that follows from it and then makes
    a checkpoint, so that outputs and stores can be looked at; with `auto_checkpoint=False` only
    `checkpoint()` does, and what is read before is what a `read_uncommitted` consumer would see.

    Args:
        topology: The topology.
        partitions: Of every input topic, or by topic.
        on_bad_record: As the setting of that name; by default as in the topology's settings, of
            which `max_record_bytes` counts as well. Files and the environment do not.
        auto_checkpoint: Whether to make a checkpoint after each call.
        start: The time on the wall clock, milliseconds.

    Raises:
        TopologyError: The topology is wrong.
        TopicMismatch: The partition counts do not fit it.
        SettingsError: The topology has a setting that is unknown or malformed.
        UsageError: `partitions` lacks a topic, or an argument is none that is possible.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        partitions: int | Mapping[str, int] = 1,
        on_bad_record: Policy | None = None,
        auto_checkpoint: bool = True,
        start: int = 0,
    ) -> None:
        made = plan(topology)
        self._layout: Layout = lay_out(made, partition_counts(made, partitions))
        self._options = worker_options(
            topology,
            on_bad_record,
            checkpoint_interval=_CHECKPOINT_INTERVAL,
            idle_timeout=_IDLE_TIMEOUT,
        )
        self._auto_checkpoint = auto_checkpoint
        self._kafka = MemoryKafka(
            self._layout.partitions,
            {topic: SharedStore(MemoryStore()) for topic in self._layout.plan.tables},
        )
        self.registry = MemoryRegistry()
        """What stands for the schema registry: it takes every schema."""
        self._now = Timestamp(checked_start(start))
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

    def advance(self, duration: Duration) -> None:
        """Lets the wall clock go on, by such as "10s" or by seconds."""
        self._now = Timestamp(self._now + milliseconds(duration, "advance"))
        self._handle(Tick(self._now, self._elapsed))
        self._settle()

    def idle(self) -> None:
        """Lets no input come for `idle_timeout`: what is held back, such as windows, is emitted."""
        self._deliver_all()
        for source in sorted(self._own):
            self._handle(ReachedEnd(source, self._fetched[source]))
        self._handle(Tick(self._now, self._elapsed))
        self._elapsed += _IDLE_TIMEOUT
        self._handle(Tick(self._now, self._elapsed))
        self._settle()

    def checkpoint(self) -> None:
        """Commits everything so far, and what follows from it."""
        self._deliver_all()
        while self._commit() or self._seen:
            self._deliver_all()

    def restart(self) -> None:
        """Goes on as after a crash: from the last checkpoint, with nothing that came after it.

        What was written since then is gone, whether it was read or not; input stays, and is worked
        on again with the next call.
        """
        self._kafka.abort()
        layout = self._layout
        self._own = frozenset(
            TopicPartition(topic, Partition(number))
            for topic, count in layout.partitions.items()
            for number in range(count)
        )
        self._worker = Worker(layout, self._own, self._options)
        self._elapsed = 0
        self._fetched: dict[TopicPartition, Offset] = {}
        self._seen: list[EndsSeen] = []
        self._pending: dict[TopicPartition, Position] = {}
        self._written: dict[StoreId, Offset] = {}
        self._execute(self._worker.start())
        self._handle(Assigned(self._own))
        self._handle(Tick(self._now, self._elapsed))

    @overload
    def read(self, topic: str, *, key: Any = None, value: None = None) -> list[tuple[Any, Any]]: ...
    @overload
    def read(
        self, topic: str, *, key: Any = None, value: type[V] | Serde[V]
    ) -> list[tuple[Any, V]]: ...
    def read(self, topic: str, *, key: Any = None, value: Any = None) -> list[tuple[Any, Any]]:
        """Keys and values written to a topic since the last call.

        Args:
            topic: Any that the topology writes.
            key: Type or serde to read keys with; by default the one that they were written with:
                what was written as JSON without a type is read as JSON. Where steps write the topic
                with different ones, all keys are bytes.
            value: The same for values: `read("big-orders", value=BigOrder)`.

        Raises:
            UsageError: Nothing writes the topic.
        """
        return [(each.key, each.value) for each in self.read_records(topic, key=key, value=value)]

    @overload
    def read_records(
        self, topic: str, *, key: Any = None, value: None = None
    ) -> list[Record[Any, Any]]: ...
    @overload
    def read_records(
        self, topic: str, *, key: Any = None, value: type[V] | Serde[V]
    ) -> list[Record[Any, V]]: ...
    def read_records(
        self, topic: str, *, key: Any = None, value: Any = None
    ) -> list[Record[Any, Any]]:
        """As `read`, with timestamps and headers."""
        keys, values = self._serdes(topic)
        if key is not None:
            keys = key_serde_for(key, what=f"the key of topic {topic}")
        if value is not None:
            values = serde_for(value, what=f"the value of topic {topic}")
        return [
            record._replace(
                key=self._known(_decoded, keys, record.key),
                value=self._known(_decoded, values, record.value),
            )
            for record in self._kafka.fresh(topic)
        ]

    def dead_letters(self) -> list[Record[bytes | None, bytes | None]]:
        """All dead letters so far, however often they are asked for.

        Returns:
            The records as they were read, in bytes, with headers that say why they are there.
        """
        return list(self._kafka.everything(self._layout.plan.dead_letters))

    def store(self, name: str) -> dict[Any, Any]:
        """Everything committed in a store, of all partitions; of a table the values alone."""
        for topic, table in self._layout.plan.global_tables:
            if table.name == name:
                return dict(ReadOnlyStore(table, self._kafka.tables[topic]).items())
        specs = {
            spec.name: spec for part in self._layout.plan.subtopologies for spec in part.stores
        }
        if (spec := specs.get(name)) is None:
            known = [*specs, *(table.name for _, table in self._layout.plan.global_tables)]
            raise UsageError(
                f"the topology has no store {name!r}; "
                + (f"it has {', '.join(sorted(known))}" if known else "it has none")
            )
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
        while True:
            seen, self._seen = self._seen, []
            for each in seen:
                self._handle(each)
            sources = sorted(source for source in self._own if self._unread(source))
            for source in sources:
                self._deliver(source)
            if not sources:
                return

    def _commit(self) -> bool:
        before = self._worker.checkpoints
        self._handle(Tick(self._now, self._elapsed + _CHECKPOINT_INTERVAL))
        if self._worker.checkpoints > before:
            self._elapsed += _CHECKPOINT_INTERVAL
            return True
        self._handle(Tick(self._now, self._elapsed))  # or what is new would be committed at once
        return False

    def _unread(self, source: TopicPartition) -> bool:
        return len(self._kafka.logs[source]) > self._fetched[source]

    def _deliver(self, source: TopicPartition) -> None:
        batch = self._kafka.batch(source, self._fetched[source])
        self._fetched[source] = Offset(batch.offsets[-1] + 1)
        self._handle(Fetched(source, batch))

    def _handle(self, event: Event) -> None:
        self._execute(self._worker.handle(event))

    def _execute(self, commands: list[Command]) -> None:
        for command in commands:
            self._carry_out(command)

    def _carry_out(self, command: Command) -> None:  # noqa: C901 - a table
        match command:
            case OpenTask(task):
                self._open(task)
            case Produce():
                self._written |= self._kafka.produce(command)
            case SendOffsets(positions):
                self._pending = dict(positions)
            case Fetch(offsets):
                self._fetched |= offsets
            case Commit():
                self._kafka.commit(self._pending)
                written, self._written = self._written, {}
                self._handle(Committed(written))
            case Persist(store, changes, position):
                self._kafka.stores[store].write(changes, position)
            case Abort():
                self._kafka.abort()
                self._handle(Aborted())
            case LookUp(missing):
                self.registry.answer(missing)
            case LookAtEnds(sources, asked_at):
                ends = {each: Offset(len(self._kafka.logs[each])) for each in sources}
                self._seen.append(EndsSeen(ends, asked_at))
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
        self._handle(TaskOpened(task, stores, start, shared=shared))

    def _known(self, function: Callable[[Any, Any], R], serde: Any, value: Any) -> R:
        """What the function gives, with the schemas known that it asks for."""
        return self.registry.resolve(lambda: function(serde, value))

    def _write(self, topic: str, record: Record[bytes | None, bytes | None]) -> None:
        """Writes a record of the test's; global tables have it at once."""
        if (table := self._kafka.tables.get(topic)) is None:
            self._kafka.append(topic, None, record)
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
        plan = self._layout.plan
        if topic == plan.dead_letters or topic in plan.internal:
            return None, None
        nodes = [node for part in plan.subtopologies for node in part.nodes]
        sinks = [node for node in nodes if isinstance(node, Sink)]
        fixed = [node for node in sinks if node.topic == topic]
        chosen = [node for node in sinks if callable(node.topic)]
        found = fixed or chosen
        if not found:
            written = ", ".join(plan.outputs) or "none"
            raise UsageError(f"the topology does not write {topic!r}; it writes {written}")
        return _common([node.key for node in found]), _common([node.value for node in found])


_BEGINNING = Position(Offset(0), NO_TIME)


def _common(serdes: list[Serde[Any]]) -> Serde[Any] | None:
    return serdes[0] if len({serde.name for serde in serdes}) == 1 else None


def _encoded(serde: Serde[Any], value: Any) -> bytes | None:
    return None if value is None else serde.encode(value)


def _decoded(serde: Serde[Any] | None, data: bytes | None) -> Any:
    return data if data is None or serde is None else serde.decode(data)
