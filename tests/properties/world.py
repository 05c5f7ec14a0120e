"""A tiny Kafka in memory with transactions, a disk that lags behind, and a worker that can crash.

It carries out a worker's commands as a client would. Before or after any of them the process may
crash or the command fail; what is left then is what real Kafka and a real disk would have left.
"""

import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from processor.operators.base import NO_TIME
from processor.records import Batch, Offset, Partition, Record, Timestamp, TopicPartition
from processor.runtime.commands import (
    Abort,
    Aborted,
    Assigned,
    Begin,
    CloseTask,
    Command,
    Commit,
    CommitFailed,
    Committed,
    EndsSeen,
    Event,
    Fetch,
    Fetched,
    Finish,
    LookAtEnds,
    LookAtOthers,
    OpenTask,
    OthersSeen,
    Pause,
    Persist,
    Position,
    Produce,
    Purge,
    ReachedEnd,
    SendOffsets,
    TaskOpened,
    Tick,
    Turn,
)
from processor.runtime.options import WorkerOptions
from processor.runtime.worker import Worker
from processor.state.store import MemoryStore
from processor.topology.plan import Layout, StoreId, TaskId
from tests.properties import global_tables
from tests.properties.one_record import Raw
from tests.properties.reference import Letter

CHECKPOINT_INTERVAL = 100
BEGINNING = Position(Offset(0), NO_TIME)


class Crash(Exception):
    """The process is gone."""


class Failure(Exception):
    """A client's call failed in a way that aborting fixes."""


@dataclass
class Log:
    """A partition; None stands for what a reader never sees: markers and aborted records."""

    entries: list[Raw | None] = field(default_factory=list)
    open: dict[int, str] = field(default_factory=dict)
    """The offsets of open transactions, and whose they are."""

    @property
    def stable(self) -> int:
        """The last stable offset."""
        return min(self.open, default=len(self.entries))

    def committed(self) -> list[Raw]:
        return [entry for entry in self.entries[: self.stable] if entry is not None]


@dataclass
class Saved:
    """What is on disk of a store after one Persist."""

    values: dict[bytes, bytes]
    position: Offset


