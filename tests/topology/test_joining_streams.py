"""What joins of streams mean, case by case; those of Kafka Streams' own tests are among them."""

from typing import Any

import pytest

from processor import JoinWindow, Record, Stream, Timestamp, Topology
from processor.errors import TopologyError, UsageError
from processor.operators.joins.streams import Span
from processor.records import Policy
from processor.testing import TopologyDriver
from processor.topology.joining import span_of
from processor.topology.plan import plan
from processor.topology.topology import builder_of

Rows = list[tuple[Any, Any, int]]


def plus(left: Any, right: Any) -> str:
    return f"{left}+{right}"


def driver_of(kind: str, late: Policy | None = None, **times: Any) -> TopologyDriver:
    topology = Topology("app")
    left, right = topology.stream("left"), topology.stream("right")
    made: Stream[str, str] = getattr(left, kind)(
        right, plus, name="both", within=JoinWindow(**times), late=late
    )
    made.to("out")
    return TopologyDriver(topology)


def emitted(driver: TopologyDriver) -> Rows:
    return [(each.key, each.value, each.timestamp) for each in driver.read_records("out")]


def after(driver: TopologyDriver, side: str, key: str, value: Any, time: int) -> Rows:
    """What is emitted when this record has come."""
    driver.pipe(side, key=key, value=value, timestamp=time)
    return emitted(driver)


def test_records_match_from_before_to_after() -> None:
    for before, later, matching in [
        (10, 10, range(90, 111)),
        (0, 5, range(100, 106)),
        (5, 0, range(95, 101)),
        (0, 0, range(100, 101)),
    ]:
        driver = driver_of("join", before=before / 1000, after=later / 1000, grace=1)
        driver.pipe("left", key="a", value="L", timestamp=100)
        for time in range(80, 121):
            driver.pipe("right", key="a", value=time, timestamp=time)
        expected = [("a", f"L+{time}", max(time, 100)) for time in matching]
        assert emitted(driver) == expected
        driver.pipe("left", key="a", value="M", timestamp=100)
        again = [(key, value.replace("L", "M"), time) for key, value, time in expected]
        assert emitted(driver) == again


def test_each_with_each_in_the_order_of_time_and_then_as_they_came() -> None:
    driver = driver_of("join", within=0.1)
    for value, time in [("A", 10), ("B", 5), ("C", 10), ("D", 7)]:
        driver.pipe("left", key="a", value=value, timestamp=time)
    assert after(driver, "right", "a", "x", 8) == [
        ("a", "B+x", 8),
        ("a", "D+x", 8),
        ("a", "A+x", 10),
        ("a", "C+x", 10),
    ]
    assert after(driver, "right", "b", "x", 8) == []


def test_the_headers_are_those_of_the_record_that_came_later() -> None:
    driver = driver_of("join", within=1)
    driver.pipe("left", key="a", value=1, headers=(("left", b""),))
    driver.pipe("right", key="a", value=2, headers=(("right", b""),))
    assert [each.headers for each in driver.read_records("out")] == [(("right", b""),)]


def test_null_values_match_nothing_and_records_without_a_key_are_bad() -> None:
    driver = driver_of("join", within=1)
    driver.pipe("left", key="a", value=None)
    driver.pipe("right", key="a", value=1)
    driver.pipe("left", key=None, value=1)
    assert emitted(driver) == []
    assert driver.bad_records == {("both", "null-key"): 1}


