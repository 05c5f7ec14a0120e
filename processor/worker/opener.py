"""Opens a slot's tasks beside the running loop, and keeps their stores up to date until then.

From its start on the opener holds the stores of all tasks and follows their changelogs. A store
that is not on disk is restored from a snapshot first, where there is one. A task that is asked for
is ready when its changelogs are replayed up to the high watermark as it is then: the
slot has fenced its predecessors before, so that nobody but this worker can write to them any more.
The watermark is asked for as read_uncommitted, as the last stable offset may be held back by a dead
writer's transaction (KAFKA-10167).
"""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from confluent_kafka import IsolationLevel
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.errors import KafkaError, KprocError, StateMismatch
from processor.kafka.changelogs import changelog_id, tombstone_retention
from processor.kafka.clients import committed, connect
from processor.kafka.description import KEY, check_current
from processor.kafka.description import decoded as decoded_description
from processor.kafka.hanging import holding_offsets
from processor.kafka.progress import list_offsets
from processor.records import Offset, Partition, TopicPartition
from processor.runtime.commands import Position, TaskOpened
from processor.runtime.ledger import Entry, Start, Topic, begin, decoded, key_of
from processor.state.keyvalue import StoreSpec
from processor.state.snapshot import Wanted
from processor.state.store import MemoryStore, Store
from processor.topology.plan import Layout, StoreId, TaskId
from processor.worker.channel import Channel, RestoreStatus
from processor.worker.downloads import Downloads
from processor.worker.epochs import Epochs
from processor.worker.follower import Follower
from processor.worker.ledger import Ledger
from processor.worker.spec import WorkerSpec
from processor.worker.stores import StoreOpener, lost_advice, meta_of

_TIMEOUT = 30.0
BEGINS = "begins elsewhere"
"""The log's word for a partition whose group's offset was not followed."""

_PAUSE = 0.02
"""Seconds between two looks at downloads, where there is nothing else to do."""

_TRY_AGAIN = 5.0
"""Seconds after which a changelog that was not complete is looked at again."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is known of where a task that is asked for begins, its entries in the ledger aside."""

    group: Mapping[TopicPartition, Position | None]
    topics: Mapping[TopicPartition, Topic]


@dataclass(frozen=True, slots=True)
class Readers:
    """What the opener learns by what is committed, and where stores begin and end."""

    admin: Any
    follower: Follower
    ledger: Ledger
    downloads: Downloads | None = None
    """None: there are no snapshots."""


