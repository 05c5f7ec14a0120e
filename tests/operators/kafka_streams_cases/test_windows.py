"""KStream{Window,SessionWindow}Aggregate...Test and CogroupedKStreamImplTest."""

from collections.abc import Callable
from typing import Any

import pytest

from processor import Topology, hopping, session, tumbling
from processor.errors import TopologyError, UsageError
from tests.operators.kafka_streams_cases.scenario import Case

INTERVAL = "Results come with the record that closes them; Kafka Streams looks once a second."
REBUILT = "A session is emitted as null only where it becomes one with another key."


def plus(so_far: str, value: str) -> str:
    return f"{so_far}+{value}"


def minus(so_far: str, value: str) -> str:
    return f"{so_far}-{value}"


def added(windows: Any, emit: Any = "change") -> Callable[[Topology], None]:
    """The values of each key and window, behind a 0."""

    def make(topology: Topology) -> None:
        grouped = topology.stream("in").group_by_key().window(windows, emit=emit, late="skip")
        grouped.aggregate(lambda: "0", plus).to("out")

    return make


def counted(windows: Any, emit: Any = "change") -> Callable[[Topology], None]:
    def make(topology: Topology) -> None:
        grouped = topology.stream("in").group_by_key().window(windows, emit=emit, late="skip")
        grouped.count().to("out")

    return make


def cogrouped(first: Any, second: Any, start: str = "") -> Callable[[Topology], None]:
    def make(topology: Topology) -> None:
        one, two = (topology.stream(name).group_by_key() for name in ("one", "two"))
        made = one.cogroup(first).cogroup(two, second)
        made.aggregate(lambda: start, name="all", emit="change").to("out")

    return make


def append(so_far: str, value: str) -> str:
    return so_far + value


