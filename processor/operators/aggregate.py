"""Steps that keep one value per key in a store, and so make a table of a stream.

A batch is reduced before the store is touched: once to read all its distinct keys, once to write
them. Values are stored with a timestamp, the highest of the records they were made from, as in
Kafka Streams (KIP-258).
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import le
from struct import Struct
from struct import error as StructError  # noqa: N812 - a class, by a name like one
from types import NoneType
from typing import Any, Literal, TypeAlias

from processor.operators.base import (
    NO_TIME,
    AnyBatch,
    Context,
    Operator,
    Outputs,
    Unattributed,
    encoded_keys,
)
from processor.records import Batch, Offset, Timestamp
from processor.serdes import Serde, float64, int64
from processor.state.keyvalue import KeyValueStore

Emit: TypeAlias = Literal["checkpoint", "change"]
"""When a table tells of its changes: the last one of each key at a checkpoint, or every one."""


Stamped: TypeAlias = tuple[Timestamp, Any]
"""The event time that a table's value is from, and the value; a plain tuple, as many are made."""

_NUMBERS = {int64.name: Struct(">qq"), float64.name: Struct(">qd")}


def stamped(serde: Serde[Any]) -> Serde[Stamped]:
    """Eight bytes of timestamp, milliseconds big endian, before the value's bytes."""
    name = f"{STAMPED}{serde.name})"
    if serde.name in _NUMBERS:
        return _stamped_number(name, serde, _NUMBERS[serde.name])
    encode, decode = serde.encode, serde.decode

    def encode_both(both: Stamped) -> bytes:
        return both[0].to_bytes(8, "big", signed=True) + encode(both[1])

    def decode_both(data: bytes) -> Stamped:
        return Timestamp(int.from_bytes(data[:8], "big", signed=True)), decode(data[8:])

    return Serde(name, encode_both, decode_both)


def _stamped_number(name: str, serde: Serde[Any], form: Struct) -> Serde[Stamped]:
    pack = form.pack

    def encode(both: Stamped) -> bytes:
        try:
            return pack(*both)
        except StructError:
            serde.encode(both[1])  # says what is wrong with it
            raise

    return Serde(name, encode, form.unpack)


STAMPED = "stamped("
"""What the name of a serde made by `stamped` begins with."""


@dataclass(frozen=True)
class TableOperator(Operator):
    """A step that makes a table: `fold` changes it by a batch, the rest is how that is told."""

    store: str
    emit: Emit

    @abstractmethod
    def fold(
        self, held: dict[bytes, Stamped], keys: Sequence[bytes], batch: AnyBatch, context: Context
    ) -> tuple[Sequence[Any], AnyBatch]:
        """Brings `held`, the values that the rows' keys have, up to date.

        Returns:
            The value after each row, where every change is to be told (else anything), and the
            rows left: those that did not fail.
        """

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: every change, or no row until the checkpoint."""
        store: KeyValueStore[Any, Stamped] = context.stores[self.store]
        keys, batch = encoded_keys(store.spec.key, batch, context)
        distinct = list(dict.fromkeys(keys))
        held = store.load(distinct)
        values, batch = self.fold(held, keys, batch, context)
        try:
            store.save(distinct, held)
        except Exception as error:
            raise Unattributed from error
        if self.emit == "change":
            return (batch.with_values(values),)
        return (batch.select(()),)

    def changes(self, context: Context) -> AnyBatch | None:
        """The last change of each key since the last checkpoint."""
        if self.emit == "change":
            return None
        changed = context.stores[self.store].changes()
        return Batch(
            [key for key, _ in changed],
            [None if held is None else held[1] for _, held in changed],
            [context.stream_time if held is None else held[0] for _, held in changed],
            [Offset(row) for row in range(len(changed))],
        )


@dataclass(frozen=True)
class Count(TableOperator):
    """Counts the records of each key."""

    def fold(
        self, held: dict[bytes, Stamped], keys: Sequence[bytes], batch: AnyBatch, context: Context
    ) -> tuple[Sequence[Any], AnyBatch]:
        """Counts a batch at once; one by one only where every change is to be told."""
        del context
        running = _running_counts(held, keys) if self.emit == "change" else ()
        latest = _latest(keys, batch.timestamps)
        new = NO_TIME, 0
        for key, count in Counter(keys).items():
            timestamp, before = held.get(key, new)
            held[key] = max(timestamp, latest[key]), before + count
        return running, batch


@dataclass(frozen=True)
class Aggregate(TableOperator):
    """Folds the values of each key into one with a user's function; None deletes the key."""

    start: Callable[[], Any] | None  # None: the first value is the start, as in reduce
    add: Callable[[Any, Any], Any]
    value: Serde[Any]

    def fold(
        self, held: dict[bytes, Stamped], keys: Sequence[bytes], batch: AnyBatch, context: Context
    ) -> tuple[Sequence[Any], AnyBatch]:
        """Calls the function row by row, on values that are read and written once a batch."""
        told = self._copy if self.emit == "change" else _nothing

        def step(key: bytes, value: Any, timestamp: Timestamp) -> Any:
            before = held.get(key)
            result = self._next(before, value)
            if result is value and type(value) not in _UNCHANGING:
                # Steps beside this one see the value as well; the function may change the result.
                result = self._copy(value)
            if result is None:
                held.pop(key, None)
            else:
                latest = timestamp if before is None else max(timestamp, before[0])
                held[key] = latest, result
            return told(result)

        return context.call(step, batch, keys, batch.values, batch.timestamps)

    def _next(self, before: Stamped | None, value: Any) -> Any:
        if before is not None:
            return self.add(before[1], value)
        return value if self.start is None else self.add(self.start(), value)

    def _copy(self, result: Any) -> Any:
        """The result as it is now: the function may go on changing the same object."""
        return None if result is None else self.value.decode(self.value.encode(result))


@dataclass(frozen=True)
class Latest(TableOperator):
    """Keeps the last value of each key; a null value deletes."""

    def fold(
        self, held: dict[bytes, Stamped], keys: Sequence[bytes], batch: AnyBatch, context: Context
    ) -> tuple[Sequence[Any], AnyBatch]:
        """The last row of each key counts."""
        del context
        rows = zip(batch.timestamps, batch.values, strict=True)
        for key, (timestamp, value) in dict(zip(keys, rows, strict=True)).items():
            if value is None:
                held.pop(key, None)
            else:
                held[key] = timestamp, value
        return batch.values, batch


_UNCHANGING = frozenset({int, str, float, bool, bytes, NoneType})


def _nothing(_: Any) -> None:
    return None


def _running_counts(held: dict[bytes, Stamped], keys: Sequence[bytes]) -> list[int]:
    counts = {key: count for key, (_, count) in held.items()}
    running: list[int] = []
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
        running.append(counts[key])
    return running


def _latest(keys: Sequence[bytes], times: Sequence[Timestamp]) -> dict[bytes, Timestamp]:
    """The highest timestamp of each key."""
    if all(map(le, times, islice(times, 1, None))):
        return dict(zip(keys, times, strict=True))
    return {key: time for time, key in sorted(zip(times, keys, strict=True))}
