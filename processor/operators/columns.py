"""Evaluates column expressions on values, as `attempt` calls a function on them.

A value that fails is told apart from the others. The types of columns are those that the stream's
type has for its fields, or each value's own; so what a row gives never depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import compress
from typing import Any, TypeAlias, cast

import polars as pl
from polars import DataFrame, DataType, Expr, LazyFrame, Series
from polars.exceptions import PanicException

from processor.attempt import Fault, attempt
from processor.operators.expressions import casts, growing

Schema: TypeAlias = tuple[DataType, ...]

_SCHEMAS = 256
"""For how many combinations of types it is remembered what they give."""
_ABSENT = (pl.Int64(), pl.String(), pl.Datetime("us"), pl.Boolean())
"""What the type of a field may be that is None and of no known type."""


class ColumnError(ValueError):
    """A column expression can't be evaluated on a value."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Expressions, and how the fields that they need are got from values.

    Args:
        expressions: Checked ones, see `expressions.check`.
        names: The fields that they need.
        getters: One for each of these.
        types: Theirs, None where each value's own counts.
    """

    expressions: tuple[Expr, ...]
    names: tuple[str, ...]
    getters: tuple[Callable[[Any], Any], ...]
    types: tuple[DataType | None, ...]
    plan: Callable[[Schema], Plan | ColumnError] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plan", lru_cache(_SCHEMAS)(self._plan))

    @property
    def __name__(self) -> str:
        """What descriptions call it: by the fields."""
        return " ".join(self.names)

    @property
    def known(self) -> Sequence[DataType] | None:
        """The types of the results, None where they depend on the values.

        Raises:
            ColumnError: With these fields the expressions make no sense.
        """
        types = [each for each in self.types if each is not None]
        if len(types) < len(self.types):
            return None
        plan = self.plan(tuple(types))
        if isinstance(plan, ColumnError):
            raise plan
        return plan.results

    def evaluate(self, values: Sequence[Any]) -> tuple[list[list[Any]], list[Fault]]:
        """The results as columns, of the values that did not fail, and those that did."""
        numbers: Sequence[int] = range(len(values))
        faults: list[Fault] = []
        while numbers:
            columns, failed = self._tried(values)
            if not failed:
                return columns, sorted(faults, key=lambda fault: fault.row)
            faults += [Fault(numbers[row], error) for row, error in failed]
            bad = {row for row, _ in failed}
            left = [row not in bad for row in range(len(values))]
            values, numbers = list(compress(values, left)), list(compress(numbers, left))
        return [[] for _ in self.expressions], sorted(faults, key=lambda fault: fault.row)

    def _plan(self, schema: Schema) -> Plan | ColumnError:
        """With what None stands for: nothing, or what the expressions can be evaluated on."""
        failed: ColumnError | None = None
        for absent in (pl.Null(), *_ABSENT) if pl.Null() in schema else (pl.Null(),):
            types = tuple(absent if each == pl.Null() else each for each in schema)
            try:
                return Plan.made(self.expressions, self.names, types)
            except ColumnError as error:
                failed = failed or error
        assert failed is not None
        return failed

    def _tried(self, values: Sequence[Any]) -> tuple[list[list[Any]], list[Fault]]:
        """All columns, or some of the rows that fail."""
        columns: list[list[Any]] = []
        kinds: list[DataType | list[DataType]] = []
        for get, known in zip(self.getters, self.types, strict=True):
            column, faults = attempt(get, values)
            if faults:
                return [], faults
            kind, faults = (known, []) if known is not None else _kinds(column)
            if faults:
                return [], faults
            columns.append(column)
            kinds.append(kind)
        if any(isinstance(kind, list) for kind in kinds):
            return self._by_schema(columns, kinds, len(values))
        return self._of_schema(cast("Schema", tuple(kinds)), columns, len(values))

    def _of_schema(
        self, schema: Schema, columns: Sequence[Sequence[Any]], size: int
    ) -> tuple[list[list[Any]], list[Fault]]:
        plan = self.plan(schema)
        if isinstance(plan, ColumnError):
            return [], [Fault(row, plan) for row in range(size)]
        return plan.run(columns, size)

    def _by_schema(
        self, columns: list[list[Any]], kinds: Sequence[DataType | list[DataType]], size: int
    ) -> tuple[list[list[Any]], list[Fault]]:
        """Those of equal types together."""
        each = [kind if isinstance(kind, list) else [kind] * size for kind in kinds]
        rows_of: dict[Schema, list[int]] = {}
        for row, schema in enumerate(zip(*each, strict=True)):
            rows_of.setdefault(schema, []).append(row)
        made: list[list[Any]] = [[None] * size for _ in self.expressions]
        faults: list[Fault] = []
        for schema, rows in rows_of.items():
            own = [[column[row] for row in rows] for column in columns]
            results, failed = self._of_schema(schema, own, len(rows))
            faults += [Fault(rows[row], error) for row, error in failed]
            for column, result in zip(made, results, strict=False):
                for row, item in zip(rows, result, strict=True):
                    column[row] = item
        return made, faults


@dataclass(frozen=True, eq=False)
class Plan:
    """What the expressions are for fields of certain types.

    Args:
        names: Of the fields.
        schema: Their types.
        expressions: What is asked for, under the names 0, 1, ...
        overflows: What is true where an integer did not fit its type.
        results: The types of what is asked for.
    """

    names: tuple[str, ...]
    schema: Schema
    expressions: tuple[Expr, ...]
    overflows: tuple[Expr, ...]
    results: tuple[DataType, ...]

    @staticmethod
    def made(expressions: Sequence[Expr], names: Sequence[str], schema: Schema) -> Plan:
        """The plan.

        Raises:
            ColumnError: The expressions make no sense for these types.
        """
        typed = _Typed(dict(zip(names, schema, strict=True)))
        asked = tuple(each.alias(str(number)) for number, each in enumerate(expressions))
        results = tuple(map(typed.tried, asked))
        overflows = [check for each in asked for check in typed.overflows(each)]
        for each in asked:
            typed.check_casts(each)
        named = (each.alias(f"overflow {number}") for number, each in enumerate(overflows))
        return Plan(tuple(names), schema, asked, tuple(named), results)

    def run(
        self, columns: Sequence[Sequence[Any]], size: int
    ) -> tuple[list[list[Any]], list[Fault]]:
        """The results, or the rows that fail."""
        results = self._tried(columns, size)
        if not isinstance(results, ColumnError):
            return results
        if size == 1:
            return [], [Fault(0, results)]
        half = size // 2
        _, first = self.run([column[:half] for column in columns], half)
        _, second = self.run([column[half:] for column in columns], size - half)
        return [], [*first, *(Fault(half + row, error) for row, error in second)]

    def _tried(
        self, columns: Sequence[Sequence[Any]], size: int
    ) -> tuple[list[list[Any]], list[Fault]] | ColumnError:
        try:
            frame = self._frame(columns)
            made = frame.select(*self.expressions, *self.overflows).get_columns()
            results = [column.to_list() for column in made[: len(self.expressions)]]
        except (Exception, PanicException) as error:  # noqa: BLE001 - of some row; it is found out
            return _error(error)
        faults = _overflowed(made[len(self.expressions) :])
        if not self.names:  # literals are as long as one row
            results = [result * size for result in results]
            faults = [Fault(row, error) for _, error in faults for row in range(size)]
        return results, faults

    def _frame(self, columns: Sequence[Sequence[Any]]) -> DataFrame:
        fields = zip(self.names, columns, self.schema, strict=True)
        return DataFrame([Series(*each, strict=True) for each in fields])


class _Typed:
    """What is known of expressions when the types of the fields are."""

    def __init__(self, schema: dict[str, DataType]) -> None:
        self._empty = LazyFrame(schema=schema)

    def tried(self, expression: Expr) -> DataType:
        """The type of its results, if it can be evaluated at all."""
        dtype = self.of(expression)
        try:
            self._empty.select(expression).collect()
        except (Exception, PanicException) as error:
            raise _error(error) from error
        return dtype

    def of(self, expression: Expr) -> DataType:
        """The type of its results."""
        try:
            (dtype,) = self._empty.select(expression).collect_schema().dtypes()
        except (Exception, PanicException) as error:
            raise _error(error) from error
        return dtype

    def check_casts(self, expression: Expr) -> None:
        """Text is parsed in a format that is told, not in one that others suggest."""
        for whole, part in casts(expression):
            if self.of(part) == pl.String and self.of(whole).is_temporal():
                raise ColumnError(
                    "text becomes a time by str.to_datetime(format), str.to_date(format) or "
                    "str.to_time(format), and not by cast"
                )

    def overflows(self, expression: Expr) -> list[Expr]:
        """What is true where an integer in it does not fit its type."""
        wide = pl.Int128
        checks: list[Expr] = []
        for operator, whole, parts in growing(expression):
            dtype = self.of(whole)
            if dtype.is_temporal():
                self._check_times(operator, parts)
            elif not dtype.is_integer():
                continue
            if operator == "Pow.Generic":
                raise ColumnError(
                    "whole numbers may be too large for **: multiply, or cast to Float64 before"
                )
            exact = _exact(operator, [part.to_physical().cast(wide) for part in parts])
            checks.append(exact.ne_missing(whole.to_physical().cast(wide)))
        return checks

    def _check_times(self, operator: str, parts: Sequence[Expr]) -> None:
        units = {getattr(self.of(part), "time_unit", None) for part in parts}
        if operator not in {"Plus", "Minus", "Negate", "Abs"} or len(units) > 1 or None in units:
            raise ColumnError(
                "times can be compared, subtracted and changed by a duration, datetimes with "
                "datetimes; for more use a function"
            )


def _exact(operator: str, parts: Sequence[Expr]) -> Expr:
    """What an operator gives of numbers that are wide enough for it."""
    match operator:
        case "Plus":
            return parts[0] + parts[1]
        case "Minus":
            return parts[0] - parts[1]
        case "Multiply":
            return parts[0] * parts[1]
        case "FloorDivide":
            return parts[0] // parts[1]
        case "Abs":
            return parts[0].abs()
        case _:
            return 0 - parts[0]


def _overflowed(checks: Sequence[Series]) -> list[Fault]:
    rows = sorted({row for check in checks if check.any() for row in check.arg_true()})
    error = ColumnError(
        "a number is too large for its type: cast the columns before, as to Int64 or Float64"
    )
    return [Fault(row, error) for row in rows]


def _error(error: BaseException) -> ColumnError:
    """What Polars says, in one line."""
    line = next(iter(str(error).splitlines()), "")
    made = ColumnError(line or type(error).__name__)
    made.__cause__ = error
    return made


# Types


def _kinds(column: Sequence[Any]) -> tuple[DataType | list[DataType], list[Fault]]:
    """The type of all values, or of each."""
    types = set(map(type, column))
    if len(types) == 1:
        scalar = _scalars().get(next(iter(types)))
        if scalar is not None:
            return scalar, []
    return attempt(_kind, column)


def _kind(value: Any) -> DataType:
    """The type that a column needs for a value.

    Raises:
        ColumnError: There is none.
    """
    scalar = _scalars().get(type(value))
    if scalar is not None:
        return scalar
    if type(value) is datetime:
        return pl.Datetime("us", None if value.tzinfo is None else "UTC")
    if type(value) is dict:
        parts = cast("dict[str, Any]", value)
        return pl.Struct({name: _kind(part) for name, part in parts.items()})
    if type(value) is list:
        return pl.List(_common(map(_kind, cast("list[Any]", value))))
    raise ColumnError(f"no column can have a {type(value).__name__}: use a function for it")


def _common(kinds: Iterable[DataType]) -> DataType:
    null = pl.Null()
    found = {*kinds, null} - {null}
    if len(found) > 1:
        raise ColumnError("the items of a list are of different types: use a function for it")
    return next(iter(found), null)


@lru_cache(1)
def _scalars() -> dict[Any, DataType]:
    """The types that tell what a column of such values is."""
    return {
        type(None): pl.Null(),
        bool: pl.Boolean(),
        int: pl.Int64(),
        float: pl.Float64(),
        str: pl.String(),
        bytes: pl.Binary(),
        date: pl.Date(),
        time: pl.Time(),
        timedelta: pl.Duration("us"),
    }


def dtype_of(annotation: Any) -> DataType | None:
    """The type of a column for a field with that annotation; None: each value's own."""
    if annotation is None or annotation is type(None) or not isinstance(annotation, type):
        return None
    return _scalars().get(annotation)


def type_of(dtype: DataType) -> Any:
    """The type of what comes out of a column."""
    return dtype.to_python()
