"""Several aggregates at once, in tables and in windows."""

import math
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from importlib.util import find_spec
from typing import Any, NamedTuple, TypedDict

import msgspec
import pytest
from pydantic import BaseModel, Field

from processor import (
    Aggregator,
    Record,
    Timestamp,
    Topology,
    approx_distinct_of,
    approx_quantiles_of,
    collect_of,
    count,
    counted,
    distinct_of,
    first_of,
    hopping,
    last_of,
    max_of,
    mean_of,
    min_of,
    session,
    sliding,
    sum_of,
    top_of,
    tumbling,
)
from processor.errors import TopologyError
from processor.operators.aggregates.by_key import Emit
from processor.operators.windows.kinds import Counted
from processor.testing import TopologyDriver


@dataclass(frozen=True)
class Order:
    user: str | None
    amount: int


class Total(BaseModel):
    total: int
    orders: int


ALL: dict[str, Aggregator[Any]] = {
    "n": count(),
    "named": count("user"),
    "total": sum_of("amount"),
    "least": min_of("amount"),
    "most": max_of("amount"),
    "mean": mean_of("amount"),
    "first": first_of("amount"),
    "last": last_of("amount"),
    "every": collect_of("amount"),
    "users": collect_of("user", distinct=True),
    "different": distinct_of("user"),
    "top": top_of("amount", 2),
    "best": top_of("user", 2, by="amount"),
    "whole": last_of(),
    "product": Aggregator(lambda: 1, lambda a, b: a * b, lambda a, b: a * b, of="amount"),
}

ORDERS = [
    ("ann", 5, 30),
    ("bob", 7, 10),
    ("ann", 1, 50),
    (None, 9, 20),
    ("ann", 3, 40),
]
EXPECTED = {
    "n": 5,
    "named": 4,
    "total": 25,
    "least": 1,
    "most": 9,
    "mean": 5.0,
    "first": 7,
    "last": 1,
    "every": [5, 7, 1, 9, 3],
    "users": ["ann", "bob"],
    "different": 2,
    "top": [9, 7],
    "best": ["bob", "ann"],
    "whole": Order("ann", 1),
    "product": 945,
}
SKETCHES = find_spec("datasketches") is not None  # it has no wheels for each Python
with_sketches = pytest.mark.skipif(not SKETCHES, reason="needs datasketches, of kproc[sketches]")
if SKETCHES:
    ALL |= {"about": approx_distinct_of("user"), "middle": approx_quantiles_of("amount", 0, 0.5, 1)}
    EXPECTED |= {"about": 2, "middle": [1.0, 5.0, 9.0]}


def pipe(driver: TopologyDriver, *rows: tuple[str | None, int, int]) -> None:
    orders = [Record("k", Order(user, amount), Timestamp(time)) for user, amount, time in rows]
    driver.pipe("in", *orders)


@pytest.mark.parametrize("emit", ["checkpoint", "change"])
@pytest.mark.parametrize("together", [True, False])
def test_every_aggregate(emit: Emit, together: bool) -> None:  # noqa: FBT001
    topology = Topology("app")
    orders = topology.stream("in", value=Order)
    orders.group_by_key().agg(emit=emit, **ALL).to_stream().for_each(lambda _, v: emitted.append(v))
    emitted: list[Any] = []
    driver = TopologyDriver(topology)
    for rows in [ORDERS] if together else [[each] for each in ORDERS]:
        pipe(driver, *rows)
        driver.restart()
    assert driver.store("in-agg") == {"k": EXPECTED}
    assert emitted[-1] == EXPECTED
    assert len(emitted) == (1 if together and emit == "checkpoint" else 5)


def test_aggregates_of_windows() -> None:
    topology = Topology("app")
    orders = topology.stream("in", value=Order)
    windows = orders.group_by_key().window(tumbling("10s"))
    windows.agg(Total, total=sum_of("amount"), orders=count()).to("out")
    driver = TopologyDriver(topology)
    pipe(driver, ("ann", 5, 0), ("ann", 6, 9000), ("ann", 7, 10_000))
    assert driver.read("out")[0][1] == {"total": 11, "orders": 2}
    (open_window,) = driver.store("in-agg").values()
    assert open_window == Total(total=7, orders=1)


