"""Arguments that can't be meant are refused when the topology is written."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from processor import (
    Topology,
    count,
    counted,
    every,
    key_value,
    sum_of,
    tumbling,
)
from processor.errors import TopologyError
from processor.testing import TopologyDriver
from processor.topology.functions import checked_function


@dataclass(frozen=True)
class Order:
    user: str
    amount: int


class Awaited:
    async def __call__(self, value: Any) -> Any:
        return value


async def awaited(value: Any) -> Any:
    return value


any_sum_of: Any = sum_of
any_every: Any = every


def one(given: Any) -> Any:
    return given


STREAM: dict[str, Callable[[Any], Any]] = {
    "filter": lambda s: s.filter("amount"),
    "map_values": lambda s: s.map_values("amount"),
    "map": lambda s: s.map(1),
    "flat_map": lambda s: s.flat_map(None),
    "flat_map_values": lambda s: s.flat_map_values([]),
    "peek": lambda s: s.peek("user"),
    "for_each": lambda s: s.for_each("user"),
    "a branch": lambda s: s.split(big="amount"),
    "key_by": lambda s: s.key_by(1),
    "deduplicate: by": lambda s: s.deduplicate(within="1s", by=1),
    "process": lambda s: s.process(None),
    "every": lambda _: any_every("1s", "now"),
    "reduce": lambda s: s.group_by_key().reduce(0),
    "aggregate: start": lambda s: s.group_by_key().aggregate(0, max),
    "aggregate: add": lambda s: s.group_by_key().aggregate(int, 0),
    "cogroup": lambda s: s.group_by_key().cogroup(None),
    "an aggregate": lambda s: s.group_by_key().agg(a=any_sum_of(5)),
    "join: joiner": lambda s: s.join(s.to_table(name="kept"), "user"),
    "aggregate: merge": lambda s: s.group_by_key().window(tumbling(1)).aggregate(int, max, merge=0),
}


def orders() -> Any:
    return Topology("app").stream("orders", value=Order)


def table() -> Any:
    return orders().to_table(name="kept")


@pytest.mark.parametrize("what", STREAM)
def test_what_is_no_function(what: str) -> None:
    with pytest.raises(TopologyError, match=rf"^{what.strip()} takes a function\(.*\), not "):
        STREAM[what](orders())


@pytest.mark.parametrize("function", [awaited, Awaited()])
def test_a_function_to_be_awaited(function: Any) -> None:
    with pytest.raises(TopologyError, match=r"map_values can't await.*use map_async"):
        orders().map_values(function)


OTHER_ARGUMENTS: list[Callable[[Any], Any]] = [
    lambda s: s.on_bad_record(one),
    lambda s: s.process(one),
    lambda s: s.group_by_key().aggregate(int, one),
    lambda _: any_every("1s", one),
]


@pytest.mark.parametrize("write", OTHER_ARGUMENTS)
def test_functions_of_other_arguments(write: Callable[[Any], Any]) -> None:
    with pytest.raises(TopologyError, match="too many positional arguments"):
        write(orders())


def test_functions_whose_parameters_are_not_known() -> None:
    functions: list[Any] = [bool, max, str.upper]
    for function in functions:
        assert checked_function("filter", function, "value") is function


OTHERS: dict[str, Callable[[Any, Any], Any]] = {
    "outer-join: .* use left_join": lambda t, s: s.outer_join(t.table("p"), max, within="1s"),
    "^join: say which key of the global": lambda t, s: s.join(t.global_table("p"), max),
    "^left_join: say which key": lambda t, s: s.left_join(t.global_table("p"), max),
    "on= is for global tables": lambda t, s: s.join(t.table("p"), max, on="user"),
    "only streams are joined": lambda t, _: t.table("q").join(t.global_table("p"), max),
    "to_table": lambda t, s: t.table("p").join(s, max),
    "a stream or a table, .* not 'p'": lambda _, s: s.join("p", max, within="1s"),
    "window takes windows, .* not '10s'": lambda _, s: s.group_by_key().window("10s"),
    "window takes windows, .* not tumbling": lambda _, s: s.group_by_key().window(tumbling),
    "a=count is no aggregate": lambda _, s: s.group_by_key().agg(a=count),
    "a=1 is no aggregate: call one with a field's name or a function": lambda _, s: (
        s.group_by_key().agg(a=1)
    ),
    "name each aggregate": lambda _, s: s.group_by_key().agg(count(), name="x"),
    "stores=": lambda _, s: s.process(max, stores=key_value("x", key=str, value=int)),
    "stores=.": lambda _, s: s.process(max, stores=["x"], name="x"),
    "punctuators=": lambda _, s: s.process(max, punctuators=[max], name="x"),
    "max_records='10': give 1": lambda t, _: t.table("p").suppress(until=1, max_records="10"),
    "concurrency='5': give 1": lambda _, s: s.map_async(awaited, concurrency="5"),
    "no record is late": lambda _, s: s.group_by_key().window(counted(2)).count().late(),
}


@pytest.mark.parametrize("error", OTHERS)
def test_the_right_call_is_named(error: str) -> None:
    topology = Topology("app")
    with pytest.raises(TopologyError, match=error):
        OTHERS[error](topology, topology.stream("orders", value=Order))


def test_deduplicate_by_a_field() -> None:
    topology = Topology("app")
    stream = topology.stream("orders", value=Order)
    stream.deduplicate(within="1m", by="user").to("out")
    driver = TopologyDriver(topology)
    for user in ("ann", "bob", "ann"):
        driver.pipe("orders", key="key", value=Order(user, 1), timestamp=0)
    assert [value.user for _, value in driver.read("out", value=Order)] == ["ann", "bob"]
