"""The join of a table with another one whose key is in the values: a foreign key (KIP-213).

Three steps, with an internal topic after each of the first two. The left side *subscribes* to the
foreign key of each of its values, where the right side has that key. The right side keeps the
subscriptions and *responds* with its value, at once and at each change of it. The left side *joins*
a response with its own value, if that is still the one that the subscription was made for: what the
response says of an older value is stale.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Any, ClassVar, NamedTuple

from processor.operators.aggregates.by_key import Stamped
from processor.operators.base import (
    AnyBatch,
    Context,
    Operator,
    Outputs,
    encoded_keys,
)
from processor.operators.changes import Change
from processor.operators.joins.tables import JoinedTable, JoinKind, joins
from processor.operators.joins.views import View
from processor.records import Batch, Timestamp
from processor.serdes import Serde
from processor.state.keyvalue import EncodedStore

SUBSCRIPTIONS = 0
"""The parent of the step that responds which has subscriptions; parent 1 has the right table."""

RESPONSES = 0
"""The parent of the step that joins which has responses; parent 1 has the left table."""

_HASH = 16  # bytes


class Subscription(NamedTuple):
    """Says to the owner of a foreign key who subscribes; goes by the foreign key.

    Attributes:
        key: Of the left table, encoded.
        hash: Of the value that it is for; None: the key is not interested any more.
    """

    key: bytes
    hash: bytes | None


class Response(NamedTuple):
    """What the right table has for a foreign key; goes by the key of the left table."""

    hash: bytes
    value: Any


def _encode_subscription(subscription: Subscription) -> bytes:
    return (subscription.hash or bytes(_HASH)) + subscription.key


def _decode_subscription(data: bytes) -> Subscription:
    return Subscription(data[_HASH:], data[:_HASH] if any(data[:_HASH]) else None)


subscription_serde: Serde[Subscription] = Serde(
    "subscription", _encode_subscription, _decode_subscription
)
"""The hash, zeros for none, and the key."""


def response_serde(value: Serde[Any]) -> Serde[Response]:
    """The hash, a byte that says whether there is a value, and that."""

    def encode(response: Response) -> bytes:
        found = response.value is not None
        return b"%b%c%b" % (response.hash, found, value.encode(response.value) if found else b"")

    def decode(data: bytes) -> Response:
        found = data[_HASH] == 1
        return Response(data[:_HASH], value.decode(data[_HASH + 1 :]) if found else None)

    return Serde(f"response({value.name})", encode, decode, shape=value.shape)


def hash_of(value: Any, serde: Serde[Any]) -> bytes:
    """The same for a value as it was made and as it comes back from a store; never zeros alone."""
    data = serde.encode(serde.decode(serde.encode(value)))
    return blake2b(data, digest_size=_HASH, person=b"kproc-foreignkey").digest()


@dataclass(frozen=True)
class Subscribe(Operator):
    """Makes subscriptions of a table's changes; one for None is left out."""

    of_changes: ClassVar[bool] = True

    on: Callable[[Any], Any]
    key: Serde[Any]
    value: Serde[Any]

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: subscriptions by their foreign key."""
        lists, batch = context.call(self._subscriptions, batch, batch.keys, batch.values)
        made = list(chain.from_iterable(lists))
        rows = batch.take([row for row, some in enumerate(lists) for _ in some])
        return (rows.with_keys([key for key, _ in made]).with_values([each for _, each in made]),)

    def _subscriptions(self, key: Any, change: Change) -> list[tuple[Any, Subscription]]:
        name = self.key.encode(key)
        before = None if change.old is None else self.on(change.old)
        after = None if change.new is None else self.on(change.new)
        made: list[tuple[Any, Subscription]] = []
        if before is not None and before != after:
            made.append((before, Subscription(name, None)))
        if after is not None:
            made.append((after, Subscription(name, hash_of(change.new, self.value))))
        return made


@dataclass(frozen=True)
class Respond(Operator):
    """Keeps the subscriptions to a table's keys, and sends subscribers what the table has."""

    sided: ClassVar[bool] = True

    store: str
    table: View
    key: Serde[Any]
    """Of the subscribers."""

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: responses by the subscribers' keys."""
        right: EncodedStore[Any, Stamped] = context.stores[self.table.store]
        keys, batch = encoded_keys(right.spec.key, batch, context)
        found = iter(
            right.read([k for k, row in zip(keys, batch.values, strict=True) if _asks(row)])
        )
        held = [next(found) if _asks(row) else None for row in batch.values]

        def respond(
            key: bytes, sided: tuple[int, Any], time: Timestamp, has: Stamped | None
        ) -> list[tuple[Any, Timestamp, Response]]:
            parent, sent = sided
            if parent == SUBSCRIPTIONS:
                return list(self._subscribed(key, sent, time, has, context))
            return [
                (self.key.decode(who), time, Response(hash_, sent))
                for who, hash_ in self._subscribers(key, context)
            ]

        lists, batch = context.call(respond, batch, keys, batch.values, batch.timestamps, held)
        made = list(chain.from_iterable(lists))
        rows = batch.take([row for row, some in enumerate(lists) for _ in some])
        names, times = [each[0] for each in made], [each[1] for each in made]
        return (Batch(names, [each[2] for each in made], times, rows.offsets, rows.headers),)

    def _subscribed(
        self,
        key: bytes,
        sent: Subscription,
        time: Timestamp,
        has: Stamped | None,
        context: Context,
    ) -> Iterator[tuple[Any, Timestamp, Response]]:
        store: EncodedStore[bytes, bytes] = context.stores[self.store]
        name = _prefix(key) + sent.key
        if sent.hash is None:
            store.delete(name)
        else:
            store.put(name, sent.hash)
            value = None if has is None else self.table.value(has[1])
            latest = time if has is None else max(time, has[0])
            yield self.key.decode(sent.key), latest, Response(sent.hash, value)

    def _subscribers(self, key: bytes, context: Context) -> Iterator[tuple[bytes, bytes]]:
        store: EncodedStore[bytes, bytes] = context.stores[self.store]
        prefix = _prefix(key)
        for name, hash_ in store.scan(prefix, _after(prefix)).items():
            yield name[len(prefix) :], hash_


