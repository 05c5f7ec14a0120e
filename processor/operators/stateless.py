"""Steps that keep no state."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from operator import not_, truth
from typing import Any

from processor.operators.base import AnyBatch, Context, Operator, Outputs
from processor.records import Batch


@dataclass(frozen=True)
class Filter(Operator):
    """Keeps the rows whose value the predicate accepts, or with `keep=False` refuses."""

    predicate: Callable[[Any], object]
    keep: bool = True

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: the rows kept."""
        answers, batch = context.call(self.predicate, batch, batch.values)
        mask, batch = context.call(truth, batch, answers)  # which an array, say, does not have
        return (batch.select(mask if self.keep else list(map(not_, mask))),)


@dataclass(frozen=True)
class MapValues(Operator):
    """Replaces each value."""

    function: Callable[[Any], Any]

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: the same rows with other values."""
        values, batch = context.call(self.function, batch, batch.values)
        return (batch.with_values(values),)


@dataclass(frozen=True)
class KeyBy(Operator):
    """Replaces each key by one made from the value."""

    function: Callable[[Any], Any]

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: the same rows with other keys."""
        keys, batch = context.call(self.function, batch, batch.values)
        return (batch.with_keys(keys),)


@dataclass(frozen=True)
class Map(Operator):
    """Replaces each key and value."""

    function: Callable[[Any, Any], tuple[Any, Any]]

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: the same rows with other keys and values."""
        pairs, batch = context.call(self._pair, batch, batch.keys, batch.values)
        keys, values = map(list, zip(*pairs, strict=True)) if pairs else ([], [])
        return (batch.with_keys(keys).with_values(values),)

    def _pair(self, key: Any, value: Any) -> tuple[Any, Any]:
        pair = self.function(key, value)
        new_key, new_value = pair
        return new_key, new_value


@dataclass(frozen=True)
class FlatMap(Operator):
    """Replaces each row by any number of rows with other keys and values."""

    function: Callable[[Any, Any], Iterable[tuple[Any, Any]]]

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: for each row the rows made from it, which keep its timestamp and headers."""
        lists, batch = context.call(self._pairs, batch, batch.keys, batch.values)
        pairs = list(chain.from_iterable(lists))
        keys = [key for key, _ in pairs]
        values = [value for _, value in pairs]
        return (_spread(batch, lists).with_keys(keys).with_values(values),)

    def _pairs(self, key: Any, value: Any) -> list[tuple[Any, Any]]:
        return [(new_key, new_value) for new_key, new_value in self.function(key, value)]


@dataclass(frozen=True)
class FlatMapValues(Operator):
    """Replaces each row by any number of rows with other values."""

    function: Callable[[Any], Iterable[Any]]

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: for each row the rows made from it, which keep its key and the rest."""
        lists, batch = context.call(self._list, batch, batch.values)
        return (_spread(batch, lists).with_values(list(chain.from_iterable(lists))),)

    def _list(self, value: Any) -> list[Any]:
        return list(self.function(value))


@dataclass(frozen=True)
class Peek(Operator):
    """Calls a function for its side effect and passes the rows on."""

    function: Callable[[Any, Any], object]

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: the rows for which the function did not fail."""
        _, batch = context.call(self.function, batch, batch.keys, batch.values)
        return (batch,)


@dataclass(frozen=True)
class Split(Operator):
    """Sends each row to the first branch whose predicate accepts its value, else to the last."""

    predicates: tuple[Callable[[Any], object], ...]

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch for each predicate, and one for the rows that none accepts."""
        routes, batch = context.call(self._route, batch, batch.values)
        ports = range(len(self.predicates) + 1)
        return tuple(batch.select([route == port for route in routes]) for port in ports)

    def _route(self, value: Any) -> int:
        for port, predicate in enumerate(self.predicates):
            if predicate(value):
                return port
        return len(self.predicates)


@dataclass(frozen=True)
class Merge(Operator):
    """Passes on what its parents give; the task has put the rows in the order of their records."""

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """The batch as it is."""
        del context
        return (batch,)


def _spread(batch: AnyBatch, lists: list[Any]) -> Batch[Any, Any]:
    """Each row as often as its list is long."""
    return batch.take([row for row, items in enumerate(lists) for _ in items])
