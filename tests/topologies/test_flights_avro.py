"""The flights in Avro, against the same topology in JSON."""

import sys
from dataclasses import asdict
from itertools import islice

from processor.loading import load
from processor.serdes import avro
from processor.testing import TopologyDriver
from topologies import flights

TOPOLOGY = load("topologies/flights_avro.py")
FLIGHT = avro("schemas/flight.avsc")


SOME = [flights.record(row) for row in islice(flights.rows(), 5000)]


def test_as_the_topology_in_json() -> None:
    model = sys.modules[TOPOLOGY.samples[0].records.__module__].Flight
    driver, with_json = TopologyDriver(TOPOLOGY), TopologyDriver(flights.topology)
    some = [each._replace(value=model(**asdict(each.value))) for each in SOME]
    driver.pipe("flights-in-avro", *some)
    with_json.pipe("flights", *SOME)
    expected = dict(with_json.read("delays-by-carrier"))
    assert {key: asdict(value) for key, value in driver.read("punctuality-by-carrier")} == expected
    late = [value.arrival_delay for _, value in driver.read("late-flights")]
    assert len(late) > 100
    assert min(late) == 61
    assert not driver.bad_records


def test_what_is_in_the_topics_is_avro_of_the_schemas() -> None:
    driver = TopologyDriver(TOPOLOGY)
    flight = {**asdict(SOME[0].value), "arrival_delay": 61}
    driver.pipe_bytes("flights-in-avro", key=b"UA", value=FLIGHT.encode(flight))
    driver.pipe_bytes("flights-in-avro", key=b"UA", value=b'{"carrier": "UA"}')
    ((key, late),) = driver.read("late-flights")
    assert (key, asdict(late)) == ("UA", flight)
    (letter,) = driver.dead_letters()
    assert b"as avro(kproc.flights.Flight as Flight" in (dict(letter.headers)["kproc.error"] or b"")
