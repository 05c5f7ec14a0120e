"""Table and GroupedTable: the part of the language that keeps the last value of each key.

Each method adds nodes to the builder and returns something new; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from processor.durations import Duration, milliseconds
from processor.errors import TopologyError
from processor.operators.aggregates.by_key import Emit, TableOperator, stamped
from processor.operators.changes import change_serde
from processor.operators.joins.tables import JoinKind
from processor.operators.joins.views import View
from processor.operators.tables.derived import (
    AggregateChanges,
    CountChanges,
    Derived,
    FilterTable,
    MapTable,
    Regroup,
)
from processor.operators.tables.timed import Suppress, Wait, buffered_serde, expiry_of
from processor.operators.tables.versioned import Kept
from processor.records import K2, V2, K, Record, V
from processor.serdes import Serde, int64
from processor.state.keyvalue import StoreSpec
from processor.topology.builder import check_number
from processor.topology.flow import Flow, FromFlow
from processor.topology.form import Form
from processor.topology.functions import checked_function, folded, getter, told
from processor.topology.global_table import GlobalTable
from processor.topology.joining import How, foreign, join_word, table_table

if TYPE_CHECKING:
    from processor.topology.stream import Stream

VO = TypeVar("VO")


@dataclass(frozen=True, eq=False, repr=False)
class Table(FromFlow, Generic[K, V]):
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

    @overload
    def join(
        self,
        other: Table[K, VO],
        joiner: Callable[[V, VO], V2 | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]: ...
    @overload
    def join(
        self,
        other: Table[K2, VO],
        joiner: Callable[[V, VO], V2 | None],
        *,
        on: Callable[[V], K2 | None] | str,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]: ...
    def join(
        self,
        other: Table[Any, VO],
        joiner: Callable[[V, VO], V2 | None],
        *,
        on: Callable[[V], Any] | str | None = None,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]:
        """A table of `joiner(value, other)` for the keys that both tables have.

        A value is from the later of the two event times that its parts are from.

        Args:
            other: The table to join with.
            joiner: Makes the value; None deletes the key.
            on: Where it is not the same key: `on(value)`, or the field of that name, is the key
                that the other table has. None joins with nothing.
            name: Of the store; needed where this table has no name of its own.
            emit: Which changes to tell of, see `GroupedStream`.
            value: Type or serde of the value in the store, by default as `joiner` is annotated.
        """
        return _joined(self, other, on, How(joiner, name, emit, value, "inner"))

    @overload
    def left_join(
        self,
        other: Table[K, VO],
        joiner: Callable[[V, VO | None], V2 | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]: ...
    @overload
    def left_join(
        self,
        other: Table[K2, VO],
        joiner: Callable[[V, VO | None], V2 | None],
        *,
        on: Callable[[V], K2 | None] | str,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]: ...
    def left_join(
        self,
        other: Table[Any, VO],
        joiner: Callable[[V, VO | None], V2 | None],
        *,
        on: Callable[[V], Any] | str | None = None,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]:
        """As `join`, for all keys of this table: `joiner(value, None)` where the other has none."""
        return _joined(self, other, on, How(joiner, name, emit, value, "left"))

    def outer_join(
        self,
        other: Table[K, VO],
        joiner: Callable[[V | None, VO | None], V2 | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]:
        """As `join`, for all keys that either table has; what the other lacks is None."""
        return _joined(self, other, None, How(joiner, name, emit, value, "outer"))

    def suppress(
        self, *, until: Duration, max_records: int, name: str | None = None
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
        flow = self.flow
        function, key = getter("group_by", flow.value, by)
        label = flow.grouped_by(by, name)
        value = Form(flow.value.type, change_serde(self._kept(label or flow.label)))
        grouped = flow.changes.then("group-by", Regroup(function), name, key=key, value=value)
        return GroupedTable(replace(grouped, label=label))

    def to_stream(self) -> Stream[K, V]:
        """The table's changes: the new value of a key, None when it is deleted."""
        return self.flow.to_stream()

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


