"""GroupedStream and CogroupedStream: records by key, of one stream or of several.

Each method adds nodes to the builder and returns something new; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import update_wrapper
from typing import Any, Generic, NamedTuple, TypeVar, cast, overload

from processor.durations import Duration
from processor.errors import TopologyError
from processor.operators.aggregates.by_key import Aggregate, Count, Emit, stamped
from processor.operators.aggregates.catalogue import Aggregator
from processor.operators.aggregates.composed import AggregateTable
from processor.operators.joins.tables import Cogroup
from processor.operators.windows.kinds import AnyWindows
from processor.operators.windows.windowed import WindowEmit
from processor.records import (
    V2,
    K,
    Policy,
    V,
)
from processor.serdes import Serde, int64
from processor.serdes.copies import copy_of
from processor.state.keyvalue import StoreSpec
from processor.topology.aggregating import composed
from processor.topology.flow import Flow, FromFlow, Values, flow_of
from processor.topology.form import Form
from processor.topology.functions import checked_function, described, folded
from processor.topology.graph import Edge
from processor.topology.joining import together
from processor.topology.keeping import lasting
from processor.topology.table import Table
from processor.topology.windowed import WindowedStream, WindowedTable, windowed_stream

VO = TypeVar("VO")


@dataclass(frozen=True, eq=False, repr=False)
class GroupedStream(FromFlow, Generic[K, V]):
    """Records by key, to be made into a table.

    With `emit="checkpoint"`, the default, a table emits the last change of each key at every
    checkpoint; with `emit="change"` of every change, record by record. The first is several times
    faster; the last value of every key is the same.

    With a time to live, such as `ttl="1d"`, a key's value is deleted when the stream time is a day
    ahead of the key's latest record, and the next one starts over. A record that is a day late when
    it comes is left out and counted as `late`.
    """

    def window(
        self,
        windows: AnyWindows,
        *,
        emit: WindowEmit = "close",
        late: Policy | None = None,
        retention: Duration | None = None,
        early: Duration | None = None,
    ) -> WindowedStream[K, V]:
        """Groups by windows as well, see docs/guides/windows.md.

        Example: `orders.group_by_key().window(tumbling("1m")).count()`.
        In Kafka Streams: `KGroupedStream#windowedBy`.

        Args:
            windows: Such as `tumbling("10s", grace="1s")`.
            emit: `close`: one result of each window, when it closes. `change`: a result at every
                change. `checkpoint`: the last change of each window at every checkpoint.
            late: For records that come after their windows have closed, instead of the setting
                `on_bad_record`. See also `WindowedTable.late`.
            retention: How long after its end a window can be read in the store, a duration; by
                default until it closes.
            early: With `emit="close"`, emits windows that have changed before they close as well,
                each time that so much stream time has passed. See also `WindowedTable.final`.

        Returns:
            The records by key and window, to be aggregated.

        Raises:
            TopologyError: What is asked for does not go together.
        """
        return windowed_stream(self._flow, windows, emit, late, retention, early)

    def cogroup(self, add: Callable[[V2, V], V2 | None]) -> CogroupedStream[K, V2]:
        """Groups together with other streams; `add(so_far, value)` adds the values of this one.

        In Kafka Streams: `KGroupedStream#cogroup`.

        Args:
            add: Of the aggregate so far and a value; returns the new aggregate.

        Returns:
            The group of streams, to which others are added.

        Raises:
            TopologyError: A function takes other arguments, or the name is taken or malformed.
        """
        checked_function("cogroup", add, "so_far, value")
        return CogroupedStream((_Group(self._flow, add),))

    def count(
        self,
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        ttl: Duration | None = None,
    ) -> Table[K, int]:
        """Counts the records of each key.

        Example: `orders.group_by_key().count()`.
        In Kafka Streams: `KGroupedStream#count`.

        Args:
            name: Of the store; needed where the stream has no name of its own.
            emit: Which changes to emit, see `GroupedStream`.
            ttl: Time to live, see `GroupedStream`.

        Returns:
            The table of the counts.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        name = self._flow.needed(name, "count", "count")
        flow = self._flow.partitioned_by_key(name)
        spec = StoreSpec(name, _key_serde(flow, name), stamped(int64))
        return Table(lasting(flow, "count", spec, Count(name, emit), Form(int), ttl), Values(spec))

    def reduce(
        self,
        add: Callable[[V, V], V | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V] | Serde[V] | None = None,
        ttl: Duration | None = None,
    ) -> Table[K, V]:
        """Folds the values of each key into one: `add(so_far, value)`; the first is the start.

        Example: `amounts.group_by_key().reduce(max)`.
        In Kafka Streams: `KGroupedStream#reduce`.

        Args:
            add: Returns the new value; None deletes the key.
            name: Of the store; needed where the stream has no name of its own.
            emit: Which changes to emit, see `GroupedStream`.
            value: Type or serde of the value in the store, by default as far as it is known.
            ttl: Time to live, see `GroupedStream`.

        Returns:
            The table of the values.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        name = self._flow.needed(name, "reduce", "reduce")
        checked_function("reduce", add, "so_far, value")
        return self._fold(None, add, self._flow.value, value, name, emit, ttl)

    def aggregate(
        self,
        start: Callable[[], V2],
        add: Callable[[V2, V], V2 | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
        ttl: Duration | None = None,
    ) -> Table[K, V2]:
        """Folds the values of each key into an aggregate: `add(so_far, value)`.

        Example: `orders.group_by_key().aggregate(list, append)`.
        In Kafka Streams: `KGroupedStream#aggregate`.

        Args:
            start: Makes the aggregate that a key begins with.
            add: Returns the new aggregate, which may be the changed old one; None deletes the key.
            name: Of the store; needed where the stream has no name of its own.
            emit: Which changes to emit, see `GroupedStream`.
            value: Type or serde of the aggregate in the store; by default what the annotation of
                `add` or `start` says, else JSON, which is refused if it would change the value.
            ttl: Time to live, see `GroupedStream`.

        Returns:
            The table of the aggregates.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        name = self._flow.needed(name, "aggregate", "aggregate")
        form = folded("aggregate", start, add)
        return self._fold(start, add, form, value, name, emit, ttl)

    @overload
    def agg(
        self,
        /,
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        ttl: Duration | None = None,
        **parts: Aggregator[Any],
    ) -> Table[K, dict[str, Any]]: ...
    @overload
    def agg(
        self,
        model: type[V2],
        /,
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        ttl: Duration | None = None,
        **parts: Aggregator[Any],
    ) -> Table[K, V2]: ...
    def agg(
        self,
        model: Any = dict,
        /,
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        ttl: Duration | None = None,
        **parts: Aggregator[Any],
    ) -> Table[K, Any]:
        """Several aggregates at once: `agg(total=sum_of("amount"), most=max_of("amount"))`.

        Args:
            model: What the results are, made with their names as keywords; by default a dict.
            name: Of the store; needed where the stream has no name of its own.
            emit: Which changes to emit, see `GroupedStream`.
            ttl: Time to live, see `GroupedStream`.
            parts: The aggregates, by the names that they have in the results.

        Returns:
            The table of the results.

        Raises:
            TopologyError: An aggregate is invalid, of an unknown field, or has no name; or the
                name of the store is missing, taken or malformed.
        """
        name = self._flow.needed(name, "agg", "agg")
        aggregation, form = composed(self._flow.value, parts, model, f"agg {name}")
        flow = self._flow.partitioned_by_key(name)
        spec = StoreSpec(name, _key_serde(flow, name), stamped(aggregation.shown))
        operator = AggregateTable(name, emit, aggregation)
        made = lasting(flow, "agg", spec, operator, form, ttl)
        # The store has the aggregates' states: what they emit is kept elsewhere by its own type.
        return Table(replace(made, value=Form(form.type)), Values(spec))

    def _fold(
        self,
        start: Callable[[], Any] | None,
        add: Callable[[Any, Any], Any],
        form: Form,
        given: Any,
        name: str,
        emit: Emit,
        ttl: Duration | None,
    ) -> Table[K, Any]:
        flow = self._flow.partitioned_by_key(name)
        serde = form.kept_value(given, f"the value of store {name}")
        spec = StoreSpec(name, _key_serde(flow, name), stamped(serde))
        kind = "reduce" if start is None else "aggregate"
        operator = Aggregate(name, emit, start, add, serde)
        return Table(lasting(flow, kind, spec, operator, form, ttl), Values(spec))


