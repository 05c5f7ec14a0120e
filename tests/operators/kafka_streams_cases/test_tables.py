"""KTable{Source,Filter,MapValues,Aggregate,Reduce}Test: tables and what is derived from them."""

from collections.abc import Callable
from typing import Any

import pytest

from processor import Table, Topology
from tests.operators.kafka_streams_cases.scenario import Case

NO_TOMBSTONE = "A filter emits no tombstone for a key of which nothing has passed."

Changed = Table[str, Any]


def table(derive: Callable[[Changed], Changed], **options: Any) -> Callable[[Topology], None]:
    def make(topology: Topology) -> None:
        derive(topology.table("in", name="table", emit="change", **options)).to("out")

    return make


def asked(derive: Callable[[Changed], Changed]) -> Callable[[Topology], None]:
    """What a stream finds there."""

    def make(topology: Topology) -> None:
        made = derive(topology.table("in", name="table", emit="change"))
        topology.stream("ask").left_join(made, lambda _, value: str(value)).to("out")

    return make


def even(value: str) -> bool:
    return int(value) % 2 == 0


def negative(value: str) -> int:
    return -int(value)


def by_name(value: str) -> str | None:
    return None if value == "none" else value


def first(value: str) -> str:
    return value[0]


def plus(so_far: str, value: str) -> str:
    return f"{so_far}+{value}"


def minus(so_far: str, value: str) -> str:
    return f"{so_far}-{value}"


def canonized(grouped: Callable[[str], str | None], cut: int) -> Callable[[Changed], Changed]:
    return lambda table: table.group_by(grouped, name="groups").aggregate(
        lambda: "0",
        lambda so_far, value: plus(so_far, value[cut:]),
        lambda so_far, value: minus(so_far, value[cut:]),
        name="canonized",
        emit="change",
    )


def counted(table: Changed) -> Changed:
    return table.group_by(str, name="groups").count(name="counted", emit="change")


