"""The flights in Avro, against the same topology in JSON."""

from dataclasses import asdict
from typing import Any

from processor import Record
from processor.loading import load
from processor.serdes import avro
from processor.testing import TopologyDriver
from topologies import flights

TOPOLOGY = load("topologies/flights_avro.py")
FLIGHT = avro("schemas/flight.avsc")


def in_avro() -> list[Record[str, Any]]:
    """Some days, as the topology's own sample data has them."""
    (sample,) = TOPOLOGY.samples
    return list(sample.records())[:10_000]


def test_as_the_topology_in_json() -> None:
    driver, with_json = TopologyDriver(TOPOLOGY), TopologyDriver(flights.topology)
    driver.pipe("flights-in-avro", *in_avro())
    with_json.pipe("flights", *flights.records()[:10_000])
    expected = dict(with_json.read("delays-by-carrier"))
    assert {key: asdict(value) for key, value in driver.read("punctuality-by-carrier")} == expected
    late = [value.arrival_delay for _, value in driver.read("late-flights")]
    assert len(late) > 100
    assert min(late) == 61
    assert not driver.bad_records


def test_what_is_in_the_topics_is_avro_of_the_schemas() -> None:
    driver = TopologyDriver(TOPOLOGY)
    flight = {**asdict(flights.records()[0].value), "arrival_delay": 61}
    driver.pipe_bytes("flights-in-avro", key=b"UA", value=FLIGHT.encode(flight))
    driver.pipe_bytes("flights-in-avro", key=b"UA", value=b'{"carrier": "UA"}')
    ((key, late),) = driver.read("late-flights")
    assert (key, asdict(late)) == ("UA", flight)
    (letter,) = driver.dead_letters()
    assert b"as avro(kproc.flights.Flight as Flight" in (dict(letter.headers)["kproc.error"] or b"")
