# ruff: noqa: E501 - names of tests
"""KStreamGlobalKTable{Join,LeftJoin}Test, and joins of tables by a foreign key."""

from collections.abc import Callable
from typing import Any

import pytest

from processor import Stream, Table, Topology
from tests.operators.kafka_streams_cases.scenario import Case, plus

NO_KEY = (
    "A record whose key to look up is None is a result without a match; Kafka Streams drops it."
)
ONCE = "A key that has no result and had none is no change, and nothing is emitted for it."


def looked_up(value: str) -> str | None:
    """The key in the table: what stands behind the comma."""
    return value.partition(",")[2] or None


def with_global(kind: str) -> Callable[[Topology], None]:
    def make(topology: Topology) -> None:
        table = topology.global_table("table", name="table")
        stream = topology.stream("stream")

        def key(_: Any, value: str) -> str | None:
            return looked_up(value)

        made: Stream[Any, str] = getattr(stream, kind)(table, plus, on=key)
        made.to("out")

    return make


def foreign(kind: str, versioned: str | None = None) -> Callable[[Topology], None]:
    def make(topology: Topology) -> None:
        left = topology.table("left", emit="change", versioned=versioned)
        right = topology.table("right", emit="change")
        made: Table[str, str] = getattr(left, kind)(
            right, plus, on=looked_up, name="both", emit="change"
        )
        made.to("out")

    return make


