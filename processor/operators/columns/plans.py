"""What column expressions are for fields of certain types, and how they are run on columns.

Owns which of them make sense, where integers overflow, and how the rows that fail are found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import polars as pl
from polars import DataFrame, DataType, Expr, LazyFrame, Series
from polars.exceptions import PanicException

from processor.attempt import Fault
from processor.operators.columns.expressions import casts, growing, parts

Schema: TypeAlias = tuple[DataType, ...]


class ColumnError(ValueError):
    """A column expression can't be evaluated on a value."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What the expressions are for fields of certain types.

    Args:
        names: Of the fields.
        schema: Their types.
        expressions: What is asked for, under the names 0, 1, ...
        types: Of all that they are made of.
        overflows: What is true where an integer did not fit its type.
        results: The types of what is asked for.
    """

    names: tuple[str, ...]
    schema: Schema
    expressions: tuple[Expr, ...]
    types: Schema
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
        types = tuple(typed.of(part) for each in asked for part in parts(each))
        return Plan(tuple(names), schema, asked, types, tuple(named), results)

    def is_part_of(self, other: Plan) -> bool:
        """Whether all that the expressions are made of has the types that it has there, or none."""
        pairs = zip(self.types, other.types, strict=True)
        return all(own in (its, pl.Null()) for own, its in pairs)

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
        """Text is parsed in a format that is given, not in one that others suggest."""
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
        for operator, whole, inner in growing(expression):
            dtype = self.of(whole)
            if dtype.is_temporal():
                self._check_times(operator, inner)
            elif not dtype.is_integer():
                continue
            if operator == "Pow.Generic":
                raise ColumnError(
                    "whole numbers may be too large for **: multiply, or cast to Float64 before"
                )
            exact = _exact(operator, [part.to_physical().cast(wide) for part in inner])
            checks.append(exact.ne_missing(whole.to_physical().cast(wide)))
        return checks

    def _check_times(self, operator: str, inner: Sequence[Expr]) -> None:
        units = {getattr(self.of(part), "time_unit", None) for part in inner}
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
