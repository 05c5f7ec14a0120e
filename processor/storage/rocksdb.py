"""One store on disk, in RocksDB by way of rocksdict.

Owns how values and position lie in RocksDB, and the background flush; `storage.rocks_options` owns
its tuning and what its errors mean. Knows nothing of state folders, locks between processes
(`storage.state_dir`) or changelogs.

Values and changelog position are in one column family and arrive in one write batch, with the
write-ahead log off: memtables reach disk whole and in order, so what a crash leaves is the store as
it was at some earlier position, and never a mixture.

The position has the empty key; `storage.rocks_scan` says how users' keys make room for it.
"""

import atexit
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from threading import Event, Lock, Thread
from time import monotonic, sleep, time
from typing import Any, cast
from weakref import WeakSet

from rocksdict import (
    AccessType,
    Cache,
    Checkpoint,
    DbClosedError,
    Options,
    Rdict,
    WriteBatch,
    WriteBufferManager,
)

from processor.errors import StateError, StoreAway, StoreCorrupt
from processor.records import Offset
from processor.state.store import Page, page
from processor.storage.rocks_options import MEMTABLES, MIB, store_options, translated, write_options
from processor.storage.rocks_scan import Cursor, is_shifted, shift

BULK_RECORDS = 100_000
"""From this many records on, a restore is worth reopening the store twice (20 ms each)."""

_QUIET = 3600.0
"""Seconds without a write after which the next one reaches disk at once."""

_POSITION_KEY = b""
_POSITION = struct.Struct(">qq")
"""Offset, and the time of `written` in ms."""
_SHORT_FLUSH, _FLUSHES = 0.02, 5
_FILES_AT_ONCE = 16


class RocksResources:
    """What all stores of one process share: block cache, memtable budget and background flush.

    The stores' memory is about `cache_bytes` + `write_buffer_bytes` plus 2 MiB per open store,
    however much they hold: indexes and filters are partitioned and live in the cache, too.

    Every `flush_seconds` the stores written since then are flushed, so that the position of a
    quiet store reaches disk. What fails there is raised by the next call to that store.
    """

    def __init__(
        self,
        cache_bytes: int = 64 * MIB,
        write_buffer_bytes: int = 64 * MIB,
        flush_seconds: float = 10.0,
        now: Callable[[], float] = time,
    ) -> None:
        self.now = now
        """The time by which stores are written, in seconds since 1970."""
        self.cache = Cache(cache_bytes)
        self.write_buffers = WriteBufferManager(write_buffer_bytes, allow_stall=False)
        self._flush_seconds = flush_seconds
        self._stores: set[RocksStore] = set()
        self._lock = Lock()
        self._stopped = Event()
        self._thread = Thread(target=self._flush_now_and_then, name="store-flush", daemon=True)
        self._thread.start()
        # A thread that the interpreter's end meets inside RocksDB would abort the process.
        atexit.register(self.close)

    def add(self, store: "RocksStore") -> None:
        """Flushes this store from now on."""
        with self._lock:
            self._stores.add(store)

    def remove(self, store: "RocksStore") -> None:
        """Forgets this store."""
        with self._lock:
            self._stores.discard(store)

    def close(self) -> None:
        """Ends the background flush; close the stores first."""
        self._stopped.set()
        self._thread.join()
        atexit.unregister(self.close)

    def _flush_now_and_then(self) -> None:
        while not self._stopped.wait(self._flush_seconds):
            with self._lock:
                stores = list(self._stores)
            for store in stores:
                store.flush_in_background()


