"""Scans of a store in RocksDB, and how keys lie there.

The empty key is the position's. A user's key of n zero bytes (n from 0) is stored with n + 1 of
them, every other key as it is. These keys precede all others, and shift among themselves only: the
order stays, nothing collides, and a batch without such a key (its minimum shows) costs nothing.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from rocksdict import Rdict, RdictIter, ReadOptions

from processor.errors import StateError
from processor.storage.rocks_options import translated

_FIRST_CHUNK, _LAST_CHUNK = 32, 2048


class Cursor:
    """An iterator over one range of a store, in growing chunks, that its store can close."""

    def __init__(
        self,
        path: Path,
        database: Rdict,
        start: bytes,
        end: bytes | None,
        *,
        reverse: bool,
        fill_cache: bool = True,
    ) -> None:
        self._path = path
        self._start = start
        # RocksDB keeps a pointer into these bytes: they have to live as long as the iterator.
        self._end = end
        self._reverse = reverse
        self._size = _FIRST_CHUNK
        self._finished = False
        options = ReadOptions()
        cast("Any", options).fill_cache(fill_cache)  # as it is called; the stubs say otherwise
        if end is not None:
            options.set_iterate_upper_bound(end)
        try:
            self._iterator: RdictIter | None = database.iter(options)
        except Exception as error:
            raise translated(path, error) from error
        if reverse:
            self._iterator.seek_to_last()
        else:
            self._iterator.seek(start)

    def close(self) -> None:
        """Lets go of the database; a scan that goes on then raises."""
        self._iterator = None

    def __iter__(self) -> Iterator[list[tuple[bytes, bytes]]]:
        return self

    def __next__(self) -> list[tuple[bytes, bytes]]:
        if self._finished:
            raise StopIteration
        if self._iterator is None:
            raise StateError(f"the store {self._path} was closed during a scan: open it again")
        chunk = self._read(self._iterator)
        if len(chunk) < self._size:
            self._end_of_range(self._iterator)
        self._size = min(self._size * 2, _LAST_CHUNK)
        # The keys that are stored shifted are the first of all.
        if chunk and is_shifted(chunk[-1 if self._reverse else 0][0]):
            return [(_unshift(key), value) for key, value in chunk]
        return chunk

    def _read(self, iterator: RdictIter) -> list[tuple[bytes, bytes]]:
        get_key, get_value = iterator.key, iterator.value
        advance = iterator.prev if self._reverse else iterator.next
        chunk: list[tuple[bytes, bytes]] = []
        for _ in range(self._size):
            key = get_key()
            if key is None or key < self._start:
                break
            chunk.append((key, get_value()))
            advance()
        return chunk

    def _end_of_range(self, iterator: RdictIter) -> None:
        # At a block that it can't read an iterator ends as if nothing followed; its status has why.
        try:
            iterator.status()
        except Exception as error:
            raise translated(self._path, error) from error
        self._finished = True
        self._iterator = None


def is_shifted(key: bytes) -> bool:
    """Whether a key is stored as another one than it is, or is such another one."""
    return not key.strip(b"\0")


def shift(key: bytes) -> bytes:
    """The key as it is stored."""
    return key + b"\0" if is_shifted(key) else key


def _unshift(key: bytes) -> bytes:
    return key[:-1] if is_shifted(key) else key
