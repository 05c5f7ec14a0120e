"""Steps without state: rows in, rows out, and rows that fail are left out and named."""

import sys
from typing import Any

import pytest

from processor.operators.base import Operator
from processor.operators.stateless import (
    Filter,
    FlatMap,
    FlatMapValues,
    KeyBy,
    Map,
    MapValues,
    Merge,
    Peek,
    Split,
)
from processor.records import Headers, Record
from tests.operators.rows import batch, context, failed, row, values

EXPECTED = "expected 2" if sys.version_info < (3, 14) else "expected 2, got 3"


class NoTruth:
    """As an array, it has no truth value."""

    def __bool__(self) -> bool:
        raise ValueError("the truth value is ambiguous")


def refuse_two(value: Any) -> Any:
    if value == 2:
        raise ValueError("two")
    return value


def made(step: Operator, *rows: Record[Any, Any]) -> list[Record[Any, Any]]:
    (out,) = step.process(batch(*rows), context())
    return out.records()


HEADERS: Headers = (("h", b"1"),)
ROWS = (row(1, "a", 5, HEADERS), row(4, "b", 3), row(None, None, 9))


def test_filter() -> None:
    assert made(Filter(bool), *ROWS) == [ROWS[0], ROWS[1]]
    assert made(Filter(bool, keep=False), *ROWS) == [ROWS[2]]


def test_map_values() -> None:
    assert made(MapValues(str), *ROWS) == [each._replace(value=str(each.value)) for each in ROWS]


def test_key_by() -> None:
    assert made(KeyBy(str), *ROWS) == [each._replace(key=str(each.value)) for each in ROWS]


def test_map() -> None:
    swapped = [each._replace(key=each.value, value=each.key) for each in ROWS]
    assert made(Map(lambda key, value: (value, key)), *ROWS) == swapped
    assert made(Map(lambda key, value: (value, key))) == []


def test_flat_map_keeps_timestamp_headers_and_offset() -> None:
    step = FlatMap(lambda key, value: [(key, number) for number in range(value or 0)])
    (out,) = step.process(batch(*ROWS), context())
    assert out.records() == [ROWS[0]._replace(value=0), *(row(n, "b", 3) for n in range(4))]
    assert out.offsets == [0, 1, 1, 1, 1]


def test_flat_map_values() -> None:
    step = FlatMapValues(lambda value: range(value or 0))
    assert made(step, *ROWS[:1], row(2, "c")) == [
        ROWS[0]._replace(value=0),
        row(0, "c"),
        row(1, "c"),
    ]


def test_peek_sees_and_passes_on() -> None:
    seen: list[Any] = []
    assert made(Peek(lambda key, value: seen.append((key, value))), *ROWS) == list(ROWS)
    assert seen == [("a", 1), ("b", 4), (None, None)]


def test_split_takes_the_first_that_accepts_else_the_last() -> None:
    step = Split((lambda value: value > 2, lambda value: value > 1))
    outs = step.process(values(0, 1, 2, 3, 4), context())
    assert [out.values for out in outs] == [[3, 4], [2], [0, 1]]
    assert [out.offsets for out in outs] == [[3, 4], [2], [0, 1]]


def test_merge_passes_on() -> None:
    assert made(Merge(), *ROWS) == list(ROWS)


@pytest.mark.parametrize(
    "step",
    [
        Filter(refuse_two),
        Filter(refuse_two, keep=False),
        MapValues(refuse_two),
        KeyBy(refuse_two),
        Map(lambda key, value: (key, refuse_two(value))),
        FlatMap(lambda key, value: ((key, refuse_two(each)) for each in [0, value])),
        FlatMapValues(lambda value: (refuse_two(each) for each in [0, value])),
        Peek(lambda _key, value: refuse_two(value)),
        Split((lambda value: value is None, refuse_two)),
    ],
    ids=lambda step: type(step).__name__,
)
def test_a_function_that_raises_in_the_middle(step: Operator) -> None:
    at = context()
    outs = step.process(values(1, 2, 3), at)
    left = {offset for out in outs for offset in out.offsets}
    assert left <= {0, 2}
    assert all(
        len(column) == len(out)
        for out in outs
        for column in (out.keys, out.values, out.timestamps, out.offsets)
    )
    assert failed(at) == [(1, "function", "ValueError: two")]


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (Map(lambda _k, v: v), "TypeError: cannot unpack non-iterable int object"),
        (Map(lambda _k, _v: (1, 2, 3)), f"ValueError: too many values to unpack ({EXPECTED})"),
        (FlatMap(lambda _k, v: v), "TypeError: 'int' object is not iterable"),
        (FlatMap(lambda _k, v: [v]), "TypeError: cannot unpack non-iterable int object"),
        (FlatMapValues(lambda v: v), "TypeError: 'int' object is not iterable"),
        (Filter(lambda _: NoTruth()), "ValueError: the truth value is ambiguous"),
        (Filter(lambda _: NoTruth(), keep=False), "ValueError: the truth value is ambiguous"),
        (Split((lambda _: NoTruth(),)), "ValueError: the truth value is ambiguous"),
    ],
)
def test_what_can_not_be_used_makes_the_record_bad(step: Operator, error: str) -> None:
    at = context()
    outs = step.process(values(1), at)
    assert all(len(out) == 0 for out in outs)
    assert failed(at) == [(0, "function", error)]
