"""SuppressScenarioTest and KTableSuppressProcessorTest: results that wait."""

from collections.abc import Callable
from typing import Any

import pytest

from processor import Topology, session, sliding, tumbling
from processor.errors import UsageError
from tests.operators.kafka_streams_cases.scenario import Case, plus

WHOLLY = "Sliding windows take a record wholly or not at all."
GONE = "What came and went while it was held back is never emitted."
ROUNDED = (
    "Waits end at hundredths of their length: what began close together ends together, and of that "
    "a full buffer emits the lower key first."
)
APART = (
    "What comes later than the wait, such as the record that shows that it is over, waits again."
)
REBUILT = "A session that becomes another one is emitted as null only where its key changes."


def counted(until: Any, most: int = 99) -> Callable[[Topology], None]:
    """How many keys have a value, held back."""

    def make(topology: Topology) -> None:
        table = topology.table("in", name="table", emit="change")
        counts = table.group_by(str, name="groups").count(name="counts", emit="change")
        counts.suppress(until=until, max_records=most).to("out")

    return make


def held(until: Any, most: int = 99) -> Callable[[Topology], None]:
    def make(topology: Topology) -> None:
        table = topology.table("in", name="table", emit="change")
        table.suppress(until=until, max_records=most).to("out")

    return make


def windowed(windows: Any, emit: Any = "close") -> Callable[[Topology], None]:
    def make(topology: Topology) -> None:
        topology.stream("in").group_by_key().window(windows, emit=emit).count().to("out")

    return make


def before_group_by(topology: Topology) -> None:
    table = topology.table("in", name="table", emit="change")
    held = table.suppress(until=0.01, max_records=99)
    held.group_by(str, name="groups").count(name="counts", emit="change").to("out")


def before_join(side: str) -> Callable[[Topology], None]:
    def make(topology: Topology) -> None:
        tables = {
            name: topology.table(name, name=f"{name}-table", emit="change")
            for name in ("left", "right")
        }
        released = tables[side].suppress(until=0.01, max_records=99).to_stream()
        tables[side] = released.to_table(name="released", emit="change")
        made = tables["left"].outer_join(tables["right"], plus, name="both", emit="change")
        made.to("out")

    return make


