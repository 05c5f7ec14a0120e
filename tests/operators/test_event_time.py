"""Event times from fields and functions, and what happens to values that give none."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from processor import Topology, wall_clock
from processor.errors import TopologyError
from processor.operators.event_time import InvalidTimestampError, milliseconds_of
from processor.records import Record, Timestamp
from processor.testing import TopologyDriver
from processor.topology.flow import flow_of

NOON = datetime(2013, 7, 4, 12, tzinfo=UTC)
MILLISECONDS = 1_372_939_200_000


@pytest.mark.parametrize(
    "time",
    [
        MILLISECONDS,
        NOON,
        NOON.astimezone(timezone(timedelta(hours=-4))),
        "2013-07-04T12:00:00Z",
        "2013-07-04T08:00:00.000-04:00",
        NOON + timedelta(microseconds=999),
    ],
)
def test_what_is_a_time(time: Any) -> None:
    assert milliseconds_of(time) == MILLISECONDS


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (NOON.replace(tzinfo=None), "no time zone"),
        ("2013-07-04 12:00", "no time zone"),
        ("yesterday", "no time in ISO 8601"),
        (-1, "since 1970"),
        (MILLISECONDS * 1_000_000, "before 9998"),
        (1.5, "is no time"),
        (True, "is no time"),
        (None, "is no time"),
    ],
)
def test_what_is_none(time: Any, text: str) -> None:
    with pytest.raises(InvalidTimestampError, match=text):
        milliseconds_of(time)


def timed(timestamp: Any, **options: Any) -> TopologyDriver:
    topology = Topology("orders")
    topology.stream("orders", timestamp=timestamp, **options).to("out")
    return TopologyDriver(topology, start=5000)


def written(driver: TopologyDriver) -> list[tuple[Any, int]]:
    return [(record.value, record.timestamp) for record in driver.read_records("out")]


def test_a_field() -> None:
    driver = timed("at")
    driver.pipe("orders", key="ann", value={"at": 70}, timestamp=3)
    driver.pipe("orders", key="ann", value={"at": "1970-01-01T00:00:00.080Z"}, timestamp=3)
    assert [time for _, time in written(driver)] == [70, 80]


def test_a_function() -> None:
    driver = timed(lambda value: value * 10)
    driver.pipe("orders", Record("ann", 1, Timestamp(3)), Record("ann", 2, Timestamp(4)))
    assert written(driver) == [(1, 10), (2, 20)]


def test_the_clock_on_the_wall() -> None:
    driver = timed(wall_clock)
    driver.pipe("orders", key="ann", value=1, timestamp=3)
    driver.advance("1s")
    driver.pipe("orders", key="ann", value=2, timestamp=3)
    assert written(driver) == [(1, 5000), (2, 6000)]


def test_a_value_without_a_time_is_bad() -> None:
    driver = timed("at")
    for value in ({}, {"at": None}, {"at": "soon"}, 7):
        driver.pipe("orders", key="ann", value=value, timestamp=3)
    driver.pipe("orders", key="ann", value={"at": 5}, timestamp=-1)
    assert written(driver) == [({"at": 5}, 5)]
    assert driver.bad_records == {("source-orders", "timestamp"): 4}
    assert len(driver.dead_letters()) == 4


def test_or_counts_for_its_own_timestamp() -> None:
    driver = timed("at", on_invalid_timestamp="record-time")
    driver.pipe("orders", key="ann", value={"at": "soon"}, timestamp=3)
    driver.pipe("orders", key="ann", value={"at": "soon"}, timestamp=-1)
    assert written(driver) == [({"at": "soon"}, 3)]
    assert driver.bad_records == {("source-orders", "timestamp"): 1}


def test_a_deletion_keeps_its_own_timestamp() -> None:
    driver = timed("at")
    driver.pipe("orders", key="ann", value=None, timestamp=3)
    assert written(driver) == [(None, 3)]


def test_stream_time_goes_by_it() -> None:
    topology = Topology("orders")
    topology.stream("orders", timestamp="at").deduplicate(within="1s").to("out")
    driver = TopologyDriver(topology)
    for at in (1000, 1500, 2000):
        driver.pipe("orders", key="ann", value={"at": at}, timestamp=0)
    assert [value["at"] for _, value in driver.read("out")] == [1000, 2000]


def test_wrong_topologies() -> None:
    with pytest.raises(TopologyError, match="timestamp=7: give a field's name"):
        Topology("orders").stream("orders", timestamp=7)
    with pytest.raises(TopologyError, match="on_invalid_timestamp='drop': possible are"):
        timed("at", on_invalid_timestamp="drop")
    topology = Topology("orders")
    first = topology.stream("orders", timestamp="at")
    assert flow_of(topology.stream("orders", timestamp="at")).edge == flow_of(first).edge
    with pytest.raises(TopologyError, match="read once in a topology"):
        topology.stream("orders", timestamp=lambda value: value["at"])