def test_unmatched_duplicates() -> None:
    driver = driver_of("outer_join", within=0.1, grace=0.01)
    for side, key, value, time in [
        ("left", "0", "A0", 0),
        ("left", "0", "A0-0", 0),
        ("right", "1", "11", 0),
        ("right", "1", "12", 0),
        ("right", "1", "10", 111),
    ]:
        assert after(driver, side, key, value, time) == []
    assert after(driver, "right", "3", "100", 210) == []
    assert after(driver, "right", "3", "101", 211) == [
        ("0", "A0+None", 0),
        ("0", "A0-0+None", 0),
        ("1", "None+11", 0),
        ("1", "None+12", 0),
    ]
    for value in ("A2", "A2-0"):
        assert after(driver, "left", "2", value, 200) == []
    assert after(driver, "right", "2", "13", 201) == [("2", "A2+13", 201), ("2", "A2-0+13", 201)]
    assert after(driver, "right", "2", "14", 201) == [("2", "A2+14", 201), ("2", "A2-0+14", 201)]
    assert after(driver, "right", "4", "end", 1500) == [
        ("1", "None+10", 111),
        ("3", "None+100", 210),
        ("3", "None+101", 211),
    ]


@pytest.mark.parametrize("side", ["left", "right"])
def test_either_side_lets_time_pass_for_both(side: str) -> None:
    driver = driver_of("left_join", within=0.1)
    assert after(driver, "left", "0", "A0", 1) == []
    assert after(driver, "left", "1", "A1", 2) == []
    assert after(driver, "left", "0", "A0-0", 3) == []
    assert after(driver, "right", "1", "11", 3) == [("1", "A1+11", 3)]
    assert after(driver, "right", "2", "alone", 3) == []
    assert after(driver, side, "3", "dummy", 401) == [("0", "A0+None", 1), ("0", "A0-0+None", 3)]


def test_what_closes_comes_before_what_the_record_brings() -> None:
    driver = driver_of("outer_join", within=0.05)
    assert after(driver, "left", "0", "A0", 0) == []
    assert after(driver, "left", "1", "A1", 100) == []
    assert after(driver, "right", "1", "11", 110) == [("0", "A0+None", 0), ("1", "A1+11", 110)]


def test_asymmetric_times() -> None:
    driver = driver_of("outer_join", before=0.005, after=0.02)
    for side, key, value, time in [
        ("left", "0", "A0", 29),
        ("left", "1", "A1", 30),
        ("right", "2", "12", 31),
        ("right", "3", "13", 36),
        ("right", "4", "14", 54),
    ]:
        assert after(driver, side, key, value, time) == []
    assert after(driver, "right", "5", "15", 55) == [("0", "A0+None", 29)]
    assert after(driver, "left", "6", "end", 57) == [("1", "A1+None", 30), ("2", "None+12", 31)]


def test_nothing_is_emitted_as_unmatched_that_may_be_matched_yet() -> None:
    """Kafka Streams emits A0 at once, and again when the late a0 comes."""
    driver = driver_of("left_join", before=0.1, after=0)
    assert after(driver, "left", "0", "A0", 1000) == []
    assert after(driver, "left", "1", "A1", 1001) == []
    assert after(driver, "right", "0", "a0", 999) == [("0", "A0+a0", 1000)]
    assert after(driver, "right", "1", "a1", 1002) == []
    assert after(driver, "right", "1", "end", 1102) == [("1", "A1+None", 1001)]


def test_late_records_are_dead_letters_and_nothing_else() -> None:
    driver = driver_of("outer_join", before=0.01, after=0.02, grace=0.005)
    assert after(driver, "left", "z", "now", 1000) == []
    assert after(driver, "left", "a", "just", 975) == []
    assert after(driver, "right", "a", "just", 985) == [("a", "just+just", 985)]
    assert driver.bad_records == {}
    assert after(driver, "left", "a", "late", 974) == []
    assert after(driver, "right", "a", "late", 984) == []
    assert driver.bad_records == {("both", "late"): 2}
    letters = driver.dead_letters()
    assert [each.value for each in letters] == [b'"late"', b'"late"']
    assert dict(letters[0].headers)["kproc.error"] == (
        b"LateError: the record is 26 ms behind the stream time: what it could be joined with may "
        b"be gone"
    )


@pytest.mark.parametrize("late", ["skip", "dead-letter"])
def test_what_becomes_of_late_records_can_be_said(late: Policy) -> None:
    driver = driver_of("join", late, within=0.01)
    after(driver, "left", "z", "now", 1000)
    assert after(driver, "left", "a", "late", 900) == []
    assert driver.bad_records == {("both", "late"): 1}
    assert len(driver.dead_letters()) == (late == "dead-letter")


