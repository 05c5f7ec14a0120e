"""MemoryHost: carries out a core's commands in memory, as the process of one slot would.

What it has not fetched yet, and what it was asked for, its owner hands to the core; a test can so
say when.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from processor.errors import KprocError
from processor.operators.base import NO_TIME
from processor.records import Offset, TopicPartition
from processor.runtime.commands import (
    Aborted,
    Committed,
    EndsSeen,
    LookAtEnds,
    LookAtOthers,
    OthersSeen,
    Persist,
    Position,
    Produce,
    TaskOpened,
)
from processor.serdes import SchemasMissing
from processor.state.shared import ReadOnlyStore, SharedStore
from processor.state.store import MemoryStore
from processor.testing.memory import MemoryKafka, MemoryProducer
from processor.topology.plan import Layout, StoreId, TaskId

BEGINNING = Position(Offset(0), NO_TIME)


@dataclass
class MemoryDisk:
    """What outlives a process beside Kafka.

    Args:
        tables: The global tables by their topics.
    """

    tables: Mapping[str, SharedStore]
    stores: defaultdict[StoreId, MemoryStore] = field(
        default_factory=lambda: defaultdict[StoreId, MemoryStore](MemoryStore)
    )


@dataclass
class MemoryHost:
    """The process of one slot.

    Args:
        layout: The plan and the partition counts.
        own: The slot's partitions.
        kafka: Where it reads and writes.
        producer: By which it writes.
        disk: Its stores and the global tables.
        look_up: Finds schemas.
    """

    layout: Layout
    own: frozenset[TopicPartition]
    kafka: MemoryKafka
    producer: MemoryProducer
    disk: MemoryDisk
    look_up: Callable[[SchemasMissing], None]
    fetched: dict[TopicPartition, int] = field(default_factory=dict[TopicPartition, int])
    """Where it reads on in the partitions that are fetched."""
    answers: list[EndsSeen | OthersSeen] = field(default_factory=list[EndsSeen | OthersSeen])
    """What is to be reported of what it was asked for."""

    def open_task(self, task: TaskId) -> TaskOpened | None:
        """Opens the task's stores, which need no restore, at what is committed."""
        part = self.layout.plan.subtopologies[task.subtopology]
        ids = {spec.name: StoreId(spec.name, task.partition) for spec in part.stores}
        stores = {name: self.disk.stores[store] for name, store in ids.items()}
        return TaskOpened(task, stores, self.start_of(task), shared=self.shared)

    def start_of(self, task: TaskId) -> Mapping[TopicPartition, Position]:
        """Where a task's partitions begin."""
        sources = (source for source in self.own if self.layout.task_of(source) == task)
        return {source: self.kafka.positions.get(source, BEGINNING) for source in sources}

    @property
    def shared(self) -> Mapping[str, ReadOnlyStore[object, object]]:
        """The global tables by their names."""
        tables = self.layout.plan.global_tables
        return {spec.name: ReadOnlyStore(spec, self.disk.tables[topic]) for topic, spec in tables}

    def close_task(self, task: TaskId) -> None:
        """Nothing is held open."""

    def fetch(self, offsets: Mapping[TopicPartition, Offset]) -> None:
        """Reads on from there."""
        self.fetched |= offsets

    def pause(self, sources: frozenset[TopicPartition]) -> None:
        """The owner says what is read; no more than it wants can wait."""

    def begin(self) -> None:
        """Begins a transaction."""
        self.producer.begin()

    def produce(self, command: Produce) -> None:
        """Writes records."""
        self.producer.produce(command)

    def send_offsets(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Makes positions part of the transaction."""
        self.producer.send_offsets(positions)

    def commit(self) -> Committed:
        """Commits."""
        return self.producer.commit()

    def abort(self) -> Aborted:
        """Aborts."""
        return self.producer.abort()

    def persist(self, command: Persist) -> None:
        """Writes committed changes to a store."""
        self.disk.stores[command.store].write(command.changes, command.position)

    def purge(self, offsets: Mapping[TopicPartition, Offset]) -> None:
        """Logs in memory keep what was read: tests look at it."""

    def look_at_ends(self, command: LookAtEnds) -> None:
        """Notes the ends, as they are now."""
        ends = {each: Offset(self.end_of(each)) for each in command.sources}
        self.answers.append(EndsSeen(ends, command.asked_at))

    def look_at_others(self, command: LookAtOthers) -> None:
        """Notes how far all slots are now."""
        ends = {each: Offset(self.end_of(each)) for each in command.sources}
        known = {each: at for each, at in self.kafka.positions.items() if each in command.sources}
        self.answers.append(OthersSeen(known, ends))

    def end_of(self, source: TopicPartition) -> int:
        """The offset after the last record that may be read."""
        return self.kafka.logs[source].end

    def finish(self, error: KprocError | None) -> None:
        """Ends the run with what went wrong, if anything."""
        if error is not None:
            raise error
