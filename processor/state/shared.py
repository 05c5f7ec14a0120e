"""Global tables: one store with all partitions of a topic, which every task reads and none writes.

Owns how positions and values share the store, and the typed view that steps have. Knows no client:
who follows the topic writes through `part`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Generic, NamedTuple, overload

from processor.records import K, Offset, Partition, V
from processor.state.keyvalue import StoreSpec
from processor.state.store import Page, Store

_VALUE, _POSITION = b"v", b"p"
_AFTER_VALUES = b"w"


class GlobalSpec(NamedTuple, Generic[K, V]):
    """A global table as the topology names it: the store, and the topic that it holds."""

    topic: str
    store: StoreSpec[K, V]


class SharedStore:
    """A store that one thread writes, partition by partition, while others read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = Lock()  # a store in memory must not change during a scan
        self._positions: dict[Partition, Offset] = {}

    def part(self, partition: Partition) -> "Part":
        """What follows one partition of the topic writes here."""
        return Part(self, partition)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key, None where there is none."""
        return self._store.get_many([_VALUE + key for key in keys])

    def scan(self, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Keys from `start` to before `end` (None: to the last) with values, in byte order."""
        last = _AFTER_VALUES if end is None else _VALUE + end
        with self._lock:
            found = list(self._store.scan(_VALUE + start, last))
        return ((key[1:], data) for key, data in found)

    def peek_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `get_many`, from any thread.

        Raises:
            StoreAway: The store is closed.
        """
        return self._store.peek_many([_VALUE + key for key in keys])

    def peek(self, start: bytes, end: bytes | None, most: int) -> Page:
        """The first so many rows of a `scan`, from any thread.

        Raises:
            StoreAway: The store is closed.
        """
        last = _AFTER_VALUES if end is None else _VALUE + end
        rows, follows = self._store.peek(_VALUE + start, last, most)
        return Page([(key[1:], data) for key, data in rows], follows and follows[1:])

    def position(self, partition: Partition) -> Offset:
        """The next offset to read of a partition."""
        if partition not in self._positions:
            (data,) = self._store.get_many([_position_key(partition)])
            self._positions[partition] = Offset(int.from_bytes(data or b"", "big"))
        return self._positions[partition]

    def write(
        self, partition: Partition, changes: Mapping[bytes, bytes | None], position: Offset
    ) -> None:
        """Applies all changes (None deletes) and the partition's position, or nothing of it."""
        self._positions[partition] = position
        rows: dict[bytes, bytes | None] = {_VALUE + key: data for key, data in changes.items()}
        rows[_position_key(partition)] = position.to_bytes(8, "big")
        with self._lock:
            self._store.write(rows, Offset(self._store.position + 1))


@dataclass(frozen=True)
class Part:
    """One partition's place in a shared store, for who replays the partition: see `Store`."""

    shared: SharedStore
    partition: Partition

    @property
    def position(self) -> Offset:
        """The next offset to read."""
        return self.shared.position(self.partition)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key in any partition, None where there is none."""
        return self.shared.get_many(keys)

    def scan(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys of all partitions with values, in byte order."""
        found = list(self.shared.scan(start, end))
        return iter(found[::-1] if reverse else found)

    def peek_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `get_many`, from any thread."""
        return self.shared.peek_many(keys)

    def peek(self, start: bytes, end: bytes | None, most: int) -> Page:
        """The first so many rows of a `scan`, from any thread."""
        return self.shared.peek(start, end, most)

    def write(self, changes: Mapping[bytes, bytes | None], position: Offset) -> None:
        """Applies all changes (None deletes) and the position, or nothing of it."""
        self.shared.write(self.partition, changes, position)

    def begin_restore(self, records: int) -> None:
        """Nothing to prepare: others read meanwhile."""

    def end_restore(self) -> None:
        """Nothing to finish."""

    def flush(self) -> None:
        """The store has its own time for that."""

    def close(self) -> None:
        """The other partitions go on."""


class ReadOnlyStore(Generic[K, V]):
    """A global table as steps see it: as far as it has been read by now.

    Args:
        spec: The table's.
        shared: Where it is.
    """

    def __init__(self, spec: StoreSpec[K, V], shared: SharedStore) -> None:
        self.spec = spec
        self.shared = shared

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get(self, key: K, default: V) -> V: ...
    def get(self, key: K, default: V | None = None) -> V | None:
        """The key's value, or the default."""
        (value,) = self.get_many([key])
        return default if value is None else value

    def get_many(self, keys: Sequence[K]) -> list[V | None]:
        """The values of the keys, None where there is none."""
        return self.read(list(map(self.spec.key.encode, keys)))

    def __contains__(self, key: K) -> bool:
        return self.get(key) is not None

    def items(self, start: K | None = None, end: K | None = None) -> Iterator[tuple[K, V]]:
        """Keys from `start` to before `end` with their values, in order of the keys' bytes."""
        spec = self.spec
        first = b"" if start is None else spec.key.encode(start)
        last = None if end is None else spec.key.encode(end)
        for key, data in self.shared.scan(first, last):
            yield spec.key.decode(key), spec.value.decode(data)

    def read(self, keys: Sequence[bytes]) -> list[V | None]:
        """The values of the encoded keys, None where there is none; a copy for each key given."""
        decode = self.spec.value.decode
        found = self.shared.get_many(keys)
        return [None if data is None else decode(data) for data in found]


def _position_key(partition: Partition) -> bytes:
    return _POSITION + partition.to_bytes(4, "big")
