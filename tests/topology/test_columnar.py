"""Streams of columns: what comes out, what is known of it, and what is refused."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from polars import lit
from pydantic import BaseModel

from processor import (
    Stream,
    Topology,
    col,
    count,
    hopping,
    session,
    sum_of,
    tumbling,
)
from processor.errors import TopologyError
from processor.operators.aggregates.by_key import Emit
from processor.testing import TopologyDriver
from processor.topology.flow import flow_of
from processor.topology.table import values_of


@dataclass
class Order:
    user: str
    price: int
    quantity: int | None = 1


class Total(BaseModel):
    user: str
    total: int


def driver(build: Callable[[Stream[str, Any]], None], value: Any = None) -> TopologyDriver:
    topology = Topology("app")
    build(topology.stream("in") if value is None else topology.stream("in", value=value))
    return TopologyDriver(topology)


def pipe(to: TopologyDriver, *orders: dict[str, Any], value: Any = None) -> None:
    for number, order in enumerate(orders):
        to.pipe("in", key="k", value=value(**order) if value else order, timestamp=number)


ANN = {"user": "Ann", "price": 5, "quantity": 2}
BOB = {"user": "Bob", "price": 7, "quantity": None}
AMY = {"user": "Ann", "price": 1, "quantity": 3}


def test_what_one_step_changes_in_place_no_other_one_sees() -> None:
    def changed(order: dict[str, Any]) -> dict[str, Any]:
        order["total"] = 0
        order["tags"].append("changed")
        return order

    def build(orders: Stream[str, Any]) -> None:
        selected = orders.select("user", "tags")
        selected.map_values(changed).to("changed")
        selected.to("selected")
        selected.map_values(changed).filter(col("total") == 0).to("again")
        selected.filter(col("user") == "Ann").to("some")

    tried = driver(build, None)
    pipe(tried, {"user": "Ann", "tags": ["a"]}, value=None)
    as_selected = {"user": "Ann", "tags": ["a"]}
    as_changed = {"user": "Ann", "tags": ["a", "changed"], "total": 0}
    assert [each for _, each in tried.read("selected")] == [as_selected]
    assert [each for _, each in tried.read("some")] == [as_selected]
    for topic in ("changed", "again"):
        assert [each for _, each in tried.read(topic)] == [as_changed]


@pytest.mark.parametrize("value", [None, Order])
def test_steps(value: Any) -> None:
    def build(orders: Stream[str, Any]) -> None:
        orders.filter(col("price") >= 5).map_values(lambda _: 1).to("big")
        orders.filter_not(col("price") * col("quantity") >= 5).map_values(lambda _: 1).to("small")
        orders.with_columns(total=col("price") * col("quantity")).to("totals")
        orders.select("user", big=col("price") > 5, kind=lit("x")).to("selected")
        totals = orders.select("user", total=col("price") * 2, value=Total)
        totals.map_values(lambda total: total.total).to("models")

    tried = driver(build, value)
    pipe(tried, ANN, BOB, AMY, value=value)
    assert [len(tried.read(topic)) for topic in ("big", "small")] == [2, 2]
    assert [total for _, total in tried.read("totals")] == [
        {**ANN, "total": 10},
        {**BOB, "total": None},
        {**AMY, "total": 3},
    ]
    assert [selected for _, selected in tried.read("selected")] == [
        {"user": "Ann", "big": False, "kind": "x"},
        {"user": "Bob", "big": True, "kind": "x"},
        {"user": "Ann", "big": False, "kind": "x"},
    ]
    assert [total for _, total in tried.read("models")] == [10, 14, 2]


@pytest.mark.parametrize("value", [None, Order])
@pytest.mark.parametrize("emit", ["change", "checkpoint"])
def test_aggregates(value: Any, emit: Emit) -> None:
    def build(orders: Stream[str, Any]) -> None:
        orders.group_by("user").agg(
            total=(col("price") * col("quantity")).sum(),
            most=(col("price") + 1).max(),
            last=col("price").last(),
            many=col("price").filter(col("quantity") > 1).len(),
            price=sum_of("price"),
            orders=count(),
            name="totals",
            emit=emit,
        ).to("out")

    tried = driver(build, value)
    pipe(tried, ANN, BOB, AMY, value=value)
    ann = {"total": 13, "most": 6, "last": 1, "many": 2, "price": 6, "orders": 2}
    bob = {"total": 0, "most": 8, "last": 7, "many": 0, "price": 7, "orders": 1}
    assert tried.store("totals") == {"Ann": ann, "Bob": bob}
    assert dict(tried.read("out")) == {"Ann": ann, "Bob": bob}


@pytest.mark.parametrize("windows", [tumbling("1s"), hopping("1s", every="1s"), session("1s")])
def test_windows(windows: Any) -> None:
    def build(orders: Stream[str, Any]) -> None:
        grouped = orders.group_by(col("user").str.to_lowercase(), name="by-user").window(windows)
        grouped.agg(total=(col("price") * 2).sum(), orders=count(), name="totals").to("out")

    tried = driver(build)
    pipe(tried, ANN, BOB, AMY)
    tried.pipe("in", key="k", value=ANN, timestamp=60_000)
    assert {key.key: total for key, total in tried.read("out")} == {
        "ann": {"total": 12, "orders": 2},
        "bob": {"total": 14, "orders": 1},
    }


def test_a_record_that_fails_leaves_the_others() -> None:
    def build(orders: Stream[str, Any]) -> None:
        orders.group_by("user").agg(total=(col("price") * 2).sum(), name="totals")
        orders.filter(col("price") > 1).to("big")

    tried = driver(build)
    pipe(tried, ANN, {"user": "Ann"}, {"user": "Bob", "price": 2**62}, {"user": "x", "price": "5"})
    assert tried.store("totals") == {"Ann": {"total": 10}}
    assert len(tried.read("big")) == 2
    assert tried.bad_records == {
        ("filter-1", "function"): 2,
        ("totals", "function"): 1,
    }


def topology() -> Stream[str, Order]:
    return Topology("app").stream("in", value=Order)


def test_what_is_known_of_results() -> None:
    selected = topology().select("user", half=col("price") / 2)
    assert flow_of(selected).value.type.__annotations__ == {
        "user": str | None,
        "half": float | None,
    }
    added = topology().with_columns(half=col("price") / 2)
    assert list(flow_of(added).value.type.__annotations__) == ["user", "price", "quantity", "half"]
    assert flow_of(topology().key_by(col("price") > 1, name="x")).key.type is bool
    assert flow_of(topology().key_by(col("user"))).label == "in-by-user"
    assert flow_of(topology().select("user", value=Total)).value.type is Total
    assert flow_of(Topology("app").stream("in").select("user")).value.type is None


def test_states_of_fields_are_those_of_the_functions() -> None:
    grouped = topology().group_by("user")
    one = values_of(grouped.agg(total=col("price").sum(), name="one")).store
    other = values_of(grouped.agg(total=sum_of("price"), name="other")).store
    assert one.value.name == other.value.name


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda s: s.filter(col("price").mean() > 1), "filter: Agg may look at more than one"),
        (lambda s: s.filter(col("price") + 1), "filter: .* is not true or false; compare it"),
        (lambda s: s.filter(col("age") > 1), "'age' is no field of Order, which has user, price"),
        (lambda s: s.filter(col("user") > 1), "filter: cannot compare string with numeric"),
        (lambda s: s.select(), "select: name a column at least"),
        (lambda s: s.select(x=5), "select: 5 is neither a column expression nor a field's name"),
        (lambda s: s.select("user", user="user"), "select: two columns are called 'user'"),
        (lambda s: s.select("user", "user"), "select: two columns are called 'user'; give one"),
        (lambda s: s.with_columns(x=col("user").dt.hour()), "with-columns: "),
        (
            lambda s: s.group_by("user").agg(x=col("price")),
            "agg in-by-user-agg: .* is no aggregate",
        ),
        (
            lambda s: s.group_by("user").agg(x=col("age").sum()),
            "'age' is no field of Order",
        ),
    ],
)
def test_what_is_refused(wrong: Callable[[Any], Any], told: str) -> None:
    with pytest.raises(TopologyError, match=told):
        wrong(topology())


def test_polars_is_loaded_when_it_is_needed() -> None:
    check = "import sys, processor; assert 'polars' not in sys.modules; processor.col('a')"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_without_polars() -> None:
    check = "import sys; sys.modules['polars'] = None; from processor import col"
    failed = subprocess.run([sys.executable, "-c", check], capture_output=True, check=False)
    assert b'pip install "kproc[columns]"' in failed.stderr
