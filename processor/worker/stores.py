"""Opens the stores of a worker, and holds them until their tasks are closed."""

import contextlib
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple, TypeVar

from processor.errors import StateError, StateMismatch, StoreCorrupt, StoreLocked
from processor.kafka.broker_clock import BrokerClock
from processor.records import Offset
from processor.state.keyvalue import StoreSpec
from processor.state.store import MemoryStore, Store, outlived
from processor.storage.rocksdb import RocksResources, RocksStore
from processor.storage.state_dir import (
    SNAPSHOT,
    destroy,
    has_store,
    install_store,
    open_store,
    store_directory,
)
from processor.topology.plan import StoreId
from processor.worker.channel import Channel
from processor.worker.spec import WorkerSpec

_FRESH = 60.0
"""Seconds for which every changelog keeps tombstones."""

_LOCK_PATIENCE = 10.0
"""Seconds for a predecessor that is being killed to let go of its stores."""

R = TypeVar("R")


class Checkpoint(NamedTuple):
    """A copy of a store: where, its position, and a time, in ms, at which nothing came after it."""

    folder: Path
    position: Offset
    time: int


class StoreOpener:
    """The stores of a worker process.

    Args:
        spec: The slot's work.
        channel: To report stores that are rebuilt.
    """

    def __init__(self, spec: WorkerSpec, channel: Channel) -> None:
        self._spec = spec
        self._channel = channel
        self._resources: RocksResources | None = None
        self.clock = BrokerClock(spec.clock_offset)
        self._lock = Lock()
        self.stores: dict[StoreId, Store] = {}

    def find(
        self,
        spec: StoreSpec[Any, Any],
        store: StoreId,
        first: Offset,
        end: Offset,
        retention: Callable[[], int],
        begin: Offset | None = None,
    ) -> Store | None:
        """Opens a store that is on disk, whose changelog has offsets from `first` to before `end`.

        A store that can't be read, or that the changelog can't bring up to date any more, is
        dropped: then, as where there has been none, the answer is None. `retention` says for how
        many ms the changelog keeps tombstones. `begin` is from where on the changelog was whole; if
        records after that are gone, a store is kept that has them all.

        Raises:
            StateMismatch: It has not all that is gone from the changelog.
            StoreLocked: Another process does not let go of it.
            StateError: It belongs to another changelog or topology, or the disk is unusable.
        """
        directory = self._directory(store)
        if self._spec.state.store == "memory" or not has_store(directory):
            return None
        try:
            opened = self._open(spec, store)
        except StoreCorrupt as error:
            return self._rebuild(store, str(error))
        if opened.position > end:
            opened.close()
            raise StateError(
                f"store {store} is at offset {opened.position} of its changelog, which ends at "
                f"{end}: the changelog was deleted or created again. If the state may be lost, "
                f"delete the folder {directory}; else restore the topic"
            )
        whole = first if begin is None else begin
        if first > whole and whole <= opened.position < first and opened.position:
            # The last offset of a transaction is its marker's, of which a store need not know.
            if opened.position < end - self._spec.exactly_once:
                opened.close()
                raise StateMismatch(
                    f"store {store} is at offset {opened.position} of its changelog, which ends at "
                    f"{end} and begins at {first}: records that it has not seen were deleted. "
                    f"Nothing was changed. {lost_advice(store)}"
                )
            # At once: what makes the changelog whole moves its end on, whatever happens then.
            opened.write({}, end)
            opened.flush()
        if 0 < opened.position < first:
            opened.close()
            if begin:
                reason = "its changelog was emptied since by kproc reset, or made whole again"
                return self._rebuild(store, reason, "info")
            reason = f"its position {opened.position} is gone from the changelog"
            return self._rebuild(store, reason)
        age = self.age(opened)
        behind = end - opened.position
        # The broker is asked only where its answer matters.
        if abs(age) > _FRESH and behind > 1 and outlived(behind, int(age * 1000), retention()):
            opened.close()
            reason = f"it is {age / 3600:.1f} h old, and deletions may be gone from the changelog"
            if age < 0:
                reason = "it is from the future: clocks were set, and nobody knows how old it is"
            return self._rebuild(store, reason)
        self.stores[store] = opened
        return opened

    def age(self, store: Store) -> float:
        """Seconds since it was up to date, by the brokers' time; 0 where it lives in memory."""
        return self.clock.now() - store.written if isinstance(store, RocksStore) else 0.0

    def folders(self) -> list[Path]:
        """Where the open stores lie; none where they are in memory."""
        if self._spec.state.store == "memory":
            return []
        return [self._directory(store) for store in list(self.stores)]

    def make(self, spec: StoreSpec[Any, Any], store: StoreId) -> Store:
        """Opens a store as it is, or a new one where there is none that can be used.

        Raises:
            StateError: The folder can't be used.
        """
        try:
            opened = self._open(spec, store)
        except StoreCorrupt as error:
            self._rebuild(store, str(error))
            opened = self._open(spec, store)
        self.stores[store] = opened
        return opened

    def recreate(self, spec: StoreSpec[Any, Any], store: StoreId, reason: str) -> Store:
        """Drops a store that is open, and makes it as if it had never been there.

        Raises:
            StateError: The folder can't be used.
        """
        self.close(store)
        self._rebuild(store, reason)
        return self.make(spec, store)

    def install(
        self, spec: StoreSpec[Any, Any], store: StoreId, fill: Callable[[Path], None]
    ) -> None:
        """Has a store's files put in place that come from elsewhere; see `install_store`.

        Raises:
            StateError: The folder can't be used; and whatever `fill` raises.
        """
        directory = self._directory(store)
        self._unlocked(
            lambda: install_store(directory, meta_of(spec), fill, self._changelog(store))
        )

    def checkpoint(self, store: StoreId) -> Checkpoint | None:
        """A copy of a store as it is now, in its folder; None if it is not open, or in memory.

        Raises:
            StateError: The disk is unusable, or the store has been closed.
        """
        opened = self.stores.get(store)
        if not isinstance(opened, RocksStore):
            return None
        folder = self._directory(store) / SNAPSHOT
        if folder.exists():
            shutil.rmtree(folder)
        time = int(opened.written * 1000)
        return Checkpoint(folder, opened.checkpoint(folder), time)

    def close(self, store: StoreId) -> None:
        """Flushes and closes a store, if it is open."""
        if store in self.stores:
            self.stores.pop(store).close()

    def drop(self, error: StoreCorrupt) -> None:
        """Drops the store that turned out to be unreadable while it was in use.

        Raises:
            StoreCorrupt: It is none of those that are open here.
        """
        for store in self.stores:
            directory = self._directory(store)
            if error.path is not None and error.path.is_relative_to(directory):
                with contextlib.suppress(StateError):  # its last flush may fail like its reads
                    self.close(store)
                return self._rebuild(store, str(error))
        raise error

    def close_all(self) -> None:
        """Closes everything."""
        for store in list(self.stores):
            self.close(store)
        if self._resources is not None:
            self._resources.close()

    def _open(self, spec: StoreSpec[Any, Any], store: StoreId) -> Store:
        if self._spec.state.store == "memory":
            return MemoryStore()
        directory = self._directory(store)
        return self._unlocked(
            lambda: open_store(directory, meta_of(spec), self._shared(), self._changelog(store))
        )

    def _unlocked(self, call: Callable[[], R]) -> R:
        """The result of a call that needs a store's lock."""
        deadline = time.monotonic() + _LOCK_PATIENCE
        while True:
            try:
                return call()
            except StoreLocked as error:
                if time.monotonic() > deadline:
                    raise
                self._channel.log_seldom("store locked", str(error))
                time.sleep(0.05)

    def _rebuild(
        self, store: StoreId, reason: str, level: Literal["info", "warning"] = "warning"
    ) -> None:
        self._channel.log(level, "store is rebuilt", store=str(store), reason=reason)
        destroy(self._directory(store))

    def _shared(self) -> RocksResources:
        with self._lock:  # tasks' stores and global tables are opened in threads of their own
            if self._resources is None:
                given = self._spec.state
                self._resources = RocksResources(
                    given.block_cache_bytes,
                    given.write_buffer_bytes,
                    given.flush_interval / 1000,
                    self.clock.now,
                )
            return self._resources

    def _changelog(self, store: StoreId) -> str:
        return self._spec.store_ids.get(store.name, "")

    def _directory(self, store: StoreId) -> Path:
        folder = Path(self._spec.state.folder)
        return store_directory(folder, self._spec.application, store.name, store.partition)


def lost_advice(store: StoreId) -> str:
    """What to do where a part of the state is gone from its changelog."""
    return (
        "If another node has the complete store on its disk, start that one: it makes the "
        f"changelog whole again. To begin empty: kproc reset FILE.py --store {store.name}"
    )


def meta_of(spec: StoreSpec[Any, Any]) -> Mapping[str, str]:
    """What a store's bytes mean."""
    return {"key": spec.key.name, "value": spec.value.name}