def _asks(row: tuple[int, Any]) -> bool:
    """Whether a row is a subscription that wants an answer."""
    return row[0] == SUBSCRIPTIONS and row[1].hash is not None


def _prefix(key: bytes) -> bytes:
    """What the names of all subscriptions to a foreign key begin with."""
    return len(key).to_bytes(4, "big") + key


def _after(prefix: bytes) -> bytes:
    """The first bytes that come after all that begin so; it begins with a length, never all 255."""
    number = int.from_bytes(prefix, "big") + 1
    return number.to_bytes(len(prefix), "big")


@dataclass(frozen=True)
class ForeignKeyJoin(JoinedTable):
    """Keeps the join: of responses with what the left table has, and of what has no foreign key."""

    sided: ClassVar[bool] = True

    table: View
    """The left one."""
    on: Callable[[Any], Any]
    joiner: Callable[[Any, Any], Any]
    kind: JoinKind
    value: Serde[Any]
    """Of the left table."""

    def fold(
        self, held: dict[bytes, Stamped], keys: Sequence[bytes], batch: AnyBatch, context: Context
    ) -> tuple[Sequence[Any], AnyBatch]:
        """Joins row by row; each has its key's value as a result, stamped, None if nothing."""
        left: EncodedStore[Any, Stamped] = context.stores[self.table.store]
        responses = [parent == RESPONSES for parent, _ in batch.values]
        found = iter(left.read([k for k, is_one in zip(keys, responses, strict=True) if is_one]))
        own = [next(found) if is_one else None for is_one in responses]

        def step(key: bytes, sided: tuple[int, Any], time: Timestamp, has: Stamped | None) -> Any:
            parent, sent = sided
            if parent == RESPONSES:
                value = None if has is None else self.table.value(has[1])
                if value is None or has is None or hash_of(value, self.value) != sent.hash:
                    return None
                return self.keep(held, key, self._result(value, sent.value), max(time, has[0]))
            if sent is not None and self.on(sent) is not None:
                return None
            return self.keep(held, key, self._result(sent, None), time)

        return context.call(step, batch, keys, batch.values, batch.timestamps, own)

    def _result(self, value: Any, other: Any) -> Any:
        return self.joiner(value, other) if joins(self.kind, value, other) else None
