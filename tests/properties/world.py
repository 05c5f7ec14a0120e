"""A tiny Kafka in memory with transactions, a disk that lags behind, and a worker that can crash.

It carries out a worker's commands as a client would. Before or after any of them the process may
crash or the command fail; what is left then is what real Kafka and a real disk would have left.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from processor.errors import KprocError
from processor.options import WorkerOptions
from processor.records import Offset, Partition, Timestamp, TopicPartition
from processor.runtime.commands import (
    Assigned,
    Command,
    CommitFailed,
    Event,
    Fetched,
    Finish,
    Persist,
    ReachedEnd,
    TaskOpened,
    Tick,
    Turn,
)
from processor.runtime.host import carry_out
from processor.runtime.worker import Worker
from processor.serdes.memory_registry import MemoryRegistry
from processor.settings import Settings
from processor.state.store import MemoryStore
from processor.testing.host import MemoryDisk, MemoryHost
from processor.testing.memory import MemoryKafka, MemoryProducer, batch_of
from processor.topology.plan import Layout, StoreId, TaskId
from tests.properties import global_tables
from tests.properties.one_record import Raw
from tests.properties.reference import Letter

CHECKPOINT_INTERVAL = 100
OPTIONS = replace(
    Settings().options.alone(), checkpoint_interval=CHECKPOINT_INTERVAL, follows_progress=False
)


class Crash(Exception):
    """The process is gone."""


class Failure(Exception):
    """A client's call failed in a way that aborting fixes."""


@dataclass
class Saved:
    """What is on disk of a store after one Persist."""

    values: dict[bytes, bytes]
    position: Offset


@dataclass(slots=True)
class Kafka(MemoryKafka):
    """What outlives a process: with the states that its disk has had of each store."""

    disk: dict[StoreId, list[Saved]] = field(default_factory=dict)

    @staticmethod
    def of(layout: Layout, inputs: Mapping[TopicPartition, list[Raw]]) -> "Kafka":
        """With this input in it."""
        kafka = Kafka(layout.partitions)
        for source, records in inputs.items():
            kafka.logs[source].entries += records
        return kafka


class WorldHost(MemoryHost):
    """A process whose disk may have lost what it had last.

    Args:
        layout: The plan and the partition counts.
        own: The slot's partitions.
        kafka: Where it reads and writes.
        producer: By which it writes.
        pick: Which of a store's states on disk has survived; None: nothing did.
    """

    def __init__(
        self,
        layout: Layout,
        own: frozenset[TopicPartition],
        kafka: Kafka,
        producer: MemoryProducer,
        pick: Callable[[list[Saved]], Saved | None],
    ) -> None:
        super().__init__(layout, own, kafka, producer, MemoryDisk({}), MemoryRegistry().answer)
        self.kafka: Kafka = kafka
        self.stores: dict[StoreId, MemoryStore] = {}
        self.finished: Finish | None = None
        self._pick = pick

    def open_task(self, task: TaskId) -> TaskOpened:
        part = self.layout.plan.subtopologies[task.subtopology]
        stores: dict[str, MemoryStore] = {}
        for spec in part.stores:
            name = StoreId(spec.name, task.partition)
            saved = self.kafka.disk.get(name)
            survived = self._pick(saved) if saved else None
            stores[spec.name] = self.stores[name] = self.restored(name, survived)
        shared = global_tables.shared(self.layout.plan)
        return TaskOpened(task, stores, self.start_of(task), shared=shared)

    def close_task(self, task: TaskId) -> None:
        for source in self.own:
            if self.layout.task_of(source) == task:
                self.fetched.pop(source, None)

    def persist(self, command: Persist) -> None:
        store = self.stores[command.store]
        store.write(command.changes, command.position)
        saved = Saved(dict(store.scan()), command.position)
        self.kafka.disk.setdefault(command.store, []).append(saved)

    def end_of(self, source: TopicPartition) -> int:
        return self.kafka.logs[source].stable

    def finish(self, error: KprocError | None) -> None:
        self.finished = Finish(error)

    def restored(self, name: StoreId, saved: Saved | None) -> MemoryStore:
        store = MemoryStore()
        if saved is not None:
            store.write(saved.values, saved.position)
        topic = self.layout.plan.changelog(name.name)
        log = self.kafka.logs[TopicPartition(topic, name.partition)]
        for entry in log.entries[store.position :]:
            if entry is not None:
                assert entry.key is not None
                store.write({entry.key: entry.value}, Offset(0))
        store.write({}, Offset(len(log.entries)))
        return store


When = Literal["before", "after", "fails"]


