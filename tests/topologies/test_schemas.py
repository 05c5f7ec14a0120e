"""The schemas in schemas/ are those of what the topologies read and write."""

import sys
from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from processor import Record, Topology
from processor.loading import load
from processor.serdes import avro
from processor.testing import TopologyDriver

SCHEMAS = Path("schemas")
ROWS, RECORDS = 4000, 20_000
HOUR = 3_600_000
IN_AVRO = {"flights_avro", "fraud"}

TOPICS: dict[str, dict[str, tuple[str, str]]] = {
    # By topology and topic: the schema, and the type in the topology's module.
    "flights": {
        "flights": ("flight", "Flight"),
        "delays-by-carrier": ("punctuality", "Punctuality"),
        "delays-by-origin": ("punctuality", "Punctuality"),
    },
    "flights_avro": {
        "flights-in-avro": ("flight", "Flight"),
        "late-flights": ("flight", "Flight"),
        "punctuality-by-carrier": ("punctuality", "Punctuality"),
    },
    "flights_joined": {
        "flights-by-origin": ("flight", "Flight"),
        "weather": ("weather", "Weather"),
        "planes": ("plane", "Plane"),
        "departures-with-weather": ("departure", "Departure"),
        "departures-after-gusts": ("gusty", "Gusty"),
        "last-flights": ("last_flight", "LastFlight"),
        "arrivals": ("arrival", "Arrival"),
    },
    "flights_per_hour": {
        "departures": ("flight", "Flight"),
        "departures-per-hour": ("hour", "Hour"),
        "departures-per-day": ("day", "Day"),
        "late-departures": ("flight", "Flight"),
    },
    "fraud": {"payments": ("payment", "Payment"), "alarms": ("alarm", "Alarm")},
    "late_data": {
        "measurements": ("measurement", "Measurement"),
        "late-measurements": ("measurement", "Measurement"),
        "minutes": ("minute", "Minute"),
        "missed-by-the-hour": ("minute", "Minute"),
    },
    "processed_events": {"events": ("event", "str"), "processed-events": ("event", "str")},
    "sessions": {
        "departures-by-airplane": ("flight", "Flight"),
        "busy-shifts": ("busy_shift", "BusyShift"),
    },
}


@pytest.fixture(params=TOPICS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def topology(name: str, monkeypatch: pytest.MonkeyPatch) -> Topology:
    """With the first flights of the file for all of them."""
    topology = load(f"topologies/{name}.py")
    for module in ("flights", "topologies.flights", module_of(topology).__name__):
        loaded = sys.modules.get(module)
        if rows := getattr(loaded, "rows", None):
            monkeypatch.setattr(loaded, "rows", lambda rows=rows: islice(rows(), ROWS))
    return topology


def module_of(topology: Topology) -> ModuleType:
    return sys.modules[topology.samples[0].records.__module__]


def test_what_is_read_and_written_is_of_the_schema(name: str, topology: Topology) -> None:
    driver = TopologyDriver(topology)
    read = {each.topic: list(islice(each.records(), RECORDS)) for each in topology.samples}
    for topic, records in by_the_hour(read):
        driver.pipe(topic, *records)
    driver.idle()
    for topic, (schema, kind) in TOPICS[name].items():
        type_ = str if kind == "str" else getattr(module_of(topology), kind)
        serde = avro(SCHEMAS / f"{schema}.avsc", type_)
        as_type = None if name in IN_AVRO else type_
        written = read[topic] if topic in read else driver.read_records(topic, value=as_type)
        values = [each.value for each in written if each.value is not None]
        assert values, topic
        assert [serde.decode(serde.encode(each)) for each in values] == values
    assert {reason for _, reason in driver.bad_records} <= {"late"}


def by_the_hour(
    read: dict[str, list[Record[Any, Any]]],
) -> Iterator[tuple[str, list[Record[Any, Any]]]]:
    """What is read from several topics; from one, as it comes."""
    if len(read) == 1:
        yield from read.items()
        return
    rows = [
        (each.timestamp // HOUR, number, topic, each)
        for number, (topic, records) in enumerate(read.items())
        for each in records
    ]
    rows.sort(key=lambda row: row[:2])
    for (_, _, topic), group in groupby(rows, key=lambda row: row[:3]):
        yield topic, [row[3] for row in group]


def test_the_word_count_is_a_word_and_its_count() -> None:
    topology = load("topologies/word_count.py")
    driver = TopologyDriver(topology)
    driver.pipe("lines", *islice(topology.samples[0].records(), 100))
    serde = avro(SCHEMAS / "word_count.avsc")
    counts = [{"word": word, "count": count} for word, count in driver.read("word-counts")]
    assert counts
    assert [serde.decode(serde.encode(each)) for each in counts] == counts


def test_all_schemas_are_of_a_topology() -> None:
    used = {schema for topics in TOPICS.values() for schema, _ in topics.values()}
    assert {file.stem for file in SCHEMAS.glob("*.avsc")} == used | {"word_count"}
