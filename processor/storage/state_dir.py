"""The state folder: where each store lies, who may open it, and what it was written with.

    <state_dir>/<application>/<store>/<partition>/
        lock          held by the process that has the store open; has its pid
        store.json    format version, what the store's bytes mean, and the id of its changelog
        data/         RocksDB's own files
        download/     a snapshot on its way to be data/
        snapshot/     a snapshot of data/ on its way to object storage

Owns locking, checking and dropping of a store's folder; `storage.rocksdb` owns what is in data/.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from processor.errors import StateError, StoreCorrupt, StoreLocked
from processor.storage.rocksdb import RocksResources, RocksStore

DOWNLOAD, SNAPSHOT = "download", "snapshot"
CHANGELOG = "changelog"
"""What store.json calls the id of the topic that the store is made of."""

FORMAT = 2
"""Version of a store's folder; counted up when an older kproc could not read a newer one's."""


def store_directory(state_dir: Path, application: str, store: str, partition: int) -> Path:
    """Where a store of a task lies.

    By the store's name and not by the task's, which changes when other parts of the topology do.
    """
    return state_dir / application / store / str(partition)


def open_store(
    directory: Path, meta: Mapping[str, str], resources: RocksResources, changelog: str = ""
) -> RocksStore:
    """Opens the store in this folder, or makes a new one, after everything is checked.

    Args:
        directory: the store's own folder; missing parents are made.
        meta: what the topology wants the store to be, e.g. `{"key": "text", "value": "int64"}`.
        resources: what the stores of this process share.
        changelog: the id of the topic that its position is a position in; empty if not known.

    Raises:
        StoreLocked: another process, or this one, has the store open.
        StoreCorrupt: the store can't be read, or is of another changelog: `destroy` it, open it
            again and restore it.
        StateError: it was written with another meta, or the folder can't be used. Nothing in
            the folder has changed then.
    """
    with _os_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        lock = _lock(directory)
    try:
        with _os_errors(directory):
            _check_meta(directory, dict(meta), changelog)
            _clear(directory)
        return RocksStore(directory / "data", resources, release=lambda: os.close(lock))
    except BaseException:
        os.close(lock)
        raise


def has_store(directory: Path) -> bool:
    """Whether there is a store in this folder, in whatever condition."""
    return (directory / "data").exists()


def install_store(
    directory: Path, meta: Mapping[str, str], fill: Callable[[Path], None], changelog: str = ""
) -> None:
    """Puts a store that comes from elsewhere in place: all of it or, whatever happens, nothing.

    Args:
        directory: The store's own folder, without a store.
        meta: As for `open_store`.
        fill: Puts RocksDB's files into the folder given to it, or raises.
        changelog: As for `open_store`.

    Raises:
        StoreLocked: A process has the store open.
        StateError: The folder can't be used, or there is a store with another meta in it.
    """
    with _os_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        lock = _lock(directory)
        try:
            _check_meta(directory, dict(meta), changelog)
            _clear(directory)
            (directory / DOWNLOAD).mkdir()
            fill(directory / DOWNLOAD)
            _sync(directory / DOWNLOAD)
            (directory / DOWNLOAD).rename(directory / "data")
            _sync(directory)
        finally:
            _clear(directory)
            os.close(lock)


def destroy(directory: Path) -> None:
    """Drops the store in this folder; what is not there is no error. The lock file stays.

    Raises:
        StoreLocked: a process has the store open.
        StateError: the folder can't be changed.
    """
    if not directory.exists():
        return
    with _os_errors(directory):
        lock = _lock(directory)
        try:
            # Data first: a folder without meta whose data is incomplete counts as corrupt.
            if (directory / "data").exists():
                shutil.rmtree(directory / "data")
            (directory / "store.json").unlink(missing_ok=True)
        finally:
            os.close(lock)


def _lock(directory: Path) -> int:
    """Takes the folder's lock; it ends when the returned file is closed, or with the process."""
    file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(file, 20, 0).decode(errors="replace") or "unknown"
        os.close(file)
        raise StoreLocked(
            f"the store {directory} is open in process {holder}: wait for that process to end,"
            " or end it"
        ) from None
    os.ftruncate(file, 0)
    os.pwrite(file, str(os.getpid()).encode(), 0)
    return file


def _check_meta(directory: Path, wanted: dict[str, str], changelog: str) -> None:
    path = directory / "store.json"
    expected: dict[str, str | int] = {"format": FORMAT, **wanted}
    of = {CHANGELOG: changelog} if changelog else {}
    has_data = (directory / "data").exists()
    if not path.exists():
        if has_data:
            raise StoreCorrupt(f"the store {directory} has data but no store.json: drop it")
        _write_atomically(path, msgspec.json.encode({**expected, **of}))
        return None
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, str | int])
    except msgspec.DecodeError as error:
        raise StoreCorrupt(f"{path} is not readable ({error}): drop the store") from error
    former = found.pop(CHANGELOG, "")
    if found == expected:
        if former == changelog or not changelog:
            return None
        if former and has_data:
            raise StoreCorrupt(
                f"the store {directory} is of another changelog of that name, as after the topic "
                "was created again, or of another cluster: it is rebuilt from its changelog"
            )
        return _write_atomically(path, msgspec.json.encode({**expected, **of}))
    version = found.get("format")
    if isinstance(version, int) and version < FORMAT:
        raise StoreCorrupt(
            f"the store {directory} is from an older kproc: it is rebuilt from its changelog"
        )
    differences = ", ".join(
        f"{name} is {found.get(name)!r} and should be {expected.get(name)!r}"
        for name in dict.fromkeys([*found, *expected])
        if found.get(name) != expected.get(name)
    )
    raise StateError(
        f"the store {directory} does not fit the topology: {differences}. Nothing was changed."
        " Go back to the topology that wrote it, or give the store another name to start over"
    )


def _write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync(path.parent)


def _clear(directory: Path) -> None:
    """Removes what an earlier process has left half done."""
    for name in (DOWNLOAD, SNAPSHOT):
        # Whose snapshot it is may be removing it, too.
        shutil.rmtree(directory / name, ignore_errors=True)


def _sync(directory: Path) -> None:
    folder = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _os_errors(directory: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise StateError(
            f"the state folder {directory} can't be used: {error.strerror or error}. Let this user"
            " write there and see that its disk has space, or choose another state folder"
        ) from error
