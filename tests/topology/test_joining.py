"""What joins mean, case by case; those of Kafka Streams' own tests are among them."""

from collections.abc import Callable
from typing import Any

import pytest

from processor import Record, Table, Timestamp, Topology
from processor.errors import TopologyError
from processor.testing import TopologyDriver
from processor.topology.plan import plan


def plus(left: Any, right: Any) -> str:
    return f"{left}+{right}"


def emitted(driver: TopologyDriver, topic: str = "out") -> list[tuple[Any, Any, int]]:
    """Key, value and timestamp of what was written."""
    return [(each.key, each.value, each.timestamp) for each in driver.read_records(topic)]


# A stream with a table


@pytest.fixture
def orders_and_users() -> TopologyDriver:
    topology = Topology("app")
    users, orders = topology.table("users"), topology.stream("orders")
    orders.join(users, plus).to("out")
    orders.left_join(users, plus).to("left")
    return TopologyDriver(topology)


def test_a_record_meets_the_table_as_of_its_own_turn(orders_and_users: TopologyDriver) -> None:
    driver = orders_and_users
    driver.pipe("orders", key="a", value="X0", timestamp=5)
    driver.pipe("users", key="a", value="Y0", timestamp=90)
    driver.pipe("orders", key="a", value="X1", timestamp=7)
    driver.pipe("users", key="a", value="Y1", timestamp=3)
    assert driver.read("out") == [("a", "X1+Y0")]
    driver.pipe("orders", key="a", value="X2", timestamp=1)
    driver.pipe("users", key="a", value=None)
    driver.pipe("orders", key="a", value="X3", timestamp=8)
    assert emitted(driver) == [("a", "X2+Y1", 1)]
    assert driver.read("left") == [
        ("a", "X0+None"),
        ("a", "X1+Y0"),
        ("a", "X2+Y1"),
        ("a", "X3+None"),
    ]


def test_null_values_join_with_nothing(orders_and_users: TopologyDriver) -> None:
    driver = orders_and_users
    driver.pipe("users", key="a", value="Y")
    driver.pipe("orders", key="a", value=None)
    assert driver.read("out") == driver.read("left") == []
    assert driver.dead_letters() == []


def test_a_left_join_takes_records_without_a_key() -> None:
    topology = Topology("app")
    topology.stream("orders").left_join(topology.table("users"), plus).to("out")
    driver = TopologyDriver(topology)
    driver.pipe("orders", key=None, value="X")
    assert driver.read("out") == [(None, "X+None")]
    assert driver.bad_records == {}


def test_an_inner_join_takes_records_without_a_key_for_bad(
    orders_and_users: TopologyDriver,
) -> None:
    orders_and_users.pipe("orders", key=None, value="X")
    assert orders_and_users.bad_records == {("join-1", "null-key"): 1}


def test_a_stream_and_a_table_of_the_same_topic() -> None:
    """Whatever a batch holds, each record meets its own value in the table, not a later one."""
    topology = Topology("app")
    stream = topology.stream("in")
    stream.join(stream.to_table(name="last"), plus).to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", *(Record("a", value, Timestamp(value)) for value in range(3)))
    assert driver.read("out") == [("a", "0+0"), ("a", "1+1"), ("a", "2+2")]


def test_a_stream_of_changes_with_the_table_that_emits_them() -> None:
    topology = Topology("app")
    counts = topology.stream("in").group_by_key().count(emit="change")
    counts.to_stream().join(counts, plus).to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", *(Record("a", value, Timestamp(value)) for value in range(3)))
    assert driver.read("out") == [("a", "1+1"), ("a", "2+2"), ("a", "3+3")]


def test_a_stream_with_new_keys_goes_where_the_table_has_them() -> None:
    topology = Topology("app")
    orders = topology.stream("orders").key_by("user").join(topology.table("users"), plus)
    orders.to("out")
    driver = TopologyDriver(topology, partitions=3)
    for user in "abcdef":
        driver.pipe("users", key=user, value=user.upper())
    driver.pipe("orders", *(Record(None, {"user": user}, Timestamp(0)) for user in "abcdef"))
    found = dict(driver.read("out"))
    assert found == {user: f"{{'user': '{user}'}}+{user.upper()}" for user in "abcdef"}


def test_numbers_as_keys_meet_or_are_refused() -> None:
    """In a topic that is read as int a key is eight bytes, in a grouping without a type JSON."""

    def users(topology: Topology) -> Table[int, str]:
        return topology.table("users", key=int, value=str, emit="change")

    keyed, counted = Topology("app"), Topology("app")
    keyed.stream("in").key_by("user").join(users(keyed), plus).to("out")
    counts = counted.stream("in").key_by("user").repartition(name="by-user", key=int)
    counts.group_by_key().count(emit="change").join(users(counted), plus, emit="change").to("out")
    for topology, expected in ((keyed, "{'user': 5}+Ann"), (counted, "1+Ann")):
        driver = TopologyDriver(topology, partitions=3)
        driver.pipe("users", key=5, value="Ann")
        driver.pipe("in", key="x", value={"user": 5})
        assert driver.read("out") == [(5, expected)]
    other = Topology("app")
    with pytest.raises(TopologyError, match="are json-key and those of the other int64"):
        other.stream("in").group_by("user").count().join(users(other), plus)


