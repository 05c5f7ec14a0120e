"""The flights, recomputed line by line from the file."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from processor import Record
from processor.testing import TopologyDriver
from tests.suites import long
from topologies import flights
from topologies.flights import Delays, Flight, Punctuality

SCHEMAS = Path("schemas")


def flight(carrier: str, origin: str, departure: int | None, arrival: int | None) -> Flight:
    return Flight(carrier, 1, None, origin, "IAH", departure, arrival, 1400)


def test_means_and_cancelled_flights() -> None:
    driver = TopologyDriver(flights.topology)
    driver.pipe("flights", key="UA", value=flight("UA", "EWR", 10, -5))
    driver.pipe("flights", key="UA", value=flight("UA", "LGA", 5, None))
    driver.pipe("flights", key="UA", value=flight("UA", "EWR", None, None))
    united = Punctuality(flights=3, cancelled=1, departure_delay=7.5, arrival_delay=-5.0)
    assert as_model(driver.read("delays-by-carrier"))["UA"] == united
    assert as_model(driver.read("delays-by-origin")) == {
        "EWR": Punctuality(flights=2, cancelled=1, departure_delay=10.0, arrival_delay=-5.0),
        "LGA": Punctuality(flights=1, cancelled=0, departure_delay=5.0, arrival_delay=None),
    }
    assert driver.read("cancelled-by-carrier") == [("UA", 1)]
    assert driver.store("carriers")["UA"] == Delays(3, 2, 15, 1, -5)


@pytest.mark.parametrize("months", [2, *long(12)])
def test_flights_against_the_file(all_flights: list[Record[str, Flight]], months: int) -> None:
    driver = TopologyDriver(flights.topology, partitions=4)
    rows = [row for row in flights.rows() if int(row["month"]) <= months]
    for begin in range(0, len(rows), 50_000):
        driver.pipe("flights", *all_flights[begin : min(begin + 50_000, len(rows))])
    assert as_model(driver.read("delays-by-carrier")) == recomputed("carrier", rows)
    assert as_model(driver.read("delays-by-origin")) == recomputed("origin", rows)
    cancelled = Counter(row["carrier"] for row in rows if row["dep_time"] == "NA")
    assert dict(driver.read("cancelled-by-carrier")) == cancelled
    assert not driver.bad_records


def test_flights_come_in_the_order_of_their_schedule(
    all_flights: list[Record[str, Flight]],
) -> None:
    (sample,) = flights.topology.samples
    assert len(all_flights) == sample.count
    times = [record.timestamp for record in all_flights]
    assert times == sorted(times)
    assert times[0] == 1357035300000  # 2013-01-01 05:15 in New York
    assert {record.key == record.value.carrier for record in all_flights} == {True}


@pytest.mark.parametrize(("schema", "model"), [("flight", Flight), ("punctuality", Punctuality)])
def test_schemas_have_the_fields_of_the_models(schema: str, model: Any) -> None:
    declared = json.loads((SCHEMAS / f"{schema}.avsc").read_text())["fields"]
    assert [each["name"] for each in declared] == [each.name for each in fields(model)]


@pytest.fixture(scope="module")
def all_flights() -> list[Record[str, Flight]]:
    return flights.records()


def recomputed(column: str, rows: Iterable[Mapping[str, str]]) -> dict[str, Punctuality]:
    """The same figures another way: all delays kept, then their means."""
    count: Counter[str] = Counter()
    departures: defaultdict[str, list[int]] = defaultdict(list)
    arrivals: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        key = row[column]
        count[key] += 1
        if row["dep_delay"] != "NA":
            departures[key].append(int(row["dep_delay"]))
        if row["arr_delay"] != "NA":
            arrivals[key].append(int(row["arr_delay"]))
    return {
        key: Punctuality(
            flights=count[key],
            cancelled=count[key] - len(departures[key]),
            departure_delay=round(sum(departures[key]) / len(departures[key]), 2),
            arrival_delay=round(sum(arrivals[key]) / len(arrivals[key]), 2),
        )
        for key in count
    }


def as_model(records: Iterable[tuple[str, Any]]) -> dict[str, Punctuality]:
    """The last value of each key."""
    return {key: Punctuality(**value) for key, value in records}
