"""Hours, days and late flights, recomputed flight by flight."""

from collections import defaultdict
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from processor import Record, Windowed
from processor.testing import TopologyDriver
from topologies import flights_per_hour
from topologies.flights import Flight
from topologies.flights_per_hour import Hour

HOUR = 3_600_000
NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(scope="module")
def departures() -> list[Record[str, Flight]]:
    return flights_per_hour.departures()


def test_all_departures(departures: list[Record[str, Flight]]) -> None:
    (sample,) = flights_per_hour.topology.samples
    assert len(departures) == sample.count
    driver = TopologyDriver(flights_per_hour.topology)
    some = departures[:30_000]
    for begin in range(0, len(some), 9_999):
        driver.pipe("departures", *some[begin : begin + 9_999])
    hours, late = recomputed(some)
    emitted = driver.read("departures-per-hour")
    assert {window: Hour(**value) for window, value in emitted} == hours
    assert len(emitted) == len(hours)
    assert [flight for _, flight in driver.read("late-departures")] == late
    assert len(late) > 100
    assert not driver.bad_records
    days = driver.read("departures-per-day")
    assert all(day == whole_day(day) for day, _ in days)
    known = counted_days(some)
    assert {day: value["flights"] for day, value in days} == {day: known[day] for day, _ in days}


def recomputed(
    departures: list[Record[str, Flight]],
) -> tuple[dict[Windowed[str], Hour], list[Flight]]:
    """The hours that have closed, and the flights that came too late for theirs."""
    delays: defaultdict[Windowed[str], list[int]] = defaultdict(list)
    late: list[Flight] = []
    now = 0
    for record in departures:
        now = max(now, record.timestamp)
        start = record.timestamp // HOUR * HOUR
        assert record.value.departure_delay is not None
        if start + 3 * HOUR <= now:
            late.append(record.value)
        else:
            window = Windowed(record.value.origin, start, start + HOUR)
            delays[window].append(record.value.departure_delay)
    return {
        window: Hour(len(some), sum(some) / len(some), max(some))
        for window, some in delays.items()
        if window.end + 2 * HOUR <= now
    }, late


def whole_day(window: Windowed[str]) -> Windowed[str]:
    """The day in New York that the window begins in."""
    begin = datetime.fromtimestamp(window.start / 1000, NEW_YORK)
    end = datetime.fromtimestamp(window.end / 1000, NEW_YORK)
    assert (begin.hour, end.hour, (end.date() - begin.date()).days) == (0, 0, 1)
    return window


def counted_days(departures: list[Record[str, Flight]]) -> dict[Windowed[str], int]:
    counts: defaultdict[Windowed[str], int] = defaultdict(int)
    for record in departures:
        at = datetime.fromtimestamp(record.timestamp / 1000, NEW_YORK)
        begin = at.replace(hour=0, minute=0, second=0)
        end = datetime.fromordinal(begin.toordinal() + 1).replace(tzinfo=NEW_YORK)
        times = int(begin.timestamp()) * 1000, int(end.timestamp()) * 1000
        counts[Windowed(record.key, *times)] += 1
    return counts
