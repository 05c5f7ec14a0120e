"""Opens tasks beside the running loop: stores from disk, the rest of them from the changelogs.

A store is ready when its changelog is replayed up to the high watermark as it was after this slot
had fenced its predecessors: nobody can write to it any more but this worker. The watermark is asked
for as read_uncommitted, as the last stable offset may be held back by a dead writer's transaction
(KAFKA-10167); the records are read as read_committed.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, cast

from confluent_kafka import Consumer, Message
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.edges.channel import Channel, RestoreStatus
from processor.edges.clients import PASSING, QUIET, committed, patiently, translated
from processor.edges.messages import runs, source_of, split_errors
from processor.edges.progress import list_offsets
from processor.edges.spec import WorkerSpec
from processor.edges.stores import StoreOpener
from processor.errors import RestoreStalled, StateError
from processor.operators.base import NO_TIME
from processor.records import Offset, Timestamp, TopicPartition
from processor.runtime.commands import Position, TaskOpened
from processor.state.store import Store
from processor.topology.plan import Layout, StoreId, TaskId

_TIMEOUT = 30.0
_BATCH = 50_000
_STALL = 180.0
"""Seconds without a record after which a restore has stalled: longer than any transaction lasts."""


@dataclass(slots=True)
class _Opening:
    """A task on its way, and its stores that are not ready."""

    task: TaskId
    stores: dict[str, Store]
    start: Mapping[TopicPartition, Position]
    fresh: frozenset[TopicPartition]
    waiting: set[StoreId] = field(default_factory=set[StoreId])


@dataclass(slots=True)
class _Restoring:
    """A store and how far its replay has to go."""

    opening: _Opening
    id: StoreId
    store: Store
    begin: Offset
    end: Offset


class TaskOpener:
    """Opens tasks one after the other and restores their stores side by side, in a thread.

    Args:
        spec: The slot's work.
        layout: The plan with its partition counts.
        stores: Opens and holds the stores.
        channel: To tell of progress.
    """

    def __init__(
        self, spec: WorkerSpec, layout: Layout, stores: StoreOpener, channel: Channel
    ) -> None:
        self._spec = spec
        self._layout = layout
        self._stores = stores
        self._channel = channel
        self._admin = AdminClient({**QUIET, **spec.kafka})
        self._wanted: SimpleQueue[TaskId | None] = SimpleQueue()
        self._opened: SimpleQueue[TaskOpened | Exception] = SimpleQueue()
        self._restoring: dict[TopicPartition, _Restoring] = {}
        self._records = self._bytes = 0
        self._began = self._heard = time.monotonic()
        self._stopped = False
        self._thread = Thread(target=self._run, name="task-opener", daemon=True)
        self._thread.start()

    def open(self, task: TaskId) -> None:
        """Opens a task; `opened` gives it later."""
        self._wanted.put(task)

    def opened(self) -> TaskOpened | None:
        """The next task that is ready, if there is one.

        Raises:
            KprocError: One could not be opened.
        """
        try:
            found = self._opened.get_nowait()
        except Empty:
            return None
        if isinstance(found, Exception):
            raise found
        return found

    def status(self) -> RestoreStatus | None:
        """How far the restore is, None when there is nothing to restore."""
        restoring = list(self._restoring.values())
        if not restoring:
            return None
        left = sum(each.end - each.store.position for each in restoring)
        seconds = time.monotonic() - self._began
        return RestoreStatus(
            len(restoring), self._records, self._records + left, self._bytes, seconds
        )

    def close(self) -> None:
        """Ends the thread; what it has opened stays open."""
        self._stopped = True
        self._wanted.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            # A client's first request takes up to a second: it is made while there is time.
            self._admin.list_topics(timeout=_TIMEOUT)
            consumer = Consumer({**QUIET, **self._spec.restore_config()})
            try:
                while not self._stopped:
                    self._turn(consumer)
            finally:
                consumer.close()
        except Exception as error:  # noqa: BLE001 - the loop of the worker raises it
            self._opened.put(error)

    def _turn(self, consumer: Consumer) -> None:
        tasks = self._take()
        if tasks:
            self._begin(consumer, tasks)
        if self._restoring:
            self._replay(consumer)

    def _take(self) -> list[TaskId]:
        """The tasks asked for, waiting for one if there is nothing else to do."""
        tasks: list[TaskId] = []
        try:
            while True:
                idle = not self._restoring and not tasks
                task = self._wanted.get(block=idle)
                if task is None:
                    return []
                tasks.append(task)
        except Empty:
            return tasks

    def _begin(self, consumer: Consumer, tasks: list[TaskId]) -> None:
        openings = self._openings(consumer, tasks)
        needed = [
            (opening, spec, StoreId(spec.name, opening.task.partition))
            for opening in openings
            for spec in self._layout.plan.subtopologies[opening.task.subtopology].stores
        ]
        changelogs = [self._changelog(store) for _, _, store in needed]
        ends = list_offsets(self._admin, changelogs, OffsetSpec.latest())
        firsts = list_offsets(self._admin, changelogs, OffsetSpec.earliest())
        for (opening, spec, store), changelog in zip(needed, changelogs, strict=True):
            first, end = firsts[changelog], ends[changelog]
            opened = self._stores.open(spec, store, first, end)
            opening.stores[spec.name] = opened
            if opened.position < first:
                self._tell_loss(changelog, first)
                opened.write({}, first)
            if opened.position < end:
                opening.waiting.add(store)
                begin = opened.position
                opened.begin_restore(end - begin)
                self._restoring[changelog] = _Restoring(opening, store, opened, begin, end)
        for opening in openings:
            self._finish_if_ready(opening)
        self._began = self._heard = time.monotonic()
        self._assign(consumer)

    def _changelog(self, store: StoreId) -> TopicPartition:
        return TopicPartition(self._layout.plan.changelog(store.name), store.partition)

    def _tell_loss(self, changelog: TopicPartition, first: Offset) -> None:
        advice = "compaction leaves a changelog's beginning alone, so somebody deleted records"
        self._channel.log(
            "warning", "state is lost", changelog=str(changelog), begins_at=first, cause=advice
        )

    def _assign(self, consumer: Consumer) -> None:
        # With the topics known, the client need not wait for its one-second timer to ask for them.
        patiently(lambda: consumer.list_topics(timeout=_TIMEOUT), "list the changelogs")
        consumer.assign(
            [
                ClientPartition(source.topic, source.partition, each.store.position)
                for source, each in self._restoring.items()
            ]
        )

    def _replay(self, consumer: Consumer) -> None:
        messages = consumer.consume(_BATCH, 0.1)
        records, others = split_errors(messages)
        for source, run in runs(records):
            if source in self._restoring:
                self._write(self._restoring[source], run)
        for message in others:
            self._note_end(message)
        for source, restoring in list(self._restoring.items()):
            if restoring.store.position >= restoring.end:
                self._restored(source, restoring)
        if messages:
            self._heard = time.monotonic()
        else:
            self._check_progress()

    def _write(self, restoring: _Restoring, run: Sequence[Message]) -> None:
        keys = cast("list[bytes]", list(map(Message.key, run)))
        values = list(map(Message.value, run))
        position = Offset((run[-1].offset() or 0) + 1)
        restoring.store.write(dict(zip(keys, values, strict=True)), position)
        self._records += len(run)
        self._bytes += sum(map(len, keys)) + sum(map(len, filter(None, values)))

    def _note_end(self, message: Message) -> None:
        """Takes the position past what is no record, such as transaction markers."""
        error: Any = message.error()
        source = source_of(message)
        if error.code() in PASSING:
            return self._channel.log_seldom("kafka", f"{error.name()}: {error.str()}")
        if error.code() != ClientError._PARTITION_EOF:  # noqa: SLF001
            raise translated(error, f"restore from {source}")
        restoring = self._restoring.get(source)
        position = Offset(message.offset() or 0)
        if restoring is not None and restoring.store.position < position:
            restoring.store.write({}, position)
        return None

    def _restored(self, source: TopicPartition, restoring: _Restoring) -> None:
        del self._restoring[source]
        restoring.store.end_restore()
        restoring.opening.waiting.discard(restoring.id)
        self._finish_if_ready(restoring.opening)

    def _finish_if_ready(self, opening: _Opening) -> None:
        if not opening.waiting:
            event = TaskOpened(opening.task, opening.stores, opening.start, opening.fresh)
            self._opened.put(event)

    def _check_progress(self) -> None:
        silent = time.monotonic() - self._heard
        if silent < 2:  # noqa: PLR2004 - seconds in which nothing need be said
            return
        stores = ", ".join(map(str, self._restoring))
        text = f"waiting for {stores}: a transaction may still be open there ({silent:.0f} s)"
        self._channel.log_seldom("restore waits", text)
        if silent > _STALL:
            raise RestoreStalled(
                f"nothing more comes from {stores} although the end is not reached: see whether "
                "the brokers that lead these partitions are up, and whether another application "
                "has a transaction open in them"
            )

    def _openings(self, consumer: Consumer, tasks: list[TaskId]) -> list[_Opening]:
        """The tasks with where to begin: where the last checkpoint was, if there was one."""
        own = sorted(self._spec.own)
        asked = [each for each in own if self._layout.task_of(each) in tasks]
        found = committed(consumer, [ClientPartition(*each) for each in asked])
        known = dict(zip(asked, found, strict=True))
        firsts = list_offsets(self._admin, asked, OffsetSpec.earliest())
        latest = self._spec.start_from == "latest"
        begin = list_offsets(self._admin, asked, OffsetSpec.latest()) if latest else firsts
        fresh = frozenset(source for source in asked if known[source].offset < 0)
        starts: dict[TaskId, dict[TopicPartition, Position]] = {task: {} for task in tasks}
        for source in asked:
            position = Position(begin[source], NO_TIME)
            if source not in fresh:
                position = _position(known[source], firsts[source])
            starts[self._layout.task_of(source)][source] = position
        return [
            _Opening(task, {}, starts[task], fresh.intersection(starts[task])) for task in tasks
        ]


def _position(found: ClientPartition, first: Offset) -> Position:
    if found.offset < first:
        raise StateError(
            f"{found.topic} partition {found.partition} was processed up to offset "
            f"{found.offset}, but begins at {first} now: retention has deleted records that "
            "were not processed. Nothing is skipped silently; commit an offset for the group that "
            "is there, such as with kafka-consumer-groups --reset-offsets, to go on from it"
        )
    text = found.metadata or ""
    time = int(text) if text.lstrip("-").isdigit() else NO_TIME
    return Position(Offset(found.offset), Timestamp(time))
