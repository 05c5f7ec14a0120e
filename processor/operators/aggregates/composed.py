"""Several aggregates at once, each under a name: how windows and tables fold for `agg`.

A batch is folded aggregate by aggregate, which costs less than record by record.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, repeat
from operator import add, is_
from typing import Any, NamedTuple, is_typeddict

from processor.operators.aggregates.aggregators import Aggregation
from processor.operators.aggregates.by_key import (
    UNCHANGING,
    Stamped,
    TableOperator,
    highest_times,
    stamped,
)
from processor.operators.aggregates.catalogue import Aggregator, one_more
from processor.operators.base import NO_TIME, AnyBatch, Context, Outputs, Unattributed, encoded_keys
from processor.operators.changes import Change
from processor.records import Batch, Timestamp
from processor.serdes import Serde
from processor.serdes.copies import copy_of
from processor.serdes.internal import internal_list
from processor.serdes.internal_values import pack
from processor.state.keyvalue import EncodedStore


class Part(NamedTuple):
    """One aggregate: its name in the result, what it does, and how it gets its items."""

    name: str
    aggregator: Aggregator[Any]
    get: Callable[[Any], Any] | None  # None: the value itself


@dataclass(frozen=True)
class Composed(Aggregation):
    """States are lists, one state for each part; results are the model made of what these emit.

    Where the model may refuse values, it is tried with each one added: no state is kept that can't
    be emitted.
    """

    parts: tuple[Part, ...]
    model: Callable[..., Any]

    @cached_property
    def may_refuse(self) -> bool:
        """Whether the model is more than a dict, which takes all values."""
        return self.model is not dict and not is_typeddict(self.model)

    @property
    def shown(self) -> Serde[Any]:
        """Reads results where states are kept."""
        decode, result = self.value.decode, self.last_result
        return Serde(
            self.value.name,
            self.value.encode,
            lambda data: result(decode(data)),
            shape=self.value.shape,
        )

    @property
    def can_merge(self) -> bool:
        """If all parts can."""
        return all(part.aggregator.merge is not None for part in self.parts)

    def many(
        self,
        held: dict[bytes, Stamped],
        keys: Sequence[bytes],
        batch: AnyBatch,
        context: Context,
        *,
        emitted: bool,
    ) -> tuple[Sequence[Any], AnyBatch]:
        """Part by part, or row by row where every change is emitted, or tried, or of one record."""
        if emitted or self.may_refuse or not len(batch) or batch.offsets[0] == batch.offsets[-1]:
            return self._row_by_row(held, keys, batch, context, emitted=emitted)
        latest = highest_times(keys, batch.timestamps)
        states = {key: held[key][1] if key in held else self._start() for key in latest}
        for number, part in enumerate(self.parts):
            try:
                self._column(number, part, states, keys, batch)
            except Exception as error:
                raise Unattributed from error
        for key, time in latest.items():
            before = held[key][0] if key in held else NO_TIME
            held[key] = max(before, time), states[key]
        return (), batch

    def _row_by_row(
        self,
        held: dict[bytes, Stamped],
        keys: Sequence[bytes],
        batch: AnyBatch,
        context: Context,
        *,
        emitted: bool,
    ) -> tuple[Sequence[Any], AnyBatch]:
        def step(key: bytes, value: Any, timestamp: Timestamp) -> Any:
            latest, before = held.get(key, (NO_TIME, None))
            state = self._added(before, value, timestamp)
            held[key] = max(latest, timestamp), state
            return self.result(state) if emitted or self.may_refuse else None

        return context.call(step, batch, keys, batch.values, batch.timestamps)

    def _column(
        self,
        number: int,
        part: Part,
        states: dict[bytes, list[Any]],
        keys: Sequence[bytes],
        batch: AnyBatch,
    ) -> None:
        """Folds one part of all rows."""
        aggregator, get = part.aggregator, part.get
        items = batch.values if get is None else list(map(get, batch.values))
        if aggregator.timed:
            pairs = zip(batch.timestamps, items, strict=True)
            items = [None if item is None else (time, item) for time, item in pairs]
        if any(map(is_, items, repeat(None))):
            there = [item is not None for item in items]
            keys, items = list(compress(keys, there)), list(compress(items, there))
        own = {key: state[number] for key, state in states.items()}
        if aggregator.add is one_more:
            for key, count in Counter(keys).items():
                own[key] += count
        elif aggregator.add is add:
            for key, item in zip(keys, items, strict=True):
                own[key] += item
        else:
            added = aggregator.add
            for key, item in zip(keys, items, strict=True):
                own[key] = added(own[key], item)
        for key, state in own.items():
            states[key][number] = state

    def add(self, before: Any, value: Any, timestamp: Timestamp) -> Any:
        """One more value in each part.

        Raises:
            Exception: The model refuses what the parts emit then.
        """
        state = self._added(before, value, timestamp)
        if self.may_refuse:
            self.result(state)
        return state

    def _added(self, before: Any, value: Any, timestamp: Timestamp) -> list[Any]:
        state: list[Any] = self._start() if before is None else before
        for number, (_, aggregator, get) in enumerate(self.parts):
            item = value if get is None else get(value)
            if item is not None:
                added = (timestamp, item) if aggregator.timed else item
                state[number] = aggregator.add(state[number], added)
        return state

    def merge(self, one: Any, other: Any) -> Any:
        """Each part of both."""
        pairs = zip(self.parts, one, other, strict=True)
        return [_merge(part.aggregator)(mine, its) for part, mine, its in pairs]

    def result(self, state: Any) -> Any:
        """What each part emits; what is made of items has copies of them."""
        pairs = zip(self.parts, state, strict=True)
        results = ((part.name, part.aggregator.result(each)) for part, each in pairs)
        return self.model(
            **{
                name: result if type(result) in UNCHANGING else copy_of(result)
                for name, result in results
            }
        )

    def last_result(self, state: Any) -> Any:
        """What each part emits, as it is."""
        pairs = zip(self.parts, state, strict=True)
        return self.model(**{part.name: part.aggregator.result(each) for part, each in pairs})

    def copy(self, state: Any) -> Any:
        """The state as it is now."""
        return self.value.decode(self.value.encode(state))

    def _start(self) -> list[Any]:
        return [part.aggregator.start() for part in self.parts]


@dataclass(frozen=True)
class AggregateTable(TableOperator):
    """A table of several aggregates; its store has their states, and is read as their results."""

    aggregation: Composed

    @cached_property
    def _stamped(self) -> Serde[Stamped]:
        return stamped(self.aggregation.value)

    def fold(
        self, held: dict[bytes, Stamped], keys: Sequence[bytes], batch: AnyBatch, context: Context
    ) -> tuple[Sequence[Any], AnyBatch]:
        """Brings the states up to date."""
        return self.aggregation.many(held, keys, batch, context, emitted=self.emit == "change")

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: every change, or no row until the checkpoint."""
        states = self.held(context)
        keys, batch = encoded_keys(states.spec.key, batch, context)
        distinct = list(dict.fromkeys(keys))
        held = states.load(distinct)
        emitted: dict[bytes, Any] = {}
        if self.emit == "change" and context.wants_changes:
            emitted = {key: self._before(state) for key, (_, state) in held.items()}
        known = dict(held)
        values, batch = self.fold(held, keys, batch, context)
        try:
            states.save(distinct, held)
        except Exception as error:
            raise Unattributed from error
        if self.emit != "change" or len(batch) < len(keys):
            return (batch.select(()),)
        times = self.times(known, values, states.spec, batch)
        batch = Batch(batch.keys, batch.values, times, batch.offsets, batch.headers)
        if not context.wants_changes:
            return self.ports(batch.with_values(values), context)
        changes: list[Change] = []
        for key, new in zip(keys, values, strict=True):
            changes.append(Change(copy_of(emitted.get(key)), new))
            emitted[key] = new
        return self.ports(batch.with_values(changes), context)

    def held(self, context: Context) -> EncodedStore[Any, Stamped]:
        """The store with the states in it, of which others read the results."""
        return context.stores[self.store].holding(self._stamped)

    def changes(self, context: Context) -> AnyBatch | None:
        """The last change of each key since the last checkpoint, as far as it can be emitted."""
        states = super().changes(context)
        return None if states is None else context.emit(self._emitted, states).numbered()

    def _emitted(self, state: Any) -> Any:
        if isinstance(state, Change):
            return Change(*map(self._emitted, state))
        return None if state is None else self.aggregation.last_result(state)

    def _before(self, state: Any) -> Any:
        """What was emitted for a state that an earlier version of the topology may have kept."""
        try:
            return self.aggregation.result(state)
        except Exception as error:
            raise Unattributed from error


def _merge(aggregator: Aggregator[Any]) -> Callable[[Any, Any], Any]:
    assert aggregator.merge is not None
    return aggregator.merge


def states_serde(name: str, parts: Sequence[Part], types: Sequence[Any]) -> Serde[list[Any]]:
    """The internal form of all parts' states, in which equal states have equal bytes.

    Args:
        name: Says what the parts are.
        parts: What they do.
        types: Of their states, as they are kept.

    Raises:
        TopologyError: A type can't be kept.
    """
    dumps = [part.aggregator.dump for part in parts]
    loads = [part.aggregator.load for part in parts]
    return internal_list(name, types, dumps, loads)


def careful(get: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    """Gets items of unknown types, and refuses those that no store can keep."""

    def checked(value: Any) -> Any:
        item: Any = value if get is None else get(value)
        if type(item) not in UNCHANGING:
            pack(item)
        return item

    return checked
