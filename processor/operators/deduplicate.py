"""Lets the first of equal records through and drops those that follow within a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from processor.operators.base import (
    AnyBatch,
    Context,
    Outputs,
    Timed,
    encoded_keys,
)
from processor.records import Timestamp
from processor.serdes.base import Serde
from processor.state.keyvalue import EncodedStore


@dataclass(frozen=True)
class Deduplicate(Timed):
    """Drops a record if an equal one passed less than `within` of stream time before.

    Equal are records of the same key and, with an `identity`, the same result of it. The store has
    the stream time at which each passed; what can drop nothing any more is removed each time the
    stream time enters a new multiple of `within`.
    """

    heeds_time: ClassVar[bool] = True

    store: str
    within: int  # milliseconds
    identity: Callable[[Any], bytes] | None
    key: Serde[Any]

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: the rows that pass."""
        store: EncodedStore[bytes, int] = context.stores[self.store]
        keys, batch = encoded_keys(self.key, batch, context)
        if self.identity is not None:
            keys, batch = context.call(_joined(self.identity), batch, keys, batch.values)
        passed = store.load(list(dict.fromkeys(keys)))
        fresh: dict[bytes, int] = {}
        mask = [
            self._passes(key, time, passed, fresh)
            for key, time in zip(keys, context.clock.times(batch), strict=True)
        ]
        store.save(fresh, fresh)
        return (batch.select(mask),)

    def advance(self, context: Context) -> AnyBatch | None:
        """Removes what can drop nothing any more."""
        entered = Timestamp(context.clock.end_time // self.within * self.within)
        if entered > context.clock.stream_time:
            store: EncodedStore[bytes, int] = context.stores[self.store]
            oldest = context.clock.reached_at(entered) - self.within
            outdated = [key for key, passed in store.items() if passed <= oldest]
            for key in outdated:
                store.delete(key)

    def _passes(
        self, key: bytes, time: Timestamp, passed: dict[bytes, int], fresh: dict[bytes, int]
    ) -> bool:
        before = passed.get(key)
        if before is not None and time - before < self.within:
            return False
        passed[key] = fresh[key] = time
        return True


def _joined(identity: Callable[[Any], bytes]) -> Callable[[bytes, Any], bytes]:
    """Key and identity as one key; the length in front keeps different pairs different."""
    return lambda key, value: len(key).to_bytes(4, "big") + key + identity(value)