def test_sessions_join_all_aggregates() -> None:
    topology = Topology("app")
    orders = topology.stream("in", value=Order)
    orders.group_by_key().window(session(0.015, grace="1s")).agg(**ALL).to("out")
    driver = TopologyDriver(topology)
    pipe(driver, *((user, amount, time + 1000) for user, amount, time in ORDERS))
    assert len(driver.store("in-agg")) == 1
    (result,) = driver.store("in-agg").values()
    order = {"every": sorted, "users": sorted}
    for name, value in EXPECTED.items():
        arranged = order.get(name, lambda each: each)
        assert arranged(result[name]) == arranged(value), name


def test_nothing_gives_nothing() -> None:
    topology = Topology("app")
    topology.stream("in").group_by_key().agg(
        least=min_of("a"),
        mean=mean_of("a"),
        last=last_of("a"),
        top=top_of("a", 1),
        total=sum_of("a"),
    ).to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", key="k", value={"a": None})
    nothing = {"least": None, "mean": None, "last": None, "top": [], "total": 0}
    assert driver.read("out") == [("k", nothing)]


@with_sketches
def test_a_sketch_of_nothing_gives_nothing() -> None:
    topology = Topology("app")
    stream = topology.stream("in")
    stream.group_by_key().agg(middle=approx_quantiles_of("a", 0.5)).to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", key="k", value={"a": None})
    assert driver.read("out") == [("k", {"middle": []})]