BY_VALUE = """
    in A:1@10    -> 1:0+1@10
    in A:null@15 -> 1:0+1-1@15
    in A:1@12    -> 1:0+1-1+1@15
    in B:2@20    -> 2:0+2@20
    in N:none@25 ->
    in B:4@23    -> 2:0+2-2@23 4:0+4@23
    in B:7@22    -> 4:0+4-4@23 7:0+7@22
"""
COLOURS = """
    in A:green@10  -> green:1@10
    in B:green@9   -> green:2@10
    in A:blue@12   -> green:1@12 blue:1@12
    in C:yellow@15 -> yellow:1@15
    in D:green@11  -> green:2@12
"""
SOURCE = [
    Case(
        "KTableSourceTest.testKTable",
        table(lambda made: made),
        """
        in A:1@10 B:2@11 C:3@12 -> A:1@10 B:2@11 C:3@12
        in A:null@14 B:null@15  -> A:null@14 B:null@15
        """,
    ),
    Case(
        "KTableSourceTest.kTableShouldLogAndMeterOnSkippedRecords",
        table(lambda made: made),
        "in -:value@0 ->",
    ),
    Case(
        "KTableSourceTest.kTableShouldLogOnOutOfOrder",
        table(lambda made: made),
        "in A:1@10 A:2@5 -> A:1@10 A:2@5",
    ),
    Case(
        "KTableSourceTest.testValueGetter",
        asked(lambda made: made),
        """
        in  A:01@10 B:01@20    ->
        in  A:02@30 B:02@5     ->
        ask A:?@0 B:?@0        -> A:02@0 B:02@0
        in  A:03@29            ->
        ask A:?@0 B:?@0        -> A:03@0 B:02@0
        in  A:null@50 B:null@3 ->
        ask A:?@0 B:?@0        -> A:None@0 B:None@0
        """,
    ),
]
DERIVED = [
    Case(
        "KTableFilterTest.shouldPassThroughWithoutMaterialization",
        table(lambda made: made.filter(even)),
        """
        in A:1@10 B:2@5 C:3@8 D:4@14 -> B:2@5 D:4@14 || A:null@10 B:2@5 C:null@8 D:4@14
        in A:null@18 B:null@15       -> B:null@15 || A:null@18 B:null@15
        """,
        NO_TOMBSTONE,
    ),
    Case(
        "KTableFilterTest.shouldPassThroughWithoutMaterialization (filter not)",
        table(lambda made: made.filter_not(even)),
        """
        in A:1@10 B:2@5 C:3@8 D:4@14 -> A:1@10 C:3@8 || A:1@10 B:null@5 C:3@8 D:null@14
        in A:null@18 B:null@15       -> A:null@18 || A:null@18 B:null@15
        """,
        NO_TOMBSTONE,
    ),
    Case(
        "KTableFilterTest.shouldSendOldValuesWhenEnabledOnUpStreamMaterialization",
        table(lambda made: made.filter(even)),
        """
        in A:1@5 B:1@10 C:1@15  ->
        in A:2@15 B:2@8         -> A:2@15 B:2@8
        in A:3@20               -> A:null@20
        in A:null@10 B:null@20  -> B:null@20
        """,
    ),
    Case(
        "KTableFilterTest.shouldGetValuesOnMaterialization",
        asked(lambda made: made.filter(even)),
        """
        in  A:1@5 B:1@10 C:1@15 ->
        ask A:?@0 B:?@0 C:?@0   -> A:None@0 B:None@0 C:None@0
        in  A:2@10 B:2@5        ->
        ask A:?@0 B:?@0 C:?@0   -> A:2@0 B:2@0 C:None@0
        in  A:3@15              ->
        ask A:?@0 B:?@0         -> A:None@0 B:2@0
        in  A:null@10 B:null@20 ->
        ask A:?@0 B:?@0         -> A:None@0 B:None@0
        """,
    ),
    Case(
        "KTableFilterTest.shouldSkipNullToRepartitionWithoutMaterialization",
        table(lambda made: counted(made.filter(lambda value: value == "accept"))),
        "in A:reject@5 B:reject@10 C:reject@20 ->",
    ),
    Case(
        "KTableFilterTest.shouldNotSkipNullIfVersionedUpstream",
        table(lambda made: made.filter(lambda value: value == "accept"), versioned="5m"),
        "in A:reject@5 B:reject@10 -> || A:null@5 B:null@10",
        NO_TOMBSTONE,
    ),
    Case(
        "KTableMapValuesTest.testKTable",
        table(lambda made: made.map_values(int)),
        "in A:01@5 B:02@25 C:03@20 D:04@10 -> A:1@5 B:2@25 C:3@20 D:4@10",
    ),
    Case(
        "KTableMapValuesTest.testQueryableValueGetter",
        asked(lambda made: made.map_values(negative)),
        """
        in  A:01@50 B:01@10 C:01@30 ->
        in  A:02@25 B:02@20         ->
        ask A:?@0 B:?@0 C:?@0       -> A:-2@0 B:-2@0 C:-1@0
        in  A:null@1                ->
        ask A:?@0 B:?@0             -> A:None@0 B:-2@0
        """,
    ),
    Case(
        "KTableMapValuesTest.testNotSendingOldValue",
        table(lambda made: made.map_values(int)),
        """
        in A:01@5 B:01@10 -> A:1@5 B:1@10
        in A:02@10 B:02@8 -> A:2@10 B:2@8
        in A:null@30      -> A:null@30
        """,
    ),
]
GROUPED = [
    Case(
        "KTableAggregateTest.testAggBasic",
        table(canonized(first, 1)),
        """
        in A:A1@10 B:B2@15 -> A:0+1@10 B:0+2@15
        in A:A3@20 B:B4@18 -> A:0+1-1+3@20 B:0+2-2+4@18
        in C:C5@5 D:D6@25  -> C:0+5@5 D:0+6@25
        in B:B7@15 C:C8@10 -> B:0+2-2+4-4+7@18 C:0+5-5+8@10
        """,
    ),
    Case("KTableAggregateTest.testAggRepartition", table(canonized(by_name, 0)), BY_VALUE),
    Case(
        "KTableAggregateTest.testAggOfVersionedStore",
        table(canonized(by_name, 0), versioned="5m"),
        """
        in A:1@10    -> 1:0+1@10
        in A:null@15 -> 1:0+1-1@15
        in A:1@12    ->
        in B:2@20    -> 2:0+2@20
        in N:none@25 ->
        in B:4@23    -> 2:0+2-2@23 4:0+4@23
        in B:7@22    ->
        """,
    ),
    Case("KTableAggregateTest.testCount", table(counted), COLOURS),
    Case(
        "KTableAggregateTest.testCountOfVersionedStore",
        table(counted, versioned="5m"),
        COLOURS + "in A:blue@11 ->",
    ),
    Case(
        "KTableAggregateTest.testRemoveOldBeforeAddNew",
        table(
            lambda made: made.group_by(first, name="groups").aggregate(
                str,
                lambda so_far, value: so_far + value[1],
                lambda so_far, value: so_far.replace(value[1], ""),
                name="kept",
                emit="change",
            )
        ),
        """
        in 11:11A@10   -> 1:1@10
        in 12:12B@8    -> 1:12@10
        in 11:null@12  -> 1:2@12
        in 12:12C@6    -> 1:2@12
        """,
    ),
    Case(
        "KTableAggregateTest.testShouldNotSendTransientStateIfNotUpgrading",
        table(lambda made: made.group_by(first, name="g").count(name="counted", emit="change")),
        """
        in 1:1a@8 -> 1:1@8
        in 1:1b@9 -> 1:1@9
        """,
    ),
    Case(
        "KTableReduceTest.shouldAddAndSubtract",
        table(
            lambda made: made.group_by(lambda _: "all", name="g").reduce(
                lambda so_far, value: so_far + value,
                lambda so_far, value: so_far.replace(value, ""),
                name="sum",
                emit="change",
            )
        ),
        """
        in A:a@10    -> all:a@10
        in A:b@15    -> all:b@15
        in A:null@12 -> all:@15
        """,
    ),
]


CASES = [*SOURCE, *DERIVED, *GROUPED]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.of)
def test_as_in_kafka_streams(case: Case, together: bool) -> None:  # noqa: FBT001 - a parameter
    case.check(together=together)
