"""KStreamKTable{Join,LeftJoin}Test, KTableKTable{InnerJoin,LeftJoin,OuterJoin}Test."""

from collections.abc import Callable

import pytest

from processor import Stream, Table, Topology
from tests.operators.kafka_streams_cases.scenario import Case, plus

NO_GRACE = (
    "Records are joined when they are worked on, by the history of a versioned table; there is no "
    "grace that holds them back (max_task_idle waits for the table's input instead)."
)


def stream_table(kind: str, versioned: str | None = None) -> Callable[[Topology], None]:
    def make(topology: Topology) -> None:
        table = topology.table("table", versioned=versioned)
        made: Stream[str, str] = getattr(topology.stream("stream"), kind)(table, plus)
        made.to("out")

    return make


def tables(kind: str) -> Callable[[Topology], None]:
    def make(topology: Topology) -> None:
        left, right = (topology.table(side, emit="change") for side in ("left", "right"))
        made: Table[str, str] = getattr(left, kind)(right, plus, name="both", emit="change")
        made.to("out")

    return make


STREAM_TABLE = [
    Case(
        "KStreamKTableJoinTest.shouldNotJoinWithEmptyTableOnStreamUpdates",
        stream_table("join"),
        "stream 0:X0@0 1:X1@1 ->",
    ),
    Case(
        "KStreamKTableJoinTest.shouldNotJoinOnTableUpdates",
        stream_table("join"),
        """
        stream 0:X0@0 1:X1@1          ->
        table  0:Y0@77 1:Y1@12        ->
        stream 0:X0@0 1:X1@1 2:X2@2   -> 0:X0+Y0@0 1:X1+Y1@1
        table  0:YY0@3 1:YY1@99 2:YY2@5 ->
        stream 0:X0@0 1:X1@1 2:X2@2   -> 0:X0+YY0@0 1:X1+YY1@1 2:X2+YY2@2
        table  0:YYY0@1 3:YYY3@2      ->
        """,
    ),
    Case(
        "KStreamKTableJoinTest.shouldJoinOnlyIfMatchFoundOnStreamUpdates",
        stream_table("join"),
        """
        table  0:Y0@5 1:Y1@9               ->
        stream 0:X0@0 1:X1@1 2:X2@2 3:X3@3 -> 0:X0+Y0@0 1:X1+Y1@1
        """,
    ),
    Case(
        "KStreamKTableJoinTest.shouldClearTableEntryOnNullValueUpdates",
        stream_table("join"),
        """
        table  0:Y0@5 1:Y1@9 2:Y2@1 ->
        table  0:null@0 1:null@0    ->
        stream 0:X0@0 1:X1@1 2:X2@2 -> 2:X2+Y2@2
        """,
    ),
    Case(
        "KStreamKTableJoinTest.shouldLogAndMeterWhenSkippingNullLeftKey",
        stream_table("join"),
        "stream -:A@0 ->",
    ),
    Case(
        "KStreamKTableJoinTest.shouldLogAndMeterWhenSkippingNullLeftValue",
        stream_table("join"),
        """
        table  1:Y@0    ->
        stream 1:null@0 ->
        """,
    ),
    Case(
        "KStreamKTableJoinTest.shouldDelayJoinByGracePeriod",
        stream_table("join", versioned="5m"),
        """
        table  0:Y0@0 1:Y1@0 2:Y2@0 ->
        stream 0:X0@0 1:X1@1 2:X2@2 -> 0:X0+Y0@0 1:X1+Y1@1 2:X2+Y2@2 || 0:X0+Y0@0
        table  0:YY0@0 2:YY2@0      ->
        stream 0:X0@0               -> 0:X0+YY0@0
        stream 5:test@7             -> || 1:X1+Y1@1 2:X2+YY2@2
        """,
        NO_GRACE,
    ),
    Case(
        "KStreamKTableJoinTest.shouldHandleLateJoinsWithGracePeriod",
        stream_table("join", versioned="5m"),
        """
        table  0:Y0@0 1:Y1@0 2:Y2@0 3:Y3@0 ->
        stream 0:X0@0 3:X3@3               -> 0:X0+Y0@0 3:X3+Y3@3 || 0:X0+Y0@0
        stream 0:X0@0                      -> 0:X0+Y0@0
        """,
        NO_GRACE,
    ),
    Case(
        "KStreamKTableLeftJoinTest.shouldJoinWithEmptyTableOnStreamUpdates",
        stream_table("left_join"),
        "stream 0:X0@0 1:X1@1 -> 0:X0+null@0 1:X1+null@1",
    ),
    Case(
        "KStreamKTableLeftJoinTest.shouldNotJoinOnTableUpdates",
        stream_table("left_join"),
        """
        stream 0:X0@0 1:X1@1          -> 0:X0+null@0 1:X1+null@1
        table  0:Y0@77 1:Y1@12        ->
        stream 0:X0@0 1:X1@1 2:X2@2   -> 0:X0+Y0@0 1:X1+Y1@1 2:X2+null@2
        table  0:YY0@3 2:YY2@5        ->
        stream 0:X0@0 1:X1@1 2:X2@2   -> 0:X0+YY0@0 1:X1+Y1@1 2:X2+YY2@2
        """,
    ),
    Case(
        "KStreamKTableLeftJoinTest.shouldJoinRegardlessIfMatchFoundOnStreamUpdates",
        stream_table("left_join"),
        """
        table  0:Y0@5 1:Y1@9        ->
        stream 0:X0@0 1:X1@1 2:X2@2 -> 0:X0+Y0@0 1:X1+Y1@1 2:X2+null@2
        """,
    ),
    Case(
        "KStreamKTableLeftJoinTest.shouldClearTableEntryOnNullValueUpdates",
        stream_table("left_join"),
        """
        table  0:Y0@5 1:Y1@9 2:Y2@1 ->
        table  0:null@0 1:null@0    ->
        stream 0:X0@0 1:X1@1 2:X2@2 -> 0:X0+null@0 1:X1+null@1 2:X2+Y2@2
        """,
    ),
]
TABLE_TABLE = [
    Case(
        "KTableKTableInnerJoinTest.testJoin",
        tables("join"),
        """
        left  0:X0@5 1:X1@6 -:none@42        ->
        right 0:Y0@0 1:Y1@10 -:none@73       -> 0:X0+Y0@5 1:X1+Y1@10
        left  0:XX0@7 1:XX1@7 2:XX2@7 3:XX3@7 -> 0:XX0+Y0@7 1:XX1+Y1@10
        right 0:YY0@0 1:YY1@5 2:YY2@10 3:YY3@15 -> 0:XX0+YY0@7 1:XX1+YY1@7 2:XX2+YY2@10 3:XX3+YY3@15
        left  0:XXX0@6 1:XXX1@6 2:XXX2@6     -> 0:XXX0+YY0@6 1:XXX1+YY1@6 2:XXX2+YY2@10
        right 0:null@5 1:null@7              -> 0:null@6 1:null@7
        left  0:XXXX0@13 1:XXXX1@13 2:XXXX2@13 3:XXXX3@13 -> 2:XXXX2+YY2@13 3:XXXX3+YY3@15
        left  0:null@0 1:null@42 2:null@5 3:null@20 -> 2:null@10 3:null@20
        """,
    ),
    Case(
        "KTableKTableLeftJoinTest.testJoin",
        tables("left_join"),
        """
        left  0:X0@5 1:X1@6 -:none@42        -> 0:X0+null@5 1:X1+null@6
        right 0:Y0@0 1:Y1@10 -:none@73       -> 0:X0+Y0@5 1:X1+Y1@10
        left  0:XX0@7 1:XX1@7 2:XX2@7        -> 0:XX0+Y0@7 1:XX1+Y1@10 2:XX2+null@7
        right 0:YY0@0 1:YY1@5 2:YY2@10       -> 0:XX0+YY0@7 1:XX1+YY1@7 2:XX2+YY2@10
        right 0:null@5 1:null@7              -> 0:XX0+null@7 1:XX1+null@7
        left  0:XXXX0@13 2:XXXX2@13          -> 0:XXXX0+null@13 2:XXXX2+YY2@13
        left  0:null@0 1:null@42 2:null@5    -> 0:null@0 1:null@42 2:null@10
        """,
    ),
    Case(
        "KTableKTableOuterJoinTest.testJoin",
        tables("outer_join"),
        """
        left  0:X0@5 1:X1@6 -:none@42        -> 0:X0+null@5 1:X1+null@6
        right 0:Y0@0 1:Y1@10 -:none@73       -> 0:X0+Y0@5 1:X1+Y1@10
        left  0:XX0@7 1:XX1@7 2:XX2@7        -> 0:XX0+Y0@7 1:XX1+Y1@10 2:XX2+null@7
        right 0:YY0@0 1:YY1@5 2:YY2@10       -> 0:XX0+YY0@7 1:XX1+YY1@7 2:XX2+YY2@10
        right 0:null@5 1:null@7              -> 0:XX0+null@7 1:XX1+null@7
        left  0:XXXX0@13 2:XXXX2@13          -> 0:XXXX0+null@13 2:XXXX2+YY2@13
        left  0:null@0 1:null@42 2:null@5    -> 0:null@0 1:null@42 2:null+YY2@10
        """,
    ),
]


CASES = [*STREAM_TABLE, *TABLE_TABLE]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.of)
def test_as_in_kafka_streams(case: Case, together: bool) -> None:  # noqa: FBT001 - a parameter
    case.check(together=together)
