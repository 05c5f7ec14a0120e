"""TopologyDriver: a topology at work without Kafka.

The same core as in production, as one slot that has all partitions; topics and committed state are
in memory, and time stands still until the test lets it go on.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, overload

from processor.durations import Duration, milliseconds
from processor.errors import UsageError
from processor.operators.aggregates.by_key import STAMPED
from processor.records import (
    Headers,
    Offset,
    Partition,
    Policy,
    Record,
    Timestamp,
    TopicPartition,
)
from processor.runtime.commands import Assigned, Command, Event, Fetched, ReachedEnd, Tick
from processor.runtime.host import carry_out
from processor.runtime.worker import Worker
from processor.serdes import SchemasMissing, Serde, key_serde_for, serde_for
from processor.serdes.memory_registry import MemoryRegistry
from processor.state.keyvalue import KeyValueStore, StoreSpec
from processor.state.overlay import Overlay
from processor.state.shared import ReadOnlyStore, SharedStore
from processor.state.store import MemoryStore
from processor.testing.host import MemoryDisk, MemoryHost
from processor.testing.memory import MemoryKafka, MemoryProducer, Raw, batch_of
from processor.testing.options import checked_start, partition_counts, worker_options
from processor.topology.graph import (
    Sink,
    Source,
)
from processor.topology.plan import Layout, lay_out, plan
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
        UsageError: `partitions` lacks a topic, or an argument is impossible.
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
        self._kafka = MemoryKafka(self._layout.partitions, markers=False)
        self._disk = MemoryDisk(
            {topic: SharedStore(MemoryStore()) for topic in self._layout.plan.tables}
        )
        self.registry = MemoryRegistry()
        """What stands for the schema registry: it takes every schema."""
        self._read: Counter[TopicPartition] = Counter()
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

        Example: `driver.pipe("orders", key="a", value=Order(5))`.
        In Kafka Streams: `TestInputTopic#pipeInput`.

        Args:
            topic: An input topic, or that of a global table.
            records: Several, which go through as one batch.
            key: Of the one record.
            value: Of the one record.
            timestamp: Of the one record, milliseconds; by default the time on the wall clock.
            headers: Of the one record: pairs of a str and bytes or None.

        Raises:
            UsageError: The topology does not read the topic.
            BadRecordError: A record is bad, and the policy is to fail.
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
        """Writes one record as it is, such as one that can't be decoded.

        Args:
            topic: An input topic.
            key: The key's bytes.
            value: The value's bytes; None: a null value.
            timestamp: Milliseconds; by default the time on the wall clock.

        Raises:
            UsageError: The topology does not read the topic.
            BadRecordError: The record is bad, and the policy is to fail.
        """
        self._source(topic)
        time = self._now if timestamp is None else Timestamp(timestamp)
        self._write(topic, Record(key, value, time))
        self._settle()

    def advance(self, duration: Duration) -> None:
        """Lets the wall clock go on, by such as "10s" or by seconds.

        Example: `driver.advance("10s")`.
        In Kafka Streams: `TopologyTestDriver#advanceWallClockTime`.

        Args:
            duration: How long: a duration, or seconds.

        Raises:
            UsageError: The duration is malformed.
        """
        self._now = Timestamp(self._now + milliseconds(duration, "advance"))
        self._handle(Tick(self._now, self._elapsed))
        self._settle()

    def idle(self) -> None:
        """Lets no input come for `idle_timeout`: what is held back, such as windows, is emitted."""
        self._deliver_all()
        for source in sorted(self._own):
            self._handle(ReachedEnd(source, Offset(self._host.fetched[source])))
        self._handle(Tick(self._now, self._elapsed))
        self._elapsed += _IDLE_TIMEOUT
        self._handle(Tick(self._now, self._elapsed))
        self._settle()

    def checkpoint(self) -> None:
        """Commits everything so far, and what follows from it."""
        self._deliver_all()
        while self._commit() or self._host.answers:
            self._deliver_all()

    def restart(self) -> None:
        """Goes on as after a crash: from the last checkpoint, with nothing that came after it.

        What was written since then is gone, whether it was read or not; input stays, and is worked
        on again with the next call.
        """
        layout, kafka = self._layout, self._kafka
        self._own = frozenset(
            TopicPartition(topic, Partition(number))
            for topic, count in layout.partitions.items()
            for number in range(count)
        )
        self._worker = Worker(layout, self._own, self._options)
        self._elapsed = 0
        producer = MemoryProducer(kafka, layout.plan.application)
        self._host = MemoryHost(layout, self._own, kafka, producer, self._disk, self._look_up)
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

        In Kafka Streams: `TestOutputTopic#readKeyValuesToList`.

        Args:
            topic: Any that the topology writes.
            key: Type or serde to read keys with; by default the one that they were written with:
                what was written as JSON without a type is read as JSON. Where steps write the topic
                with different ones, all keys are bytes.
            value: The same for values: `read("big-orders", value=BigOrder)`.

        Returns:
            Pairs of key and value, partition by partition.

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
        """As `read`, with timestamps and headers.

        In Kafka Streams: `TestOutputTopic#readRecordsToList`.

        Args:
            topic: As for `read`.
            key: As for `read`.
            value: As for `read`.

        Returns:
            The records, partition by partition.

        Raises:
            UsageError: Nothing writes the topic.
        """
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
            for record in self._unseen(topic)
        ]

    def dead_letters(self) -> list[Record[bytes | None, bytes | None]]:
        """All dead letters so far, however often they are asked for.

        Returns:
            The records as they were read, in bytes, with headers that say why they are there.
        """
        logs = self._kafka.of_topic(self._layout.plan.dead_letters)
        return [record for each in logs for _, record in self._rows(each, 0)]

    def store(self, name: str) -> dict[Any, Any]:
        """Everything committed in a store, of all partitions; of a table the values alone.

        In Kafka Streams: `TopologyTestDriver#getKeyValueStore`.

        Args:
            name: Of the store.

        Returns:
            Keys and values.

        Raises:
            UsageError: The topology has no such store.
        """
        for topic, table in self._layout.plan.global_tables:
            if table.name == name:
                return dict(ReadOnlyStore(table, self._disk.tables[topic]).items())
        specs = {
            spec.name: spec for part in self._layout.plan.subtopologies for spec in part.stores
        }
        if (spec := specs.get(name)) is None:
            known = [*specs, *(table.name for _, table in self._layout.plan.global_tables)]
            raise UsageError(
                f"the topology has no store {name!r}; "
                + (f"it has {', '.join(sorted(known))}" if known else "it has none")
            )
        stores = [store for known, store in self._disk.stores.items() if known.name == name]
        views = (KeyValueStore(spec, Overlay(store, 0), 0) for store in stores)
        is_table = spec.value.name.startswith(STAMPED)
        return {
            key: value[1] if is_table else value for view in views for key, value in view.items()
        }

    def _rows(self, source: TopicPartition, first: int) -> list[tuple[int, Raw]]:
        log = self._kafka.logs[source]
        return log.rows(first, log.end)

    def _unseen(self, topic: str) -> Iterator[Raw]:
        """What was written to a topic since the last call, partition by partition."""
        for source in self._kafka.of_topic(topic):
            for offset, record in self._rows(source, self._read[source]):
                self._read[source] = offset + 1
                yield record

    def _settle(self) -> None:
        if self._auto_checkpoint:
            self.checkpoint()
        else:
            self._deliver_all()

    def _deliver_all(self) -> None:
        """Delivers all that can be read until nothing follows any more."""
        while True:
            seen, self._host.answers = self._host.answers, []
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
        return self._kafka.logs[source].end > self._host.fetched[source]

    def _deliver(self, source: TopicPartition) -> None:
        rows, fetched = self._rows(source, self._host.fetched[source]), self._host.fetched
        fetched[source] = rows[-1][0] + 1
        self._handle(Fetched(source, batch_of(rows)))

    def _handle(self, event: Event) -> None:
        self._execute(self._worker.handle(event))

    def _execute(self, commands: list[Command]) -> None:
        for command in commands:
            event = carry_out(self._host, command)
            if event is not None:
                self._handle(event)

    def _look_up(self, missing: SchemasMissing) -> None:
        self.registry.answer(missing)

    def _known(self, function: Callable[[Any, Any], R], serde: Any, value: Any) -> R:
        """What the function gives, with the schemas known that it asks for."""
        return self.registry.resolve(lambda: function(serde, value))

    def _write(self, topic: str, record: Record[bytes | None, bytes | None]) -> None:
        """Writes a record of the test's; global tables have it at once."""
        if (table := self._disk.tables.get(topic)) is None:
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


def _common(serdes: list[Serde[Any]]) -> Serde[Any] | None:
    return serdes[0] if len({serde.name for serde in serdes}) == 1 else None


def _encoded(serde: Serde[Any], value: Any) -> bytes | None:
    return None if value is None else serde.encode(value)


def _decoded(serde: Serde[Any] | None, data: bytes | None) -> Any:
    return data if data is None or serde is None else serde.decode(data)
