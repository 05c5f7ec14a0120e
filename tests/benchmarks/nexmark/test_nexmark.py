"""Nexmark's queries, each against its recomputation, on several partitions and out of order."""

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from itertools import islice
from shutil import which
from typing import Any, TypeAlias

import msgspec
import pytest

from processor import Record, Timestamp, Topology
from processor.testing import TopologyDriver
from processor.topology.plan import plan
from tests.benchmarks.nexmark import queries, recomputed
from tests.benchmarks.nexmark.events import BEGIN, Bid, Event, events
from tests.benchmarks.nexmark.inputs import (
    BIDS,
    RUN,
    SIDE,
    SIDE_INPUT,
    output,
    records,
    side_input,
)
from tests.suites import examples

COUNT, AT_A_TIME, PARTITIONS = examples(4_000, 6_000), 100, 3

Rows: TypeAlias = list[tuple[Any, Any]]


@pytest.fixture(params=[1, 300], ids=["in-order", "disorder"])
def run(request: pytest.FixtureRequest) -> "Run":
    """In groups of how many events they are out of order."""
    return Run(list(events(COUNT, disorder=request.param)))


class Run:
    """Events for a topology, a second of them after the other."""

    def __init__(self, made: list[Event]) -> None:
        self.log = recomputed.log(made)
        self._events = made

    def of(self, topology: Topology) -> Rows:
        """What the topology wrote when all windows were closed."""
        name = topology.name.removeprefix(f"{RUN}-")
        driver = TopologyDriver(topology, partitions=PARTITIONS)
        made = plan(topology)
        if SIDE_INPUT in made.tables:
            driver.pipe(SIDE_INPUT, *side_input())
        found: Rows = []
        remaining = iter(self._events)
        while some := list(islice(remaining, AT_A_TIME)):
            for topic, piped in by_topic(some).items():
                if topic in made.inputs:
                    driver.pipe(topic, *piped)
            found += driver.read(output(name))
        driver.idle()
        assert not driver.bad_records
        return found + driver.read(output(name))


def by_topic(some: Iterable[Event]) -> dict[str, list[Record[int, Event]]]:
    made: defaultdict[str, list[Record[int, Event]]] = defaultdict(list)
    for topic, record in records(some):
        made[topic].append(record)
    return made


def values(rows: Rows) -> list[bytes]:
    """In an order of their own, as partitions have none between them."""
    return ordered(value for _, value in rows)


def ordered(rows: Iterable[Any]) -> list[bytes]:
    return sorted(msgspec.json.encode(row, order="sorted") for row in rows)


def latest(rows: Rows) -> dict[Any, Any]:
    return {key: value for key, value in dict(rows).items() if value is not None}


def test_proportions() -> None:
    log = recomputed.log(events(5000))
    assert list(map(len, log)) == [100, 300, 4600]
    assert list(events(100)) == list(events(100)) != list(events(100, seed=2))


def test_every_query_has_results() -> None:
    log = recomputed.log(events(COUNT))
    for number in (0, 1, 2, 3, 4, 5, 6, 7, 8, 11):
        assert len(getattr(recomputed, f"q{number}")(log)) > 2, number


def test_q0_all_bids(run: Run) -> None:
    assert values(run.of(queries.q0)) == ordered(recomputed.q0(run.log))


def test_q1_prices_in_euro(run: Run) -> None:
    assert values(run.of(queries.q1)) == ordered(recomputed.q1(run.log))


def test_q2_bids_for_some_auctions(run: Run) -> None:
    assert values(run.of(queries.q2)) == ordered(recomputed.q2(run.log))


def test_q3_local_sellers(run: Run) -> None:
    assert values(run.of(queries.q3)) == ordered(recomputed.q3(run.log))


def test_q4_average_price_of_each_category(run: Run) -> None:
    assert latest(run.of(queries.q4)) == recomputed.q4(run.log)


def test_q5_hottest_auctions(run: Run) -> None:
    found = {end: (row["number"], row["auctions"]) for end, row in run.of(queries.q5)}
    assert found == recomputed.q5(run.log)


def test_q6_average_price_of_each_seller(run: Run) -> None:
    assert latest(run.of(queries.q6)) == recomputed.q6(run.log)


def test_q7_highest_bids(run: Run) -> None:
    found = {
        start: sorted(msgspec.convert(row["bids"], list[Bid]), key=lambda bid: bid.date_time)
        for start, row in latest(run.of(queries.q7)).items()
    }
    assert found == recomputed.q7(run.log)


def test_q8_new_sellers(run: Run) -> None:
    assert latest(run.of(queries.q8)) == recomputed.q8(run.log)


def test_q11_sessions_of_bidders(run: Run) -> None:
    assert latest(run.of(queries.q11)) == recomputed.q11(run.log)


def test_q12_bids_by_the_wall_clock() -> None:
    bids = recomputed.log(events(500)).bids
    driver = TopologyDriver(queries.q12, partitions=PARTITIONS, start=BEGIN)
    times: list[int] = []
    for bid in bids:
        times.append(driver.now)
        driver.pipe(BIDS, Record(bid.auction, bid, Timestamp(0)))
        driver.advance("47ms")
    driver.idle()
    found = {(key.key, key.start): number for key, number in driver.read(output("q12"))}
    assert found == recomputed.q12(zip(times, bids, strict=True))


def test_q13_side_input(run: Run) -> None:
    assert values(run.of(queries.q13)) == ordered(recomputed.q13(run.log, SIDE))


@pytest.mark.kafka
def test_on_kafka(kafka: str) -> None:
    """By a foreign key, by time, and in sessions."""
    measured(kafka, "--events=6000", "--slots=2", "--query", "3", "4", "11")


@pytest.mark.long
@pytest.mark.kafka
@pytest.mark.skipif(not which("mvn"), reason="needs a JDK 17 and Maven")
@pytest.mark.timeout(1200)
def test_beside_kafka_streams(kafka: str) -> None:
    found = measured(kafka, "--events=20000", "--system", "kproc", "kafka-streams")
    assert len(re.findall(r"q\d+ +kafka-streams", found)) == 11


def measured(kafka: str, *options: str) -> str:
    """What the benchmark prints; it fails where results are wrong."""
    command = [sys.executable, "-m", "tests.benchmarks.nexmark", f"--bootstrap={kafka}", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
