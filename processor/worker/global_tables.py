"""The global tables of a worker: read to their ends before its tasks begin, then followed.

Each worker has a store of its own for each of them, with all partitions of the topic and how far
each was read: a restart reads on from there. A thread of its own writes them; the worker's loop
reads. Knows nothing of tasks or transactions.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

from confluent_kafka import IsolationLevel
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.attempt import attempt
from processor.errors import StoreLocked
from processor.kafka.changelogs import tombstone_retention
from processor.kafka.clients import admin_client, partitions_of
from processor.kafka.progress import list_offsets
from processor.records import Offset, Partition, TopicPartition
from processor.runtime.commands import TaskOpened
from processor.state.shared import GlobalSpec, Part, ReadOnlyStore, SharedStore
from processor.state.store import outlived
from processor.storage.state_dir import destroy
from processor.topology.plan import Layout, Plan, StoreId
from processor.worker.channel import Channel, RestoreStatus
from processor.worker.follower import Follower, follower
from processor.worker.spec import WorkerSpec
from processor.worker.stores import StoreOpener


def drop_former(layout: Layout, state_dir: Path) -> None:
    """Drops the copies of slots that are gone since the application was rescaled.

    One that is still open is dropped at the next start.

    Raises:
        StateError: The state folder can't be changed.
    """
    for _, table in layout.plan.global_tables:
        for folder in (state_dir / layout.plan.application / table.name).glob("*"):
            if folder.name.isdigit() and int(folder.name) >= layout.slots:
                with contextlib.suppress(StoreLocked):
                    destroy(folder)


@dataclass(frozen=True)
class _Checked:
    """Leaves out of a partition's records what can't be decoded."""

    partition: Partition
    table: GlobalSpec[Any, Any]
    channel: Channel

    def changes(
        self, keys: Sequence[bytes | None], values: Sequence[bytes | None]
    ) -> Mapping[bytes, bytes | None]:
        """What steps can read: each key's last record that can be decoded."""
        spec = self.table.store
        rows = [(key, value) for key, value in zip(keys, values, strict=True) if key is not None]
        if len(rows) < len(keys):
            self._report(ValueError("a record has no key"))
        if spec.key.registered is None and spec.value.registered is None:
            _, faults = attempt(self._decode, rows)
            for _, error in faults:
                self._report(error)
            bad = {row for row, _ in faults}
            rows = [each for row, each in enumerate(rows) if row not in bad]
        return dict(rows)

    def _decode(self, row: tuple[bytes, bytes | None]) -> None:
        key, value = row
        self.table.store.key.decode(key)
        if value is not None:
            self.table.store.value.decode(value)

    def _report(self, error: Exception) -> None:
        text = f"{self.table.topic}, partition {self.partition}: {error}"
        self.channel.log_seldom("left out of a global table", text)


class GlobalTables:
    """The global tables of one worker, kept up to date by a thread.

    Args:
        spec: The slot's work.
        plan: The topology's.
        stores: Opens and holds the stores.
        channel: To report progress.
    """

    def __init__(self, spec: WorkerSpec, plan: Plan, stores: StoreOpener, channel: Channel) -> None:
        self._spec = spec
        self._tables = plan.global_tables
        self._stores = stores
        self._channel = channel
        self._error: Exception | None = None
        self._follower: Follower | None = None
        self._parts: dict[TopicPartition, Part] = {}
        self._checked: dict[TopicPartition, _Checked] = {}
        self._waiting: list[TaskOpened] = []
        self._stopped = False
        self._ready = not self._tables
        self.readers: dict[str, ReadOnlyStore[Any, Any]] = {}
        """The tables by name, once they are ready."""
        self._thread = Thread(target=self._run, name="global-tables", daemon=True)
        if self._tables:
            self._thread.start()

    def is_ready(self) -> bool:
        """Whether all tables have once been read to their ends.

        Raises:
            KprocError: They can't be read.
        """
        if self._error is not None:
            raise self._error
        return self._ready

    def complete(self, opened: Iterable[TaskOpened]) -> list[TaskOpened]:
        """Tasks that are ready, with the tables; until these are ready, too, they wait.

        Raises:
            KprocError: The tables can't be read.
        """
        self._waiting += opened
        if not self.is_ready():
            return []
        tasks, self._waiting = self._waiting, []
        return [replace(each, shared=self.readers) for each in tasks]

    def status(self, stores: RestoreStatus | None) -> RestoreStatus | None:
        """How far these stores and the tables are, None when they are all at their ends."""
        tables = None if self._follower is None or self._ready else self._follower.status()
        return stores if tables is None else tables.joined(stores)

    def close(self) -> None:
        """Ends the thread; the stores stay open."""
        self._stopped = True
        if self._tables:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._follow(follower(self._spec, self._channel))
        except Exception as error:  # noqa: BLE001 - the loop of the worker raises it
            self._error = error

    def _follow(self, follower: Follower) -> None:
        admin = admin_client(self._spec.clients.kafka)
        with contextlib.closing(follower):
            for table in self._tables:
                self._open(table, admin, follower)
            self._follower = follower
            while not self._stopped:
                for source in follower.poll(hurry=not self._ready):
                    self._skip(source, admin, follower)
                self._ready = self._ready or all(map(follower.is_done, self._parts))

    def _open(self, table: GlobalSpec[Any, Any], admin: Any, follower: Follower) -> None:
        count = partitions_of(self._spec.clients.kafka, table.topic)
        sources = [TopicPartition(table.topic, Partition(number)) for number in range(count)]
        firsts = list_offsets(admin, sources, OffsetSpec.earliest())
        # What others have not committed yet may take them long: tasks don't wait for it.
        ends = list_offsets(admin, sources, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)
        shared = self._store(table, firsts, ends, admin)
        for source in sources:
            part = self._parts[source] = Part(shared, source.partition)
            checked = self._checked[source] = _Checked(source.partition, table, self._channel)
            if part.position < firsts[source]:
                part.write({}, firsts[source])
            follower.add(source, part, ends[source], checked.changes)
        self.readers[table.store.name] = ReadOnlyStore(table.store, shared)

    def _store(
        self,
        table: GlobalSpec[Any, Any],
        firsts: Mapping[TopicPartition, Offset],
        ends: Mapping[TopicPartition, Offset],
        admin: Any,
    ) -> SharedStore:
        """The table's store as it is, or a new one where the topic can't bring it up to date."""
        store = StoreId(table.store.name, Partition(self._spec.slot))
        opened = self._stores.make(table.store, store)
        shared = SharedStore(opened)
        positions = {source: shared.position(source.partition) for source in ends}
        if not any(positions.values()):
            return shared
        behind = sum(ends[source] - position for source, position in positions.items())
        age = self._stores.age(opened)
        retention = tombstone_retention(admin, table.topic)
        lost = any(not firsts[each] <= positions[each] <= ends[each] for each in positions)
        if lost or outlived(behind, int(age * 1000), retention):
            reason = "records of its topic are gone that it has not seen"
            return SharedStore(self._stores.recreate(table.store, store, reason))
        return shared

    def _skip(self, source: TopicPartition, admin: Any, follower: Follower) -> None:
        """Goes on from the first record that is there, where some were deleted unread."""
        first = list_offsets(admin, [source], OffsetSpec.earliest())[source]
        follower.release(source)
        self._channel.log(
            "warning", "records were deleted unread", topic=str(source), goes_on_at=first
        )
        part = self._parts[source]
        part.write({}, first)
        follower.add(source, part, first, self._checked[source].changes)
