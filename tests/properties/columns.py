"""Random columns in random topologies, each with a function that does the same, for Hypothesis."""

from collections.abc import Callable
from math import floor
from typing import Any

import polars as pl
from hypothesis import strategies as st
from polars import Expr, col

from processor import Aggregator, max_of, session, sliding, sum_of, tumbling
from processor.operators.columns.steps import FilterColumns, KeyByColumn, SelectColumns
from processor.topology.flow import flow_of
from processor.topology.graph import Step
from tests.properties.columned import TWINS, Twin
from tests.properties.topologies import AnyStream, Fn, Maker, Making, weigh

A, B = col("a"), col("b")


class Fields(Fn):
    """Values with fields, of all kinds; of some of them there is none, or one is missing."""

    def __call__(self, value: Any) -> Any:
        self.poison(value)
        weight = weigh(value) + self.number
        a = [weight % 7 - 3, None, weight % 5 / 2, "x", 2**62 + weight, 2**63 - 1, weight % 4][
            weight % 7
        ]
        made = {"a": a, "b": [weight % 4 - 1, 2, None, 0.5][weight % 4]}
        if weight % 13 == 0:
            del made["b"]
        return [a] if weight % 17 == 0 else made


def of_both(function: Callable[[Any, Any], Any]) -> Twin:
    return lambda value: function(whole(value["a"]), whole(value["b"]))


def of_a(function: Callable[[Any], Any]) -> Twin:
    return lambda value: function(whole(value["a"]))


def whole(number: Any, bits: int = 64) -> Any:
    if isinstance(number, int) and not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise OverflowError
    return number


def added(a: Any, b: Any) -> Any:
    return None if a is None or b is None else whole(a + b)


def scaled(a: Any, b: Any) -> Any:
    tripled = None if a is None else whole(0 + a * 3 if not isinstance(a, str) else fail())
    return None if tripled is None or b is None else whole(tripled - b)


def larger(a: Any, b: Any) -> Any:
    return None if a is None or b is None else a > b


def chosen(a: Any) -> Any:
    if a is not None and a > 2:
        return a
    return 0.0 if isinstance(a, float) else 0


def cast(a: Any) -> Any:
    return None if a is None else whole(fail() if isinstance(a, str) else int(a), 32)


def filled(a: Any, b: Any) -> Any:
    if isinstance(b, float) and isinstance(a, int):
        return float(a)
    return b if a is None else a


def halved(a: Any) -> Any:
    return None if a is None else type(a)(floor(a / 2) if isinstance(a, float) else a // 2)


def fail() -> Any:
    raise ValueError


PAIRS: list[tuple[Expr, Twin]] = [
    (A + B, of_both(added)),
    (A * 3 - B, of_both(scaled)),
    (pl.when(A > 2).then(A).otherwise(0), of_a(chosen)),
    (A.cast(pl.Int32), of_a(cast)),
    (A.fill_null(B), of_both(filled)),
    (A // 2, of_a(halved)),
    (A.abs(), of_a(lambda a: None if a is None else abs(a))),
    (pl.lit("y"), lambda _: "y"),
]
TRUTHS: list[tuple[Expr, Twin]] = [
    (A > B, of_both(larger)),
    (A.is_null(), of_a(lambda a: a is None)),
    (~(A.fill_null(1) == 0), of_a(lambda a: fail() if isinstance(a, str) else a != 0)),
]
NUMBERS = [PAIRS[0], PAIRS[1], PAIRS[2], PAIRS[5], PAIRS[6]]


def _pair(making: Making, pairs: list[tuple[Expr, Twin]]) -> tuple[Expr, Twin]:
    return making.draw(st.sampled_from(pairs))


def _told(stream: AnyStream, *twins: Twin) -> AnyStream:
    node = flow_of(stream).edge.node
    assert isinstance(node, Step)
    assert isinstance(node.operator, FilterColumns | KeyByColumn | SelectColumns)
    TWINS[node.operator.function] = twins
    return stream


def _step(making: Making, stream: AnyStream) -> AnyStream:
    name = making.name()
    expression, twin = _pair(making, PAIRS)
    another, its_twin = _pair(making, PAIRS)
    truth, true = _pair(making, TRUTHS)
    match making.draw(st.sampled_from(["filter", "filter-not", "with", "select", "key"])):
        case "filter":
            return _told(stream.filter(truth, name=name), true)
        case "filter-not":
            return _told(stream.filter_not(truth, name=name), true)
        case "with":
            return _told(stream.with_columns(b=expression, c=truth, name=name), twin, true)
        case "select":
            made = stream.select(a=expression, b=another, name=name)
            return _told(made, twin, its_twin)
        case _:
            return _told(stream.key_by(A + B, name=name), of_both(added))


def _columned(making: Making, stream: AnyStream) -> list[AnyStream]:
    if flow_of(stream).value.type is not None or making.draw(st.booleans()):
        stream = stream.map_values(Fields(making.number()), name=making.name())
    for _ in range(making.draw(st.integers(1, 3))):
        stream = _step(making, stream)
    return [stream]


def _parts(making: Making) -> tuple[dict[str, Expr | Aggregator[Any]], tuple[Twin, ...]]:
    (one, one_twin), (two, two_twin) = _pair(making, NUMBERS), _pair(making, NUMBERS)
    parts = {
        "total": one.sum(),
        "least": two.min(),
        "last": A.last(),
        "most": max_of(weigh),
        "rows": pl.len(),
        "n": sum_of(lambda _: 1),
    }
    return parts, (one_twin, two_twin)


def _windowed(making: Making, stream: AnyStream) -> list[AnyStream]:
    kind = making.draw(st.sampled_from([tumbling("10ms"), session("5ms"), sliding("6ms")]))
    emit = making.draw(st.sampled_from(["close", "change", "checkpoint"]))
    with_fields = stream.map_values(Fields(making.number()), name=making.name())
    windows = with_fields.group_by_key().window(kind, emit=emit)
    parts, twins = _parts(making)
    table = windows.agg(name=making.name(), **parts)
    stream = table.to_stream()
    node = flow_of(stream).edge.node
    assert isinstance(node, Step)
    aggregation = getattr(node.operator, "aggregation")  # noqa: B009 - of those that have one
    TWINS[aggregation.columns] = twins
    return [stream, table.late()]


STEPS: list[Maker] = [_columned, _columned, _windowed]
