"""GroupedTable: a table's values in groups, to be made into a table by group.

Each method adds nodes to the builder and returns a new table; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

from processor.operators.aggregates.by_key import Emit, TableOperator, stamped
from processor.operators.tables.derived import AggregateChanges, CountChanges
from processor.records import V2, K, V
from processor.serdes import Serde, int64
from processor.state.keyvalue import StoreSpec
from processor.topology.flow import Flow, FromFlow
from processor.topology.form import Form
from processor.topology.functions import checked_function, folded
from processor.topology.table import Table


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