class RocksStore:
    """A store on disk; see `processor.state.store.Store`.

    One thread uses it at a time; the background flush of its resources, and those that only peek,
    aside. `release` is called
    once RocksDB has let go of the folder, also when its last flush failed.

    Raises:
        StoreCorrupt: what is in the folder is no complete store.
        StateError: the folder can't be used; the text says why.
    """

    def __init__(
        self, path: Path, resources: RocksResources, release: Callable[[], None] = lambda: None
    ) -> None:
        self._path = path
        self._resources = resources
        self._release = release
        self._cursors: WeakSet[Cursor] = WeakSet()
        # Held around what replaces or closes the database, which a flush must not meet.
        self._lock = Lock()
        # Held by other threads that read, and around what takes the database away from them.
        self._gate = Lock()
        self._dirty = False
        self._behind = False
        self._failure: Exception | None = None
        self._restoring = False
        self._closed = False
        # A folder that exists without a database in it is a damaged store, not a new one.
        self._db = self._open(create=not path.exists())
        try:
            self._position, self._written = _read_position(self._path, self._db, resources.now())
        except StateError:
            self._db.close()
            raise
        resources.add(self)

    @property
    def position(self) -> Offset:
        """The next changelog offset to replay; 0 for a store that was never written."""
        return self._position

    @property
    def written(self) -> float:
        """When it was last known to be up to date, or was made; in seconds since 1970."""
        return self._written

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key, None where there is none."""
        self._raise_failure()
        stored = list(keys)
        if stored and is_shifted(min(stored)):
            stored = list(map(shift, stored))
        try:
            return cast("list[bytes | None]", self._db.get(cast("Any", stored)))
        except Exception as error:
            raise translated(self._path, error) from error

    def scan(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys from `start` to before `end` with values, as they were when the scan began."""
        self._raise_failure()
        upper = None if end is None else shift(end)
        cursor = Cursor(self._path, self._db, shift(start), upper, reverse=reverse)
        self._cursors.add(cursor)
        return chain.from_iterable(cursor)

    def peek_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `get_many`, from any thread.

        Raises:
            StoreAway: It is closed, or being restored.
        """
        with self._gate:
            self._check_there()
            return self.get_many(keys)

    def peek(self, start: bytes, end: bytes | None, most: int) -> Page:
        """The first so many rows of a `scan`, from any thread; caches stay as they are.

        Raises:
            StoreAway: It is closed, or being restored.
        """
        with self._gate:
            self._check_there()
            upper = None if end is None else shift(end)
            cursor = Cursor(
                self._path, self._db, shift(start), upper, reverse=False, fill_cache=False
            )
            try:
                return page(chain.from_iterable(cursor), most)
            finally:
                cursor.close()

    def write(self, changes: Mapping[bytes, bytes | None], position: Offset) -> None:
        """Applies all changes (None deletes) and the position, or nothing of it."""
        self._raise_failure()
        if changes and is_shifted(min(changes)):
            changes = {shift(key): value for key, value in changes.items()}
        batch = WriteBatch(raw_mode=True)
        for key, value in changes.items():
            if value is None:
                del batch[key]
            else:
                batch[key] = value
        written = self._written if self._behind else self._resources.now()
        batch[_POSITION_KEY] = _POSITION.pack(position, int(written * 1000))
        try:
            self._await_memtable()
            self._db.write(batch)
        except Exception as error:
            raise translated(self._path, error) from error
        quiet, self._written = written - self._written, written
        self._position = position
        self._dirty = True
        if quiet > _QUIET:  # else a crash would leave a store that looks long outdated
            self.flush()

    def begin_restore(self, records: int) -> None:
        """Makes about this many records to come cheap to write, and reads dear until the end.

        Until then the store counts as up to date as it was before.
        A memtable that is an unsorted vector takes records several times faster than a skip list,
        and is sorted by RocksDB's flush thread, beside whatever Python does.
        """
        self._behind = True
        if records >= BULK_RECORDS and not self._restoring:
            self._reopen(restoring=True)

    def end_restore(self) -> None:
        """Makes the store ready for reads after `begin_restore`."""
        self._behind = False
        if self._restoring:
            self._reopen(restoring=False)

    def flush(self) -> None:
        """Brings what was written to disk, so that a crash loses none of it."""
        self._raise_failure()
        with self._lock:
            self._flush()

    def flush_in_background(self) -> None:
        """Flushes if anything was written since; an error is kept for the next call."""
        try:
            with self._lock:
                # Whoever closes it flushes it, and must not learn that it is closed.
                if self._dirty and not self._closed and self._failure is None:
                    self._flush()
        except Exception as error:  # noqa: BLE001 - whatever it is, the store's user gets it
            self._failure = error

    def checkpoint(self, folder: Path) -> Offset:
        """Makes a copy of the store as it is, out of hard links; any thread may ask for it.

        Args:
            folder: To be made, on the same file system.

        Returns:
            The copy's position.

        Raises:
            StateError: The store is closed, or the disk is unusable.
        """
        with self._lock:
            self._raise_failure()
            # RocksDB flushes again with the GIL held: what is left to it must be little.
            for _ in range(_FLUSHES):
                began = monotonic()
                self._flush()
                if monotonic() - began < _SHORT_FLUSH:
                    break
            try:
                Checkpoint(self._db).create_checkpoint(str(folder))
            except Exception as error:
                raise translated(self._path, error) from error
        return position_in(folder)

    def close(self) -> None:
        """Flushes and gives the store's resources back; it can't be used any more."""
        if self._closed:
            return
        self._closed = True
        self._resources.remove(self)
        try:
            with self._lock, self._gate:
                self._shut()
        finally:
            self._release()
        self._raise_failure()

    def _open(self, *, create: bool) -> Rdict:
        options = store_options(
            self._resources.cache, self._resources.write_buffers, restoring=self._restoring
        )
        options.create_if_missing(create)
        try:
            if create:
                self._path.mkdir(parents=True)
            # Without column_families rocksdict takes the table options of the last time.
            database = Rdict(str(self._path), options, column_families={"default": options})
        except Exception as error:
            raise translated(self._path, error) from error
        database.set_write_options(write_options())
        return database

    def _await_memtable(self) -> None:
        # RocksDB would wait, too, but with the GIL held. After a failed flush the write raises.
        number = self._property("rocksdb.num-immutable-mem-table")
        while number >= MEMTABLES - 1 and not self._property("rocksdb.background-errors"):
            sleep(0.001)
            number = self._property("rocksdb.num-immutable-mem-table")

    def _property(self, name: str) -> int:
        return self._db.property_int_value(name) or 0

    def _reopen(self, *, restoring: bool) -> None:
        self._raise_failure()
        with self._lock, self._gate:
            self._shut()
            self._restoring = restoring
            self._db = self._open(create=False)

    def _flush(self) -> None:
        self._dirty = False
        try:
            self._db.flush()
        except Exception as error:
            self._dirty = True
            raise translated(self._path, error) from error

    def _shut(self) -> None:
        # A living iterator would keep the database open.
        for cursor in self._cursors:
            cursor.close()
        try:
            self._db.close()
        except DbClosedError:
            return
        except Exception as error:
            raise translated(self._path, error) from error

    def _check_there(self) -> None:
        if self._closed or self._restoring:
            doing = "closed" if self._closed else "being restored"
            raise StoreAway(f"the store {self._path} is {doing}: ask again in a moment")
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


def position_in(folder: Path) -> Offset:
    """The position of the store in a folder, which no process has open; nothing is changed there.

    Raises:
        StateError: There is no store that can be opened.
    """
    options = Options(raw_mode=True)
    options.set_max_open_files(_FILES_AT_ONCE)  # by default all are opened, with the GIL held
    try:
        database = Rdict(str(folder), options, access_type=AccessType.read_only())
    except Exception as error:
        raise translated(folder, error) from error
    try:
        return _read_position(folder, database, 0.0)[0]
    finally:
        database.close()


def _read_position(path: Path, database: Rdict, now: float) -> tuple[Offset, float]:
    """The position, and the time of `written`: now, for a new store."""
    try:
        stored = database.get(_POSITION_KEY)
    except Exception as error:
        raise translated(path, error) from error
    if stored is None:
        return Offset(0), now
    try:
        position, written = _POSITION.unpack(stored)
    except struct.error as error:
        raise StoreCorrupt(f"{path} has no position that can be read: drop the store") from error
    return Offset(position), written / 1000