def test_late_records_of_each_side_can_be_a_stream() -> None:
    topology = Topology("app")
    left, right = topology.stream("left", value=str), topology.stream("right", value=int)
    joined = left.left_join(right, lambda one, other: f"{one}+{other}", within=0.01, name="both")
    joined.to("out")
    joined.late_left().to("late")
    joined.late_right().map_values(lambda number: number + 1).to("late-other")
    driver = TopologyDriver(topology)
    driver.pipe("left", Record("z", "now", Timestamp(1000)), Record("a", "late", Timestamp(900)))
    driver.pipe("right", Record("a", 5, Timestamp(900)), Record("z", 6, Timestamp(1000)))
    assert driver.read("late") == [("a", "late")]
    assert driver.read("late-other") == [("a", 6)]
    assert driver.read("out") == [("z", "now+6")]
    assert driver.bad_records == {}


def test_late_is_for_joins_of_streams() -> None:
    topology = Topology("app")
    stream, table = topology.stream("left", value=str), topology.table("table", value=str)
    with pytest.raises(TopologyError, match="late= are for joins of streams"):
        stream.join(table, plus, late="skip")  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(TopologyError, match="late='drop'"):
        stream.join(topology.stream("right", value=str), plus, within=1, late="drop")  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_a_late_record_goes_its_other_ways() -> None:
    topology = Topology("app")
    left = topology.stream("left")
    left.join(topology.stream("right"), plus, within=0.01).to("out")
    left.to("copy")
    driver = TopologyDriver(topology)
    driver.pipe("left", Record("a", 1, Timestamp(100)), Record("a", 2, Timestamp(0)))
    assert driver.read("copy") == [("a", 1), ("a", 2)]
    assert driver.bad_records == {("left-join", "late"): 1}


def test_records_without_a_key_have_no_match() -> None:
    driver = driver_of("left_join", within=1)
    driver.pipe("left", key=None, value="L")
    assert driver.read("out") == [(None, "L+None")]
    driver.pipe("right", key=None, value="R")
    assert driver.bad_records == {("both", "null-key"): 1}
    driver = driver_of("outer_join", within=1)
    driver.pipe("right", key=None, value="R")
    assert driver.read("out") == [(None, "None+R")]


def test_a_stream_with_itself() -> None:
    topology = Topology("app")
    stream = topology.stream("in")
    stream.join(stream, plus, within=0.01).to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", *(Record("a", value, Timestamp(value)) for value in (0, 5, 50)))
    assert driver.read("out") == [
        ("a", "0+0"),
        ("a", "5+0"),
        ("a", "0+5"),
        ("a", "5+5"),
        ("a", "50+50"),
    ]


def test_state_is_bounded_and_nothing_is_left() -> None:
    driver = driver_of("outer_join", within=0.1)
    for time in range(0, 5000, 10):
        driver.pipe("left", key=f"k{time % 7}", value=time, timestamp=time)
        pages = driver.store("both-left")
        assert sum(len(page.rows) for page in pages.values()) <= 42
    driver.pipe("right", key="end", value=0, timestamp=10_000)
    assert driver.store("both-left") == {}
    assert len(driver.store("both-unmatched")) == 1


def test_pages_that_are_full_are_followed_by_others() -> None:
    driver = driver_of("join", within=10)
    for number in range(40):
        driver.pipe("left", key="hot", value=f"{number:04}" * 300, timestamp=number)
    pages = driver.store("both-left")
    assert len(pages) == 3
    driver.pipe("right", key="hot", value="", timestamp=20)
    assert [value[:4] for _, value in driver.read("out")] == [f"{each:04}" for each in range(40)]


