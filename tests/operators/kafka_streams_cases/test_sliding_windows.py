# ruff: noqa: E501 - tables
"""KStreamSlidingWindowAggregateTest: a window up to each record, and one after it (KIP-450)."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from processor import Record, Timestamp, Topology, sliding
from processor.testing import TopologyDriver
from tests.operators.kafka_streams_cases.scenario import Case

WHOLLY = (
    "A record is in all windows that have its time, or late; Kafka Streams adds it to those open."
)
EARLY = "Windows of records in the first moments of 1970 begin before it and are not put into one."


def plus(so_far: str, value: str) -> str:
    return f"{so_far}+{value}"


def added(size: int, grace: int = 0, emit: Any = "close") -> Callable[[Topology], None]:
    windows = sliding(size / 1000, grace=grace / 1000)

    def make(topology: Topology) -> None:
        grouped = topology.stream("in").group_by_key().window(windows, emit=emit, late="skip")
        grouped.aggregate(lambda: "0", plus).to("out")

    return make


def reduced(topology: Topology) -> None:
    windows = sliding(0.01, grace=0.005)
    topology.stream("in").group_by_key().window(windows).reduce(plus).to("out")


CASES = [
    Case(
        "KStreamSlidingWindowAggregateTest.testAggregateSmallInput",
        added(10, grace=5),
        """
        in A:1@10 A:2@10 A:3@14 A:4@15 ->
        in A:5@20 -> A[0,11):0+1+2@10 A[4,15):0+1+2+3@14
        in A:6@22 -> A[5,16):0+1+2+3+4@15
        in A:7@30 -> A[10,21):0+1+2+3+4+5@20 A[11,22):0+3+4+5@20 A[12,23):0+3+4+5+6@22
        """,
    ),
    Case(
        "KStreamSlidingWindowAggregateTest.testReduceSmallInput",
        reduced,
        """
        in A:1@10 A:2@14 A:3@15 ->
        in A:4@22 -> A[0,11):1@10 A[4,15):1+2@14 A[5,16):1+2+3@15
        in A:5@26 ->
        in A:6@30 -> A[11,22):2+3@15 A[12,23):2+3+4@22
        """,
    ),
    Case(
        "KStreamSlidingWindowAggregateTest.testAggregateLargeInput (key B, on close)",
        added(10, grace=10),
        """
        in B:1@12 B:2@13 B:3@18 B:4@19 B:5@25 -> B[2,13):0+1@12 B[3,14):0+1+2@13
        in B:6@14 ->
        in D:3@29 -> B[8,19):0+1+2+3@18 || B[8,19):0+1+2+3+6@18
        """,
        WHOLLY,
    ),
    Case(
        "KStreamSlidingWindowAggregateTest.testAggregateLargeInput (key C, on close)",
        added(10, grace=10),
        """
        in B:5@25                       ->
        in C:1@11                       ->
        in C:2@15 C:3@16 C:4@21 C:5@23  ->
        in D:3@29                       -> C[5,16):0+2@15 C[6,17):0+2+3@16
        """,
    ),
    Case(
        "KStreamSlidingWindowAggregateTest.testNoGracePeriodSmallInput",
        added(50),
        """
        in A:1@100 A:2@105 A:3@106 -> A[50,101):0+1@100 A[55,106):0+1+2@105
        in A:4@103                 ->
        in A:5@113                 -> A[56,107):0+1+2+3@106 || A[56,107):0+1+2+3+4@106
        in A:6@110                 ->
        """,
        WHOLLY,
    ),
    Case(
        "KStreamSlidingWindowAggregateTest.testNoGracePeriodLargeInput",
        added(10),
        """
        in E:1@100 E:3@105 E:4@106 -> E[90,101):0+1@100 E[95,106):0+1+3@105
        in E:2@103                 ->
        in E:6@113    -> E[96,107):0+1+3+4@106 E[101,112):0+3+4@106 || E[96,107):0+1+3+4+2@106 E[101,112):0+3+4+2@106
        """,
        WHOLLY,
    ),
    Case(
        "KStreamSlidingWindowAggregateTest.testEarlyRecordsSmallInput",
        added(50),
        """
        in A:1@0 A:2@5 A:3@6 -> A[-50,1):0+1@0 A[-45,6):0+1+2@5 ||
        in A:7@70 -> A[-44,7):0+1+2+3@6 A[1,52):0+2+3@6 A[6,57):0+3@6 || A[0,51):0+1+2+3@6 A[1,52):0+2+3@6 A[6,57):0+3@6
        """,
        EARLY,
    ),
    Case(
        "KStreamSlidingWindowAggregateTest.shouldLogAndMeterWhenSkippingNullKey",
        added(10, grace=100),
        "in -:1@0 ->",
    ),
    Case(
        "KStreamSlidingWindowAggregateTest.shouldLogAndMeterWhenSkippingExpiredWindowByGrace",
        added(10, grace=90),
        """
        in k:100@200                                  ->
        in k:0@100 k:1@101 k:4@104 k:5@105 k:6@15     ->
        in k:101@300                                  -> k[190,201):0+100@200
        in k:102@400                                  -> k[290,301):0+101@300
        """,
    ),
]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.of)
def test_as_in_kafka_streams(case: Case, together: bool) -> None:  # noqa: FBT001 - a parameter
    case.check(together=together)


def last_emitted(driver: TopologyDriver) -> dict[tuple[str, int], str]:
    """The value that each key and start of a window has in the end."""
    return {(key.key, key.start): value for key, value in driver.read("out")}


LARGE = {
    "A": [("1", 10), ("2", 20), ("3", 22), ("4", 15)],
    "B": [("1", 12), ("2", 13), ("3", 18), ("4", 19), ("5", 25), ("6", 14)],
    "D": [("4", 11), ("2", 12), ("3", 29), ("5", 16)],
}
LARGE_RESULTS = {
    "A": "0:1 5:1+4 10:1+2+4 11:2+4 12:2+3+4 16:2+3 21:3",
    "B": "2:1 3:1+2 4:1+2+6 8:1+2+3+6 9:1+2+3+4+6 13:2+3+4+6 14:3+4+6 15:3+4+5 19:4+5 20:5",
    "D": "1:4 2:4+2 6:4+2+5 12:2+5 13:5 19:3",
}


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("key", LARGE)
def test_aggregate_large_input_with_a_grace_for_all(key: str, together: bool) -> None:  # noqa: FBT001
    """testAggregateLargeInput, every change emitted: what each window has in the end."""
    topology = Topology("app")
    added(10, grace=50, emit="change")(topology)
    driver = TopologyDriver(topology)
    records = [Record(key, value, Timestamp(time)) for value, time in LARGE[key]]
    for batch in [records] if together else [[each] for each in records]:
        driver.pipe("in", *batch)
    pairs = (each.split(":") for each in LARGE_RESULTS[key].split())
    assert last_emitted(driver) == {(key, int(start)): f"0+{values}" for start, values in pairs}


RANDOM = "A10 B15 C16 D18 E30 F40 G55 H56 I58 J58 K62 L63 M63 N63 O76 P77 Q80 R2 S3 T5 U8"
RANDOM_RESULTS = (
    "11:BCD 16:CD 17:D 20:E 30:EF 31:F 45:G 46:GH 48:GHIJ 52:GHIJK 53:GHIJKLMN 56:HIJKLMN "
    "57:IJKLMN 59:KLMN 63:LMN 66:O 67:OP 70:OPQ 77:PQ 78:Q"
)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("emit", ["close", "change"])
def test_aggregate_random_input(seed: int, emit: Any) -> None:
    """testAggregateRandomInput: in whatever order records come, if there is time for them."""
    topology = Topology("app")
    windows = sliding(0.01, grace=0.1)
    grouped = topology.stream("in").group_by_key().window(windows, emit=emit)
    grouped.aggregate(str, lambda so_far, value: "".join(sorted(so_far + value))).to("out")
    driver = TopologyDriver(topology)
    records = [Record("A", each[0], Timestamp(int(each[1:]))) for each in RANDOM.split()]
    random.Random(seed).shuffle(records)
    driver.pipe("in", *records[:9])
    driver.pipe("in", *records[9:], Record("B", "end", Timestamp(1000)))
    pairs = (each.split(":") for each in RANDOM_RESULTS.split())
    found = {start: value for (key, start), value in last_emitted(driver).items() if key == "A"}
    assert {start: value for start, value in found.items() if start > 10} == {
        int(start): values for start, values in pairs
    }
