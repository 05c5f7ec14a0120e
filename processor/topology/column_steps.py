"""The steps of a stream that take column expressions: some of them functions as well.

Each method adds nodes to the builder and returns a new stream; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, overload

from processor.operators.base import Operator
from processor.operators.columns.steps import FilterColumns, SelectColumns, is_expression, polars
from processor.operators.stateless import Filter
from processor.records import V2, K, V
from processor.topology.flow import Flow
from processor.topology.form import Form
from processor.topology.functions import checked_function

if TYPE_CHECKING:
    from polars import Expr

    from processor.topology.stream import Stream


class ColumnSteps(Generic[K, V]):
    """What a stream does with functions or with column expressions."""

    flow: Flow

    def filter(
        self, predicate: Callable[[V], object] | Expr, *, name: str | None = None
    ) -> Stream[K, V]:
        """Keeps the records whose value the predicate accepts: a function, or a column of bools."""
        return self._filter("filter", predicate, name, keep=True)

    def filter_not(
        self, predicate: Callable[[V], object] | Expr, *, name: str | None = None
    ) -> Stream[K, V]:
        """Keeps the records whose value the predicate does not accept."""
        return self._filter("filter-not", predicate, name, keep=False)

    @overload
    def with_columns(
        self, *columns: Expr | str, value: None = None, name: str | None = None, **named: Expr | str
    ) -> Stream[K, dict[str, Any]]: ...
    @overload
    def with_columns(
        self, *columns: Expr | str, value: type[V2], name: str | None = None, **named: Expr | str
    ) -> Stream[K, V2]: ...
    def with_columns(
        self,
        *columns: Expr | str,
        value: type[Any] | None = None,
        name: str | None = None,
        **named: Expr | str,
    ) -> Stream[K, Any]:
        """Adds fields to the values: `with_columns(total=col("price") * col("quantity"))`.

        Args:
            columns: Expressions that have a name, such as by `alias`.
            value: What the new values are, made with all fields as keywords; by default a dict.
            name: Of the step.
            named: Expressions, or names of fields, by the names that they are to have.
        """
        return self._select("with-columns", (*columns,), named, value, name)

    @overload
    def select(
        self, *columns: Expr | str, value: None = None, name: str | None = None, **named: Expr | str
    ) -> Stream[K, dict[str, Any]]: ...
    @overload
    def select(
        self, *columns: Expr | str, value: type[V2], name: str | None = None, **named: Expr | str
    ) -> Stream[K, V2]: ...
    def select(
        self,
        *columns: Expr | str,
        value: type[Any] | None = None,
        name: str | None = None,
        **named: Expr | str,
    ) -> Stream[K, Any]:
        """Makes new values of some fields: `select("user", big=col("amount") > 5)`.

        Args:
            columns: Names of fields, and expressions that have a name, such as by `alias`.
            value: What the new values are, made with the fields as keywords; by default a dict.
            name: Of the step.
            named: Expressions, or names of fields, by the names that they are to have.
        """
        return self._select("select", (*columns,), named, value, name)

    def _filter(
        self,
        kind: str,
        predicate: Callable[[V], object] | Expr,
        name: str | None,
        *,
        keep: bool,
    ) -> Stream[K, V]:
        from processor.topology.stream import Stream  # noqa: PLC0415 - it is made of this

        operator: Operator
        if is_expression(predicate):
            from processor.topology import columnar  # noqa: PLC0415 - where Polars is wanted

            operator = FilterColumns(columnar.predicate(self.flow.value, predicate, kind), keep)
        else:
            called = checked_function(kind.replace("-", "_"), predicate, "value")
            operator = Filter(called, keep)
        return Stream(self.flow.then(kind, operator, name))

    def _select(
        self,
        kind: str,
        positional: tuple[Expr | str, ...],
        named: dict[str, Expr | str],
        value: type[Any] | None,
        name: str | None,
    ) -> Stream[K, Any]:
        from processor.topology.stream import Stream  # noqa: PLC0415 - it is made of this

        polars()
        from processor.topology import columnar  # noqa: PLC0415 - where Polars is wanted

        asked, added = columnar.named(positional, named, kind), kind == "with-columns"
        evaluated = columnar.columns(self.flow.value, list(asked.values()), kind)
        form = Form(value)
        if value is None:
            form = columnar.record(self.flow.value, list(asked), evaluated, added=added)
        operator = SelectColumns(evaluated, tuple(asked), added, value)
        return Stream(self.flow.then(kind, operator, name, value=form))
