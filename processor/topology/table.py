"""GroupedStream and Table: the part of the language that keeps the last value of each key.

Each method adds nodes to the builder and returns a new table; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, overload

from processor.durations import milliseconds
from processor.errors import TopologyError
from processor.operators.aggregates.by_key import Aggregate, Count, Emit, stamped
from processor.operators.aggregates.catalogue import Aggregator
from processor.operators.base import Policy
from processor.operators.changes import change_serde
from processor.operators.columns.composed import AggregateTable
from processor.operators.joins.views import View
from processor.operators.tables.derived import Derived, FilterTable, MapTable, Regroup
from processor.operators.tables.timed import Suppress, Wait, buffered_serde, expiry_of
from processor.operators.tables.versioned import Kept
from processor.operators.windows.kinds import AnyWindows
from processor.operators.windows.windowed import WindowEmit
from processor.records import K2, V2, K, Record, V
from processor.serdes import Serde, int64
from processor.state.keyvalue import StoreSpec
from processor.topology.aggregating import composed
from processor.topology.builder import check_number
from processor.topology.cogrouping import CogroupedStream, cogrouped
from processor.topology.flow import Flow, FromFlow
from processor.topology.form import Form
from processor.topology.functions import checked_function, folded, getter
from processor.topology.joining import TableJoins
from processor.topology.keeping import lasting

if TYPE_CHECKING:
    from polars import Expr

    from processor.topology.grouped_table import GroupedTable
    from processor.topology.stream import Stream
    from processor.topology.windowed import WindowedStream


@dataclass(frozen=True, eq=False, repr=False)
class GroupedStream(FromFlow, Generic[K, V]):
    """Records by key, to be made into a table.

    With `emit="checkpoint"`, the default, a table tells of the last change of each key at every
    checkpoint; with `emit="change"` of every change, record by record. The first is several times
    faster; the last value of every key is the same.

    With a time to live, such as `ttl="1d"`, a key's value is deleted when the stream time is a day
    ahead of the key's latest record, and the next one starts over. A record that is a day late when
    it comes is left out and counted as `late`.
    """

    flow: Flow
    """What is known here; for the runtime and for tests, no part of the language."""

    def window(
        self,
        windows: AnyWindows,
        *,
        emit: WindowEmit = "close",
        late: Policy | None = None,
        retention: str | float | None = None,
        early: str | float | None = None,
    ) -> WindowedStream[K, V]:
        """Groups by windows as well, see docs/guides/windows.md.

        Args:
            windows: Such as `tumbling("10s", grace="1s")`.
            emit: `close`: one result of each window, when it closes. `change`: a result at every
                change. `checkpoint`: the last change of each window at every checkpoint.
            late: For records that come after their windows have closed, instead of the setting
                `on_bad_record`. See also `WindowedTable.late`.
            retention: How long after its end a window can be read in the store, by default until
                it closes.
            early: With `emit="close"`, tells of windows that have changed before they close as
                well, each time that so much stream time has passed. See also `WindowedTable.final`.

        Raises:
            TopologyError: What is asked for does not go together.
        """
        from processor.topology.windowed import windowed_stream  # noqa: PLC0415 - makes tables

        return windowed_stream(self.flow, windows, emit, late, retention, early)

    def cogroup(self, add: Callable[[V2, V], V2 | None]) -> CogroupedStream[K, V2]:
        """Groups together with other streams; `add(so_far, value)` adds the values of this one."""
        return cogrouped(self.flow, add)

    def count(
        self,
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        ttl: str | float | None = None,
    ) -> Table[K, int]:
        """Counts the records of each key.

        Args:
            name: Of the store; needed where the stream has no name of its own.
            emit: Which changes to tell of, see `GroupedStream`.
            ttl: Time to live, see `GroupedStream`.
        """
        name = self.flow.needed(name, "count", "count")
        flow = self.flow.partitioned_by_key(name)
        spec = StoreSpec(name, _key_serde(flow, name), stamped(int64))
        return Table(lasting(flow, "count", spec, Count(name, emit), Form(int), ttl), spec)

    def reduce(
        self,
        add: Callable[[V, V], V | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V] | Serde[V] | None = None,
        ttl: str | float | None = None,
    ) -> Table[K, V]:
        """Folds the values of each key into one: `add(so_far, value)`; the first is the start.

        Args:
            add: Returns the new value; None deletes the key.
            name: Of the store; needed where the stream has no name of its own.
            emit: Which changes to tell of, see `GroupedStream`.
            value: Type or serde of the value in the store, by default as far as it is known.
            ttl: Time to live, see `GroupedStream`.
        """
        name = self.flow.needed(name, "reduce", "reduce")
        checked_function("reduce", add, "so_far, value")
        return self._fold(None, add, self.flow.value, value, name, emit, ttl)

    def aggregate(
        self,
        start: Callable[[], V2],
        add: Callable[[V2, V], V2 | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
        ttl: str | float | None = None,
    ) -> Table[K, V2]:
        """Folds the values of each key into an aggregate: `add(so_far, value)`.

        Args:
            start: Makes the aggregate that a key begins with.
            add: Returns the new aggregate, which may be the changed old one; None deletes the key.
            name: Of the store; needed where the stream has no name of its own.
            emit: Which changes to tell of, see `GroupedStream`.
            value: Type or serde of the aggregate in the store; by default what the annotation of
                `add` or `start` says, else JSON, which is refused if it would change the value.
            ttl: Time to live, see `GroupedStream`.
        """
        name = self.flow.needed(name, "aggregate", "aggregate")
        form = folded("aggregate", start, add)
        return self._fold(start, add, form, value, name, emit, ttl)

    @overload
    def agg(
        self,
        /,
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        ttl: str | float | None = None,
        **parts: Aggregator[Any] | Expr,
    ) -> Table[K, dict[str, Any]]: ...
    @overload
    def agg(
        self,
        model: type[V2],
        /,
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        ttl: str | float | None = None,
        **parts: Aggregator[Any] | Expr,
    ) -> Table[K, V2]: ...
    def agg(
        self,
        model: Any = dict,
        /,
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        ttl: str | float | None = None,
        **parts: Aggregator[Any] | Expr,
    ) -> Table[K, Any]:
        """Several aggregates at once: `agg(total=sum_of("amount"), most=col("amount").max())`.

        Args:
            model: What the results are, made with their names as keywords; by default a dict.
            name: Of the store; needed where the stream has no name of its own.
            emit: Which changes to tell of, see `GroupedStream`.
            ttl: Time to live, see `GroupedStream`.
            parts: The aggregates, by the names that they have in the results.
        """
        name = self.flow.needed(name, "agg", "agg")
        folding, form = composed(self.flow.value, parts, model, f"agg {name}")
        flow = self.flow.partitioned_by_key(name)
        spec = StoreSpec(name, _key_serde(flow, name), stamped(folding.shown))
        operator = AggregateTable(name, emit, folding)
        made = lasting(flow, "agg", spec, operator, form, ttl)
        # The store has the aggregates' states: what they tell is kept elsewhere by its own type.
        return Table(replace(made, value=Form(form.type)), spec)

    def _fold(
        self,
        start: Callable[[], Any] | None,
        add: Callable[[Any, Any], Any],
        form: Form,
        given: Any,
        name: str,
        emit: Emit,
        ttl: str | float | None,
    ) -> Table[K, Any]:
        flow = self.flow.partitioned_by_key(name)
        serde = form.kept_value(given, f"the value of store {name}")
        spec = StoreSpec(name, _key_serde(flow, name), stamped(serde))
        kind = "reduce" if start is None else "aggregate"
        operator = Aggregate(name, emit, start, add, serde)
        return Table(lasting(flow, kind, spec, operator, form, ttl), spec)


@dataclass(frozen=True, eq=False, repr=False)
class Table(FromFlow, TableJoins[K, V], Generic[K, V]):
    """The last value of each key; its changes can be read as a stream.

    A table made of another by `filter` or `map_values` has no store: its functions are called with
    the old value as well as with the new one when a value changes, and have to be pure. What
    they make of the old one is taken back, so that a value which no longer passes a filter becomes
    a tombstone, and one that never passed becomes nothing at all.
    """

    flow: Flow
    """What is known here; for the runtime and for tests, no part of the language."""
    store: StoreSpec[Any, Any]
    """The store that holds the table, or the table that it is made of."""
    steps: tuple[Derived, ...] = ()
    """What has been made of the values in the store."""
    history: Kept | None = None
    """The history that is kept, of a versioned table."""
    is_held: bool = True
    """Whether the store has the values that the table tells of."""

    @property
    def view(self) -> View:
        """How a step reads the table's values; for the runtime, no part of the language.

        Raises:
            TopologyError: They are nowhere to be read.
        """
        if not self.is_held:
            raise TopologyError(
                f"what {self.flow.label} has told is nowhere to be looked up: put "
                ".to_stream().to_table(name=...) behind it, which keeps that"
            )
        return View(self.store.name, self.steps, self.history)

    def filter(self, predicate: Callable[[V], object], *, name: str | None = None) -> Table[K, V]:
        """Keeps the keys whose value the predicate accepts."""
        return self._derived(
            "filter", FilterTable(checked_function("filter", predicate, "value")), name, None
        )

    def filter_not(
        self, predicate: Callable[[V], object], *, name: str | None = None
    ) -> Table[K, V]:
        """Keeps the keys whose value the predicate does not accept."""
        called = checked_function("filter_not", predicate, "value")
        return self._derived("filter-not", FilterTable(called, keep=False), name, None)

    def map_values(self, function: Callable[[V], V2], *, name: str | None = None) -> Table[K, V2]:
        """Replaces each value by `function(value)`; None: the key is not in the table."""
        form = Form.returned_by(checked_function("map_values", function, "value"))
        return self._derived("map-values", MapTable(function), name, form)

    def _derived(
        self, kind: str, operator: Derived, name: str | None, value: Form | None
    ) -> Table[K, Any]:
        flow = self.flow.changes.then(kind, operator, name, value=value)
        return replace(self, flow=flow, steps=(*self.steps, operator))

    def suppress(
        self, *, until: str | float, max_records: int, name: str | None = None
    ) -> Table[K, V]:
        """Tells of a key's changes only when some time has passed since the first of them.

        Then the last one is told, as one change. Time is the stream time, so that a replay tells
        the same. Windows tell their results once with `emit="close"` and need no `suppress`.

        Args:
            until: The time, such as "10s", or seconds; in effect up to a hundredth more.
            max_records: Of how many keys changes are held back at most; if there are more, those
                that are due first are told early.
            name: Of the store that holds them; needed where the table has no name of its own.
        """
        name = self.flow.needed(name, "suppress", "suppressed")
        check_number(f"suppress {name}: max_records", max_records, least=1)
        wait = Wait(milliseconds(until, f"until of suppress {name}"))
        kept = buffered_serde(self._kept(name))
        spec = StoreSpec(name, self.store.key, kept)
        stores = spec, expiry_of(name)
        operator = Suppress(name, wait, max_records)
        flow = self.flow.changes.then("suppress", operator, name, stores=stores)
        return replace(self, flow=flow, is_held=False)

    def _kept(self, name: str | None) -> Serde[Any]:
        return self.flow.value.kept_value(None, f"the value of {name}")

    @overload
    def group_by(
        self, by: Callable[[V], K2], *, name: str | None = None
    ) -> GroupedTable[K2, V]: ...
    @overload
    def group_by(self, by: str, *, name: str | None = None) -> GroupedTable[Any, V]: ...
    def group_by(
        self, by: Callable[[V], Any] | str, *, name: str | None = None
    ) -> GroupedTable[Any, V]:
        """Groups the values by `by(value)`, or by the field of that name."""
        from processor.topology.grouped_table import GroupedTable  # noqa: PLC0415 - each makes the other

        flow = self.flow
        function, key = getter("group_by", flow.value, by)
        label = flow.grouped_by(by, name)
        value = Form(flow.value.type, change_serde(self._kept(label or flow.label)))
        grouped = flow.changes.then("group-by", Regroup(function), name, key=key, value=value)
        return GroupedTable(replace(grouped, label=label))

    def to_stream(self) -> Stream[K, V]:
        """The table's changes: the new value of a key, None when it is deleted."""
        from processor.topology.stream import Stream  # noqa: PLC0415 - each makes the other

        return Stream(self.flow)

    def to(
        self,
        topic: str | Callable[[Record[K, V]], str],
        *,
        key: type[Any] | Serde[Any] | None = None,
        value: type[Any] | Serde[Any] | None = None,
    ) -> None:
        """Writes the table's changes to a topic, see `Stream.to`."""
        self.to_stream().to(topic, key=key, value=value)

    def print(self, label: str | None = None) -> Table[K, V]:
        """Prints each change as `label: key → value`."""
        self.to_stream().print(label)
        return self


def _key_serde(flow: Flow, name: str) -> Serde[Any]:
    return flow.key.kept_key(None, f"the key of store {name}")
