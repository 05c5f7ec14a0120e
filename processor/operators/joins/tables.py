"""Joins with tables: a stream's rows, or another table's changes, meet what a table holds by then.

The table that is read belongs to another step; who runs these steps sees to it that a row meets the
table as of its own record. Null values join with nothing, as in Kafka Streams: they stand for what
is not there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from operator import is_not, not_
from typing import Any, ClassVar, Literal, TypeAlias

from processor.attempt import attempt
from processor.operators.aggregates.by_key import Stamped, TableOperator, paired
from processor.operators.base import (
    AnyBatch,
    Context,
    Operator,
    Outputs,
    Unattributed,
    encoded_keys,
)
from processor.operators.joins.views import View
from processor.records import Batch, Timestamp
from processor.state.keyvalue import EncodedStore

JoinKind: TypeAlias = Literal["inner", "left", "outer"]
"""Whose rows have a result without a match: nobody's, those on the left, those of both sides."""

LEFT, RIGHT = 0, 1
"""The numbers of a join's parents."""


def joins(kind: JoinKind, left: object, right: object) -> bool:
    """Whether these two, of which one may be None, have a result."""
    if kind == "inner":
        return left is not None and right is not None
    return left is not None or (kind == "outer" and right is not None)


def rows_of(parent: int, batch: AnyBatch) -> AnyBatch:
    """The rows from that parent, with their own values, but for null ones."""
    mask = [number == parent and value is not None for number, value in batch.values]
    rows = batch if all(mask) else batch.select(mask)
    return rows.with_values([value for _, value in rows.values])


@dataclass(frozen=True)
class Cogroup(Operator):
    """Passes on what its parents give, each value with the number of its parent."""

    sided: ClassVar[bool] = True

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """The batch as it is."""
        del context
        return (batch,)


@dataclass(frozen=True)
class StreamTableJoin(Operator):
    """Joins each row of a stream, parent 0, with the value that a table has for its key.

    The changes of the table, parent 1, bring about no result. Rows without a key join with nothing
    in a left join; in an inner one they are bad, as in every step that looks for a key.
    """

    heeds_time: ClassVar[bool] = True
    sided: ClassVar[bool] = True

    table: View
    joiner: Callable[[Any, Any], Any]
    left: bool

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: the rows that have a result, with their own timestamps and headers."""
        store: EncodedStore[Any, Stamped] = context.stores[self.table.store]
        batch = rows_of(LEFT, batch)
        if self.left:
            found, batch = self._found(store, batch, context)
        else:
            keys, batch = encoded_keys(store.spec.key, batch, context)
            found = self.table.read(keys, batch.timestamps, context)
        others: list[Any] = [None if each is None else each[1] for each in found]
        if self.table.steps:
            others, batch = context.call(self.table.value, batch, others)
        if not self.left:
            mask = [each is not None for each in others]
            others, batch = list(compress(others, mask)), batch.select(mask)
        values, batch = context.call(self.joiner, batch, batch.values, others)
        return (batch.with_values(values),)

    def _found(
        self, store: EncodedStore[Any, Stamped], batch: AnyBatch, context: Context
    ) -> tuple[Sequence[Stamped | None], AnyBatch]:
        """What the store has for each row, of which some may have no key, and the rows left."""
        encode = store.spec.key.encode

        def encode_any(key: Any) -> bytes | None:
            return None if key is None else encode(key)

        keys, faults = attempt(encode_any, batch.keys)
        batch = context.reject(batch, faults, "key") if faults else batch
        times = [time for key, time in zip(keys, batch.timestamps, strict=True) if key is not None]
        present = [key for key in keys if key is not None]
        held = iter(self.table.read(present, times, context))
        return [None if key is None else next(held) for key in keys], batch


@dataclass(frozen=True)
class JoinedTable(TableOperator):
    """A table of results; a key that has none, and had none, is no change.

    `fold` gives for each row what its key has now, stamped, or None where that is no change.
    """

    heeds_time: ClassVar[bool] = True

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: every change, or no row until the checkpoint."""
        store: EncodedStore[Any, Stamped] = context.stores[self.store]
        keys, batch = encoded_keys(store.spec.key, batch, context)
        held = store.load(list(dict.fromkeys(keys)))
        pairs = self.emit == "change" and context.wants_changes
        before = store.load(list(dict.fromkeys(keys))) if pairs else {}
        emitted, batch = self.fold(held, keys, batch, context)
        changed = list(map(is_not, emitted, repeat(None)))
        batch, there = batch.select(changed), list(compress(emitted, changed))
        times, values = [each[0] for each in there], [each[1] for each in there]
        try:
            store.save(dict.fromkeys(compress(keys, changed)), held)
            if pairs:
                values = paired(before, values, store.spec, batch)
        except Exception as error:
            raise Unattributed from error
        if self.emit == "checkpoint":
            return (batch.select(()),)
        made = Batch(batch.keys, values, times, batch.offsets, batch.headers)
        return self.ports(made, context)

    def keep(
        self, held: dict[bytes, Stamped], key: bytes, result: Any, time: Timestamp
    ) -> Stamped | None:
        """Brings what is held up to date, and says what to emit."""
        before = held.pop(key, None)
        if result is not None:
            held[key] = time, result
        return None if before is None and result is None else (time, result)


@dataclass(frozen=True)
class TableTableJoin(JoinedTable):
    """Keeps the join of two tables: at a change of either it looks up the other's value."""

    sided: ClassVar[bool] = True

    tables: tuple[View, View]
    """The two parents."""
    joiner: Callable[[Any, Any], Any]
    kind: JoinKind

    def fold(
        self, held: dict[bytes, Stamped], keys: Sequence[bytes], batch: AnyBatch, context: Context
    ) -> tuple[Sequence[Any], AnyBatch]:
        """Joins row by row; what is emitted for each is its key's value, stamped."""
        others = self._others(keys, batch, context)

        def step(key: bytes, sided: tuple[int, Any], time: Timestamp, other: Stamped | None) -> Any:
            parent, value = sided
            found = None if other is None else self.tables[1 - parent].value(other[1])
            pair = (value, found) if parent == LEFT else (found, value)
            result = self.joiner(*pair) if joins(self.kind, *pair) else None
            return self.keep(held, key, result, time if other is None else max(time, other[0]))

        return context.call(step, batch, keys, batch.values, batch.timestamps, others)

    def _others(
        self, keys: Sequence[bytes], batch: AnyBatch, context: Context
    ) -> list[Stamped | None]:
        """The value that the other table has for each row."""
        left, right = (context.stores[table.store] for table in self.tables)
        from_left = [parent == LEFT for parent, _ in batch.values]
        if right.spec.key.name != left.spec.key.name:
            keys = [
                (right if is_left else left).spec.key.encode(key)
                for key, is_left in zip(batch.keys, from_left, strict=True)
            ]
        on_right = iter(right.read(list(compress(keys, from_left))))
        on_left = iter(left.read(list(compress(keys, map(not_, from_left)))))
        return [next(on_right if is_left else on_left) for is_left in from_left]