GLOBAL = [
    Case(
        "KStreamGlobalKTableJoinTest.shouldNotJoinWithEmptyGlobalTableOnStreamUpdates",
        with_global("join"),
        "stream 0:X0,FK0@0 1:X1,FK1@1 ->",
    ),
    Case(
        "KStreamGlobalKTableJoinTest.shouldNotJoinOnGlobalTableUpdates",
        with_global("join"),
        """
        stream 0:X0,FK0@0                ->
        table  FK0:Y0@0 FK1:Y1@1         ->
        stream 0:X0,FK0@0 2:X2,FK2@2     -> 0:X0,FK0+Y0@0
        table  FK0:YY0@0 FK2:YY2@2       ->
        stream 0:X0,FK0@0 2:X2,FK2@2     -> 0:X0,FK0+YY0@0 2:X2,FK2+YY2@2
        """,
    ),
    Case(
        "KStreamGlobalKTableJoinTest.shouldClearGlobalTableEntryOnNullValueUpdates",
        with_global("join"),
        """
        table  FK0:Y0@0 FK1:Y1@1      ->
        table  FK0:null@2             ->
        stream 0:X0,FK0@0 1:X1,FK1@1  -> 1:X1,FK1+Y1@1
        """,
    ),
    Case(
        "KStreamGlobalKTableJoinTest.shouldNotJoinOnNullKeyMapperValues",
        with_global("join"),
        """
        table  FK0:Y0@0   ->
        stream 0:X0@0     ->
        """,
    ),
    Case(
        "KStreamGlobalKTableJoinTest.shouldJoinOnNullKeyWithNonNullKeyMapperValues",
        with_global("join"),
        """
        table  FK0:Y0@0   ->
        stream -:X0,FK0@0 -> -:X0,FK0+Y0@0
        """,
    ),
    Case(
        "KStreamGlobalKTableLeftJoinTest.shouldNotJoinWithEmptyGlobalTableOnStreamUpdates",
        with_global("left_join"),
        "stream 0:X0,FK0@0 1:X1,FK1@1 -> 0:X0,FK0+null@0 1:X1,FK1+null@1",
    ),
    Case(
        "KStreamGlobalKTableLeftJoinTest.shouldJoinRegardlessIfMatchFoundOnStreamUpdates",
        with_global("left_join"),
        """
        table  FK0:Y0@0              ->
        stream 0:X0,FK0@0 1:X1,FK1@1 -> 0:X0,FK0+Y0@0 1:X1,FK1+null@1
        """,
    ),
    Case(
        "KStreamGlobalKTableLeftJoinTest.shouldNotJoinOnNullKeyMapperValues",
        with_global("left_join"),
        """
        table  FK0:Y0@0 ->
        stream 0:X0@0   -> 0:X0+null@0 ||
        """,
        NO_KEY,
    ),
]
FOREIGN = [
    Case(
        f"KTableKTableForeignKeyJoinIntegrationTest.{name}: {case}",
        foreign(kind),
        steps,
    )
    for name, kind, case, steps in [
        (
            "inner",
            "join",
            "doJoinFromRightThenDeleteRightEntity",
            """
            left  1:L1,r@0 2:L2,r@0 3:L3,s@0 ->
            right r:R1@1 -> 1:L1,r+R1@1 2:L2,r+R1@1
            right r:R2@2 -> 1:L1,r+R2@2 2:L2,r+R2@2
            right s:S@3  -> 3:L3,s+S@3
            right r:null@4 -> 1:null@4 2:null@4
            """,
        ),
        (
            "left",
            "left_join",
            "doJoinFromRightThenDeleteRightEntity",
            """
            left  1:L1,r@0 3:L3,s@0 -> 1:L1,r+null@0 3:L3,s+null@0
            right r:R1@1   -> 1:L1,r+R1@1
            right r:null@4 -> 1:L1,r+null@4
            """,
        ),
        (
            "inner",
            "join",
            "doJoinFromLeftThenDeleteLeftEntity",
            """
            right r:R@0 s:S@0 ->
            left  1:L1,r@1 2:L2,s@1 -> 1:L1,r+R@1 2:L2,s+S@1
            left  3:L3,none@1 ->
            left  1:L1,s@2    -> 1:L1,s+S@2
            left  1:null@3    -> 1:null@3
            left  3:null@3    ->
            """,
        ),
        (
            "inner",
            "join",
            "shouldUnsubscribeOldForeignKeyIfLeftSideIsUpdated",
            """
            right r:R@0 s:S@0 ->
            left  1:L1,r@0    -> 1:L1,r+R@0
            left  1:L1,s@0    -> 1:L1,s+S@0
            right r:R2@0      ->
            right s:S2@0      -> 1:L1,s+S2@0
            left  1:L1,none@0 -> 1:null@0
            """,
        ),
    ]
]
FOREIGN += [
    Case(
        "KTableKTableForeignKeyJoinIntegrationTest.inner: shouldEmitTombstoneWhenDeletingNonJoiningRecords",
        foreign("join"),
        """
        left 1:L1,none@0 ->
        left 1:null@1    -> || 1:null@1
        left 1:null@2    ->
        """,
        ONCE,
    ),
    Case(
        "KTableKTableForeignKeyJoinIntegrationTest.left: shouldEmitTombstoneWhenDeletingNonJoiningRecords",
        foreign("left_join"),
        """
        left 1:L1,none@0 -> 1:L1,none+null@0
        left 1:null@1    -> 1:null@1
        left 1:null@2    ->
        """,
    ),
    Case(
        "KTableKTableForeignKeyJoinIntegrationTest.left: shouldEmitRecordWhenOldAndNewFkDiffer",
        foreign("left_join"),
        """
        left 1:L1,none@0 -> 1:L1,none+null@0
        left 1:L1@0      -> 1:L1+null@0
        """,
    ),
    Case(
        "KTableKTableForeignKeyJoinIntegrationTest.inner: shouldIgnoreOutOfOrderRecordsIffVersioned (versioned)",
        foreign("join", versioned="5m"),
        """
        right r:R@4             ->
        left  1:L1,r@3 2:L2,r@5 -> 1:L1,r+R@4 2:L2,r+R@5
        left  2:null@6          -> 2:null@6
        left  1:X1,r@2 2:X2,r@2 ->
        """,
    ),
    Case(
        "KTableKTableForeignKeyJoinIntegrationTest.inner: shouldIgnoreOutOfOrderRecordsIffVersioned (not versioned)",
        foreign("join"),
        """
        right r:R@4             ->
        left  1:L1,r@3 2:L2,r@5 -> 1:L1,r+R@4 2:L2,r+R@5
        left  2:null@6          -> 2:null@6
        left  1:X1,r@2 2:X2,r@2 -> 1:X1,r+R@4 2:X2,r+R@4
        """,
    ),
]


CASES = [*GLOBAL, *FOREIGN]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.of)
def test_as_in_kafka_streams(case: Case) -> None:
    case.check()
