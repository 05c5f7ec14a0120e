"""Whatever the expressions, the values and the batches: each row as if it were alone."""

from datetime import date, datetime, timedelta, timezone
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars import Expr, col

from processor.operators.columns import expressions
from processor.operators.columns.evaluation import Columns
from processor.topology.form import Form
from tests.suites import LONG, examples

NAMES = ("a", "b", "c")
LOW, HIGH = datetime(1, 1, 3), datetime(9999, 12, 29)  # noqa: DTZ001 - without a zone, too

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([2**62, 2**63 - 1, -(2**63), 2**63, 10**30]),
    st.floats(),
    st.sampled_from(["", "a", "Ab", "7", "2020-01-01", "\ud800"]),
    st.sampled_from([b"x", date(2020, 2, 29), timedelta(days=1), timedelta.max]),
    st.datetimes(LOW, HIGH),
    st.datetimes(LOW, HIGH).map(lambda at: at.replace(tzinfo=timezone(timedelta(hours=2)))),
)
fields = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from("xy"), scalars)
values = st.dictionaries(st.sampled_from(NAMES), fields, min_size=2) | scalars


def more(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    one = st.sampled_from(
        [
            lambda e: -e,
            lambda e: ~e,
            lambda e: e.abs(),
            lambda e: e.round(1),
            lambda e: e.is_null(),
            lambda e: e.fill_null(0),
            lambda e: e.is_in([1, 2, None]),
            lambda e: e.cast(pl.Int8),
            lambda e: e.cast(pl.Int8, strict=False),
            lambda e: e.cast(pl.String),
            lambda e: e.cast(pl.Float64),
            lambda e: e.str.to_uppercase(),
            lambda e: e.str.len_chars(),
            lambda e: e.str.to_integer(),
            lambda e: e.str.to_date("%Y-%m-%d"),
            lambda e: e.dt.hour(),
            lambda e: e.dt.truncate("1h"),
            lambda e: e.list.len(),
            lambda e: e.list.max(),
            lambda e: e.struct.field("x"),
            lambda e: e.replace({1: 5}),
            lambda e: e.clip(0, 3),
            lambda e: e**2,
        ]
    )
    two = st.sampled_from(
        [
            lambda e, f: e + f,
            lambda e, f: e - f,
            lambda e, f: e * f,
            lambda e, f: e / f,
            lambda e, f: e // f,
            lambda e, f: e % f,
            lambda e, f: e == f,
            lambda e, f: e.ne_missing(f),
            lambda e, f: e > f,
            lambda e, f: e & f,
            lambda e, f: e | f,
            lambda e, f: pl.when(e > 1).then(e).otherwise(f),
            lambda e, f: pl.when(e).then(f).otherwise(None),
            pl.coalesce,
            pl.concat_str,
            pl.max_horizontal,
            lambda e, f: pl.struct(x=e, y=f),
        ]
    )
    return st.builds(lambda make, e: make(e), one, inner) | st.builds(
        lambda make, e, f: make(e, f), two, inner, inner
    )


leaves = st.sampled_from([*map(col, NAMES), *map(pl.lit, (2, 0.5, "a", True, None))])
trees = st.recursive(leaves, more, max_leaves=4)


def columns(*trees: Expr) -> Columns:
    for tree in trees:
        expressions.check(tree, "test")
    names = tuple(dict.fromkeys(name for tree in trees for name in tree.meta.root_names()))
    getters = tuple(Form().field(name)[0] for name in names)
    return Columns(tuple(trees), names, getters, (None,) * len(names))


def same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)  # nan, and 1 is neither 1.0 nor True


@settings(deadline=None, derandomize=not LONG, max_examples=examples(150, 20_000))
@given(st.lists(trees, min_size=1, max_size=2), st.lists(values, max_size=6))
def test_each_row_gives_what_it_gives_alone(asked: list[Expr], batch: list[Any]) -> None:
    tried = columns(*asked)
    results, faults = tried.evaluate(batch)
    together: dict[int, Any] = {row: type(error) for row, error in faults}
    left = [row for row in range(len(batch)) if row not in together]
    for row, *items in zip(left, *results, strict=True):
        together[row] = items
    for row, value in enumerate(batch):
        alone, failed = tried.evaluate([value])
        expected = type(failed[0].error) if failed else [column[0] for column in alone]
        assert same(together[row], expected)
