"""What a store of committed state must do, and the one that lives in memory.

A store holds the raw bytes of one store of one task. It knows nothing of serdes, topics or
transactions: the overlay above it decides what is committed; `storage.rocksdb` keeps it on disk.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import nsmallest
from typing import Final, NamedTuple, Protocol

from processor.records import Offset

PAGE_BYTES: Final = 2**20
"""Of keys and values, after which a page has no more rows."""

_SKEW = 60_000
"""Milliseconds by which clocks may differ."""


def outlived(behind: int, age: int, retention: int) -> bool:
    """Whether deletions may be gone from a changelog before a store has seen them.

    A tombstone is kept for `delete.retention.ms` (Kafka, topic configs); who has not read it by
    then keeps the value for ever. The last record of a partition is never compacted.

    Args:
        behind: Offsets between the store's position and the changelog's end.
        age: Milliseconds since the store was up to date; if it was in the future, some clock was
            wrong, and nobody knows.
        retention: The changelog's `delete.retention.ms`.
    """
    return behind > 1 and not -_SKEW <= age <= retention * 9 // 10


class Page(NamedTuple):
    """Rows of a scan, and the key from which the next page goes on; None: there are no more."""

    rows: Sequence[tuple[bytes, bytes]]
    next: bytes | None


def page(rows: Iterable[tuple[bytes, bytes]], most: int) -> Page:
    """The first so many rows, at least one, and no more than `PAGE_BYTES` have room for."""
    taken: list[tuple[bytes, bytes]] = []
    room = PAGE_BYTES
    for key, value in rows:
        if len(taken) == most or (taken and room <= 0):
            return Page(taken, key)
        taken.append((key, value))
        room -= len(key) + len(value)
    return Page(taken, None)


class Store(Protocol):
    """Committed state, and the changelog position that it stands for.

    Keys and values are bytes; the empty key is a key like any other. Every method may raise
    `StateError`; `StoreCorrupt` means that the store has to be dropped and restored.
    """

    @property
    def position(self) -> Offset:
        """The next changelog offset to replay; 0 for a store that was never written."""
        ...

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key, None where there is none."""
        ...

    def scan(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys from `start` to before `end` (None: to the last) with values, in byte order."""
        ...

    def peek_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `get_many`, from any thread.

        Raises:
            StoreAway: It is closed, or being restored.
        """
        ...

    def peek(self, start: bytes, end: bytes | None, most: int) -> Page:
        """The first so many rows of a `scan`, or fewer of `PAGE_BYTES`, from any thread.

        Raises:
            StoreAway: It is closed, or being restored.
        """
        ...

    def write(self, changes: Mapping[bytes, bytes | None], position: Offset) -> None:
        """Applies all changes (None deletes) and the position, or nothing of it."""
        ...

    def begin_restore(self, records: int) -> None:
        """The store is behind; about `records` are written until `end_restore`, hardly any read."""
        ...

    def end_restore(self) -> None:
        """Makes the store ready for reads after `begin_restore`."""
        ...

    def flush(self) -> None:
        """Brings what was written to disk, so that a crash loses none of it."""
        ...

    def close(self) -> None:
        """Flushes and gives the store's resources back; it can't be used any more."""
        ...


class MemoryStore:
    """A store that lives and dies with its process; what is lost is restored from the changelog."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._sorted: list[bytes] | None = []
        self._position = Offset(0)

    @property
    def position(self) -> Offset:
        """The next changelog offset to replay."""
        return self._position

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key, None where there is none."""
        return list(map(self._values.get, keys))

    def scan(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys from `start` to before `end` with values, as they were when the scan began."""
        if self._sorted is None:
            self._sorted = sorted(self._values)
        first = bisect_left(self._sorted, start)
        last = len(self._sorted) if end is None else bisect_left(self._sorted, end)
        keys = self._sorted[first:last]
        pairs = [(key, self._values[key]) for key in keys]
        return reversed(pairs) if reverse else iter(pairs)

    def peek_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `get_many`, from any thread."""
        return self.get_many(keys)

    def peek(self, start: bytes, end: bytes | None, most: int) -> Page:
        """The first so many rows of a `scan`, from any thread."""
        there = self._values.copy()  # at once: the worker's loop goes on to change them
        wanted = (key for key in there if key >= start and (end is None or key < end))
        return page(((key, there[key]) for key in nsmallest(most + 1, wanted)), most)

    def write(self, changes: Mapping[bytes, bytes | None], position: Offset) -> None:
        """Applies all changes (None deletes) and the position."""
        for key, value in changes.items():
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = value
        self._sorted = None
        self._position = position

    def begin_restore(self, records: int) -> None:
        """Nothing to prepare."""

    def end_restore(self) -> None:
        """Nothing to finish."""

    def flush(self) -> None:
        """Nothing to bring anywhere."""

    def close(self) -> None:
        """Nothing to give back."""