class World:
    """One slot that has all partitions of a topology, or some of them.

    Args:
        layout: The topology's.
        options: The worker's; the checkpoint interval is taken from here.
        inputs: What is in the input topics.
        kafka: What others write to, too, with the input in it.
        own: The slot's partitions; None: all.
        name: The slot's.
    """

    def __init__(
        self,
        layout: Layout,
        inputs: Mapping[TopicPartition, list[Raw]],
        options: WorkerOptions | None = None,
        *,
        kafka: Kafka | None = None,
        own: frozenset[TopicPartition] | None = None,
        name: str = "slot",
    ) -> None:
        self.layout = layout
        self.name = name
        self.options = options or OPTIONS
        self.kafka = kafka or Kafka.of(layout, inputs)
        self.own = own or frozenset(
            TopicPartition(topic, Partition(number))
            for topic, count in layout.partitions.items()
            for number in range(count)
        )
        self.trace: list[Command] = []
        self.interrupt: Callable[[int, Command], When | None] = lambda _number, _command: None
        self.clock = 0
        self.budget = sys.maxsize
        """Records that may be worked on in a turn."""
        self.start()

    @property
    def finished(self) -> Finish | None:
        """How the worker has ended, if it has."""
        return self.host.finished

    @property
    def sources(self) -> list[TopicPartition]:
        return sorted(self.own)

    # The process

    def start(
        self, *, pick: Callable[[list[Saved]], Saved | None] = lambda saved: saved[-1]
    ) -> None:
        """Starts a process on what the last one left.

        Args:
            pick: Which of a store's states on disk has survived; None: nothing did.
        """
        transactional = self.options.guarantee == "exactly-once"
        producer = MemoryProducer(self.kafka, self.name, transactional)
        self.host = WorldHost(self.layout, self.own, self.kafka, producer, pick)
        self.worker = Worker(self.layout, self.own, self.options)
        self.elapsed = 0
        self.carry_out(self.worker.start())
        self.handle(Assigned(self.own))

    def handle(self, event: Event) -> None:
        self.carry_out(self.worker.handle(event))

    def carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            number = len(self.trace)
            self.trace.append(command)
            when = self.interrupt(number, command)
            if when == "before":
                raise Crash
            if when == "fails":
                self.handle(CommitFailed(Failure()))
                return
            answer = carry_out(self.host, command)
            if when == "after":
                raise Crash
            if answer is not None:
                self.handle(answer)

    # What happens

    def deliver(self, source: TopicPartition, count: int) -> None:
        """The consumer hands out the next records, and says when there are no more."""
        if source not in self.host.fetched:
            return
        log = self.kafka.logs[source]
        rows = log.rows(self.host.fetched[source], log.stable)
        offset = rows[count - 1][0] + 1 if count <= len(rows) else log.stable
        self.host.fetched[source] = offset
        if rows:
            self.handle(Fetched(source, batch_of(rows[:count])))
        if self.host.fetched.get(source) == log.stable:  # which is not so after an abort
            self.handle(ReachedEnd(source, Offset(offset)))

    def answer(self) -> bool:
        """The broker answers what the worker has asked for; whether there was anything."""
        answers, self.host.answers = self.host.answers, []
        for each in answers:
            self.handle(each)
        return bool(answers)

    def unread(self, source: TopicPartition) -> int:
        log = self.kafka.logs[source]
        return len(log.rows(self.host.fetched.get(source, 0), log.stable))

    def tick(self, clock: int) -> None:
        """The wall clock goes on; a checkpoint comes only where the last had nothing to do."""
        self.clock = clock
        self.handle(Turn(self.budget))
        self.handle(Tick(Timestamp(clock), self.elapsed))

    def checkpoint(self) -> None:
        """A checkpoint becomes due."""
        self.elapsed += self.options.checkpoint_interval
        self.handle(Turn(self.budget))
        self.handle(Tick(Timestamp(self.clock), self.elapsed))

    def drain(self) -> None:
        """Works through everything there is."""
        while any(self.unread(source) for source in self.sources):
            for source in self.sources:
                self.deliver(source, 10**6)
            self.checkpoint()
        self.checkpoint()

    # What can be seen from outside

    def outputs(self) -> dict[TopicPartition, list[Raw]]:
        """The committed records of all topics but changelogs, inputs and dead letters."""
        plan = self.layout.plan
        hidden = {plan.dead_letters, *plan.inputs}
        hidden |= {plan.changelog(spec.name) for part in plan.subtopologies for spec in part.stores}
        return {
            name: log.committed()
            for name, log in self.kafka.logs.items()
            if name.topic not in hidden and log.committed()
        }

    def letters(self) -> list[Letter]:
        log = self.kafka.logs[TopicPartition(self.layout.plan.dead_letters, Partition(0))]
        return [letter(record) for record in log.committed()]

    def stores(self) -> dict[StoreId, dict[bytes, bytes]]:
        """What the stores of the running process have on disk."""
        return {name: dict(store.scan()) for name, store in self.host.stores.items()}

    def replayed(self) -> dict[StoreId, dict[bytes, bytes]]:
        """What the changelogs alone make of the stores."""
        return {name: dict(self.host.restored(name, None).scan()) for name in self.host.stores}


def letter(record: Raw) -> Letter:
    """A dead letter taken apart."""
    added: dict[str, Any] = {
        name.removeprefix("kproc."): (data or b"").decode()
        for name, data in record.headers
        if name.startswith("kproc.")
    }
    own = tuple(pair for pair in record.headers if not pair[0].startswith("kproc."))
    origin = TopicPartition(added["topic"], Partition(int(added["partition"])))
    original = record._replace(headers=own)
    return Letter(original, origin, int(added["offset"]), added["step"], added["reason"])
