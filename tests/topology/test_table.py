from typing import Any

import pytest

from processor import Serde, Stream, Table, Topology, tumbling
from processor.errors import TopologyError
from processor.testing import TopologyDriver
from processor.topology.flow import flow_of
from processor.topology.graph import Step
from processor.topology.table import values_of
from processor.topology.topology import builder_of


@pytest.fixture
def app() -> Topology:
    return Topology("app")


@pytest.fixture
def stream(app: Topology) -> Stream[Any, Any]:
    return app.stream("in")


def repartitions(app: Topology) -> list[str]:
    return [
        each.name.removeprefix("app-").removesuffix("-repartition")
        for each in builder_of(app).repartitions
    ]


def stores(app: Topology) -> list[str]:
    steps = [node for node in builder_of(app).nodes if isinstance(node, Step)]
    return [spec.name for step in steps for spec in step.stores]


def test_a_table_knows_its_store_and_what_is_in_it(app: Topology) -> None:
    grouped = app.stream("in", key=int, value=float).group_by_key()
    counted, largest = grouped.count(), grouped.reduce(max)
    longest = grouped.aggregate(str, lambda text, value: text + str(value))
    assert [values_of(table).store.name for table in (counted, largest, longest)] == stores(app)
    assert [values_of(table).store.key.name for table in (counted, largest, longest)] == [
        "int64"
    ] * 3
    assert [flow_of(table).value.type for table in (counted, largest, longest)] == [int, float, str]


@pytest.mark.parametrize("kind", ["count", "reduce", "aggregate", "table"])
def test_when_a_table_emits_changes_is_one_of_two(kind: str, stream: Stream[Any, Any]) -> None:
    grouped, emit = stream.group_by_key(), "now"
    make: dict[str, Any] = {
        "count": lambda: grouped.count(name="n", emit=emit),
        "reduce": lambda: grouped.reduce(max, name="n", emit=emit),
        "aggregate": lambda: grouped.aggregate(int, max, name="n", emit=emit),
        "table": lambda: stream.to_table(name="n", emit=emit),
    }
    with pytest.raises(TopologyError, match=f"{kind} n: emit='now': possible are"):
        make[kind]()


def test_changes_of_a_table_are_a_stream_of_it(app: Topology, capfd: Any) -> None:
    table = app.stream("in", value=int).group_by_key().count(name="n", emit="change")
    assert isinstance(table, Table)
    assert table.print("counted") is table
    table.to_stream().filter(lambda count: count > 1).to("often")
    table.to("counts")
    driver = TopologyDriver(app)
    driver.pipe("in", key="a", value=7)
    driver.pipe("in", key="a", value=8)
    assert driver.read("counts") == [("a", 1), ("a", 2)]
    assert driver.read("often") == [("a", 2)]
    assert capfd.readouterr().out == "counted: a → 1\ncounted: a → 2\n"


def test_two_tables_of_one_grouping_share_its_repartition(
    stream: Stream[Any, Any], app: Topology
) -> None:
    grouped = stream.group_by("user")
    grouped.count()
    grouped.reduce(max)
    assert repartitions(app) == ["in-by-user"]
    assert stores(app) == ["in-by-user-count", "in-by-user-reduce"]


def test_the_same_grouping_made_twice_is_refused_until_named(
    stream: Stream[Any, Any], app: Topology
) -> None:
    stream.group_by("user").count()
    with pytest.raises(TopologyError, match="keep the grouped stream in a variable"):
        stream.group_by("user").reduce(max)
    stream.group_by("user", name="again").reduce(max)
    assert repartitions(app) == ["in-by-user", "again"]


def test_repartitioned_records_meet_and_keep_their_types(app: Topology) -> None:
    moved = app.stream("in", value=int).key_by(lambda value: value % 2, name="odd")
    moved.group_by_key().reduce(max, name="largest").to("out")
    driver = TopologyDriver(app, partitions=3)
    for value in range(5):
        driver.pipe("in", key=str(value), value=value)
    assert driver.store("largest") == {0: 4, 1: 3}


def test_a_tombstone_comes_only_of_what_was_passed_on(app: Topology) -> None:
    users = app.table("in", value=int, name="users", emit="change")
    users.filter(lambda value: value > 5).map_values(lambda value: value * 10).to("big")
    driver = TopologyDriver(app)
    for value in [3, 7, 8, 4, 2, None, 9, None]:
        driver.pipe("in", key="a", value=value)
    assert driver.read("big") == [("a", 70), ("a", 80), ("a", None), ("a", 90), ("a", None)]
    assert [node.name for node in builder_of(app).nodes][2:4] == ["filter-1", "map-values-1"]
    assert stores(app) == ["users"]


def test_what_was_passed_on_is_known_after_a_restart(app: Topology) -> None:
    app.table("in", value=int, name="users").filter(lambda value: value > 5).to("big")
    driver = TopologyDriver(app)
    driver.pipe("in", key="a", value=7)
    driver.restart()
    driver.pipe("in", key="a", value=3)
    driver.pipe("in", key="b", value=3)
    assert driver.read("big") == [("a", 7), ("a", None)]


def test_a_grouped_table_takes_back_what_moves(app: Topology) -> None:
    users = app.table("in", name="users")
    regions = users.group_by("region")
    regions.count().to("counts")
    regions.aggregate(
        int,
        lambda total, user: total + user["spent"],
        lambda total, user: total - user["spent"],
        name="spent",
    )
    driver = TopologyDriver(app, partitions=3)
    driver.pipe("in", key="ann", value={"region": "north", "spent": 5})
    driver.pipe("in", key="bob", value={"region": "north", "spent": 3})
    assert driver.store("spent") == {"north": 8}
    driver.pipe("in", key="ann", value={"region": "south", "spent": 4})
    driver.pipe("in", key="bob", value={"region": "north", "spent": 7})
    assert driver.store("users-by-region-count") == {"north": 1, "south": 1}
    assert driver.store("spent") == {"north": 7, "south": 4}
    driver.pipe("in", key="bob", value=None)
    assert driver.store("spent") == {"north": 0, "south": 4}
    assert sorted(driver.read("counts")) == [
        ("north", 0),
        ("north", 1),
        ("north", 1),
        ("north", 1),
        ("north", 2),
        ("south", 1),
    ]
    assert repartitions(app) == ["users-by-region"]


def test_values_travel_as_the_table_keeps_them(app: Topology) -> None:
    hexadecimal = Serde("hex", lambda value: hex(value).encode(), lambda data: int(data, 16))
    table = app.table("in", value=hexadecimal, name="users")
    kept = flow_of(table.filter(bool).group_by(bool, name="same")).value.read
    assert kept is not None
    assert kept.name == "change(hex)"
    made = flow_of(table.map_values(str).group_by(bool, name="text")).value.read
    assert made is not None
    assert made.name == "change(text)"


def test_a_grouping_needs_a_name_where_the_function_has_none(app: Topology) -> None:
    grouped = app.table("in", name="users").group_by(lambda value: value)
    with pytest.raises(TopologyError, match="count needs a name="):
        grouped.count()


def test_of_windows_no_table_is_made_directly(stream: Stream[Any, Any]) -> None:
    counted = stream.group_by_key().window(tumbling("1m")).count()
    kept = counted.to_stream().to_table(name="kept")
    with pytest.raises(TopologyError, match=r"emits results .* put .to_stream\(\).to_table"):
        counted.join(stream.to_table(name="table"), max, on=len)
    kept.filter(bool)