TIME_WINDOWS = "in k:v@0 k:v@1 k:v@2 k:v@1 k:v@0 k:v@5 k:v@0 ->"
JUMP = "in k:v@0 k:v@1 k:v@2 k:v@0 k:v@3 k:v@0 k:v@4 k:v@0 k:v@30 ->"
SESSIONS = "in k:v@0 k:v@5 k:v@1 l:v@11 k:v@5 k:v@30 ->"
SLIDING = "in k:v@10 k:v@11 k:v@10 k:v@13 k:v@10 k:v@24 k:v@5 k:v@7 k:v@90 ->"
SCENARIOS = [
    Case(
        "SuppressScenarioTest.shouldSuppressIntermediateEventsWithTimeLimit",
        counted(until=0.002),
        """
        in k1:v1@0     ->
        in k1:v2@1     ->
        in k2:v1@2     -> v1:1@2
        in tick:tick@3 -> v2:1@1
        in tick:tock@4 ->
        """,
    ),
    Case(
        "SuppressScenarioTest.shouldSuppressIntermediateEventsWithRecordLimit (a short wait)",
        counted(until=0.05, most=1),
        """
        in k1:v1@0 ->
        in k1:v2@1 -> v1:0@1
        in k2:v1@2 -> v2:1@1
        in x:x@3   -> v1:1@2
        """,
    ),
    Case(
        "SuppressScenarioTest.shouldSuppressIntermediateEventsWithRecordLimit",
        counted(until="365d", most=1),
        """
        in k1:v1@0 ->
        in k1:v2@1 -> v1:0@1
        in k2:v1@2 -> v1:1@2 || v2:1@1
        in x:x@3   -> v2:1@1 || v1:1@2
        """,
        ROUNDED,
    ),
    Case(
        "SuppressScenarioTest.shouldSupportFinalResultsForTimeWindows",
        windowed(tumbling(0.002, grace=0.001)),
        f"{TIME_WINDOWS} k[0,2):4@1 k[2,4):1@2",
    ),
    Case(
        "SuppressScenarioTest.shouldSupportFinalResultsForTimeWindows (every change)",
        windowed(tumbling(0.002, grace=0.001), "change"),
        f"{TIME_WINDOWS} k[0,2):1@0 k[0,2):2@1 k[2,4):1@2 k[0,2):3@1 k[0,2):4@1 k[4,6):1@5",
    ),
    Case(
        "SuppressScenarioTest.shouldSupportFinalResultsForTimeWindowsWithLargeJump",
        windowed(tumbling(0.002, grace=0.002)),
        f"{JUMP} k[0,2):4@1 k[2,4):2@3 k[4,6):1@4",
    ),
    Case(
        "SuppressScenarioTest.shouldSupportFinalResultsForSlidingWindows",
        windowed(sliding(0.005, grace=0.015)),
        SLIDING
        + "k[5,11):3@10 k[6,12):4@11 k[8,14):5@13 k[11,17):2@13 k[12,18):1@13 k[19,25):1@24 || "
        "k[5,11):5@10 k[6,12):5@11 k[8,14):5@13 k[11,17):2@13 k[12,18):1@13 k[19,25):1@24",
        WHOLLY,
    ),
    Case(
        "SuppressScenarioTest.shouldSupportFinalResultsForSessionWindows",
        windowed(session(0.005)),
        f"{SESSIONS} k[0,6):3@5 l[11,12):1@11",
    ),
    Case(
        "SuppressScenarioTest.shouldSupportFinalResultsForSessionWindows (every change)",
        windowed(session(0.005), "change"),
        f"{SESSIONS} k[0,1):1@0 k[0,1):null@0 k[0,6):2@5 k[0,6):3@5 l[11,12):1@11 k[30,31):1@30 || "
        "k[0,1):1@0 k[0,1):null@0 k[0,6):2@5 k[0,6):null@5 k[0,6):3@5 l[11,12):1@11 k[30,31):1@30",
        REBUILT,
    ),
    Case(
        "SuppressScenarioTest.shouldWorkBeforeGroupBy",
        before_group_by,
        """
        in A:a@0      ->
        in tick:t@10  -> a:1@0
        """,
    ),
    Case(
        "SuppressScenarioTest.shouldWorkBeforeJoinRight",
        before_join("right"),
        """
        right B:1@0 A:1@0  ->
        right tick:t@10    -> A:null+1@0 B:null+1@0
        right A:2@11       ->
        left  A:a@12       -> A:a+1@12
        left  B:b@12       -> B:b+1@12
        left  A:b@13       -> A:b+1@13
        right tick:t1@21   -> tick:null+t@10 A:b+2@13 || tick:null+t1@21 A:b+2@13
        """,
        APART,
    ),
    Case(
        "SuppressScenarioTest.shouldWorkBeforeJoinLeft",
        before_join("left"),
        """
        left  B:1@0 A:1@0  ->
        left  tick:t@10    -> A:1+null@0 B:1+null@0
        left  A:2@11       ->
        right A:a@12       -> A:1+a@12
        right B:b@12       -> B:1+b@12
        right A:b@13       -> A:1+b@13
        left  tick:t1@21   -> tick:t+null@10 A:2+b@13 || tick:t1+null@21 A:2+b@13
        """,
        APART,
    ),
]
PROCESSOR = [
    Case(
        "KTableSuppressProcessorTest.intermediateSuppressionShouldBufferAndEmitLater",
        held(until=0.001),
        """
        in hey:1@0  ->
        in tick:2@1 -> hey:1@0
        """,
    ),
    Case(
        "KTableSuppressProcessorTest.suppressShouldNotDropTombstonesForKTable",
        held(until=0.001),
        """
        in hey:1@0     ->
        in tick:1@5    -> hey:1@0
        in hey:null@6  -> tick:1@5
        in tick:2@9    -> hey:null@6
        """,
    ),
    Case(
        "KTableSuppressProcessorTest.suppressShouldNotDropTombstonesForKTable (never emitted)",
        held(until=0.001),
        """
        in hey:1@0 hey:null@0 ->
        in tick:1@5           -> || hey:null@0
        """,
        GONE,
    ),
    Case(
        "KTableSuppressProcessorTest.suppressShouldEmitWhenOverRecordCapacity",
        held(until="100d", most=1),
        """
        in hey:1@100   ->
        in other:1@101 -> hey:1@100
        """,
    ),
    Case(
        "KTableSuppressProcessorTest.finalResultsSuppressionShouldBufferAndEmitAtGraceExpiration",
        windowed(tumbling(0.001, grace=0.001)),
        """
        in hey:v@99     ->
        in dummy1:v@100 ->
        in dummy2:v@101 -> hey[99,100):1@99
        """,
    ),
    Case(
        "KTableSuppressProcessorTest.finalResultsWithZeroGraceShouldStillBufferUntilTheWindowEnd",
        windowed(tumbling(0.1)),
        """
        in hey:v@5     ->
        in dummy:v@100 -> hey[0,100):1@5
        """,
    ),
]


def emptied(windows: Any) -> Callable[[Topology], None]:
    """A second record deletes what the first has made."""

    def make(topology: Topology) -> None:
        grouped = topology.stream("in").group_by_key().window(windows)
        grouped.aggregate(
            str, lambda so_far, value: None if so_far else value, merge=lambda one, _: one
        ).to("out")

    return make


PROCESSOR += [
    Case(
        f"KTableSuppressProcessorTest.finalResultsShouldDropTombstonesFor{name}Windows",
        emptied(windows),
        """
        in hey:v@5 hey:w@6 ->
        in dummy:v@500     ->
        """,
    )
    for name, windows in (("Time", tumbling(0.1)), ("Session", session(0.1)))
]


CASES = [*SCENARIOS, *PROCESSOR]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.of)
def test_as_in_kafka_streams(case: Case, together: bool) -> None:  # noqa: FBT001 - a parameter
    case.check(together=together)


def test_there_is_no_suppression_of_no_time() -> None:
    """shouldImmediatelyEmitEventsWithZeroEmitAfter, zeroTimeLimitShouldImmediatelyEmit."""
    with pytest.raises(UsageError, match="until"):
        held(until=0)(Topology("app"))
