"""Steps of columns: the rows that come out, and those that fail."""

from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
import pytest
from polars import Expr, col
from pydantic import BaseModel

from processor.operators.base import AnyBatch, Operator
from processor.operators.columns.evaluation import Columns
from processor.operators.columns.steps import (
    FilterColumns,
    KeyByColumn,
    SelectColumns,
    fields_of,
    is_expression,
    polars,
)
from processor.records import Headers, Record
from tests.operators.rows import batch, context, failed, row

HEADERS: Headers = (("h", b"1"),)
ROWS = tuple(row({"a": a}, "k", a or 7, HEADERS) for a in (1, None, 3))


def of(*expressions: Expr) -> Columns:
    names = tuple(dict.fromkeys(name for each in expressions for name in each.meta.root_names()))
    return Columns(expressions, names, tuple(map(itemgetter, names)), (None,) * len(names))


def made(step: Operator, *rows: Record[Any, Any]) -> list[Record[Any, Any]]:
    (out,) = step.process(batch(*rows), context())
    return out.records()


def test_filter() -> None:
    assert made(FilterColumns(of(col("a") > 1)), *ROWS) == [ROWS[2]]
    assert made(FilterColumns(of(col("a") > 1), keep=False), *ROWS) == [ROWS[0], ROWS[1]]


def test_key_by() -> None:
    keyed = made(KeyByColumn(of(col("a") * 2)), *ROWS)
    assert keyed == [each._replace(key=key) for each, key in zip(ROWS, (2, None, 6), strict=True)]


def select(*names: str, added: bool = False, model: Any = None) -> SelectColumns:
    return SelectColumns(of(*(col("a") + n for n, _ in enumerate(names))), names, added, model)


def test_select() -> None:
    chosen = [each.value for each in made(select("x", "y"), *ROWS)]
    assert chosen == [{"x": 1, "y": 2}, {"x": None, "y": None}, {"x": 3, "y": 4}]


def test_added() -> None:
    given = {"a": 1, "b": "c"}
    (added,) = made(select("b", "c", added=True), row(given))
    assert added.value == {"a": 1, "b": 1, "c": 2}
    assert given == {"a": 1, "b": "c"}


def chain(*, look: bool) -> tuple[AnyBatch, AnyBatch, AnyBatch]:
    """A selection, what a filter leaves of it, and that with more; somebody may look at it."""
    (selected,) = select("a", "y").process(batch(*ROWS), context())
    if look:
        assert selected.values[0] == {"a": 1, "y": 2}
        selected.values[0]["a"] = 10
    (left,) = FilterColumns(of(col("a") > 0)).process(selected, context())
    (more,) = select("z", added=True).process(left, context())
    return selected, left, more


@pytest.mark.parametrize("look", [False, True])
def test_steps_in_a_row(*, look: bool) -> None:
    selected, left, more = chain(look=look)
    first = 10 if look else 1
    assert list(more.values) == [{"a": first, "y": 2, "z": first}, {"a": 3, "y": 4, "z": 3}]
    assert more.timestamps == [1, 3]
    assert left.values[1] is selected.values[2]
    more.values[1]["a"] = 7
    assert left.values[1] == {"a": 3, "y": 4}
    assert len(selected.values) == 3


def test_what_a_function_changes_in_place_is_seen_by_the_steps_downstream() -> None:
    selected, left, _ = chain(look=False)
    selected.values[0]["a"] = -1
    (none,) = FilterColumns(of(col("a") < 0)).process(left, context())
    assert list(none.values) == [{"a": -1, "y": 2}]


@dataclass
class Point:
    x: int
    y: int


class Small(BaseModel):
    x: int


class Struct(msgspec.Struct):
    x: int


class Named(NamedTuple):
    x: int


def test_models() -> None:
    assert [each.value for each in made(select("x", "y", model=Point), ROWS[0])] == [Point(1, 2)]
    here = context()
    (out,) = select("x", model=Small).process(batch(*ROWS), here)
    assert out.values == [Small(x=1), Small(x=3)]
    assert [bad[:2] for bad in failed(here)] == [(1, "function")]


def test_rows_that_fail_are_left_out_and_named() -> None:
    here = context()
    rows = [row({"a": 1}), row({"b": 1}), row({"a": 2**63 - 1}), row({"a": 5})]
    (out,) = select("x", "y").process(batch(*rows, start=10), here)
    assert list(out.values) == [{"x": 1, "y": 2}, {"x": 5, "y": 6}]
    assert out.offsets == [10, 13]
    large = "a number is too large for its type: cast the columns before, as to Int64 or Float64"
    assert failed(here) == [
        (11, "function", "KeyError: 'a'"),
        (12, "function", f"ColumnError: {large}"),
    ]


@pytest.mark.parametrize(
    "value", [{"x": 1}, Struct(1), Small(x=1), Named(1), pytest.param(Point(1, 2), id="dataclass")]
)
def test_fields(value: Any) -> None:
    fields = fields_of(value)
    assert fields["x"] == 1
    fields["x"] = 2
    assert fields_of(value)["x"] == 1


@pytest.mark.parametrize("value", [None, 5, "x", [1]])
def test_what_has_no_fields(value: Any) -> None:
    with pytest.raises(TypeError, match=f"a {type(value).__name__} has no fields"):
        fields_of(value)


def test_expressions_are_distinguished_from_functions() -> None:
    assert polars().col is col
    assert is_expression(col("a"))
    assert not any(map(is_expression, (len, "a", None)))