@dataclass
class Kafka:
    """What outlives a process."""

    logs: dict[TopicPartition, Log] = field(default_factory=dict)
    positions: dict[TopicPartition, Position] = field(default_factory=dict)
    disk: dict[StoreId, list[Saved]] = field(default_factory=dict)

    def log(self, source: TopicPartition) -> Log:
        return self.logs.setdefault(source, Log())

    def end_transaction(self, producer: str, *, commit: bool) -> None:
        for log in self.logs.values():
            ended = [offset for offset, whose in log.open.items() if whose == producer]
            for offset in ended:
                del log.open[offset]
                if not commit:
                    log.entries[offset] = None
            if ended:
                log.entries.append(None)  # the marker


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
        self.options = options or WorkerOptions(checkpoint_interval=CHECKPOINT_INTERVAL)
        self.kafka = kafka or Kafka({source: Log(list(log)) for source, log in inputs.items()})
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
        self.finished: Finish | None = None
        self.start()

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
        self.kafka.end_transaction(self.name, commit=False)
        self._pick = pick
        self.worker = Worker(self.layout, self.own, self.options)
        self._positions: dict[TopicPartition, int] = {}
        self._stores: dict[StoreId, MemoryStore] = {}
        self._asked: list[LookAtEnds] = []
        self._others: list[OthersSeen] = []
        self._forget_transaction()
        self.elapsed = 0
        self.carry_out(self.worker.start())
        self.tell(Assigned(self.own))

    def tell(self, event: Event) -> None:
        self.carry_out(self.worker.handle(event))

    def carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            number = len(self.trace)
            self.trace.append(command)
            when = self.interrupt(number, command)
            if when == "before":
                raise Crash
            if when == "fails":
                self.tell(CommitFailed(Failure()))
                return
            answer = self._carry_out(command)
            if when == "after":
                raise Crash
            if answer is not None:
                self.tell(answer)

    # What happens

    def deliver(self, source: TopicPartition, count: int) -> None:
        """The consumer hands out the next records, and says when there are no more."""
        if source not in self._positions:
            return
        log = self.kafka.log(source)
        rows: list[tuple[int, Raw]] = []
        offset = self._positions[source]
        while offset < log.stable and len(rows) < count:
            if (entry := log.entries[offset]) is not None:
                rows.append((offset, entry))
            offset += 1
        self._positions[source] = offset
        if rows:
            self.tell(Fetched(source, batch(rows)))
        if self._positions.get(source) == log.stable:  # which is not so after an abort
            self.tell(ReachedEnd(source, Offset(offset)))

    def answer(self) -> bool:
        """The broker tells what the worker has asked for; whether there was anything."""
        asked, self._asked = self._asked, []
        for each in asked:
            ends = {source: Offset(self.kafka.log(source).stable) for source in each.sources}
            self.tell(EndsSeen(ends, each.asked_at))
        others, self._others = self._others, []
        for seen in others:
            self.tell(seen)
        return bool(asked or others)

    def unread(self, source: TopicPartition) -> int:
        log = self.kafka.log(source)
        start = self._positions.get(source, 0)
        return sum(entry is not None for entry in log.entries[start : log.stable])

    def tick(self, clock: int) -> None:
        """The wall clock goes on; a checkpoint comes only where the last had nothing to do."""
        self.clock = clock
        self.tell(Turn(self.budget))
        self.tell(Tick(Timestamp(clock), self.elapsed))

    def checkpoint(self) -> None:
        """A checkpoint becomes due."""
        self.elapsed += self.options.checkpoint_interval
        self.tell(Turn(self.budget))
        self.tell(Tick(Timestamp(self.clock), self.elapsed))

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
        log = self.kafka.log(TopicPartition(self.layout.plan.dead_letters, Partition(0)))
        return [letter(record) for record in log.committed()]

    def stores(self) -> dict[StoreId, dict[bytes, bytes]]:
        """What the stores of the running process have on disk."""
        return {name: dict(store.scan()) for name, store in self._stores.items()}

    def replayed(self) -> dict[StoreId, dict[bytes, bytes]]:
        """What the changelogs alone make of the stores."""
        return {name: dict(self._restored(name, None).scan()) for name in self._stores}

    # Commands

    def _carry_out(self, command: Command) -> Event | None:  # noqa: C901, PLR0912 - a table
        match command:
            case OpenTask(task):
                return self._open(task)
            case CloseTask(task):
                for source in self.own:
                    if self.layout.task_of(source) == task:
                        self._positions.pop(source, None)
            case Fetch(offsets):
                self._positions |= offsets
            case Begin():
                assert not self._begun
                self._begun = True
            case Produce():
                self._produce(command)
            case SendOffsets(positions):
                self._pending = dict(positions)
            case Commit():
                return self._commit()
            case Persist(store, changes, position):
                self._stores[store].write(changes, position)
                saved = Saved(dict(self._stores[store].scan()), position)
                self.kafka.disk.setdefault(store, []).append(saved)
            case Abort():
                self.kafka.end_transaction(self.name, commit=False)
                self._forget_transaction()
                return Aborted()
            case Purge():
                pass
            case LookAtEnds():
                self._asked.append(command)
            case LookAtOthers(sources):
                ends = {each: Offset(self.kafka.log(each).stable) for each in sources}
                known = {each: at for each, at in self.kafka.positions.items() if each in sources}
                self._others.append(OthersSeen(known, ends))
            case Pause():
                pass
            case Finish():
                self.finished = command
        return None

    def _open(self, task: TaskId) -> TaskOpened:
        part = self.layout.plan.subtopologies[task.subtopology]
        stores: dict[str, MemoryStore] = {}
        for spec in part.stores:
            name = StoreId(spec.name, task.partition)
            saved = self.kafka.disk.get(name)
            survived = self._pick(saved) if saved else None
            stores[spec.name] = self._stores[name] = self._restored(name, survived)
        start = {
            source: self.kafka.positions.get(source, BEGINNING)
            for source in self.own
            if self.layout.task_of(source) == task
        }
        return TaskOpened(task, stores, start, shared=global_tables.shared(self.layout.plan))

    def _restored(self, name: StoreId, saved: Saved | None) -> MemoryStore:
        store = MemoryStore()
        if saved is not None:
            store.write(saved.values, saved.position)
        topic = self.layout.plan.changelog(name.name)
        log = self.kafka.log(TopicPartition(topic, name.partition))
        for entry in log.entries[store.position :]:
            if entry is not None:
                assert entry.key is not None
                store.write({entry.key: entry.value}, Offset(0))
        store.write({}, Offset(len(log.entries)))
        return store

    def _produce(self, command: Produce) -> None:
        transactional = self.options.guarantee == "exactly-once"
        assert self._begun or not transactional
        records = command.records
        headers = records.headers or ((),) * len(records)
        rows = zip(records.keys, records.values, records.timestamps, headers, strict=True)
        for row in rows:
            record: Raw = Record(*row)
            number = command.partition
            if number is None:
                number = partition_of(record.key, self.layout.partitions.get(command.topic, 1))
            log = self.kafka.log(TopicPartition(command.topic, Partition(number)))
            log.entries.append(record)
            if transactional:
                log.open[len(log.entries) - 1] = self.name
            if command.store is not None:
                self._written[command.store] = Offset(len(log.entries) - 1)

    def _commit(self) -> Committed:
        assert self._begun or self.options.guarantee == "at-least-once"
        self.kafka.end_transaction(self.name, commit=True)
        self.kafka.positions |= self._pending
        written = self._written
        self._forget_transaction()
        return Committed(written)

    def _forget_transaction(self) -> None:
        self._begun = False
        self._pending: dict[TopicPartition, Position] = {}
        self._written: dict[StoreId, Offset] = {}


def partition_of(key: bytes | None, count: int) -> int:
    return zlib.crc32(key or b"") % count


def batch(rows: list[tuple[int, Raw]]) -> Batch[bytes | None, bytes | None]:
    headers = [record.headers for _, record in rows]
    return Batch(
        [record.key for _, record in rows],
        [record.value for _, record in rows],
        [record.timestamp for _, record in rows],
        [Offset(offset) for offset, _ in rows],
        headers if any(headers) else None,
    )


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
