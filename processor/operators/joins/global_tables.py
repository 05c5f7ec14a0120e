"""Joins with a global table: by a key made of each record, as the table is by then."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import compress
from typing import Any

from processor.operators.base import AnyBatch, Context, Operator, Outputs
from processor.state.shared import ReadOnlyStore


@dataclass(frozen=True)
class GlobalJoin(Operator):
    """Joins each row with the value of its key in a global table.

    Rows without a value have no result, nor in an inner join those without a match or a key.
    """

    table: str
    function: Callable[[Any, Any], Any]
    joiner: Callable[[Any, Any], Any]
    left: bool

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: the rows that have a result, with their own keys."""
        batch = batch.select([value is not None for value in batch.values])
        keys, batch = context.call(self.function, batch, batch.keys, batch.values)
        found, batch = self._found(keys, batch, context)
        if not self.left:
            mask = [each is not None for each in found]
            found, batch = list(compress(found, mask)), batch.select(mask)
        values, batch = context.call(self.joiner, batch, batch.values, found)
        return (batch.with_values(values),)

    def _found(
        self, keys: list[Any], batch: AnyBatch, context: Context
    ) -> tuple[list[Any], AnyBatch]:
        store: ReadOnlyStore[Any, Any] = context.shared[self.table]
        encode = store.spec.key.encode

        def encode_any(key: Any) -> bytes | None:
            return None if key is None else encode(key)

        encoded, batch = context.call(encode_any, batch, keys)
        values = iter(store.read([key for key in encoded if key is not None]))
        return [None if key is None else next(values) for key in encoded], batch
