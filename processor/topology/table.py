"""Table and GroupedTable: the part of the language that keeps the last value of each key.

Each method adds nodes to the builder and returns something new; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast, overload

from processor.durations import Duration, milliseconds
from processor.errors import TopologyError
from processor.operators.aggregates.by_key import Emit, TableOperator, stamped
from processor.operators.changes import change_serde
from processor.operators.joins.tables import JoinKind
from processor.operators.tables.derived import (
    AggregateChanges,
    CountChanges,
    Derived,
    FilterTable,
    MapTable,
    Regroup,
)
from processor.operators.tables.timed import Suppress, Wait, buffered_serde, expiry_of
from processor.records import K2, V2, K, Record, V
from processor.serdes import Serde, int64
from processor.state.keyvalue import StoreSpec
from processor.topology.builder import check_number
from processor.topology.flow import Flow, FromFlow, TableFlow, Values, flow_of
from processor.topology.form import Form
from processor.topology.functions import checked_function, described, folded, getter
from processor.topology.global_table import GlobalTable
from processor.topology.joining import How, foreign, join_word, table_table

if TYPE_CHECKING:
    from processor.topology.stream import Stream

VO = TypeVar("VO")


@dataclass(frozen=True, eq=False, repr=False)
class JoinableTable(FromFlow, Generic[K, V]):
    """What every table has: it can be joined, written, and read as a stream."""

    _values: Values

    @overload
    def join(
        self,
        other: JoinableTable[K, VO],
        joiner: Callable[[V, VO], V2 | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]: ...
    @overload
    def join(
        self,
        other: JoinableTable[K2, VO],
        joiner: Callable[[V, VO], V2 | None],
        *,
        on: Callable[[V], K2 | None] | str,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]: ...
    def join(
        self,
        other: JoinableTable[Any, VO],
        joiner: Callable[[V, VO], V2 | None],
        *,
        on: Callable[[V], Any] | str | None = None,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]:
        """A table of `joiner(value, other)` for the keys that both tables have.

        A value is from the later of the two event times that its parts are from.

        Example: `customers.join(accounts, with_account)`.
        In Kafka Streams: `KTable#join`; with `on`, its foreign-key join (KIP-213).

        Args:
            other: The table to join with.
            joiner: Makes the value; None deletes the key.
            on: Where it is not the same key: `on(value)`, or the field of that name, is the key
                that the other table has. None joins with nothing.
            name: Of the store; needed where this table has no name of its own.
            emit: Which changes to emit, see `GroupedStream`.
            value: Type or serde of the value in the store, by default as `joiner` is annotated.

        Returns:
            The table of the results.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        return _joined(self, other, on, How(joiner, name, emit, value, "inner"))

    @overload
    def left_join(
        self,
        other: JoinableTable[K, VO],
        joiner: Callable[[V, VO | None], V2 | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]: ...
    @overload
    def left_join(
        self,
        other: JoinableTable[K2, VO],
        joiner: Callable[[V, VO | None], V2 | None],
        *,
        on: Callable[[V], K2 | None] | str,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]: ...
    def left_join(
        self,
        other: JoinableTable[Any, VO],
        joiner: Callable[[V, VO | None], V2 | None],
        *,
        on: Callable[[V], Any] | str | None = None,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]:
        """As `join`, for all keys of this table: `joiner(value, None)` where the other has none.

        In Kafka Streams: `KTable#leftJoin`.

        Args:
            other: The table to join with.
            joiner: Makes the value of both, the second None where the other table has none.
            on: As for `join`.
            name: Of the store; needed where this table has no name of its own.
            emit: Which changes to emit, see `GroupedStream`.
            value: Type or serde of the value in the store, by default as `joiner` is annotated.

        Returns:
            The table of the results.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        return _joined(self, other, on, How(joiner, name, emit, value, "left"))

    def outer_join(
        self,
        other: JoinableTable[K, VO],
        joiner: Callable[[V | None, VO | None], V2 | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]:
        """As `join`, for all keys that either table has; what the other lacks is None.

        In Kafka Streams: `KTable#outerJoin`.

        Args:
            other: The table to join with.
            joiner: Makes the value of both; what a table lacks is None.
            name: Of the store; needed where this table has no name of its own.
            emit: Which changes to emit, see `GroupedStream`.
            value: Type or serde of the value in the store, by default as `joiner` is annotated.

        Returns:
            The table of the results.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        return _joined(self, other, None, How(joiner, name, emit, value, "outer"))

    def to_stream(self) -> Stream[K, V]:
        """The table's changes: the new value of a key, None when it is deleted.

        Example: `counts.to_stream().to("counts")`.
        In Kafka Streams: `KTable#toStream`.

        Returns:
            The stream of the changes.
        """
        return self._flow.to_stream()

    def to(
        self,
        topic: str | Callable[[Record[K, V]], str],
        *,
        key: type[Any] | Serde[Any] | None = None,
        value: type[Any] | Serde[Any] | None = None,
    ) -> None:
        """Writes the table's changes to a topic, see `Stream.to`.

        Example: `counts.to("counts")`.
        In Kafka Streams: `KTable#toStream`, then `KStream#to`.

        Args:
            topic: Its name; it should be compacted.
            key: Type or serde of the keys, by default as far as it is known.
            value: Type or serde of the values, by default as far as it is known.

        Raises:
            TopologyError: The name is malformed or internal, or a value can't be written so.
        """
        self.to_stream().to(topic, key=key, value=value)

    def print(self, label: str | None = None) -> Self:
        """Prints each change as `label: key → value`.

        Args:
            label: What stands before each, by default the name of the stream or table.

        Returns:
            The same table.
        """
        self.to_stream().print(label)
        return self


@dataclass(frozen=True, eq=False, repr=False)
class Table(JoinableTable[K, V]):
    """The last value of each key; its changes can be read as a stream.

    A table made of another by `filter` or `map_values` has no store: its functions are called with
    the old value as well as with the new one when a value changes, and have to be pure. What
    they make of the old one is taken back, so that a value which no longer passes a filter becomes
    a tombstone, and one that never passed becomes nothing at all.
    """

    def filter(self, predicate: Callable[[V], object], *, name: str | None = None) -> Table[K, V]:
        """Keeps the keys whose value the predicate accepts.

        Example: `accounts.filter(lambda account: account.is_open)`.
        In Kafka Streams: `KTable#filter`.

        Args:
            predicate: A pure function of the value.
            name: Of the step, by default made of its kind and a number.

        Returns:
            The table of the keys that are kept.

        Raises:
            TopologyError: A function takes other arguments, or the name is taken or malformed.
        """
        return self._derived(
            "filter", FilterTable(checked_function("filter", predicate, "value")), name, None
        )

    def filter_not(
        self, predicate: Callable[[V], object], *, name: str | None = None
    ) -> Table[K, V]:
        """Keeps the keys whose value the predicate does not accept.

        In Kafka Streams: `KTable#filterNot`.

        Args:
            predicate: A pure function of the value.
            name: Of the step, by default made of its kind and a number.

        Returns:
            The table of the keys that are kept.

        Raises:
            TopologyError: A function takes other arguments, or the name is taken or malformed.
        """
        called = checked_function("filter_not", predicate, "value")
        return self._derived("filter-not", FilterTable(called, keep=False), name, None)

    def map_values(self, function: Callable[[V], V2], *, name: str | None = None) -> Table[K, V2]:
        """Replaces each value by `function(value)`; None: the key is not in the table.

        Example: `accounts.map_values(lambda account: account.balance)`.
        In Kafka Streams: `KTable#mapValues`.

        Args:
            function: A pure function of the value.
            name: Of the step, by default made of its kind and a number.

        Returns:
            The table of the new values.

        Raises:
            TopologyError: A function takes other arguments, or the name is taken or malformed.
        """
        form = Form.returned_by(checked_function("map_values", function, "value"))
        return self._derived("map-values", MapTable(function), name, form)

    def _derived(
        self, kind: str, operator: Derived, name: str | None, value: Form | None
    ) -> Table[K, Any]:
        flow = self._flow.changes.then(kind, operator, name, value=value)
        return Table(flow, replace(self._values, steps=(*self._values.steps, operator)))

    def suppress(
        self, *, until: Duration, max_records: int, name: str | None = None
    ) -> Table[K, V]:
        """Emits a key's changes only when some time has passed since the first of them.

        Then the last one is emitted, as one change. Time is the stream time, so that a replay emits
        the same. Windows emit their results once with `emit="close"` and need no `suppress`.

        Example: `counts.suppress(until="10s").to("calm-counts")`.
        In Kafka Streams: `KTable#suppress` with `Suppressed.untilTimeLimit`.

        Args:
            until: The time, such as "10s", or seconds; in effect up to a hundredth more.
            max_records: Of how many keys changes are held back at most; if there are more, those
                that are due first are emitted early.
            name: Of the store that holds them; needed where the table has no name of its own.

        Returns:
            The table with the changes that are emitted.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        name = self._flow.needed(name, "suppress", "suppressed")
        check_number(f"suppress {name}: max_records", max_records, least=1)
        wait = Wait(milliseconds(until, f"until of suppress {name}"))
        kept = buffered_serde(self._kept(name))
        spec = StoreSpec(name, self._values.store.key, kept)
        stores = spec, expiry_of(name)
        operator = Suppress(name, wait, max_records)
        flow = self._flow.changes.then("suppress", operator, name, stores=stores)
        return Table(flow, replace(self._values, is_held=False))

    def _kept(self, name: str | None) -> Serde[Any]:
        return self._flow.value.kept_value(None, f"the value of {name}")

    @overload
    def group_by(
        self, by: Callable[[V], K2], *, name: str | None = None
    ) -> GroupedTable[K2, V]: ...
    @overload
    def group_by(self, by: str, *, name: str | None = None) -> GroupedTable[Any, V]: ...
    def group_by(
        self, by: Callable[[V], Any] | str, *, name: str | None = None
    ) -> GroupedTable[Any, V]:
        """Groups the values by `by(value)`, or by the field of that name.

        Example: `accounts.group_by("country").count()`.
        In Kafka Streams: `KTable#groupBy`.

        Args:
            by: A pure function of the value, or the name of a field.
            name: Of the step, by default made of its kind and a number.

        Returns:
            The values by group, to be aggregated.

        Raises:
            TopologyError: A function takes other arguments, or the name is taken or malformed.
        """
        flow = self._flow
        function, key = getter("group_by", flow.value, by)
        label = flow.grouped_by(by, name)
        value = Form(flow.value.type, change_serde(self._kept(label or flow.label)))
        grouped = flow.changes.then("group-by", Regroup(function), name, key=key, value=value)
        return GroupedTable(replace(grouped, label=label))


@dataclass(frozen=True, eq=False, repr=False)
class GroupedTable(FromFlow, Generic[K, V]):
    """A table's values by the key of their group; when one changes, so does what is made of it.

    Changes travel through a repartition topic as pairs, the old value and the new one. So each
    aggregate is given what to take back and what to add, and is always that of the values that the
    table has.
    """

    def count(self, *, name: str | None = None, emit: Emit = "checkpoint") -> Table[K, int]:
        """Counts the table's keys in each group; a group that all have left has 0.

        Example: `accounts.group_by("country").count()`.
        In Kafka Streams: `KGroupedTable#count`.

        Args:
            name: Of the store; needed where the table has no name of its own.
            emit: Which changes to emit, see `GroupedStream`.

        Returns:
            The table of the counts, by group.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        name = self._flow.needed(name, "count", "count")
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

        In Kafka Streams: `KGroupedTable#reduce`.

        Args:
            add: `add(so_far, value)`; None deletes the group.
            subtract: `subtract(so_far, value)` takes back what was added before; None if nothing is
                left.
            name: Of the store; needed where the table has no name of its own.
            emit: Which changes to emit, see `GroupedStream`.
            value: Type or serde of the value in the store, by default as far as it is known.

        Returns:
            The table of the values, by group.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        name = self._flow.needed(name, "reduce", "reduce")
        checked_function("reduce: add", add, "so_far, value")
        checked_function("reduce: subtract", subtract, "so_far, value")
        form = Form(self._flow.value.type)
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

        In Kafka Streams: `KGroupedTable#aggregate`.

        Args:
            start: Makes the aggregate to start with.
            add: `add(so_far, value)`; None deletes the group.
            subtract: `subtract(so_far, value)` takes back what was added before; None if nothing is
                left. With a value that changes in its group it is called before `add`.
            name: Of the store; needed where the table has no name of its own.
            emit: Which changes to emit, see `GroupedStream`.
            value: Type or serde of the aggregate in the store; by default what the annotation of
                `add` or `start` says, else JSON, which is refused if it would change the value.

        Returns:
            The table of the aggregates, by group.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        name = self._flow.needed(name, "aggregate", "aggregate")
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
        flow = self._flow.partitioned_by_key(name)
        key = flow.key.kept_key(None, f"the key of store {name}")
        spec = StoreSpec(name, key, stamped(value))
        return Table(flow.table(kind, spec, operator, form), Values(spec))


values_of: Callable[[JoinableTable[Any, Any]], Values] = attrgetter("_values")
"""Where the values of a table are read."""


def table_of(table: JoinableTable[Any, Any]) -> TableFlow:
    """The point of the dataflow where a table's changes are, and where its values are read."""
    return TableFlow(flow_of(table), values_of(table))


def checked_table(
    flow: Flow, other: object, kind: JoinKind, wanted: str
) -> JoinableTable[Any, Any]:
    """The table that a join is given.

    Raises:
        TopologyError: It is something else; the error names the right call.
    """
    if isinstance(other, JoinableTable):
        return cast("JoinableTable[Any, Any]", other)
    word = join_word(kind)
    if isinstance(other, GlobalTable):
        raise TopologyError(
            f"{word}: only streams are joined with a global table, by join or left_join"
        )
    if isinstance(other, flow.stream):
        raise TopologyError(
            f"{word}: a table is joined with tables: make one of the stream with to_table(name=...)"
            ", or let the stream join the table, stream.join(table, joiner)"
        )
    raise TopologyError(f"{word}: give {wanted}, not {described(other)}")


def _joined(
    left: JoinableTable[Any, Any],
    other: object,
    on: Callable[[Any], Any] | str | None,
    how: How,
) -> Table[Any, Any]:
    one = table_of(left)
    right = table_of(
        checked_table(one.flow, other, how.kind, "a table, such as topology.table(...)")
    )
    made = table_table(one, right, how) if on is None else foreign(one, right, on, how)
    return Table(*made)
