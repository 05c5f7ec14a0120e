"""KStreamKStream{Join,LeftJoin,OuterJoin,SelfJoin}Test: streams joined with streams."""

from collections.abc import Callable

import pytest

from processor import JoinWindow, Stream, Topology
from processor.testing import TopologyDriver
from tests.operators.kafka_streams_cases.scenario import Case, plus

UNMATCHED = "A record is emitted as unmatched when nothing can match it any more, and once."
ORDER = "What closes together is emitted in the order of time, the left side first."
LATE = "A late record is a bad one, and has no result."


def joined(kind: str, **times: float) -> Callable[[Topology], None]:
    def make(topology: Topology) -> None:
        left, right = topology.stream("left"), topology.stream("right")
        made: Stream[str, str] = getattr(left, kind)(
            right, plus, name="both", within=JoinWindow(**times)
        )
        made.to("out")

    return make


def self_joined(**times: float) -> Callable[[Topology], None]:
    def make(topology: Topology) -> None:
        stream = topology.stream("in")
        stream.join(stream, plus, within=JoinWindow(**times)).to("out")

    return make


BOTH_WAYS = """
    left  0:A0@0 1:A1@0            ->
    right 0:a0@0 1:a1@0            -> 0:A0+a0@0 1:A1+a1@0
    left  0:B0@0 1:B1@0 2:B2@0     -> 0:B0+a0@0 1:B1+a1@0
    right 0:b0@0 1:b1@0 2:b2@0 3:b3@0 -> 0:A0+b0@0 0:B0+b0@0 1:A1+b1@0 1:B1+b1@0 2:B2+b2@0
    left  0:C0@0 2:C2@0 3:C3@0     -> 0:C0+a0@0 0:C0+b0@0 2:C2+b2@0 3:C3+b3@0
    right 0:c0@0 1:c1@0            -> 0:A0+c0@0 0:B0+c0@0 0:C0+c0@0 1:A1+c1@0 1:B1+c1@0
"""
INNER_BOUNDS = """
    left  0:A0@1000 1:A1@1001 2:A2@1002 ->
    right 0:b0@1100 1:b1@1100 2:b2@1100 -> 0:A0+b0@1100 1:A1+b1@1100 2:A2+b2@1100
    right 0:c0@1101 1:c1@1101 2:c2@1101 -> 1:A1+c1@1101 2:A2+c2@1101
    right 0:d0@1102 1:d1@1102 2:d2@1102 -> 2:A2+d2@1102
    right 0:e0@1103 1:e1@1103 2:e2@1103 ->
    right 0:f0@899 1:f1@899 2:f2@899    ->
    right 0:g0@900 1:g1@900 2:g2@900    -> 0:A0+g0@1000
    right 0:h0@901 1:h1@901 2:h2@901    -> 0:A0+h0@1000 1:A1+h1@1001
    right 0:i0@902 1:i1@902 2:i2@902    -> 0:A0+i0@1000 1:A1+i1@1001 2:A2+i2@1002
"""
LATE_RIGHT = """
    left  0:A0@1000                     ->
    right 0:b0@1100                     -> 0:A0+b0@1100
    right 0:c0@1101                     ->
    right 0:d0@900                      -> || 0:A0+d0@1000
"""
AFTER_ONLY = """
    left  0:A0@1000 1:A1@1001           ->
    right 0:a0@999 1:a1@999             ->
    right 0:b0@1000 1:b1@1000           -> 0:A0+b0@1000
    right 0:c0@1001 1:c1@1001           -> 0:A0+c0@1001 1:A1+c1@1001
    right 0:d0@1100 1:d1@1100           -> 0:A0+d0@1100 1:A1+d1@1100
    right 0:e0@1101 1:e1@1101           -> 1:A1+e1@1101
    right 0:f0@1102 1:f1@1102           ->
"""
BEFORE_ONLY = """
    left  0:A0@1000 1:A1@1001           ->
    right 0:a0@899 1:a1@899             ->
    right 0:b0@900 1:b1@900             -> 0:A0+b0@1000
    right 0:c0@901 1:c1@901             -> 0:A0+c0@1000 1:A1+c1@1001
    right 0:d0@1000 1:d1@1000           -> 0:A0+d0@1000 1:A1+d1@1001
    right 0:e0@1001 1:e1@1001           -> 1:A1+e1@1001
    right 0:f0@1002 1:f1@1002           ->
"""
INNER = [
    Case("KStreamKStreamJoinTest.testJoin", joined("join", within=0.1), BOTH_WAYS),
    Case("KStreamKStreamJoinTest.testOuterJoin", joined("outer_join", within=0.1), BOTH_WAYS),
    Case("KStreamKStreamJoinTest.testWindowing", joined("join", within=0.1, grace=9), INNER_BOUNDS),
    Case(
        "KStreamKStreamJoinTest.testWindowing",
        joined("join", within=0.1),
        LATE_RIGHT,
        LATE,
    ),
    Case(
        "KStreamKStreamJoinTest.testAsymmetricWindowingAfter (with a grace)",
        joined("join", after=0.1, grace=1),
        AFTER_ONLY,
    ),
    Case(
        "KStreamKStreamJoinTest.testAsymmetricWindowingAfter",
        joined("join", after=0.1),
        """
        left  0:A0@1000 1:A1@1001 ->
        right 0:b0@1000 1:b1@1000 -> || 0:A0+b0@1000
        right 0:c0@1001 1:c1@1001 -> 0:A0+c0@1001 1:A1+c1@1001
        right 0:e0@1101 1:e1@1101 -> 1:A1+e1@1101
        """,
        LATE,
    ),
    Case(
        "KStreamKStreamJoinTest.testAsymmetricWindowingBefore (with a grace)",
        joined("join", before=0.1, grace=1),
        BEFORE_ONLY,
    ),
    Case(
        "KStreamKStreamJoinTest.testAsymmetricWindowingBefore",
        joined("join", before=0.1),
        """
        left  0:A0@1000 1:A1@1001 ->
        right 0:b0@900 1:b1@900   -> || 0:A0+b0@1000
        right 0:c0@901 1:c1@901   -> 0:A0+c0@1000 1:A1+c1@1001
        """,
        LATE,
    ),
    Case(
        "KStreamKStreamJoinTest.shouldLogAndMeterOnSkippedRecordsWithNullValue",
        joined("join", within=0.1),
        "left A:null@0 ->",
    ),
]
LEFT = [
    Case(
        "KStreamKStreamLeftJoinTest.testLeftJoinWithDefaultSuppliers",
        joined("left_join", within=0.1),
        BOTH_WAYS + "left 0:dummy@1000 ->",
    ),
    Case(
        "KStreamKStreamLeftJoinTest.testLeftJoinWithSpuriousResultFixDisabledOldApi",
        joined("left_join", within=0.1),
        """
        left  0:A0@0 1:A1@0 -> || 0:A0+null@0 1:A1+null@0
        right 0:a0@0 1:a1@0 -> 0:A0+a0@0 1:A1+a1@0
        """,
        UNMATCHED,
    ),
    Case(
        "KStreamKStreamLeftJoinTest.testLeftJoinDuplicatesWithSpuriousResultFixDisabledOldApi",
        joined("left_join", within=0.1, grace=0.01),
        """
        left  0:A0@0 0:A0-0@0 -> || 0:A0+null@0 0:A0-0+null@0
        right 0:a0@0          -> 0:A0+a0@0 0:A0-0+a0@0
        """,
        UNMATCHED,
    ),
    Case(
        "KStreamKStreamLeftJoinTest.testLeftJoinDuplicates",
        joined("left_join", within=0.1, grace=0.01),
        """
        left  0:A0@0 0:A0-0@0         ->
        right 1:a0@111                -> || 0:A0+null@0 0:A0-0+null@0
        right 2:dummy@500             -> 0:A0+null@0 0:A0-0+null@0 ||
        left  2:A2@1000 2:A2-0@1000   ->
        right 2:a2@1001               -> 2:A2+a2@1001 2:A2-0+a2@1001
        right 3:a3@315                ->
        """,
        UNMATCHED,
    ),
    Case(
        "KStreamKStreamLeftJoinTest.testLeftExpiredNonJoinedRecordsAreEmittedByTheLeftProcessor",
        joined("left_join", within=0.1),
        """
        left  0:A0@1 1:A1@2 0:A0-0@3 ->
        right 1:a1@3                 -> 1:A1+a1@3
        left  2:dummy@401            -> 0:A0+null@1 0:A0-0+null@3
        right 2:dummy@401            -> 2:dummy+dummy@401
        """,
    ),
    Case(
        "KStreamKStreamLeftJoinTest.testLeftExpiredNonJoinedRecordsAreEmittedByTheRightProcessor",
        joined("left_join", within=0.1),
        """
        left  0:A0@1 1:A1@2 0:A0-0@3 ->
        right 1:a1@3                 -> 1:A1+a1@3
        right 2:dummy@401            -> 0:A0+null@1 0:A0-0+null@3
        left  2:dummy@402            -> 2:dummy+dummy@402
        """,
    ),
    Case(
        "KStreamKStreamLeftJoinTest.testRightNonJoinedRecordsAreNeverEmittedByTheLeftProcessor",
        joined("left_join", within=0.1),
        """
        right 0:A0@1 1:A1@2 0:A0-0@3 ->
        left  1:a1@3                 -> 1:a1+A1@3
        left  2:dummy@401            ->
        right 2:dummy@402            -> 2:dummy+dummy@402
        """,
    ),
    Case(
        "KStreamKStreamLeftJoinTest.testRightNonJoinedRecordsAreNeverEmittedByTheRightProcessor",
        joined("left_join", within=0.1),
        """
        right 0:A0@1 1:A1@2 0:A0-0@3 ->
        left  1:a1@3                 -> 1:a1+A1@3
        right 2:dummy@401            ->
        left  2:dummy@402            -> 2:dummy+dummy@402
        """,
    ),
    Case(
        "KStreamKStreamLeftJoinTest.testLeftJoinedRecordsWithZeroAfterAreEmitted",
        joined("left_join", before=0.1, after=0),
        """
        left  0:A0@1000 1:A1@1001 2:A2@1002 -> || 0:A0+null@1000 1:A1+null@1001
        right 0:a0@999 1:a1@999  -> 0:A0+a0@1000 1:A1+a1@1001
        right 0:b0@1000 1:b1@1000 -> 0:A0+b0@1000 1:A1+b1@1001
        right 0:c0@1001 1:c1@1001 -> 1:A1+c1@1001
        right 0:d0@1002 1:d1@1002 ->
        """,
        UNMATCHED,
    ),
    Case(
        "KStreamKStreamLeftJoinTest.testOrdering",
        joined("left_join", within=0.05),
        """
        left  0:A0@0 1:A1@100 ->
        right 1:a1@110        -> 0:A0+null@0 1:A1+a1@110
        """,
    ),
    Case(
        "KStreamKStreamLeftJoinTest.testOrdering (as it is)",
        joined("left_join", within=0.1),
        """
        left  0:A0@0 1:A1@100 ->
        right 1:a1@110        -> 1:A1+a1@110 || 0:A0+null@0 1:A1+a1@110
        right 1:a2@201        -> 0:A0+null@0 ||
        """,
        UNMATCHED,
    ),
    Case(
        "KStreamKStreamLeftJoinTest.testGracePeriod",
        joined("left_join", within=0.1, grace=0.01),
        """
        left  0:A0@0 1:A1@0          ->
        right 0:a0@101 1:a1@101      ->
        right 0:dummy@1201           -> 0:A0+null@0 1:A1+null@0
        """,
    ),
    Case(
        "KStreamKStreamLeftJoinTest.testWindowing (upper bound)",
        joined("left_join", within=0.1),
        """
        right 0:b0@1000 1:b1@1001 ->
        left  0:B0@1100 1:B1@1100 -> 0:B0+b0@1100 1:B1+b1@1100
        left  0:C0@1101 1:C1@1101 -> 1:C1+b1@1101
        left  0:D0@1102 1:D1@1102 ->
        left  0:dummy@1405        -> 0:C0+null@1101 0:D0+null@1102 1:D1+null@1102
        """,
    ),
    Case(
        "KStreamKStreamLeftJoinTest.testWindowing (lower bound)",
        joined("left_join", within=0.1),
        """
        right 0:b0@1000 1:b1@1001 ->
        left  0:G0@899 1:G1@899   -> || 0:G0+null@899 1:G1+null@899
        left  0:H0@900 1:H1@900   -> || 0:H0+b0@1000 1:H1+null@900
        left  0:I0@901 1:I1@901   -> 0:I0+b0@1000 1:I1+b1@1001
        left  0:dummy@1202        ->
        """,
        LATE,
    ),
    Case(
        "KStreamKStreamLeftJoinTest.shouldNotEmitLeftJoinResultForAsymmetricWindow",
        joined("left_join", before=0, after=0.1),
        """
        left  0:A0@0 1:A1@1 ->
        right 0:a0@100      -> 0:A0+a0@100
        right 1:a1@102      -> 1:A1+null@1
        """,
    ),
]
OUTER = [
    Case(
        "KStreamKStreamOuterJoinTest.testOuterJoinWithDefaultSuppliers",
        joined("outer_join", within=0.1),
        BOTH_WAYS + "left 0:dummy@400 ->",
    ),
    Case(
        "KStreamKStreamOuterJoinTest.testOuterJoinDuplicatesWithFixDisabledOldApi",
        joined("outer_join", within=0.1, grace=0.01),
        """
        left  0:A0@0 0:A0-0@0 -> || 0:A0+null@0 0:A0-0+null@0
        right 0:10@0 1:21@0   -> 0:A0+10@0 0:A0-0+10@0 || 0:A0+10@0 0:A0-0+10@0 1:null+21@0
        """,
        UNMATCHED,
    ),
    Case(
        "KStreamKStreamOuterJoinTest.testLeftExpiredNonJoinedRecordsAreEmittedByTheLeftProcessor",
        joined("outer_join", within=0.1),
        """
        left  0:A0@1 1:A1@2 0:A0-0@3 ->
        right 1:11@3                 -> 1:A1+11@3
        left  2:dummy@401            -> 0:A0+null@1 0:A0-0+null@3
        right 2:100@401              -> 2:dummy+100@401
        """,
    ),
    Case(
        "KStreamKStreamOuterJoinTest.testLeftExpiredNonJoinedRecordsAreEmittedByTheRightProcessor",
        joined("outer_join", within=0.1),
        """
        left  0:A0@1 1:A1@2 0:A0-0@3 ->
        right 1:11@3                 -> 1:A1+11@3
        right 2:100@401              -> 0:A0+null@1 0:A0-0+null@3
        left  2:dummy@402            -> 2:dummy+100@402
        """,
    ),
    Case(
        "KStreamKStreamOuterJoinTest.testRightExpiredNonJoinedRecordsAreEmittedByTheLeftProcessor",
        joined("outer_join", within=0.1),
        """
        right 0:10@1 1:11@2 0:12@3   ->
        left  1:A1@3                 -> 1:A1+11@3
        left  2:dummy@401            -> 0:null+10@1 0:null+12@3
        right 2:100@402              -> 2:dummy+100@402
        """,
    ),
    Case(
        "KStreamKStreamOuterJoinTest.testRightExpiredNonJoinedRecordsAreEmittedByTheRightProcessor",
        joined("outer_join", within=0.1),
        """
        right 0:10@1 1:11@2 0:12@3   ->
        left  1:A1@3                 -> 1:A1+11@3
        right 2:100@401              -> 0:null+10@1 0:null+12@3
        left  2:dummy@402            -> 2:dummy+100@402
        """,
    ),
    Case(
        "KStreamKStreamOuterJoinTest.testOuterJoinDuplicates",
        joined("outer_join", within=0.1, grace=0.01),
        """
        left  0:A0@0 0:A0-0@0            ->
        right 1:11@0 1:12@0              ->
        right 1:10@111                   -> || 1:null+11@0 1:null+12@0 0:A0+null@0 0:A0-0+null@0
        right 3:100@211  -> 0:A0+null@0 0:A0-0+null@0 1:null+11@0 1:null+12@0 ||
        left  2:A2@200 2:A2-0@200        ->
        right 2:13@201                   -> 2:A2+13@201 2:A2-0+13@201
        right 2:14@201                   -> 2:A2+14@201 2:A2-0+14@201
        right 3:100@1500                 -> 1:null+10@111 3:null+100@211
        """,
        f"{UNMATCHED} {ORDER}",
    ),
    Case(
        "KStreamKStreamOuterJoinTest.testOrdering",
        joined("outer_join", within=0.1),
        """
        left  0:A0@0 1:A1@100 ->
        right 1:11@110        -> 1:A1+11@110 || 0:A0+null@0 1:A1+11@110
        """,
        UNMATCHED,
    ),
    Case(
        "KStreamKStreamOuterJoinTest.testGracePeriod",
        joined("outer_join", within=0.1, grace=0.01),
        """
        left  0:A0@0           ->
        right 1:11@0           ->
        left  1:A1@101         ->
        right 0:10@101         ->
        right 0:100@112        -> || 1:null+11@0 0:A0+null@0
        right 0:100@211        -> 0:A0+null@0 1:null+11@0 ||
        """,
        f"{UNMATCHED} {ORDER}",
    ),
    Case(
        "KStreamKStreamOuterJoinTest.testEmitAllNonJoinedResultsForAsymmetricWindow",
        joined("outer_join", before=0.005, after=0.02),
        """
        left  0:A0@29          ->
        right 2:12@31          ->
        right 4:14@37          -> || 2:null+12@31
        right 5:15@50          -> || 0:A0+null@29 4:null+14@37
        right 5:16@63          -> 0:A0+null@29 2:null+12@31 4:null+14@37 || 5:null+15@50
        """,
        UNMATCHED,
    ),
    Case(
        "KStreamKStreamOuterJoinTest.testWindowing (upper bound)",
        joined("outer_join", within=0.1),
        """
        right 2:12@0              ->
        right 0:20@1000 1:21@1001 -> 2:null+12@0
        left  0:B0@1100 1:B1@1100 -> 0:B0+20@1100 1:B1+21@1100
        left  0:C0@1101 1:C1@1101 -> 1:C1+21@1101
        left  0:D0@1102 1:D1@1102 ->
        left  0:dummy@1405        -> 0:C0+null@1101 0:D0+null@1102 1:D1+null@1102
        """,
    ),
    Case(
        "KStreamKStreamOuterJoinTest.testWindowing (lower bound)",
        joined("outer_join", within=0.1),
        """
        right 0:20@1000 1:21@1001 ->
        left  0:G0@899 1:G1@899   -> || 0:G0+null@899 1:G1+null@899
        left  0:H0@900 1:H1@900   -> || 0:H0+20@1000 1:H1+null@900
        left  0:I0@901 1:I1@901   -> 0:I0+20@1000 1:I1+21@1001
        left  0:dummy@1202        ->
        """,
        LATE,
    ),
    Case(
        "KStreamKStreamOuterJoinTest.testShouldNotEmitLeftJoinResultForAsymmetricBeforeWindow",
        joined("outer_join", before=0, after=0.1),
        """
        left  0:A0@0 1:A1@1 ->
        right 0:10@100      -> 0:A0+10@100
        right 1:11@102      -> 1:A1+null@1
        right 2:12@103      -> || 1:null+11@102
        left  2:A2@103      -> 2:A2+12@103
        right 3:13@203      -> 1:null+11@102 ||
        """,
        UNMATCHED,
    ),
    Case(
        "KStreamKStreamOuterJoinTest.testShouldNotEmitLeftJoinResultForAsymmetricAfterWindow",
        joined("outer_join", before=0.1, after=0),
        """
        left  0:A0@0 1:A1@1 -> || 0:A0+null@0
        right 1:11@1        -> 1:A1+11@1
        right 2:12@101 3:13@101 -> 0:A0+null@0 ||
        left  2:A2@201      -> 2:A2+12@201
        """,
        UNMATCHED,
    ),
]
IN_TURN = """
    in A:1@1     -> A:1+1@1
    in B:1@2     -> B:1+1@2
    in A:2@3     -> A:2+1@3 A:1+2@3 A:2+2@3
    in B:2@4     -> B:2+1@4 B:1+2@4 B:2+2@4
"""
SELF = [
    Case(
        "KStreamKStreamSelfJoinTest.shouldMatchInnerJoinWithSelfJoinWithSingleStream",
        self_joined(within=0.1),
        IN_TURN,
    ),
    Case(
        "KStreamKStreamSelfJoinTest.shouldMatchInnerJoinWithSelfJoinDifferentBeforeAfterWindows",
        self_joined(within=11, grace=10),
        """
        in A:1@0     -> A:1+1@0
        in A:2@11000 -> A:2+1@11000 A:1+2@11000 A:2+2@11000
        in B:1@12000 -> B:1+1@12000
        in A:3@13000 -> A:3+2@13000 A:2+3@13000 A:3+3@13000
        in A:5@30000 -> A:5+5@30000
        """,
    ),
    Case(
        "KStreamKStreamSelfJoinTest.shouldMatchInnerJoinWithSelfJoinOutOfOrderMessages",
        self_joined(within=10, grace=60),
        """
        in A:1@0     -> A:1+1@0
        in A:2@9999  -> A:2+1@9999 A:1+2@9999 A:2+2@9999
        in A:5@30000 -> A:5+5@30000
        in A:6@6000  -> A:6+1@6000 A:6+2@9999 A:1+6@6000 A:6+6@6000 A:2+6@9999
        """,
    ),
]


CASES = [*INNER, *LEFT, *OUTER, *SELF]


def test_headers_of_what_has_no_match() -> None:
    """KStreamKStreamOuterJoinTest.testShouldForwardCurrentHeaders.

    A result of one record alone has no headers; Kafka Streams gives it those of the record that
    brought its time. One of two records has those of the later, in both.
    """
    topology = Topology("app")
    joined("outer_join", within=0.1)(topology)
    driver = TopologyDriver(topology)
    for number, (side, key, time) in enumerate(
        [("left", "0", 0), ("right", "3", 211), ("left", "2", 212), ("right", "2", 213)]
    ):
        headers = (("h", b"%d" % number),)
        driver.pipe(side, key=key, value=key, timestamp=time, headers=headers)
    emitted = [(each.key, each.value, each.headers) for each in driver.read_records("out")]
    assert emitted == [("0", "0+null", ()), ("2", "2+2", (("h", b"3"),))]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.of)
def test_as_in_kafka_streams(case: Case, together: bool) -> None:  # noqa: FBT001 - a parameter
    case.check(together=together)