class _Group(NamedTuple):
    """One of the streams, and what adds its values."""

    flow: Flow
    add: Callable[[Any, Any], Any]


@dataclass(frozen=True, eq=False, repr=False)
class CogroupedStream(Generic[K, V2]):
    """Grouped streams whose values are folded into one aggregate, each by a function of its own."""

    _groups: tuple[_Group, ...]

    def __repr__(self) -> str:
        return f"CogroupedStream({'; '.join(str(each.flow) for each in self._groups)})"

    def cogroup(
        self, other: GroupedStream[K, VO], add: Callable[[V2, VO], V2 | None]
    ) -> CogroupedStream[K, V2]:
        """One more stream, whose values `add(so_far, value)` adds.

        In Kafka Streams: `CogroupedKStream#cogroup`.

        Args:
            other: A grouped stream with keys of the same type.
            add: Of the aggregate so far and a value of it; returns the new aggregate.

        Returns:
            The group with this stream, too.

        Raises:
            TopologyError: A function takes other arguments, or the name is taken or malformed.
        """
        if not isinstance(cast("object", other), GroupedStream):
            raise TopologyError(
                f"cogroup: give a grouped stream, such as stream.group_by_key(), not "
                f"{described(other)}"
            )
        checked_function("cogroup", add, "so_far, value")
        return CogroupedStream((*self._groups, _Group(flow_of(other), add)))

    def aggregate(
        self,
        start: Callable[[], V2],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]:
        """Folds the values of each key into an aggregate, see `GroupedStream.aggregate`.

        In Kafka Streams: `CogroupedKStream#aggregate`.

        Args:
            start: Makes the aggregate that a key begins with, whichever stream it is in first.
            name: Of the store; needed where the first stream has no name of its own.
            emit: Which changes to emit, see `GroupedStream`.
            value: Type or serde of the aggregate in the store; by default what the annotation of
                the first function or of `start` says.

        Returns:
            The table of the aggregates.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        name = self._groups[0].flow.needed(name, "cogroup", "cogroup")
        grouped: GroupedStream[K, Any] = GroupedStream(_merged(self._groups, name))
        return grouped.aggregate(start, _added(self._groups), name=name, emit=emit, value=value)

    def window(
        self,
        windows: AnyWindows,
        *,
        emit: WindowEmit = "close",
        late: Policy | None = None,
        retention: Duration | None = None,
        early: Duration | None = None,
    ) -> WindowedCogroup[K, V2]:
        """Groups by windows as well, see `GroupedStream.window`.

        In Kafka Streams: `CogroupedKStream#windowedBy`.

        Args:
            windows: As for `GroupedStream.window`.
            emit: As for `GroupedStream.window`.
            late: As for `GroupedStream.window`.
            retention: As for `GroupedStream.window`.
            early: As for `GroupedStream.window`.

        Returns:
            The values by key and window, to be aggregated.

        Raises:
            TopologyError: What is asked for does not go together.
        """

        def windowed(merged: Flow) -> WindowedStream[K, Any]:
            return windowed_stream(merged, windows, emit, late, retention, early)

        return WindowedCogroup(self._groups, windowed)


@dataclass(frozen=True, eq=False)
class WindowedCogroup(Generic[K, V2]):
    """A cogrouped stream by windows."""

    _groups: tuple[_Group, ...]
    _windowed: Callable[[Flow], WindowedStream[K, Any]]

    def aggregate(
        self,
        start: Callable[[], V2],
        *,
        merge: Callable[[V2, V2], V2 | None] | None = None,
        name: str | None = None,
        value: type[V2] | Serde[V2] | None = None,
    ) -> WindowedTable[K, Any, V2]:
        """Folds the values of each key and window, see `WindowedStream.aggregate`.

        In Kafka Streams: `TimeWindowedCogroupedKStream#aggregate`.

        Args:
            start: Makes the aggregate that a window begins with.
            merge: Makes one of two aggregates, of which the first is the earlier; for sessions.
            name: Of the store; needed where the first stream has no name of its own.
            value: Type or serde of the aggregate in the store; see `GroupedStream.aggregate`.

        Returns:
            The table of the aggregates, by key and window.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        name = self._groups[0].flow.needed(name, "cogroup", "cogroup")
        stream = self._windowed(_merged(self._groups, name))
        return stream.aggregate(start, _added(self._groups), merge=merge, name=name, value=value)


def _merged(groups: tuple[_Group, ...], name: str) -> Flow:
    """All values, with the number of their stream, where equal keys meet."""
    names = [f"{name}-{number}" for number, _ in enumerate(groups, 1)]
    flows = together([group.flow for group in groups], "cogroup", names)
    first = flows[0]
    edges = tuple(flow.edge for flow in flows)
    node = first.builder.step("cogroup", edges, Cogroup(), on_bad_record=first.on_bad_record)
    return replace(first, edge=Edge(node), value=Form(), label=name)


def _added(groups: tuple[_Group, ...]) -> Callable[[Any, Any], Any]:
    """What adds a value that has the number of its stream; it is known by the first function."""
    adders = [group.add for group in groups]

    def add(so_far: Any, numbered: tuple[int, Any]) -> Any:
        number, value = numbered
        made = adders[number](so_far, value)
        # Steps beside this one see the value as well; the function may change the result.
        return copy_of(made) if made is value else made

    return update_wrapper(add, adders[0])


def _key_serde(flow: Flow, name: str) -> Serde[Any]:
    return flow.key.kept_key(None, f"the key of store {name}")