@dataclass(frozen=True, eq=False, repr=False)
class GroupedTable(FromFlow, Generic[K, V]):
    """A table's values by the key of their group; when one changes, so does what is made of it.

    Changes travel through a repartition topic as pairs, the old value and the new one. So each
    aggregate is told what to take back and what to add, and is always that of the values that the
    table has.
    """

    flow: Flow
    """What is known here; for the runtime and for tests, no part of the language."""

    def count(self, *, name: str | None = None, emit: Emit = "checkpoint") -> Table[K, int]:
        """Counts the table's keys in each group; a group that all have left has 0.

        Args:
            name: Of the store; needed where the table has no name of its own.
            emit: Which changes to tell of, see `GroupedStream`.
        """
        name = self.flow.needed(name, "count", "count")
        return self._made("count", CountChanges(name, emit), int64, Form(int))

    def reduce(
        self,
        add: Callable[[V, V], V | None],
        subtract: Callable[[V, V], V | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V] | Serde[V] | None = None,
    ) -> Table[K, V]:
        """Folds the values of each group into one; the first is the start.

        Args:
            add: `add(so_far, value)`; None deletes the group.
            subtract: `subtract(so_far, value)` takes back what was added before; None if nothing
                is left.
            name: Of the store; needed where the table has no name of its own.
            emit: Which changes to tell of, see `GroupedStream`.
            value: Type or serde of the value in the store, by default as far as it is known.
        """
        name = self.flow.needed(name, "reduce", "reduce")
        checked_function("reduce: add", add, "so_far, value")
        checked_function("reduce: subtract", subtract, "so_far, value")
        form = Form(self.flow.value.type)
        return self._fold(None, add, subtract, form, value, name, emit)

    def aggregate(
        self,
        start: Callable[[], V2],
        add: Callable[[V2, V], V2 | None],
        subtract: Callable[[V2, V], V2 | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]:
        """Folds the values of each group into another.

        Args:
            start: Makes the aggregate to start with.
            add: `add(so_far, value)`; None deletes the group.
            subtract: `subtract(so_far, value)` takes back what was added before; None if nothing
                is left. With a value that changes in its group it is called before `add`.
            name: Of the store; needed where the table has no name of its own.
            emit: Which changes to tell of, see `GroupedStream`.
            value: Type or serde of the aggregate in the store; by default what the annotation of
                `add` or `start` says, else JSON, which is refused if it would change the value.
        """
        name = self.flow.needed(name, "aggregate", "aggregate")
        form = folded("aggregate", start, add)
        checked_function("aggregate: subtract", subtract, "so_far, value")
        return self._fold(start, add, subtract, form, value, name, emit)

    def _fold(
        self,
        start: Callable[[], Any] | None,
        add: Callable[[Any, Any], Any],
        subtract: Callable[[Any, Any], Any],
        form: Form,
        given: Any,
        name: str,
        emit: Emit,
    ) -> Table[K, Any]:
        serde = form.kept_value(given, f"the value of store {name}")
        operator = AggregateChanges(name, emit, start, add, serde, subtract)
        return self._made("reduce" if start is None else "aggregate", operator, serde, form)

    def _made(
        self, kind: str, operator: TableOperator, value: Serde[Any], form: Form
    ) -> Table[K, Any]:
        name = operator.store
        flow = self.flow.partitioned_by_key(name)
        key = flow.key.kept_key(None, f"the key of store {name}")
        spec = StoreSpec(name, key, stamped(value))
        return Table(flow.table(kind, spec, operator, form), spec)


def checked_table(flow: Flow, other: object, kind: JoinKind, wanted: str) -> Table[Any, Any]:
    """The table that a join is given.

    Raises:
        TopologyError: It is something else; the error names the right call.
    """
    if isinstance(other, Table):
        return cast("Table[Any, Any]", other)
    word, called = join_word(kind), "left_join_global" if kind == "left" else "join_global"
    if isinstance(other, GlobalTable):
        raise TopologyError(f"{word}: a stream is joined with a global table by {called}")
    if isinstance(other, flow.stream):
        raise TopologyError(
            f"{word}: a table is joined with tables: make one of the stream with to_table(name=...)"
            ", or let the stream join the table, stream.join(table, joiner)"
        )
    raise TopologyError(f"{word}: give {wanted}, such as topology.table(...), not {told(other)}")


def _joined(
    left: Table[Any, Any], other: object, on: Callable[[Any], Any] | str | None, how: How
) -> Table[Any, Any]:
    right = checked_table(left.flow, other, how.kind, "a table")
    made = table_table(left, right, how) if on is None else foreign(left, right, on, how)
    return Table(*made)
