"""How each airplane was used: its departures from New York, as long as less than half a day apart.

    kproc run topologies/sessions.py --dev --until-end

What is written are the busy shifts, of four departures and more. The data is that of `flights.py`,
here keyed by airplane: so the windows come right after the topic, and no partition has to wait for
others.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from flights import Flight, records

from processor import Record, Topology, Windowed, collect_of, count, session, sum_of

BUSY = 4  # departures


@dataclass(frozen=True)
class Shift:
    """Departures of one airplane, one soon after the other."""

    departures: int
    miles: int
    destinations: list[str]


@dataclass(frozen=True)
class BusyShift:
    """One with many departures; times in hours."""

    tail: str
    hours: float
    shift: Shift


def departures() -> Iterator[Record[str, Flight]]:
    """The flights that took off, by airplane."""
    for record in records():
        if record.value.tail and record.value.departure_delay is not None:
            yield Record(record.value.tail, record.value, record.timestamp)


def busy(tail: Windowed[str], shift: Shift) -> tuple[str, BusyShift]:
    """The shift with its length, under its airplane."""
    hours = round((tail.end - tail.start) / 3_600_000, 1)
    return tail.key, BusyShift(tail.key, hours, shift)


topology = Topology("sessions")
topology.sample_data("departures-by-airplane", departures, count=328_521, value=Flight)

shifts = (
    topology.stream("departures-by-airplane", value=Flight)
    .group_by_key()
    .window(session("12h", grace="1h"))
    .agg(
        Shift,
        departures=count(),
        miles=sum_of("distance"),
        destinations=collect_of("destination"),
        name="shifts",
    )
)
shifts.to_stream().filter(lambda shift: shift.departures >= BUSY).map(busy).to("busy-shifts")