@pytest.mark.parametrize("make", [approx_distinct_of, lambda: approx_quantiles_of("a", 0.5)])
def test_a_sketch_without_its_extra_names_it(
    make: Callable[[], Aggregator[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasketches", None)
    with pytest.raises(TopologyError, match=r"kproc\[sketches\]"):
        make()


def test_floats_add_up_as_one_by_one() -> None:
    choose = random.Random(7)
    numbers = [choose.uniform(-1e9, 1e9) for _ in range(999)] + [math.inf]
    results: list[Any] = []
    for size in (1, 7, 1000):
        topology = Topology("app")
        table = topology.stream("in", value=float).group_by_key()
        table.agg(s=sum_of(float), m=mean_of(float), top=max_of(float)).to("out")
        driver = TopologyDriver(topology)
        for start in range(0, 1000, size):
            records = [Record("k", each, Timestamp(1)) for each in numbers[start : start + size]]
            driver.pipe("in", *records)
            results.append(driver.store("in-agg")["k"]) if start == 994 or size == 1000 else None
    assert results[-1]["s"] == math.inf
    assert results[-1]["top"] == math.inf


def test_a_record_that_an_aggregate_refuses_is_bad_alone() -> None:
    topology = Topology("app")
    topology.stream("in").group_by_key().agg(s=sum_of("a"), n=count()).to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", *(Record("k", {"a": each}, Timestamp(1)) for each in (1, 2, "x", 4)))
    assert driver.store("in-agg") == {"k": {"s": 7, "n": 3}}
    assert driver.bad_records == {("in-agg", "function"): 1}


def test_models_are_kept_as_what_they_are() -> None:
    class Item(BaseModel):
        name: str

    topology = Topology("app")
    items = topology.stream("in", value=Item)
    items.group_by_key().agg(every=collect_of(), last=last_of()).to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", key="k", value=Item(name="a"))
    driver.restart()
    driver.pipe("in", key="k", value=Item(name="b"))
    assert driver.store("in-agg")["k"] == {
        "every": [Item(name="a"), Item(name="b")],
        "last": Item(name="b"),
    }


def test_values_that_would_not_come_back_are_refused() -> None:
    topology = Topology("app")
    values = topology.stream("in").map_values(lambda value: object())
    values.group_by_key().agg(every=collect_of()).to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", key="k", value=1)
    (letter,) = driver.dead_letters()
    error = dict(letter.headers)["kproc.error"] or b""
    assert b"object can't be kept without its type" in error


@pytest.mark.parametrize("windows", [None, tumbling("1h")])
def test_results_of_one_batch_share_nothing(windows: Any) -> None:
    def spoiled(result: dict[str, Any]) -> int:
        result["every"][0]["n"] += 10
        result["every"].append(result["every"][0])
        return result["every"][0]["n"]

    topology = Topology("app")
    grouped = topology.stream("in").group_by_key()
    if windows is None:
        table = grouped.agg(every=collect_of(), name="t", emit="change").to_stream()
    else:
        table = grouped.window(windows, emit="change").agg(every=collect_of()).to_stream()
    table.map_values(spoiled, name="spoil").to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", *(Record("k", {"n": n}, Timestamp(n)) for n in range(3)))
    assert [value for _, value in driver.read("out")] == [10, 10, 10]


def test_fields_of_results_are_known() -> None:
    class Sums(TypedDict):
        total: int

    topology = Topology("app")
    grouped = topology.stream("in", value=Order).group_by_key()
    stream = grouped.agg(total=sum_of("amount"), name="a").to_stream()
    with pytest.raises(TopologyError, match=r"'totals' is no field of .* which has total"):
        stream.key_by("totals")
    typed = grouped.agg(Sums, total=sum_of("amount"), name="b").to_stream()
    with pytest.raises(TopologyError, match=r"no field of .*Sums"):
        typed.key_by("totals")


class Small(BaseModel):
    total: int = Field(le=10)
    orders: int


SMALL: dict[str, Aggregator[Any]] = {"total": sum_of("amount"), "orders": count()}


@pytest.mark.parametrize("emit", ["checkpoint", "change"])
@pytest.mark.parametrize("together", [True, False])
def test_a_record_that_makes_what_the_model_refuses_is_bad(emit: Emit, together: bool) -> None:  # noqa: FBT001
    topology = Topology("app")
    orders = topology.stream("in", value=Order)
    orders.group_by_key().agg(Small, emit=emit, **SMALL).to("out")
    driver = TopologyDriver(topology)
    rows = ("ann", 5, 1), ("bob", 6, 2), ("ann", 4, 3)
    for some in [rows] if together else [[row] for row in rows]:
        pipe(driver, *some)
        driver.restart()
    assert driver.read("out")[-1] == ("k", {"total": 9, "orders": 2})
    (letter,) = driver.dead_letters()
    assert dict(letter.headers)["kproc.offset"] == b"1"
    assert dict(letter.headers)["kproc.reason"] == b"function"


@pytest.mark.parametrize("emit", ["close", "checkpoint", "change"])
@pytest.mark.parametrize(
    "windows",
    [tumbling("10s"), hopping("10s", every="5s"), session("4s"), sliding("9s"), counted(2)],
)
def test_so_it_is_in_windows(windows: Any, emit: Any) -> None:
    if isinstance(windows, Counted) and emit != "close":
        pytest.skip("windows by count are emitted once")
    topology = Topology("app")
    orders = topology.stream("in", value=Order)
    grouped = orders.group_by_key().window(windows, emit=emit)
    grouped.agg(Small, **SMALL).to("out")
    driver = TopologyDriver(topology)
    pipe(driver, ("ann", 5, 10_001), ("bob", 6, 11_000), ("ann", 4, 12_000))
    pipe(driver, ("ann", 1, 90_000))
    totals = [value["total"] for _, value in driver.read("out") if value]
    assert 9 in totals
    assert max(totals) <= 10
    assert driver.bad_records == {("in-agg", "function"): 1}
    assert len(driver.dead_letters()) == 1


def test_a_record_that_joins_sessions_to_what_the_model_refuses_is_bad() -> None:
    topology = Topology("app")
    orders = topology.stream("in", value=Order)
    windows = orders.group_by_key().window(session("5s", grace="10s"))
    windows.agg(Small, **SMALL).to("out")
    driver = TopologyDriver(topology)
    pipe(driver, ("ann", 5, 1000), ("ann", 5, 9000), ("ann", 1, 5000), ("ann", 1, 90_000))
    assert [value["total"] for _, value in driver.read("out")] == [5, 5]
    assert driver.bad_records == {("in-agg", "function"): 1}


@pytest.mark.parametrize("kind", ["table", "changes", "checkpoint", "close", "held"])
def test_what_can_not_be_emitted_any_more_is_a_dead_letter(kind: str) -> None:
    limit = 10

    @dataclass
    class Changed:
        total: int

        def __post_init__(self) -> None:
            if self.total > limit:
                raise ValueError(f"{self.total} is too much")

    topology = Topology("app")
    grouped = topology.stream("in", value=Order).group_by_key()
    if kind in {"table", "changes"}:
        table = grouped.agg(Changed, total=sum_of("amount"))
        if kind == "changes":
            table = table.filter(lambda value: value.total > 0)
        table.to("out")
    else:
        emit: Any = "checkpoint" if kind == "checkpoint" else "close"
        windows = grouped.window(tumbling("10s"), emit=emit)
        windows.agg(Changed, total=sum_of("amount")).to("out")
    driver = TopologyDriver(topology, auto_checkpoint=False)
    pipe(driver, ("ann", 9, 1000))
    limit = 8
    if kind == "close":
        pipe(driver, ("bob", 1, 20_000))
    elif kind == "held":
        driver.idle()
    driver.checkpoint()
    assert driver.read("out") == []
    (letter,) = driver.dead_letters()
    assert dict(letter.headers)["kproc.error"] == b"ValueError: 9 is too much"


class Plain(NamedTuple):
    total: int
    orders: int = 0


class Typed(TypedDict):
    total: int


class Struct(msgspec.Struct):
    total: int


@dataclass
class Data:
    total: int


@pytest.mark.parametrize("model", [Total, Plain, Typed, Struct, Data])
def test_names_that_a_model_does_not_have_or_needs_are_refused(model: Any) -> None:
    grouped = Topology("app").stream("in", value=Order).group_by_key()
    with pytest.raises(TopologyError, match=r"'totals' is no field of .*, which has total"):
        grouped.agg(model, totals=count())
    if model in {Total, Plain}:
        grouped = Topology("app").stream("in", value=Order).group_by_key()
        with pytest.raises(TopologyError, match=r"needs total, too: name an aggregate"):
            grouped.agg(model, orders=count())


def test_what_can_be_no_aggregate_is_refused() -> None:
    grouped = Topology("app").stream("in", value=Order).group_by_key()
    with pytest.raises(TopologyError, match="at least one aggregate"):
        grouped.agg()
    with pytest.raises(TopologyError, match="'size' is no field of"):
        grouped.agg(s=sum_of("size"))
    with pytest.raises(TopologyError, match="1 at least"):
        top_of("amount", 0)
    with pytest.raises(TopologyError, match="ranks from 0 to 1"):
        approx_quantiles_of("amount", 50)
    own = Aggregator(lambda: 0, lambda state, _: state)
    with pytest.raises(TopologyError, match=r"merge=function\(earlier, later\)"):
        grouped.window(session("1s")).agg(x=own)


def test_what_several_aggregates_emit_is_kept_elsewhere_by_its_own_type() -> None:
    topology = Topology("app")
    sums = topology.stream("in", value=int).group_by_key().agg(name="sums", orders=count())
    sums.to_stream().to_table(name="again")
    sums.group_by(lambda found: str(found["orders"]), name="by").count(name="groups")
    driver = TopologyDriver(topology)
    driver.pipe("in", *(Record(key, 1, Timestamp(0)) for key in ("a", "b", "b", "c")))
    assert driver.store("again") == {"a": {"orders": 1}, "b": {"orders": 2}, "c": {"orders": 1}}
    assert driver.store("groups") == {"1": 2, "2": 1}
    assert not driver.bad_records


def about(*items: Any) -> int:
    aggregator = approx_distinct_of()
    state = aggregator.start()
    for item in items:
        state = aggregator.add(state, item)
    return aggregator.result(aggregator.load(aggregator.dump(state)))


@with_sketches
def test_distinct_items_of_all_kinds_are_counted() -> None:
    assert about(*range(2**63, 2**63 + 1000)) == pytest.approx(1000, rel=0.05)
    assert about(*(b"%d" % n for n in range(50))) == 50
    assert about(*(Decimal(n) / 100 for n in range(50))) == 50
    assert about("", "a", b"", b"a", (1,), (2,), date(2026, 1, 1)) == 7
    assert about(1, 1.0, Decimal("1.00"), 0.5, Decimal("0.50")) == 2
    assert about(2**70, float(2**70), Decimal(2**70)) == 1


@with_sketches
@pytest.mark.parametrize("size", [3, 100, 300, 390, 2000])
def test_an_estimate_knows_of_no_order_and_no_joins(size: int) -> None:
    aggregator = approx_distinct_of()
    assert aggregator.merge is not None

    def kept(items: list[str], batch: int) -> Any:
        state = aggregator.start()
        for number, item in enumerate(items, 1):
            state = aggregator.add(state, item)
            if number % batch == 0:
                state = aggregator.load(aggregator.dump(state))
        return state

    first, second = [f"a{n}" for n in range(size)], [f"b{n}" for n in range(6000)]
    found = {
        aggregator.result(state)
        for batch in (1, 7, 10_000)
        for state in (
            kept(first + second, batch),
            kept(second + first[::-1], batch),
            aggregator.merge(kept(first, batch), kept(second, batch)),
            aggregator.merge(kept(second, batch), kept(first, batch)),
        )
    }
    assert len(found) == 1
