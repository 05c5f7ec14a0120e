"""The joins on real data, recomputed from lists of all records."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

import pytest

from processor import Record
from processor.loading import load
from processor.testing import TopologyDriver

TOPOLOGY = load("topologies/flights_joined.py")
HOUR = 3_600_000
DAYS = 4


class Data(NamedTuple):
    """Some days of it."""

    planes: list[Record[str, Any]]
    airlines: list[Record[str, Any]]
    airports: list[Record[str, Any]]
    weather: list[Record[str, Any]]
    flights: list[Record[str, Any]]


@pytest.fixture(scope="module")
def data() -> Data:
    made = Data(*(list(sample.records()) for sample in TOPOLOGY.samples))
    end = made.flights[0].timestamp + DAYS * 24 * HOUR
    weather, flights = (
        [record for record in records if record.timestamp < end]
        for records in (made.weather, made.flights)
    )
    return Data(*made[:3], weather, flights)


@pytest.fixture(scope="module")
def driver(data: Data) -> TopologyDriver:
    """An hour after the other."""
    made = TopologyDriver(TOPOLOGY, partitions=3)
    made.pipe("planes", *data.planes)
    made.pipe("airlines", *data.airlines)
    made.pipe("airports", *data.airports)
    for topic, records in hours(data):
        made.pipe(topic, *records)
    return made


def hours(data: Data) -> Iterator[tuple[str, list[Record[str, Any]]]]:
    """The weather before the flights."""
    topics = {"weather": data.weather, "flights-by-origin": data.flights}
    rows = [
        (record.timestamp // HOUR, number, topic, record)
        for number, (topic, records) in enumerate(topics.items())
        for record in records
    ]
    rows.sort(key=lambda row: row[:2])
    for (_, _, topic), group in groupby(rows, key=lambda row: row[:3]):
        yield topic, [record for *_, record in group]


def test_sample_data_has_as_many_records_as_it_says(data: Data) -> None:
    for sample in TOPOLOGY.samples[:4]:
        assert sum(1 for _ in sample.records()) == sample.count


def test_each_flight_has_the_weather_as_of_its_time(driver: TopologyDriver, data: Data) -> None:
    found = [
        (value["carrier"], value["number"], (value["weather"] or {}).get("temperature"))
        for _, value in driver.read("departures-with-weather")
    ]
    measured: defaultdict[str, list[Record[str, Any]]] = defaultdict(list)
    for record in data.weather:
        measured[record.key].append(record)
    expected: list[tuple[str, int, float | None]] = []
    for flight in data.flights:
        before = [each for each in measured[flight.key] if each.timestamp <= flight.timestamp]
        temperature = before[-1].value.temperature if before else None
        expected.append((flight.value.carrier, flight.value.number, temperature))
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    assert len(found) > 3000


def test_flights_in_the_hour_after_a_gust(driver: TopologyDriver, data: Data) -> None:
    found = [
        (value["carrier"], value["number"], value["gust"])
        for _, value in driver.read("departures-after-gusts")
    ]
    gusts = [each for each in data.weather if each.value.gust and each.value.gust >= 35]
    expected = [
        (flight.value.carrier, flight.value.number, gust.value.gust)
        for flight in data.flights
        for gust in gusts
        if gust.key == flight.key and 0 <= flight.timestamp - gust.timestamp <= HOUR
    ]
    assert sorted(found) == sorted(expected)
    assert found


def test_the_last_flight_of_each_airplane(driver: TopologyDriver, data: Data) -> None:
    found = {key: (row["model"], row["airline"]) for key, row in driver.read("last-flights")}
    planes = {record.key: record.value for record in data.planes}
    airlines = {record.key: record.value for record in data.airlines}
    last = {record.value.tail: record.value for record in data.flights}
    assert found == {
        tail: (planes[tail].model, airlines[flight.carrier])
        for tail, flight in last.items()
        if tail in planes
    }
    assert len(found) > 1000


def test_each_flight_has_the_name_of_its_airport(driver: TopologyDriver, data: Data) -> None:
    found = [tuple(value.values()) for _, value in driver.read("arrivals")]
    names = {record.key: record.value for record in data.airports}
    flights = [record.value for record in data.flights]
    expected = [
        (each.carrier, each.number, each.arrival_delay, names.get(each.destination))
        for each in flights
    ]
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    assert None in {airport for *_, airport in found}


def test_nothing_is_bad(driver: TopologyDriver) -> None:
    assert not driver.bad_records