class TaskOpener:
    """Holds the stores of tasks that are not at work, and gives them away ready; in a thread.

    Args:
        spec: The slot's work.
        layout: The plan with its partition counts.
        stores: Opens and holds the stores.
        readers: What it reads with; only it uses them but for the client.
        channel: To report progress.
        epochs: Where the leader epochs of committed positions are noted.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        layout: Layout,
        stores: StoreOpener,
        readers: Readers,
        channel: Channel,
        epochs: Epochs,
    ) -> None:
        self._epochs = epochs
        self._spec = spec
        self._layout = layout
        self._stores = stores
        self._channel = channel
        self._admin, self._follower = readers.admin, readers.follower
        self._ledger, self._downloads = readers.ledger, readers.downloads
        self._entries: dict[TopicPartition, MemoryStore] = {}  # by the ledger's partition
        self._readers = Counter[TopicPartition]()  # how many tasks are held that read its entries
        self._described = TopicPartition(layout.plan.description_topic, Partition(0))
        self._shortened = set[TopicPartition]()  # those of which records were deleted
        self._wanted: SimpleQueue[TaskId | None] = SimpleQueue()
        self._opened: SimpleQueue[TaskOpened | Exception] = SimpleQueue()
        self._held: dict[TaskId, dict[TopicPartition, StoreSpec[Any, Any]]] = {}
        self._asked: dict[TaskId, _Asked] = {}
        self._incomplete = set[TopicPartition]()  # changelogs that lack what their stores lack
        self._next_try = 0.0
        self.truncated: dict[TopicPartition, Offset] = {}
        """Changelogs with complete stores whose records were deleted, and where they begin now."""
        self._hurried = self._stopped = self._caught_up = False
        self._thread = Thread(target=self._run, name="task-opener", daemon=True)
        self._thread.start()

    @property
    def is_ready(self) -> bool:
        """Whether every store that is held here has once reached the end of its changelog.

        Not while a changelog lacks records that its store does not have.
        """
        return self._caught_up and not self._incomplete and self.status() is None

    @property
    def lag(self) -> int | None:
        """Records that the stores held here are behind their changelogs' ends; None: not known."""
        return None if self._incomplete else self._follower.lag

    def check_current(self) -> None:
        """Makes sure that the application is as its node has found it, as far as is known here.

        Raises:
            StateMismatch: It is not.
        """
        followed = self._entries.get(self._described)
        (value,) = followed.get_many([KEY]) if followed is not None else (None,)
        if value is not None:
            found = decoded_description(self._described.topic, value)
            check_current(found, self._spec.settled.stamp, self._layout.plan.application)

    def hurry(self) -> None:
        """Asks the broker more often from now on: all tasks are to be opened in a moment."""
        self._hurried = True

    def open(self, task: TaskId) -> None:
        """Opens a task; `opened` gives it later."""
        self._hurried = True
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
        following = self._follower.status()
        loading = None if self._downloads is None else self._downloads.status()
        return following if loading is None else loading.joined(following)

    def close(self) -> None:
        """Ends the thread; what it has opened stays open."""
        self._stopped = True
        if self._downloads is not None:
            self._downloads.close()
        self._wanted.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            # A client's first request takes up to a second: it is made while there is time.
            with contextlib.suppress(KprocError):  # what matters is asked again
                connect(self._admin, [self._layout.plan.slots_topic])
            try:
                self._hold(sorted(set(map(self._layout.task_of, self._spec.own))))
                self._caught_up = True
                while not self._stopped:
                    self._turn()
            finally:
                self._follower.close()
        except Exception as error:  # noqa: BLE001 - the loop of the worker raises it
            self._opened.put(error)

    def _turn(self) -> None:
        tasks = self._take()
        if tasks:
            self._begin(tasks)
        if not self._follower.is_empty:
            for source in self._follower.poll(hurry=self._hurried):
                self._follower.release(source)
                if source in self._entries:
                    self._read_ledger([source])
                    continue
                self._stores.close(self._store(source))
                self._reopen(source, download=True)
        if self._incomplete and time.monotonic() > self._next_try:
            for source in list(self._incomplete):
                self._reopen(source, download=True)
        self._open_downloaded()
        for task in list(self._asked):
            if all(map(self._is_done, [*self._held[task], *self._places(task)])):
                self._give(task)

    def _open_downloaded(self) -> None:
        if self._downloads is None or self._downloads.is_idle:
            return
        if self._follower.is_empty:
            self._downloads.wait(_PAUSE)
        self._caught_up = False  # until what was downloaded is followed
        for source in self._downloads.finished():
            # What the end of the worker cuts short must not begin as an empty store.
            if not self._stopped:
                self._reopen(source, download=False)
        self._caught_up = True

    def _is_loading(self, source: TopicPartition) -> bool:
        return self._downloads is not None and self._downloads.runs(source)

    def _is_done(self, source: TopicPartition) -> bool:
        return not self._is_loading(source) and self._follower.is_done(source)

    def _take(self) -> list[TaskId]:
        """The tasks asked for, waiting for one if there is nothing else to do."""
        tasks: list[TaskId] = []
        try:
            while True:
                loading = self._downloads is not None and not self._downloads.is_idle
                idle = self._follower.is_empty and not loading and not tasks
                task = self._wanted.get(block=idle, timeout=_PAUSE if self._incomplete else None)
                if task is None:
                    return []
                tasks.append(task)
        except Empty:
            return tasks

    def _begin(self, tasks: list[TaskId]) -> None:
        self._hold([task for task in tasks if task not in self._held])
        # What is committed first: then the changelogs have at least what led to that.
        self._asked |= self._ask(tasks)
        for source in [each for task in tasks for each in self._held[task]]:
            if source in self._incomplete:
                self._reopen(source, download=True)
        followed = [source for task in tasks for source in (*self._held[task], *self._places(task))]
        for source, end in list_offsets(self._admin, followed, OffsetSpec.latest()).items():
            if not self._is_loading(source):
                self._follower.until(source, end)

    def _hold(self, tasks: list[TaskId]) -> None:
        """Opens the tasks' stores and follows their changelogs."""
        for task in tasks:
            part = self._layout.plan.subtopologies[task.subtopology]
            self._held[task] = {
                self._changelog(StoreId(spec.name, task.partition)): spec for spec in part.stores
            }
        self._open({source: spec for task in tasks for source, spec in self._held[task].items()})
        self._readers.update(place for task in tasks for place in self._places(task))
        self._read_ledger([place for place in self._readers if place not in self._entries])

    def _places(self, task: TaskId) -> list[TopicPartition]:
        """The ledger's partitions with the task's entries; and the application's description."""
        places = chain.from_iterable(map(self._ledger.places_of, self._layout.sources_of(task)))
        described = [self._described] if self._spec.settled.stamp else []
        return [*described, *dict.fromkeys(places)]

    def _read_ledger(self, places: list[TopicPartition]) -> None:
        """Follows these partitions of the ledger as if they were changelogs."""
        firsts = list_offsets(self._admin, places, OffsetSpec.earliest())
        stable = list_offsets(
            self._admin, places, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED
        )
        for place in places:
            entries = MemoryStore()
            if firsts[place]:
                self._shortened.add(place)
                entries.write({}, firsts[place])
            self._entries[place] = entries
            self._follower.add(place, entries, stable[place])
            if any(place in self._places(task) for task in self._asked):
                ends = list_offsets(self._admin, [place], OffsetSpec.latest())
                self._follower.until(place, ends[place])

    def _changelog(self, store: StoreId) -> TopicPartition:
        return TopicPartition(self._layout.plan.changelog(store.name), store.partition)

    def _open(
        self, wanted: Mapping[TopicPartition, StoreSpec[Any, Any]], *, download: bool = True
    ) -> None:
        """Opens stores and follows their changelogs; what is not there may be downloaded first."""
        firsts = list_offsets(self._admin, wanted, OffsetSpec.earliest())
        # A transaction may be open there as long as a predecessor lives: what is committed counts.
        stable = list_offsets(
            self._admin, wanted, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED
        )
        ends = list_offsets(self._admin, wanted, OffsetSpec.latest())
        for source, spec in wanted.items():
            try:
                opened = self._find(source, spec, firsts[source], ends[source], download=download)
            except StateMismatch as error:
                if any(source in self._held[task] for task in self._asked):
                    raise
                # Another worker has the slot: it may still make the changelog whole.
                self._incomplete.add(source)
                self._next_try = time.monotonic() + _TRY_AGAIN
                self._channel.log_seldom("changelog is not complete", str(error))
                continue
            if opened is not None:
                self._follower.add(source, opened, stable[source])
            self._incomplete.discard(source)  # only now: other threads look

    def _find(
        self,
        source: TopicPartition,
        spec: StoreSpec[Any, Any],
        first: Offset,
        end: Offset,
        *,
        download: bool,
    ) -> Store | None:
        """The store that is on disk, or an empty one; None if it is downloaded first.

        Raises:
            StateMismatch: Records were deleted from its changelog that it does not have.
        """
        store = self._store(source)
        retention = partial(tombstone_retention, self._admin, source.topic)
        begin = self._ledger.begin_of(source) if first else first
        opened = self._stores.find(spec, store, first, end, retention, begin)
        if opened is None and download and self._downloads is not None:
            span = self._wanted_of(source.topic, spec, first, end)
            self._downloads.start(source, store, spec, span)
            return None
        if first > begin:
            if opened is None:
                raise StateMismatch(
                    f"the changelog of store {store} begins at offset {first}: compaction "
                    "leaves its beginning alone, so somebody has deleted records, and the "
                    f"state is not complete. {lost_advice(store)}"
                )
            self.truncated[source] = first
        opened = opened or self._stores.make(spec, store)
        if opened.position < first:
            opened.write({}, first)
        return opened

    def _wanted_of(
        self, changelog: str, spec: StoreSpec[Any, Any], first: Offset, end: Offset
    ) -> Wanted:
        identity = changelog_id(self._admin, changelog)
        retention = tombstone_retention(self._admin, changelog)
        return Wanted(meta_of(spec), identity, first, end, retention)

    def _reopen(self, source: TopicPartition, *, download: bool) -> None:
        """Opens a store whose position has gone from the changelog, or that was downloaded."""
        task, spec = next(
            (task, held[source]) for task, held in self._held.items() if source in held
        )
        self._open({source: spec}, download=download)
        if task in self._asked and not self._is_loading(source):
            ends = list_offsets(self._admin, [source], OffsetSpec.latest())
            self._follower.until(source, ends[source])

    def _store(self, changelog: TopicPartition) -> StoreId:
        return next(
            StoreId(held[changelog].name, changelog.partition)
            for held in self._held.values()
            if changelog in held
        )

    def _give(self, task: TaskId) -> None:
        self.check_current()
        starts = self._starts(task, self._asked.pop(task))
        held = self._held.pop(task)
        self._readers.subtract(self._places(task))
        for place in [place for place, tasks in self._readers.items() if not tasks]:
            del self._readers[place], self._entries[place]
            self._follower.release(place)
        stores = dict[str, Store]()
        for source, spec in held.items():
            self._follower.release(source)
            stores[spec.name] = self._stores.stores[StoreId(spec.name, source.partition)]
        positions = {source: start.position for source, start in starts.items()}
        fresh = frozenset(source for source, start in starts.items() if not start.settled)
        self._opened.put(TaskOpened(task, stores, positions, fresh))

    def _committed(self, asked: list[TopicPartition]) -> Mapping[TopicPartition, ClientPartition]:
        """What the group has committed; where that is held back, an error says by what."""
        try:
            return committed(self._follower.consumer, asked)
        except KafkaError as error:
            client, group = self._spec.clients.kafka, self._spec.application
            if advice := holding_offsets(self._admin, client, group, asked):
                raise KafkaError(f"{error}{advice}") from error
            raise

    def _starts(self, task: TaskId, asked: _Asked) -> Mapping[TopicPartition, Start]:
        """Where the task's partitions begin, by the group and the ledger."""
        exactly_once = self._spec.exactly_once
        starts: dict[TopicPartition, Start] = {}
        for source in self._layout.sources_of(task):
            entry, topic = self._entry(source), asked.topics[source]
            start = begin(source, asked.group[source], entry, topic, exactly_once=exactly_once)
            if start.cause:
                place, at = str(source), start.position.offset
                self._channel.log("warning", BEGINS, source=place, offset=at, cause=start.cause)
            starts[source] = start
        return starts

    def _entry(self, source: TopicPartition) -> Entry | None:
        for place in self._ledger.places_of(source):
            (value,) = self._entries[place].get_many([key_of(source)])
            if value is not None:
                return decoded(source, value)
        return None

    def _ask(self, tasks: list[TaskId]) -> Mapping[TaskId, _Asked]:
        """Asks how far the group says that the tasks are, and what their topics have."""
        sources = [each for task in tasks for each in self._layout.sources_of(task)]
        known = self._committed(sources)
        firsts = list_offsets(self._admin, sources, OffsetSpec.earliest())
        for source, found in known.items():
            # Of repartition topics what was processed is deleted.
            if source.topic in self._layout.plan.inputs and firsts[source] < found.offset:
                self._epochs.know(source, Offset(found.offset), found.leader_epoch)
        begin = firsts
        if self._spec.start_from == "latest":
            # Not what the application itself writes: another slot may have begun to.
            inputs = [each for each in sources if each.topic in self._layout.plan.inputs]
            begin = firsts | list_offsets(self._admin, inputs, OffsetSpec.latest())
        return {
            task: _Asked(
                {each: _position(known[each]) for each in self._layout.sources_of(task)},
                {
                    each: Topic(
                        id=self._spec.settled.ids.get(each.topic, ""),
                        first=firsts[each],
                        fresh=begin[each],
                        is_new=each.partition >= self._spec.settled.began.get(each.topic, math.inf),
                        is_reported=self._shortened.isdisjoint(self._ledger.places_of(each)),
                    )
                    for each in self._layout.sources_of(task)
                },
            )
            for task in tasks
        }


def _position(found: ClientPartition) -> Position | None:
    """What the group has committed."""
    return None if found.offset < 0 else Position.of(Offset(found.offset), found.metadata)
