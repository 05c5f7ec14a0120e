"""The airplanes' shifts, recomputed from the file."""

from collections import defaultdict
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from processor import Record
from processor.loading import load
from processor.testing import TopologyDriver

TOPOLOGY = load("topologies/sessions.py")
HOUR = 3_600_000


@pytest.fixture(scope="module")
def some_days() -> list[Record[str, Any]]:
    (sample,) = TOPOLOGY.samples
    return list(islice(sample.records(), 15_000))


def test_departures_soon_after_each_other_are_a_shift(some_days: list[Record[str, Any]]) -> None:
    flight = replace(some_days[0].value, tail="N1", destination="IAH", distance=100)
    driver = TopologyDriver(TOPOLOGY)
    for hour in (0, 3, 15, 20, 33, 60):  # the fifth is 13 hours after the one before it
        driver.pipe("departures-by-airplane", key="N1", value=flight, timestamp=hour * HOUR)
    assert driver.read("busy-shifts") == [
        (
            "N1",
            {
                "tail": "N1",
                "hours": 20.0,
                "shift": {"departures": 4, "miles": 400, "destinations": ["IAH"] * 4},
            },
        )
    ]


def test_some_days_against_the_file(some_days: list[Record[str, Any]]) -> None:
    driver = TopologyDriver(TOPOLOGY, partitions=4)
    driver.pipe("departures-by-airplane", *some_days)
    driver.idle()
    found = sorted(
        (value["tail"], value["shift"]["departures"]) for _, value in driver.read("busy-shifts")
    )
    assert found == recomputed(some_days)
    assert len(found) > 100
    assert not driver.bad_records


def recomputed(records: list[Record[str, Any]]) -> list[tuple[str, int]]:
    """Airplanes and their departures, of each busy shift."""
    times: defaultdict[str, list[int]] = defaultdict(list)
    for record in records:
        times[record.key].append(record.timestamp)
    shifts: list[tuple[str, int]] = []
    for tail, each in times.items():
        number = 0
        for time, following in zip(each, [*each[1:], None], strict=True):
            number += 1
            if following is None or following - time > 12 * HOUR:
                shifts.append((tail, number))
                number = 0
    return sorted(shift for shift in shifts if shift[1] >= 4)
