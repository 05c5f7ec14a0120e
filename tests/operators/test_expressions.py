"""Which expressions a stream takes, and what aggregates are made of."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from polars import Expr, col

from processor.errors import TopologyError
from processor.operators.columns.expressions import aggregate, check

A, B, TEXT, TIME = map(col, ("a", "b", "text", "time"))


@pytest.mark.parametrize(
    "expression",
    [
        A * B + 1 > 5,
        (A > 1) & ~(B.is_null() | (A != B)),
        pl.when(A > 1).then(B).otherwise(None),
        A.is_in([1, 2]),
        A.replace({1: 2}).fill_null(0).clip(0, B),
        A.cast(pl.Float64).round(2),
        TEXT.str.to_lowercase().str.strip_chars().str.slice(0, 3).alias("short"),
        TEXT.str.to_datetime("%Y-%m-%d %H:%M"),
        TIME.dt.truncate("1h") + timedelta(hours=1),
        pl.concat_str(TEXT, pl.lit("-"), A),
        pl.struct(A, x=B).struct.field("x"),
        col("items").list.len(),
        pl.coalesce(A, B),
    ],
    ids=str,
)
def test_what_works_on_each_row_by_itself(expression: Expr) -> None:
    check(expression, "filter")


@pytest.mark.parametrize(
    "expression",
    [
        A.shift(),
        A.cum_sum(),
        A - A.mean(),
        pl.when(A.max() == A).then(A).otherwise(B),
        A.sum().over("b"),
        A.rank(),
        A.is_duplicated(),
        A.forward_fill(),
        A.filter(B > 1),
        A.explode(),
        A.head(2),
        A.sort(),
        A.rolling_mean(2),
        pl.len(),
        pl.int_range(pl.len()),
        A + pl.lit(pl.Series([1, 2])),
        A.sample(1),
        A.map_elements(lambda value: [value]),
        pl.all() > 1,
        col("a", "b") > 1,
        col("^a.*$"),
    ],
    ids=str,
)
def test_what_sees_other_rows_or_is_not_known_not_to(expression: Expr) -> None:
    with pytest.raises(TopologyError, match=r"^filter: "):
        check(expression, "filter")


def refusal(expression: Expr) -> str:
    with pytest.raises(TopologyError) as refused:
        check(expression, "filter")
    return str(refused.value)


def test_refusals_say_what_to_do() -> None:
    assert refusal(A.shift()) == (
        "filter: Shift may look at more than one record, or is not known not to: use what works on "
        "each by itself, an aggregate in agg(...), or a function"
    )
    assert "name each column" in refusal(pl.all())
    assert "can't call functions" in refusal(A.map_elements(lambda value: [value]))
    assert "in which format" in refusal(TEXT.str.to_datetime())
    assert "a list of values" in refusal(A.is_in(B))
    assert "not as columns" in refusal(A.replace(A, B))
    assert "not as columns" in refusal(A.replace_strict(1, B, default=2))
    assert "more than 64 bits" in refusal(A + 2**64)
    assert "no cast to Int128" in refusal(A.cast(pl.Int128))


@pytest.mark.parametrize(
    ("expression", "name", "of"),
    [
        (A.sum(), "sum", A),
        ((A * B).sum().alias("total"), "sum", A * B),
        (A.min(), "min", A),
        (A.max(), "max", A),
        (A.mean(), "mean", A),
        (A.count(), "count", A),
        (A.first(), "first", A),
        (A.last(), "last", A),
        (A.n_unique(), "distinct", A),
        (pl.len(), "count", None),
        (pl.sum("a"), "sum", A),
        (A.filter(B > 1).sum(), "sum", pl.when(B > 1).then(A).otherwise(None)),
        (A.filter(B > 1).len(), "count", pl.when(B > 1).then(pl.lit(value=True)).otherwise(None)),
    ],
    ids=str,
)
def test_aggregates(expression: Expr, name: str, of: Any) -> None:
    make, found = aggregate(expression, "agg")
    assert make("x").name == name
    assert (found is None) if of is None else found is not None and found.meta.eq(of)


@pytest.mark.parametrize("expression", [A, A + 1, A.median(), A.sum() + 1, A.std()], ids=str)
def test_what_is_no_aggregate(expression: Expr) -> None:
    with pytest.raises(TopologyError, match=r"agg x: .* is no aggregate that can be kept: end it"):
        aggregate(expression, "agg x")


def test_what_an_aggregate_is_of_is_checked() -> None:
    with pytest.raises(TopologyError, match="agg x: Shift may look"):
        aggregate(A.shift().sum(), "agg x")
