"""Rates, shares and percentiles of a benchmark."""

import json

import pytest

from processor.bench.figures import Backlog, Figures, Latency, Sample, as_json, rows

SAMPLES = [
    Sample(0.5, 0, 1.0, 100_000_000),
    Sample(1.0, 0, 1.5, 200_000_000),
    Sample(2.0, 600_000, 3.0, 300_000_000),
    Sample(3.0, 1_000_000, 4.5, 250_000_000),
]


def figures(latency: Latency | None, unmeasured: str = "") -> Figures:
    return Figures(
        "orders",
        nodes=1,
        slots=2,
        guarantee="exactly-once",
        native=True,
        backlog=Backlog(SAMPLES, 1_000_000),
        bad=0,
        state=12_300_000,
        latency=latency,
        unmeasured=unmeasured,
    )


def test_the_start_is_no_part_of_the_rate() -> None:
    backlog = Backlog(SAMPLES, 1_000_000)
    assert (backlog.first.at, backlog.seconds, backlog.rate) == (1.0, 2.0, 500_000)
    assert backlog.cpu_per_million == pytest.approx(3.0)
    assert backlog.peak_memory == 300_000_000


def test_what_is_done_at_the_first_look_has_no_rate() -> None:
    backlog = Backlog([Sample(1.0, 10, 0.5, 1)], 10)
    assert (backlog.seconds, backlog.rate, backlog.cpu_per_million) == (0, 0, 0)


def test_lines_over_time() -> None:
    backlog = Backlog(SAMPLES, 1_000_000)
    assert backlog.rates() == [(1.0, 0), (2.0, 600_000), (3.0, 400_000)]
    assert backlog.cores() == [(1.0, 1.0), (2.0, 1.5), (3.0, 1.5)]


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1.0), (50, 51.0), (99, 100.0), (99.9, 100.0), (100, 100.0)]
)
def test_percentiles(percent: float, expected: float) -> None:
    latency = Latency(1000, [float(number) for number in range(1, 101)])
    assert latency.percentile(percent) == expected


def test_figures_for_people_and_for_programs() -> None:
    found = figures(Latency(2000, [10.0, 20.0, 30.0]))
    shown = dict(rows(found))
    assert shown["records"] == "1,000,000 in 2.0 s"
    assert shown["latency at 2,000 records/s"].startswith("p50 20 ms, ")
    assert shown["with"] == "1 node, 2 slots, exactly-once, native plane"
    report = json.loads(json.dumps(as_json(found)))
    assert report["backlog"]["records_per_second"] == 500_000
    assert report["backlog"]["samples"][1]["memory"] == 200_000_000
    assert report["latency"]["p50"] == 20.0
    assert report["latency"]["most"] == 30.0


def test_a_latency_that_is_not_known_says_why() -> None:
    found = figures(None, "it was not asked for")
    assert ("latency", "not measured: it was not asked for") in rows(found)
    assert as_json(found)["latency"] is None
