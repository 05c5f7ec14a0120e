"""Steps that keep one value per key in a store, and so make a table of a stream.

A batch is reduced before the store is touched: once to read all its distinct keys, once to write
them. Values are stored with a timestamp, the highest of the records they were made from, as in
Kafka Streams (KIP-258).
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, starmap
from operator import add, itemgetter, le
from struct import Struct
from struct import error as StructError  # noqa: N812 - a class, by a name like one
from types import NoneType
from typing import Any, ClassVar, Literal, TypeAlias

from processor.operators.base import (
    NO_TIME,
    AnyBatch,
    Context,
    Outputs,
    Reporting,
    Unattributed,
    encoded_keys,
)
from processor.operators.changes import Change, ChangeOperator
from processor.records import Batch, Offset, Timestamp
from processor.serdes import Serde, float64, int64
from processor.serdes.base import decoded, encoded
from processor.state.keyvalue import EncodedStore, StoreSpec

Emit: TypeAlias = Literal["checkpoint", "change"]
"""When a table emits its changes: the last one of each key at a checkpoint, or every one."""


Stamped: TypeAlias = tuple[Timestamp, Any]
"""The event time that a table's value is from, and the value; a plain tuple, as many are made."""

_TIME = Struct(">q")
_after_time = itemgetter(slice(_TIME.size, None))
_NUMBERS = {int64.name: Struct(">qq"), float64.name: Struct(">qd")}


@dataclass(frozen=True, slots=True)
class StampedSerde(Serde[Stamped]):
    """The serde of a table's store; `value` is that of the values alone."""

    value: Serde[Any] = field(kw_only=True)


def stamped(serde: Serde[Any]) -> StampedSerde:
    """Eight bytes of timestamp, milliseconds big endian, before the value's bytes."""
    name = f"{STAMPED}{serde.name})"
    if serde.name in _NUMBERS:
        return _stamped_number(name, serde, _NUMBERS[serde.name])
    encode, decode = serde.encode, serde.decode

    def encode_both(both: Stamped) -> bytes:
        return both[0].to_bytes(8, "big", signed=True) + encode(both[1])

    def decode_both(data: bytes) -> Stamped:
        return Timestamp(int.from_bytes(data[:8], "big", signed=True)), decode(data[8:])

    def encode_all(column: Sequence[Stamped]) -> list[bytes]:
        times, values = zip(*column, strict=True)
        return list(map(add, map(_TIME.pack, times), encoded(serde, values)))

    def decode_all(column: Sequence[bytes]) -> list[Stamped]:
        times = chain.from_iterable(map(_TIME.unpack_from, column))
        return list(zip(times, decoded(serde, list(map(_after_time, column))), strict=True))

    return StampedSerde(
        name,
        encode_both,
        decode_both,
        shape=serde.shape,
        encode_all=encode_all,
        decode_all=decode_all,
        value=serde,
    )


def _stamped_number(name: str, serde: Serde[Any], form: Struct) -> StampedSerde:
    pack = form.pack

    def encode(both: Stamped) -> bytes:
        try:
            return pack(*both)
        except StructError:
            serde.encode(both[1])  # says what is wrong with it
            raise

    def encode_all(column: Sequence[Stamped]) -> list[bytes]:
        return list(starmap(pack, column))

    return StampedSerde(name, encode, form.unpack, encode_all=encode_all, value=serde)


STAMPED = "stamped("
"""What the name of a serde made by `stamped` begins with."""