def test_a_restart_between_both_sides_and_before_what_closes() -> None:
    driver = driver_of("left_join", within=0.1)
    driver.pipe("left", key="a", value="L", timestamp=0)
    driver.pipe("left", key="b", value="M", timestamp=1)
    driver.restart()
    driver.pipe("right", key="a", value="R", timestamp=5)
    driver.restart()
    driver.pipe("right", key="c", value="end", timestamp=500)
    assert driver.read("out") == [("a", "L+R"), ("b", "M+None")]


def test_a_result_that_fails_is_left_out_and_not_the_record_that_brought_its_time() -> None:
    def joiner(left: Any, right: Any) -> str:
        if right is None and left == "bad":
            raise ValueError(left)
        return plus(left, right)

    topology = Topology("app")
    left, right = topology.stream("left"), topology.stream("right")
    made = left.left_join(right, joiner, within=0.1, name="both")
    made.map_values(lambda value: 1 // (value != "worse+None"), name="divided").to("out")
    driver = TopologyDriver(topology)
    for number, value in enumerate(["bad", "good", "worse", "good"]):
        driver.pipe("left", key=f"k{number}", value=value, timestamp=number)
    driver.pipe("right", key="end", value=1, timestamp=1000)
    assert driver.read("out") == [("k1", 1), ("k3", 1)]
    assert driver.bad_records == {("both", "function"): 1, ("divided", "function"): 1}
    bad, worse = driver.dead_letters()
    assert (bad.key, bad.value) == (b"k0", b"bad")
    assert (worse.key, worse.value) == (b"k2", b"worse")
    driver.pipe("left", key="k", value="more", timestamp=1000)
    driver.pipe("right", key="k", value="more", timestamp=1000)
    assert driver.read("out") == [("k", 1)]


def test_both_sides_with_new_keys_meet_downstream_of_internal_topics() -> None:
    topology = Topology("app")
    orders = topology.stream("orders").key_by("user")
    clicks = topology.stream("clicks").key_by("by", name="clicks-by-user")
    orders.join(clicks, lambda order, click: [order["n"], click["n"]], within=1).to("out")
    driver = TopologyDriver(topology, partitions={"orders": 2, "clicks": 3})
    for number in range(6):
        driver.pipe("orders", key=f"o{number}", value={"user": f"u{number}", "n": number})
        driver.pipe("clicks", key=f"c{number}", value={"by": f"u{number}", "n": -number})
    assert sorted(driver.read("out")) == [(f"u{n}", [n, -n]) for n in range(6)]
    assert [each.name for each in builder_of(topology).repartitions] == [
        "app-orders-by-user-repartition",
        "app-clicks-by-user-repartition",
    ]


def test_stores_of_each_kind() -> None:
    for kind, endings in {
        "join": "",
        "left_join": " unmatched",
        "outer_join": " unmatched",
    }.items():
        topology = Topology("app")
        left, right = topology.stream("left"), topology.stream("right")
        getattr(left, kind)(right, plus, within=1)
        (part,) = plan(topology).subtopologies
        word = kind.replace("_", "-")
        names = [f"left-{word}-{each}" for each in f"left right{endings}".split()]
        assert [spec.name for spec in part.stores] == names


def test_times_as_they_are_written() -> None:
    assert span_of("10s", "join") == Span(10_000, 10_000, 0)
    assert span_of(JoinWindow("10s", after=0), "join") == Span(10_000, 0, 0)
    assert span_of(JoinWindow(before="1m", grace=2), "join") == Span(60_000, 0, 2000)
    for times in (JoinWindow(), JoinWindow(grace=1), JoinWindow(1, 2, 3)):
        with pytest.raises(TopologyError, match="within="):
            span_of(times, "join")
    with pytest.raises(UsageError, match="join: after: '1 year'"):
        span_of(JoinWindow(after="1 year"), "join")
    topology = Topology("app")
    with pytest.raises(TopologyError, match="joins of streams"):
        topology.stream("a").join(topology.table("b"), plus, within=1)  # pyright: ignore[reportCallIssue, reportArgumentType]
