"""The flights in Avro: late ones picked out, airlines judged, all by the schemas in `schemas/`.

    kproc run topologies/flights_avro.py --dev --until-end

Data and dataclasses are those of `flights.py`; what is in the topics is Avro instead of JSON, a
fifth as long and checked against its schema wherever it is written or read.
"""

from pathlib import Path

from flights import Delays, Flight, Punctuality, add, punctuality, records

from processor import Topology, avro

SCHEMAS = Path(__file__).parent.parent / "schemas"
LATE = 60  # minutes

flight = avro(SCHEMAS / "flight.avsc", Flight)


def is_late(flight: Flight) -> bool:
    """Whether a flight that arrived was more than an hour late."""
    return flight.arrival_delay is not None and flight.arrival_delay > LATE


topology = Topology("flights-avro")
topology.sample_data("flights-in-avro", records, count=336_776, value=flight)

flights = topology.stream("flights-in-avro", value=flight)
flights.filter(is_late).to("late-flights")
(
    flights.group_by_key()
    .aggregate(Delays, add, name="carriers")
    .to_stream()
    .map_values(punctuality)
    .to("punctuality-by-carrier", value=avro(SCHEMAS / "punctuality.avsc", Punctuality))
)