@dataclass(frozen=True)
class TableOperator(ChangeOperator, Reporting):
    """A step that makes a table: `fold` changes it by a batch, the rest is how that is emitted."""

    store: str
    emit: Emit

    @abstractmethod
    def fold(
        self, held: dict[bytes, Stamped], keys: Sequence[bytes], batch: AnyBatch, context: Context
    ) -> tuple[Sequence[Any], AnyBatch]:
        """Brings `held`, the values that the rows' keys have, up to date.

        Returns:
            The value after each row, where every change is to be emitted (else anything), and the
            rows left: those that did not fail.
        """

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: every change, or no row until the checkpoint."""
        store: EncodedStore[Any, Stamped] = context.stores[self.store]
        keys, batch = encoded_keys(store.spec.key, batch, context)
        distinct = list(dict.fromkeys(keys))
        held = store.load(distinct)
        pairs = self.emit == "change" and context.wants_changes
        before = store.load(distinct) if pairs else {}
        known = dict(held) if self.emit == "change" else {}
        values, batch = self.fold(held, keys, batch, context)
        try:
            store.save(distinct, held)
            emitted = paired(before, values, store.spec, batch) if pairs else values
        except Exception as error:
            raise Unattributed from error
        if self.emit == "checkpoint":
            return (batch.select(()),)
        times = self.times(known, values, store.spec, batch)
        made = Batch(batch.keys, emitted, times, batch.offsets, batch.headers)
        return self.ports(made, context)

    def times(
        self,
        before: Mapping[bytes, Stamped],
        values: Sequence[Any],
        spec: StoreSpec[Any, Any],
        batch: AnyBatch,
    ) -> Sequence[Timestamp]:
        """The time that each change is emitted with: the highest of what the value is made of."""
        return emitted_times(before, values, spec, batch)

    def ports(self, batch: AnyBatch, context: Context) -> Outputs:
        """Both outputs, or where nobody reads changes, the rows as they are: new values."""
        return super().ports(batch, context) if context.wants_changes else (batch,)

    def held(self, context: Context) -> EncodedStore[Any, Stamped]:
        """The store, with what is in it."""
        return context.stores[self.store]

    def changes(self, context: Context) -> AnyBatch | None:
        """The last change of each key since the last checkpoint."""
        if self.emit == "change":
            return None
        store = self.held(context)
        changed = store.changes()
        values: list[Any] = [_value(held) for _, held in changed]
        if context.wants_changes:
            values = list(map(Change, map(_value, store.before_changes()), values))
        return Batch(
            [key for key, _ in changed],
            values,
            [context.clock.stream_time if held is None else held[0] for _, held in changed],
            [Offset(row) for row in range(len(changed))],
        )


@dataclass(frozen=True)
class Count(TableOperator):
    """Counts the records of each key."""

    def fold(
        self, held: dict[bytes, Stamped], keys: Sequence[bytes], batch: AnyBatch, context: Context
    ) -> tuple[Sequence[Any], AnyBatch]:
        """Counts a batch at once; one by one only where every change is to be emitted."""
        del context
        running = _running_counts(held, keys) if self.emit == "change" else ()
        latest = highest_times(keys, batch.timestamps)
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
        begun, grown, copy = self.begun, self.grown, self._copy
        emits_all = self.emit == "change"

        def step(key: bytes, value: Any, latest: Timestamp) -> Any:
            before = held.get(key)
            if before is not None:
                time, result = before
                result = grown(result, value)
                if time > latest:  # noqa: PLR1730 - for each record, and max() takes longer
                    latest = time
            else:
                result = begun(value)
            if result is value and type(value) not in UNCHANGING:
                # Steps beside this one see the value as well; the function may change the result.
                result = copy(value)
            if result is None:
                held.pop(key, None)
            else:
                held[key] = latest, result
            return copy(result) if emits_all else None

        return context.call(step, batch, keys, batch.values, batch.timestamps)

    def begun(self, value: Any) -> Any:
        """What the first value of a key makes."""
        return value if self.start is None else self.add(self.start(), value)

    @property
    def grown(self) -> Callable[[Any, Any], Any]:
        """Makes of what was there before and one more value what is there then."""
        return self.add

    def _copy(self, result: Any) -> Any:
        """The result as it is now: the function may go on changing the same object."""
        return None if result is None else self.value.decode(self.value.encode(result))


@dataclass(frozen=True)
class Latest(TableOperator):
    """Keeps the last value of each key; a null value deletes."""

    heeds_time: ClassVar[bool] = True

    def fold(
        self, held: dict[bytes, Stamped], keys: Sequence[bytes], batch: AnyBatch, context: Context
    ) -> tuple[Sequence[Any], AnyBatch]:
        """The last row of each key counts; the others have to be such as could be kept, too."""
        encode = context.stores[self.store].spec.value.encode
        rows: dict[bytes, Stamped] = {}
        try:
            for key, row in zip(
                keys, zip(batch.timestamps, batch.values, strict=True), strict=True
            ):
                if key in rows and rows[key][1] is not None:
                    encode(rows[key])
                rows[key] = row
        except Exception as error:
            raise Unattributed from error
        for key, (timestamp, value) in rows.items():
            if value is None:
                held.pop(key, None)
            else:
                held[key] = timestamp, value
        return batch.values, batch

    def times(
        self,
        before: Mapping[bytes, Stamped],
        values: Sequence[Any],
        spec: StoreSpec[Any, Any],
        batch: AnyBatch,
    ) -> Sequence[Timestamp]:
        """That of the row, which its value is made of alone."""
        del before, values, spec
        return batch.timestamps


UNCHANGING = frozenset({int, str, float, bool, bytes, NoneType})
"""Types whose values nobody can change in place."""


def _value(held: Stamped | None) -> Any:
    return None if held is None else held[1]


def paired(
    before: dict[bytes, Stamped], values: Sequence[Any], spec: StoreSpec[Any, Any], batch: AnyBatch
) -> list[Change]:
    """Each row's new value with the one that its key had before, an object of its own."""
    emitted = {key: value for key, (_, value) in before.items()}
    pairs: list[Change] = []
    for key, new in zip(map(spec.key.encode, batch.keys), values, strict=True):
        pairs.append(Change(_copied(emitted.get(key), spec.value), new))
        emitted[key] = new
    return pairs


def emitted_times(
    before: Mapping[bytes, Stamped],
    values: Sequence[Any],
    spec: StoreSpec[Any, Any],
    batch: AnyBatch,
) -> Sequence[Timestamp]:
    """The highest time of all that each row's value is made of, which a deletion starts over."""
    times = batch.timestamps
    latest = {key: time for key, (time, _) in before.items()}
    if all(map(le, times, islice(times, 1, None))) and (
        not times or max(latest.values(), default=NO_TIME) <= times[0]
    ):
        return times
    emitted: list[Timestamp] = []
    for key, value, time in zip(map(spec.key.encode, batch.keys), values, times, strict=True):
        emitted.append(max(time, latest.get(key, NO_TIME)))
        if value is None:
            latest.pop(key, None)
        else:
            latest[key] = emitted[-1]
    return emitted


def _copied(value: Any, serde: Serde[Stamped]) -> Any:
    """The value as it would come back from the store; who got it may change it."""
    if type(value) in UNCHANGING:
        return value
    return serde.decode(serde.encode((NO_TIME, value)))[1]


def _running_counts(held: dict[bytes, Stamped], keys: Sequence[bytes]) -> list[int]:
    counts = {key: count for key, (_, count) in held.items()}
    running: list[int] = []
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
        running.append(counts[key])
    return running


def highest_times(keys: Sequence[bytes], times: Sequence[Timestamp]) -> dict[bytes, Timestamp]:
    """The highest timestamp of each key."""
    if all(map(le, times, islice(times, 1, None))):
        return dict(zip(keys, times, strict=True))
    latest: dict[bytes, Timestamp] = {}
    for key, time in zip(keys, times, strict=True):
        if latest.get(key, NO_TIME) < time:
            latest[key] = time
    return latest
