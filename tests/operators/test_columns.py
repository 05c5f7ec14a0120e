"""Expressions on values: types, None, what does not fit, and rows that fail by themselves."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from typing import Any

import polars as pl
import pytest
from polars import DataType, Expr, col

from processor.operators.columns.evaluation import Columns, dtype_of
from processor.operators.columns.plans import ColumnError

A, B = col("a"), col("b")
MOST = 2**63 - 1


def columns(*asked: Expr, types: Sequence[DataType] | None = None) -> Columns:
    names = tuple(dict.fromkeys(name for each in asked for name in each.meta.root_names()))
    getters = tuple(itemgetter(name) for name in names)
    return Columns(asked, names, getters, tuple(types) if types else (None,) * len(names))


def of(asked: Expr, *values: Any, types: Sequence[DataType] | None = None) -> list[Any]:
    """The result of each value, or its error as text."""
    (made,), faults = columns(asked, types=types).evaluate(values)
    results: list[Any] = list(made)
    for row, error in faults:
        results.insert(row, f"{type(error).__name__}: {error}")
    return results


def rows(*column: Any) -> list[dict[str, Any]]:
    return [{"a": value, "b": 2} for value in column]


def test_types_stay_as_they_are() -> None:
    mixed = rows(1, 1.5, bool(1), "x", None, [1, None], {"x": 1})
    assert [(type(made), made) for made in of(A, *mixed)] == [
        (int, 1),
        (float, 1.5),
        (bool, True),
        (str, "x"),
        (type(None), None),
        (list, [1, None]),
        (dict, {"x": 1}),
    ]


def test_times() -> None:
    at = datetime(2024, 2, 29, 12, tzinfo=UTC)
    naive = at.replace(tzinfo=None)
    assert of(A.dt.hour(), *rows(at, naive)) == [12, 12]
    assert of(A - A, *rows(at, date(2024, 2, 29)))[0] == timedelta(0)
    assert of(A + timedelta(days=1), *rows(at)) == [at + timedelta(days=1)]


def test_each_row_has_the_types_of_its_own_values() -> None:
    assert of(A * B, *rows(2, 2.5, None)) == [4, 5.0, None]


@pytest.mark.parametrize(
    "asked", [A.str.to_uppercase(), A.abs(), A.dt.hour(), ~A, A // 2, A + "x", A.cast(pl.Int8)]
)
def test_none_stays_none(asked: Expr) -> None:
    assert of(asked, *rows(None)) == [None]


def test_none_where_something_is_made_of_it() -> None:
    assert of(A.fill_null(5), *rows(None, 1)) == [5, 1]
    assert of(A.is_null(), *rows(None, 1)) == [True, False]
    assert of(pl.coalesce(A, B), *rows(None)) == [2]


def test_a_field_of_known_type_has_it_though_it_is_none() -> None:
    assert of(A.str.to_uppercase(), *rows("x", None), types=[pl.String()]) == ["X", None]
    assert "ColumnError" in of(A.str.to_uppercase(), *rows("x", None), types=[pl.Int64()])[0]


def test_what_is_not_there_or_does_not_fit_fails_by_itself() -> None:
    made = of(A + 1, {"a": 1}, {}, {"a": "x"}, None, {"a": 2**63}, {"a": {1}}, {"a": 2})
    assert [made[0], made[6]] == [2, 3]
    assert made[1] == "KeyError: 'a'"
    assert made[3].startswith("TypeError")
    assert made[4].startswith("ColumnError: unexpected value while building Series of type Int64")
    assert made[5] == "ColumnError: no column can have a set: use a function for it"


@pytest.mark.parametrize(
    ("asked", "values", "results"),
    [
        (A + 1, [MOST, 1], [None, 2]),
        (A - 2, [-MOST, 1], [None, -1]),
        (A * B, [2**62, 2**61], [None, 2**62]),
        ((A * B) // 2 > 5, [2**62, 3], [None, False]),
        (-A, [-MOST - 1, MOST], [None, -MOST]),
        (A.abs(), [-MOST - 1, -MOST], [None, MOST]),
        (A // -1, [-MOST - 1, 7], [None, -7]),
        (A.cast(pl.Int8) * 2, [64, 63], [None, 126]),
        (A.cast(pl.UInt8) - 2, [1, 2], [None, 0]),
        (A.cast(pl.Int8), [128, 127], [None, 127]),
        (A.cast(pl.Int8, strict=False), [128, 127], [None, 127]),
    ],
    ids=str,
)
def test_overflow(asked: Expr, values: list[int], results: list[Any]) -> None:
    made = of(asked, *rows(*values))
    failed = isinstance(made[0], str) and made[0].startswith("ColumnError: ")
    assert [None if failed else made[0], *made[1:]] == results


def test_overflow_of_times() -> None:
    made = of(A + B, {"a": datetime(2024, 1, 1, tzinfo=UTC), "b": timedelta(days=106_000_000)})
    assert made[0].startswith("ColumnError: ")


def test_division_by_zero_is_as_in_polars() -> None:
    made = of(A / 0, *rows(1, -1))
    assert made == [float("inf"), float("-inf")]
    assert of(A // 0, *rows(1)) == of(A % 0, *rows(1)) == [None]


def test_literals_alone() -> None:
    assert of(pl.lit(5), None, 1, {}) == [5, 5, 5]
    assert columns(pl.lit(5), A).evaluate(rows(1, 2)) == ([[5, 5], [1, 2]], [])


def test_many_rows_of_which_some_fail() -> None:
    texts = [str(number) if number % 100 else "x" for number in range(1000)]
    (made,), faults = columns(A.str.to_integer()).evaluate(rows(*texts))
    assert made == [number for number in range(1000) if number % 100]
    assert [fault.row for fault in faults] == list(range(0, 1000, 100))


def test_no_rows() -> None:
    assert columns(A, B).evaluate([]) == ([[], []], [])


def test_the_types_of_results() -> None:
    assert columns(A + 1).known is None
    assert columns(A / 2, types=[pl.Int64()]).known == (pl.Float64,)


@pytest.mark.parametrize(
    ("asked", "dtype", "told"),
    [
        (A.str.contains("x"), pl.Int64(), "expected String type"),
        (A.str.to_uppercase(), pl.Int64(), "expected `String`"),
        (A**2, pl.Int64(), "too large for \\*\\*: multiply"),
        (A.cast(pl.Datetime), pl.String(), "str.to_datetime"),
        (A + timedelta(1), pl.Date(), "for more use a function"),
    ],
    ids=str,
)
def test_what_makes_no_sense_for_types(asked: Expr, dtype: DataType, told: str) -> None:
    with pytest.raises(ColumnError, match=told):
        _ = columns(asked, types=[dtype]).known


def test_annotations() -> None:
    assert [dtype_of(each) for each in (int, float, str, bool)] == [
        pl.Int64,
        pl.Float64,
        pl.String,
        pl.Boolean,
    ]
    assert [dtype_of(each) for each in (None, datetime, list[int], dict, Any)] == [None] * 5
