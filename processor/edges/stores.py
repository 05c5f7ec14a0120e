"""Opens the stores of a worker, and holds them until their tasks are closed."""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from processor.edges.channel import Channel
from processor.edges.rocksdb import RocksResources
from processor.edges.spec import WorkerSpec
from processor.edges.state_dir import destroy, open_store, store_directory
from processor.errors import StateError, StoreCorrupt, StoreLocked
from processor.records import Offset
from processor.state.keyvalue import StoreSpec
from processor.state.store import MemoryStore, Store
from processor.topology.plan import StoreId

_LOCK_PATIENCE = 10.0
"""Seconds for a predecessor that is being killed to let go of its stores."""


class StoreOpener:
    """The stores of a worker process.

    Args:
        spec: The slot's work.
        channel: To tell of stores that are rebuilt.
    """

    def __init__(self, spec: WorkerSpec, channel: Channel) -> None:
        self._spec = spec
        self._channel = channel
        self._resources: RocksResources | None = None
        self.stores: dict[StoreId, Store] = {}

    def open(self, spec: StoreSpec[Any, Any], store: StoreId, first: Offset, end: Offset) -> Store:
        """Opens a store, whose changelog has offsets from `first` to before `end`.

        A store that can't be read, or whose position is no longer in the changelog, is dropped: it
        is restored from the beginning.

        Raises:
            StoreLocked: Another process does not let go of it.
            StateError: It belongs to another changelog or topology, or the disk is unusable.
        """
        opened = self._open(spec, store)
        if opened.position > end:
            opened.close()
            raise StateError(
                f"store {store} is at offset {opened.position} of its changelog, which ends at "
                f"{end}: the changelog was deleted or made anew. If the state may be lost, delete "
                f"the folder {self._directory(store)}; else restore the topic"
            )
        if 0 < opened.position < first:
            opened.close()
            self._rebuild(store, f"its position {opened.position} is gone from the changelog")
            opened = self._open(spec, store)
        self.stores[store] = opened
        return opened

    def folders(self) -> list[Path]:
        """Where the open stores lie; none where they are in memory."""
        if self._spec.state_store == "memory":
            return []
        return [self._directory(store) for store in list(self.stores)]

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
        if self._spec.state_store == "memory":
            return MemoryStore()
        meta = {"key": spec.key.name, "value": spec.value.name}
        try:
            return self._open_unlocked(self._directory(store), meta)
        except StoreCorrupt as error:
            self._rebuild(store, str(error))
            return self._open_unlocked(self._directory(store), meta)

    def _open_unlocked(self, directory: Path, meta: Mapping[str, str]) -> Store:
        deadline = time.monotonic() + _LOCK_PATIENCE
        while True:
            try:
                return open_store(directory, meta, self._shared())
            except StoreLocked as error:
                if time.monotonic() > deadline:
                    raise
                self._channel.log_seldom("store locked", str(error))
                time.sleep(0.05)

    def _rebuild(self, store: StoreId, reason: str) -> None:
        self._channel.log("warning", "store is rebuilt", store=str(store), reason=reason)
        destroy(self._directory(store))

    def _shared(self) -> RocksResources:
        if self._resources is None:
            spec = self._spec
            self._resources = RocksResources(
                spec.block_cache_bytes, spec.write_buffer_bytes, spec.flush_interval / 1000
            )
        return self._resources

    def _directory(self, store: StoreId) -> Path:
        folder = Path(self._spec.state_dir)
        return store_directory(folder, self._spec.application, store.name, store.partition)
