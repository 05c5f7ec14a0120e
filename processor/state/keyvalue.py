"""Typed key-value stores: what a user's function sees of an overlay."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, cast, overload

from processor.attempt import attempt
from processor.errors import StateUnreadable
from processor.records import V2, K, V
from processor.serdes.base import Serde, decoded, encoded
from processor.state.overlay import Overlay

_SHOWN = 60
"""Bytes of a key in a message."""


@dataclass(frozen=True)
class StoreSpec(Generic[K, V]):
    """A store as the topology names it: unique in the application, kept in its changelog.

    Args:
        name: Of the store.
        key: The serde of its keys.
        value: The serde of its values.
    """

    name: str
    key: Serde[K]
    value: Serde[V]


class KeyValueStore(Generic[K, V]):
    """A store of one task: typed reads and writes inside the open transaction.

    What a read returns is a copy: changing it changes nothing until it is `put`. Keys are ordered
    by their bytes. A key or value that its serde refuses raises what the serde raises, and one that
    the changelog could not take raises `ValueError`.

    Args:
        spec: The store's.
        overlay: What is under it.
        max_bytes: Of a key and its value together.
    """

    def __init__(self, spec: StoreSpec[K, V], overlay: Overlay, max_bytes: int) -> None:
        self.spec = spec
        self._overlay = overlay
        self._max_bytes = max_bytes

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get(self, key: K, default: V) -> V: ...
    def get(self, key: K, default: V | None = None) -> V | None:
        """The key's value, or the default.

        In Kafka Streams: `KeyValueStore#get`.

        Args:
            key: The key.
            default: What to return where the key has no value.

        Returns:
            A copy of the value, or the default.

        Raises:
            StateUnreadable: The value can't be read by the store's serde.
        """
        name = self.spec.key.encode(key)
        data = self._overlay.get(name)
        return default if data is None else self._decode_all([name], [data])[0]

    def get_many(self, keys: Sequence[K]) -> list[V | None]:
        """The values of the keys, None where there is none.

        Args:
            keys: The keys.

        Returns:
            Copies of the values, in the order of the keys.

        Raises:
            StateUnreadable: A value can't be read by the store's serde.
        """
        names = list(map(self.spec.key.encode, keys))
        return self._decode_all(names, self._overlay.get_many(names))

    def put(self, key: K, value: V) -> None:
        """Sets the key's value; None deletes it.

        In Kafka Streams: `KeyValueStore#put`.

        Args:
            key: The key.
            value: Its new value.

        Raises:
            ValueError: Key and value have more bytes than a record of the changelog may have.
        """
        name = self.spec.key.encode(key)
        data = None if value is None else self.spec.value.encode(value)
        self._check(name, data)
        self._overlay.put(name, data)

    def delete(self, key: K) -> None:
        """Removes the key, if it is there.

        In Kafka Streams: `KeyValueStore#delete`.

        Args:
            key: The key.
        """
        self._overlay.put(self.spec.key.encode(key), None)

    def __contains__(self, key: K) -> bool:
        return self._overlay.get(self.spec.key.encode(key)) is not None

    def items(
        self, start: K | None = None, end: K | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[K, V]]:
        """Keys from `start` to before `end` with their values, in order of the keys' bytes.

        In Kafka Streams: `KeyValueStore#range` and `#reverseRange`.

        Args:
            start: The first key; None: from the beginning.
            end: The key to stop before; None: up to the end.
            reverse: Whether the last comes first.

        Returns:
            An iterator of keys and values.

        Raises:
            StateUnreadable: A key or value can't be read by the store's serdes.
        """
        first = b"" if start is None else self.spec.key.encode(start)
        last = None if end is None else self.spec.key.encode(end)
        return self._decoded(self._overlay.scan(first, last, reverse=reverse))

    def _check(self, key: bytes, value: bytes | None) -> None:
        size = len(key) + len(value or b"")
        if size > self._max_bytes:
            raise ValueError(
                f"key and value have {size} bytes, of {self._max_bytes} that a record of the "
                f"changelog of store {self.spec.name} may have: keep less by one key, or raise "
                "max_record_bytes and the topic's max.message.bytes"
            )

    def _decoded(self, pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[K, V]]:
        for key, data in pairs:
            yield self._keys([key])[0], self._decode_one(key, data)

    def _keys(self, names: Sequence[bytes]) -> list[K]:
        try:
            return decoded(self.spec.key, names)
        except Exception as error:
            _, faults = attempt(self.spec.key.decode, names)
            name = names[faults[0].row] if faults else b""
            raise StateUnreadable(
                f"store {self.spec.name} has a key {name[:_SHOWN]!r} that can't be read as "
                f"{self.spec.key.name} ({error}): {self._way_out}"
            ) from error

    def _decode_one(self, key: bytes, data: bytes) -> V:
        try:
            return self.spec.value.decode(data)
        except Exception as error:
            raise self._explained([key], [data], error) from error

    def _decode_all(self, keys: Sequence[bytes], found: Sequence[bytes | None]) -> list[V | None]:
        if all(found):
            return [*self._decoded_all(keys, cast("Sequence[bytes]", found))]
        decode = self.spec.value.decode
        try:
            return [None if data is None else decode(data) for data in found]
        except Exception as error:
            raise self._explained(keys, found, error) from error

    def _decoded_all(self, keys: Sequence[bytes], found: Sequence[bytes]) -> list[V]:
        try:
            return decoded(self.spec.value, found)
        except Exception as error:
            raise self._explained(keys, found, error) from error

    def _explained(
        self, keys: Sequence[bytes], found: Sequence[bytes | None], error: Exception
    ) -> StateUnreadable:
        """What to raise for values of which one can't be read."""
        pairs = [(key, data) for key, data in zip(keys, found, strict=True) if data is not None]
        _, faults = attempt(self.spec.value.decode, [data for _, data in pairs])
        key = pairs[faults[0].row][0] if faults else b""
        return StateUnreadable(
            f"store {self.spec.name} has a value for key {key[:_SHOWN]!r} that can't be read as "
            f"{self.spec.value.name} ({error}): {self._way_out}"
        )

    @property
    def _way_out(self) -> str:
        return (
            "go back to the types that wrote it, give the step another name= to start over, or "
            f"kproc reset FILE.py --store {self.spec.name}"
        )