def test_the_table_and_its_join_are_one_subtopology_with_one_store() -> None:
    topology = Topology("app")
    topology.stream("orders").join(topology.table("users"), plus).to("out")
    (part,) = plan(topology).subtopologies
    assert [spec.name for spec in part.stores] == ["users-table"]


def test_a_restart_between_both_sides() -> None:
    topology = Topology("app")
    topology.stream("orders").join(topology.table("users"), plus).to("out")
    driver = TopologyDriver(topology)
    driver.pipe("users", key="a", value="Y")
    driver.restart()
    driver.pipe("orders", key="a", value="X")
    assert driver.read("out") == [("a", "X+Y")]


# A table with a table

Joined = Callable[[Table[str, Any], Table[str, Any]], Table[str, str]]
KINDS: dict[str, Joined] = {
    "inner": lambda left, right: left.join(right, plus, name="both", emit="change"),
    "left": lambda left, right: left.left_join(right, plus, name="both", emit="change"),
    "outer": lambda left, right: left.outer_join(right, plus, name="both", emit="change"),
}
CHANGES: list[tuple[str, str, Any, int, dict[str, tuple[Any, int]]]] = [
    # Side, key, value, time, and what each kind of join that emits a result emits, with its time.
    ("left", "a", "X0", 5, {"left": ("X0+None", 5), "outer": ("X0+None", 5)}),
    ("right", "a", "Y0", 0, dict.fromkeys(KINDS, ("X0+Y0", 5))),
    ("right", "b", "Y1", 10, {"outer": ("None+Y1", 10)}),
    ("left", "b", "X1", 6, dict.fromkeys(KINDS, ("X1+Y1", 10))),
    ("left", "a", "X2", 7, dict.fromkeys(KINDS, ("X2+Y0", 7))),
    ("right", "a", "Y2", 15, dict.fromkeys(KINDS, ("X2+Y2", 15))),
    (
        "right",
        "a",
        None,
        16,
        {"inner": (None, 16), "left": ("X2+None", 16), "outer": ("X2+None", 16)},
    ),
    ("left", "a", None, 17, {"left": (None, 17), "outer": (None, 17)}),
    ("left", "a", None, 18, {}),
    ("right", "a", None, 19, {}),
    ("left", "b", None, 20, {"inner": (None, 20), "left": (None, 20), "outer": ("None+Y1", 20)}),
    ("right", "b", None, 21, {"outer": (None, 21)}),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("emit", ["change", "checkpoint"])
def test_changes_of_two_tables(kind: str, emit: Any) -> None:
    topology = Topology("app")
    left, right = topology.table("left", emit=emit), topology.table("right", emit=emit)
    KINDS[kind](left, right).to("out")
    driver = TopologyDriver(topology)
    for side, key, value, time, expected in CHANGES:
        driver.pipe(side, key=key, value=value, timestamp=time)
        wanted = [(key, *expected[kind])] if kind in expected else []
        assert emitted(driver) == wanted, (side, key, value)


def test_a_joined_table_emits_the_last_change_at_a_checkpoint_and_can_be_read() -> None:
    topology = Topology("app")
    both = topology.table("left").outer_join(topology.table("right"), plus)
    both.to("out")
    topology.stream("in").join(both, plus).to("read")
    driver = TopologyDriver(topology, auto_checkpoint=False)
    driver.pipe("left", key="a", value=1)
    driver.pipe("left", key="a", value=2)
    driver.pipe("right", key="a", value=3)
    assert driver.read("out") == []
    driver.checkpoint()
    assert driver.read("out") == [("a", "2+3")]
    assert driver.store("left-table-outer-join") == {"a": "2+3"}
    driver.pipe("in", key="a", value="x")
    assert driver.read("read") == [("a", "x+2+3")]


def test_a_table_with_itself() -> None:
    topology = Topology("app")
    table = topology.table("in", emit="change")
    table.join(table, plus, name="twice", emit="change").to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", *(Record("a", value, Timestamp(value)) for value in range(2)))
    driver.pipe("in", key="a", value=None)
    assert driver.read("out") == [
        ("a", "0+0"),
        ("a", "0+0"),
        ("a", "1+1"),
        ("a", "1+1"),
        ("a", None),
    ]


def test_joins_of_joins() -> None:
    topology = Topology("app")
    one, two, three = (topology.table(each) for each in ("one", "two", "three"))
    one.join(two, plus, name="first").outer_join(three, plus, name="second").to("out")
    driver = TopologyDriver(topology)
    driver.pipe("three", key="a", value=3)
    driver.pipe("one", key="a", value=1)
    driver.pipe("two", key="a", value=2)
    driver.pipe("one", key="a", value=None)
    assert driver.read("out") == [("a", "None+3"), ("a", "1+2+3"), ("a", "None+3")]


def test_a_join_of_tables_needs_a_name_where_the_first_has_none() -> None:
    topology = Topology("app")
    nameless = topology.stream("in").key_by(lambda value: value).group_by_key()
    with pytest.raises(TopologyError, match="name="):
        nameless.count()
    with pytest.raises(TopologyError, match="emit='never'"):
        topology.table("a").join(topology.table("b"), plus, emit="never")  # pyright: ignore[reportArgumentType]
