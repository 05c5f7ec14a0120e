"""Versioned tables: which value a key had when (the cases are those of KIP-889)."""

from typing import Any

import pytest

from processor import Topology
from processor.operators.tables.versioned import Version, history_of
from processor.records import Timestamp
from processor.serdes import json
from processor.testing import TopologyDriver


def test_versions_come_back_as_they_were() -> None:
    spec = history_of("prices", json)
    assert (spec.name, spec.value.name) == ("prices-history", "versions(json)")
    versions = [
        Version(Timestamp(1), Timestamp(5), [1]),
        Version(Timestamp(5), Timestamp(5), None),
        Version(Timestamp(7), Timestamp(9), ""),
    ]
    assert spec.value.decode(spec.value.encode(versions)) == versions


class Prices:
    """A table of prices, and a stream that is joined with it."""

    def __init__(self) -> None:
        app = Topology("app")
        prices = app.table("prices", versioned="1s", emit="change")
        prices.to("latest")
        app.stream("orders").left_join(prices, lambda _, price: [price]).to("joined")
        self.driver = TopologyDriver(app)

    def put(self, *puts: tuple[int, Any]) -> None:
        for time, value in puts:
            self.driver.pipe("prices", key="k", value=value, timestamp=time)

    def at(self, *times: int) -> list[Any]:
        for time in times:
            self.driver.pipe("orders", key="k", value=0, timestamp=time)
        return [value for _, (value,) in self.driver.read("joined")]


@pytest.mark.parametrize(
    ("puts", "expected"),
    [
        ([(2, "a"), (4, "b")], [None, "a", "a", "b", "b"]),
        ([(4, "b"), (2, "a")], [None, "a", "a", "b", "b"]),
        ([(2, "a"), (4, None)], [None, "a", "a", None, None]),
        ([(2, "a"), (4, "b"), (3, None)], [None, "a", None, "b", "b"]),
        ([(2, "a"), (5, "c"), (3, "b"), (4, None)], [None, "a", "b", None, "c"]),
        ([(4, None), (2, "a")], [None, "a", "a", None, None]),
        ([(2, "a"), (2, "b")], [None, "b", "b", "b", "b"]),
        ([(2, "a"), (4, "b"), (2, "c")], [None, "c", "c", "b", "b"]),
        ([(2, "a"), (4, "b"), (2, None)], [None, None, None, "b", "b"]),
        ([(5, None), (3, None), (2, "a")], [None, "a", None, None, None]),
        ([(2, None), (2, "a")], [None, "a", "a", "a", "a"]),
        ([(2, "a"), (3, None), (2, None), (2, "b")], [None, "b", None, None, None]),
        ([(2, "a"), (4, None), (3, None), (3, "b")], [None, "a", "b", None, None]),
    ],
)
def test_a_value_counts_from_its_time_to_the_next(
    puts: list[tuple[int, Any]], expected: list[Any]
) -> None:
    prices = Prices()
    prices.put(*puts)
    assert prices.at(1, 2, 3, 4, 5) == expected


def test_nothing_is_known_of_what_is_longer_ago_than_history_is_kept() -> None:
    prices = Prices()
    prices.put((0, "a"), (100, "b"), (2000, "c"), (3000, "d"))
    assert prices.at(1999, 2000, 2999, 3000, 4000) == [None, "c", "c", "d", "d"]
    prices.put((1500, "late"))
    assert prices.driver.bad_records == {("prices-table", "late"): 1}
    assert prices.driver.dead_letters() == []
    assert len(prices.driver.store("prices-table-history")) == 1


def test_a_value_stays_for_as_long_as_it_is_the_latest() -> None:
    prices = Prices()
    prices.put((0, "a"))
    assert prices.at(0, 500_000) == ["a", "a"]


def test_an_update_out_of_order_is_not_emitted() -> None:
    prices = Prices()
    prices.put((5, "b"), (3, "a"), (4, None), (7, None), (6, "c"))
    assert prices.driver.read("latest") == [("k", "b"), ("k", None)]
    assert prices.driver.store("prices-table") == {}