class EncodedStore(KeyValueStore[K, V]):
    """The same as steps use it: by encoded keys, many at once, and with what has changed.

    Args:
        spec: The store's.
        overlay: What is under it.
        max_bytes: Of a key and its value together.
    """

    def __init__(self, spec: StoreSpec[K, V], overlay: Overlay, max_bytes: int) -> None:
        super().__init__(spec, overlay, max_bytes)
        self.view: KeyValueStore[K, V] = KeyValueStore(spec, overlay, max_bytes)
        """What a user's function gets."""

    def read(self, keys: Sequence[bytes]) -> list[V | None]:
        """The values of the encoded keys, None where there is none; a copy for each key given."""
        return self._decode_all(keys, self._overlay.get_many(keys))

    def load(self, keys: Sequence[bytes]) -> dict[bytes, V]:
        """The values of those of the encoded keys that have one."""
        pairs = zip(keys, self._overlay.get_many(keys), strict=True)
        return self._values_of({key: data for key, data in pairs if data is not None})

    def save(self, keys: Iterable[bytes], values: Mapping[bytes, V]) -> None:
        """Sets the encoded keys to their values, and deletes those that have none."""
        changes = {key: values.get(key) for key in keys}
        kept = {key: value for key, value in changes.items() if value is not None}
        data: dict[bytes, bytes | None] = dict.fromkeys(changes)
        data.update(zip(kept, encoded(self.spec.value, [*kept.values()]), strict=True))
        if _longest(data) + _longest(data.values()) > self._max_bytes:
            for key, value in data.items():
                self._check(key, value)
        self._overlay.put_many(data)

    def last(self) -> bytes | None:
        """The last of the encoded keys."""
        return next((key for key, _ in self._overlay.scan(reverse=True)), None)

    def scan(self, start: bytes, end: bytes) -> dict[bytes, V]:
        """Encoded keys from `start` to before `end` with their values, in order."""
        return self._values_of(dict(self._overlay.scan(start, end)))

    def _values_of(self, found: Mapping[bytes, bytes]) -> dict[bytes, V]:
        return dict(zip(found, self._decoded_all([*found], [*found.values()]), strict=True))

    def changed(self, start: bytes, end: bytes) -> dict[bytes, V | None]:
        """What has changed from `start` to before `end` since the last checkpoint, in order."""
        fresh = dict(sorted(self._overlay.changed(start, end).items()))
        return dict(zip(fresh, self._decode_all([*fresh], [*fresh.values()]), strict=True))

    def holding(self, value: Serde[V2]) -> "EncodedStore[K, V2]":
        """The same store with its values read and written by another serde."""
        spec = StoreSpec(self.spec.name, self.spec.key, value)
        return EncodedStore(spec, self._overlay, self._max_bytes)

    def changes(self) -> list[tuple[K, V | None]]:
        """What has changed since the last checkpoint, each key once; None: deleted."""
        changes = self._overlay.changes
        values = self._decode_all([*changes], [*changes.values()])
        return list(zip(self._keys([*changes]), values, strict=True))

    def before_changes(self) -> list[V | None]:
        """The values at the last checkpoint of what `changes` lists, in the same order."""
        return self._decode_all([*self._overlay.changes], self._overlay.before_changes())


Stores = Mapping[str, EncodedStore[Any, Any]]
"""The stores of one task by name."""


def _longest(many: Iterable[bytes | None]) -> int:
    return max(map(len, filter(None, many)), default=0)