TIME = [
    Case(
        "KStreamWindowAggregateTest.testAggBasic (every change)",
        added(hopping(0.01, every=0.005, grace=0.1)),
        """
        in A:1@0 B:2@1 A:1@4 -> A[0,10):0+1@0 B[0,10):0+2@1 A[0,10):0+1+1@4
        in A:1@5             -> A[0,10):0+1+1+1@5 A[5,15):0+1@5
        in B:2@8             -> B[0,10):0+2+2@8 B[5,15):0+2@8
        in A:1@10            -> A[5,15):0+1+1@10 A[10,20):0+1@10
        in B:1@3             -> B[0,10):0+2+2+1@8
        in B:3@9             -> B[0,10):0+2+2+1+3@9 B[5,15):0+2+3@9
        """,
    ),
    Case(
        "KStreamWindowAggregateTest.testAggBasic (on close)",
        added(hopping(0.01, every=0.005, grace=0.1), "close"),
        "in A:1@0 B:2@1 C:3@2 D:4@3 A:1@4 A:1@5 B:2@6 D:4@12 C:3@14 B:3@9 ->",
    ),
    Case(
        "KStreamWindowAggregateTest.shouldLogAndMeterWhenSkippingNullKey",
        added(hopping(0.01, every=0.005)),
        "in -:1@0 ->",
    ),
    Case(
        "KStreamWindowAggregateTest.shouldLogAndMeterWhenSkippingExpiredWindow (every change)",
        added(hopping(0.01, every=0.005, grace=0.09)),
        """
        in k:100@100       -> k[95,105):0+100@100 k[100,110):0+100@100
        in k:0@0 k:4@4     ->
        in k:5@5           -> k[5,15):0+5@5
        in k:6@6           -> k[5,15):0+5+6@6
        in k:105@105       -> k[100,110):0+100+105@105 k[105,115):0+105@105
        """,
    ),
    Case(
        "KStreamWindowAggregateTest.shouldLogAndMeterWhenSkippingExpiredWindow (on close)",
        added(hopping(0.01, every=0.005, grace=0.09), "close"),
        """
        in k:100@100 k:0@0 k:1@1 k:5@5 k:6@6 ->
        in k:105@105                         -> k[5,15):0+5+6@6
        in k:106@106                         ->
        """,
    ),
    Case(
        "KStreamWindowAggregateTest.shouldLogAndMeterWhenSkippingExpiredWindowByGrace",
        added(tumbling(0.01, grace=0.09)),
        """
        in k:100@200                        -> k[200,210):0+100@200
        in k:0@100 k:1@101 k:5@105 k:6@6    ->
        """,
    ),
    Case(
        "KStreamWindowAggregateTest.shouldNotEmitFinalIfNotProgressEnough",
        added(hopping(0.01, every=0.005, grace=0.005), "close"),
        """
        in A:1@0 B:2@5 ->
        in C:3@15      -> A[0,10):0+1@0 B[0,10):0+2@5
        in D:4@15      ->
        in E:5@19      ->
        in F:6@20      -> B[5,15):0+2@5
        """,
    ),
    Case(
        "KStreamWindowAggregateTest.shouldEmitWithInterval0",
        added(hopping(0.01, every=0.005, grace=0.005), "close"),
        """
        in A:1@0 A:1@5 B:2@10 ->
        in C:3@15             -> A[0,10):0+1+1@5
        in D:4@20             -> A[5,15):0+1@5 B[5,15):0+2@10
        """,
    ),
    Case(
        "KStreamWindowAggregateTest.shouldEmitWithLargeInterval",
        added(hopping(0.01, every=0.005, grace=0.005), "close"),
        """
        in A:1@0 A:1@5         ->
        in C:3@15             -> A[0,10):0+1+1@5 ||
        in A:1@20             -> A[5,15):0+1@5 || A[0,10):0+1+1@5 A[5,15):0+1@5
        """,
        INTERVAL,
    ),
    Case(
        "KStreamWindowAggregateTest.shouldEmitFromLastEmitTime",
        added(hopping(0.01, every=0.005, grace=0.005), "close"),
        """
        in A:1@0 B:2@5 ->
        in C:3@15      -> A[0,10):0+1@0 B[0,10):0+2@5
        in D:4@25      -> B[5,15):0+2@5 C[10,20):0+3@15
        """,
    ),
]
SESSION = [
    Case(
        "KStreamSessionWindowAggregateProcessorTest.shouldCreateSingleSessionWhenWithinGap",
        counted(session("5m")),
        """
        in john:first@0    -> john[0,1):1@0
        in john:second@500 -> john[0,1):null@0 john[0,501):2@500
        """,
    ),
    Case(
        "KStreamSessionWindowAggregateProcessorTest.shouldMergeSessions",
        counted(session(0.01, grace=1)),
        """
        in mel:first@0  -> mel[0,1):1@0
        in mel:second@11 -> mel[11,12):1@11
        in mel:third@5  -> mel[0,1):null@0 mel[11,12):null@11 mel[0,12):3@11
        """,
    ),
    Case(
        "KStreamSessionWindowAggregateProcessorTest.shouldUpdateSessionIfTheSameTime",
        counted(session("5m")),
        "in mel:a@0 mel:b@0 -> mel[0,1):1@0 mel[0,1):2@0 || "
        "mel[0,1):1@0 mel[0,1):null@0 mel[0,1):2@0",
        REBUILT,
    ),
    Case(
        "KStreamSessionWindowAggregateProcessorTest"
        ".shouldHaveMultipleSessionsForSameIdWhenTimestampApartBySessionGap",
        counted(session(0.01), "close"),
        """
        in mel:a@0            ->
        in mel:b@11 mel:b@11  -> mel[0,1):1@0
        in mel:c@22 mel:c@22  -> mel[11,12):2@11
        """,
    ),
    Case(
        "KStreamSessionWindowAggregateProcessorTest.shouldHandleMultipleSessionsAndMerging",
        counted(session(0.01), "close"),
        """
        in a:1@0 b:1@0 c:1@0 d:1@0 d:2@5 ->
        in a:2@11                        -> a[0,1):1@0 b[0,1):1@0 c[0,1):1@0
        in b:2@11                        ->
        in a:3@16                        -> d[0,6):2@5
        in c:3@16                        ->
        """,
    ),
    Case(
        "KStreamSessionWindowAggregateProcessorTest"
        ".shouldImmediatelyForwardNewSessionWhenNonCachedStore",
        counted(session("5m")),
        "in a:1@0 b:1@0 c:1@0 -> a[0,1):1@0 b[0,1):1@0 c[0,1):1@0",
    ),
    Case(
        "KStreamSessionWindowAggregateProcessorTest"
        ".shouldImmediatelyForwardRemovedSessionsWhenMerging",
        counted(session("5m")),
        "in a:1@0 a:1@5 -> a[0,1):1@0 a[0,1):null@0 a[0,6):2@5",
    ),
    Case(
        "KStreamSessionWindowAggregateProcessorTest"
        ".shouldLogAndMeterWhenSkippingNullKeyWithBuiltInMetrics",
        counted(session("5m")),
        "in -:1@0 ->",
    ),
    Case(
        "KStreamSessionWindowAggregateProcessorTest"
        ".shouldLogAndMeterWhenSkippingLateRecordWithZeroGrace",
        counted(session(0.01)),
        """
        in dummy:x@0  -> dummy[0,1):1@0
        in onTime:1@0 -> onTime[0,1):1@0
        in dummy:x@11 -> dummy[11,12):1@11
        in late:1@0   ->
        """,
    ),
    Case(
        "KStreamSessionWindowAggregateProcessorTest"
        ".shouldLogAndMeterWhenSkippingLateRecordWithNonzeroGrace",
        counted(session(0.01, grace=0.001)),
        """
        in dummy:x@0   -> dummy[0,1):1@0
        in dummy:x@11  -> dummy[11,12):1@11
        in onTime:1@0  -> onTime[0,1):1@0
        in dummy:x@12  -> dummy[11,12):null@11 dummy[11,13):2@12
        in late:1@0    ->
        """,
    ),
]
COGROUP = [
    Case(
        "CogroupedKStreamImplTest.shouldCogroupAndAggregateTwoKStreamsWithDistinctKeys",
        cogrouped(append, append),
        """
        one k1:A@0 k1:A@1 k1:A@10       -> k1:A@0 k1:AA@1 k1:AAA@10
        two k2:B@100 k2:B@200 k2:B@1    -> k2:B@100 k2:BB@200 k2:BBB@200
        two k2:B@500 k2:B@100           -> k2:BBBB@500 k2:BBBBB@500
        """,
    ),
    Case(
        "CogroupedKStreamImplTest.shouldCogroupAndAggregateTwoKStreamsWithSharedKeys",
        cogrouped(append, append),
        """
        one k1:A@0 k2:A@1 k1:A@10       -> k1:A@0 k2:A@1 k1:AA@10
        two k2:B@100 k1:B@1             -> k2:AB@100 k1:AAB@10
        two k1:B@500 k3:B@500 k2:B@2    -> k1:AABB@500 k3:B@500 k2:ABB@100
        """,
    ),
    Case(
        "CogroupedKStreamImplTest.testCogroupHandleNullValues",
        cogrouped(append, append),
        "one k1:A@0 k2:B@0 k2:null@0 k2:B@0 -> k1:A@0 k2:B@0 k2:BB@0",
    ),
    Case(
        "CogroupedKStreamImplTest.testCogroupKeyMixedAggregators",
        cogrouped(minus, plus, "0"),
        """
        one k1:1@0 k2:1@1 k1:1@10      -> k1:0-1@0 k2:0-1@1 k1:0-1-1@10
        two k1:2@500 k2:2@500 k1:2@500 -> k1:0-1-1+2@500 k2:0-1+2@500 k1:0-1-1+2+2@500
        """,
    ),
]


CASES = [*TIME, *SESSION, *COGROUP]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.of)
def test_as_in_kafka_streams(case: Case, together: bool) -> None:  # noqa: FBT001 - a parameter
    case.check(together=together)


def test_times_of_windows() -> None:
    """TimeWindowsTest, SessionWindowsTest and SlidingWindowsTest: sizes that are none."""
    for size in (0, -1):
        for windows in (tumbling, session, lambda size: hopping(size, every=1)):
            with pytest.raises(UsageError):
                windows(size)
    for every in (0, -1):
        with pytest.raises(UsageError):
            hopping(10, every=every)
    with pytest.raises(TopologyError, match="would be lost"):
        hopping(10, every=11)
    with pytest.raises(UsageError, match="grace"):
        tumbling(10, grace=-1)
