"""What enters a dataflow and what leaves it: bytes, topics, sizes, order."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest

from processor import Stream, Table, Topology, tumbling
from processor.records import Headers, Record, Timestamp
from processor.testing import TopologyDriver


def reasons(driver: TopologyDriver) -> list[tuple[int, str, str]]:
    """Offset, reason and error of the dead letters."""
    found: list[tuple[int, str, str]] = []
    for each in driver.dead_letters():
        why = {name: (data or b"").decode() for name, data in each.headers}
        found.append((int(why["kproc.offset"]), why["kproc.reason"], why["kproc.error"]))
    return found


def pipe(driver: TopologyDriver, *values: Any, headers: Headers = ()) -> None:
    driver.pipe("in", *(Record("k", value, Timestamp(0), headers) for value in values))


def test_what_can_not_be_decoded() -> None:
    topology = Topology("app")
    topology.stream("in").to("out")
    driver = TopologyDriver(topology)
    driver.pipe_bytes("in", key=b"\xff", value=b"1")
    driver.pipe_bytes("in", key=b"k", value=b"{")
    driver.pipe_bytes("in", key=b"\xff", value=b"{")
    driver.pipe_bytes("in", key=b"k", value=b"1", timestamp=-1)
    driver.pipe_bytes("in", key=b"k", value=b"1", timestamp=2**60)
    driver.pipe_bytes("in", key=None, value=None)
    assert driver.read("out") == [(None, None)]
    (key, value, both, time, late) = reasons(driver)
    assert key[:2] == (0, "decode")
    assert "can't decode 1 bytes as text" in key[2]
    assert value[:2] == (1, "decode")
    assert "as json" in value[2]
    assert "as text" in both[2]
    assert time == (3, "timestamp", "InvalidTimestampError: the record has no timestamp")
    assert late[:2] == (4, "timestamp")


def test_a_dead_letter_of_a_record_without_timestamp_has_one() -> None:
    topology = Topology("app")
    topology.stream("in").to("out")
    driver = TopologyDriver(topology)
    driver.pipe_bytes("in", value=b"1", timestamp=-1)
    (letter,) = driver.dead_letters()
    assert letter.timestamp == 0
    assert dict(letter.headers)["kproc.timestamp"] == b"-1"


def test_rows_of_a_diamond_come_in_the_order_of_their_records() -> None:
    topology = Topology("app")
    stream = topology.stream("in")
    small, big = stream.split(small=lambda value: value < 3).values()
    small.map_values(lambda value: f"small {value}").merge(
        big.flat_map_values(lambda value: [f"big {value}", value])
    ).to("out")
    stream.to("out")
    driver = TopologyDriver(topology)
    pipe(driver, 5, 1, 4)
    values = [value for _, value in driver.read("out")]  # bytes, as the sinks' serdes differ
    assert values == [b"big 5", b"5", b"5", b"small 1", b"1", b"big 4", b"4", b"4"]


def test_what_can_not_be_encoded() -> None:
    topology = Topology("app")
    topology.stream("in").map(
        lambda _key, value: {1: ("k", object()), 2: (object(), 2)}.get(value, ("k", value))
    ).to("out")
    driver = TopologyDriver(topology)
    pipe(driver, 0, 1, 2, 3)
    assert driver.read("out") == [("k", 0), ("k", 3)]
    assert [each[:2] for each in reasons(driver)] == [(1, "serialize"), (2, "serialize")]


def chosen(choice: Any) -> TopologyDriver:
    topology = Topology("app")
    topology.stream("in").to(choice)
    return TopologyDriver(topology)


def test_topics_are_chosen_for_each_record() -> None:
    driver = chosen(lambda record: f"out-{record.value % 2}")
    pipe(driver, 1, 2, 3)
    assert driver.read("out-0") == [("k", 2)]
    assert driver.read("out-1") == [("k", 1), ("k", 3)]


@pytest.mark.parametrize("topic", [None, 5, "", "no spaces", "..", "x" * 250, ["out"], b"out"])
def test_what_can_not_be_a_topic_makes_the_record_bad(topic: object) -> None:
    driver = chosen(lambda record: topic if record.value == 2 else "out")
    pipe(driver, 1, 2, 3)
    assert driver.read("out") == [("k", 1), ("k", 3)]
    assert [each[:2] for each in reasons(driver)] == [(1, "function")]


def test_a_record_that_no_broker_would_take() -> None:
    topology = Topology("app")
    topology.stream("in").map_values(lambda value: "x" * value).to("out")
    driver = TopologyDriver(topology)
    pipe(driver, 400_000, 2_000_000, 3, 999_899, 999_900)
    sizes = [len(value) for _, value in driver.read("out")]
    assert sizes == [400_000, 3, 999_899]
    too_large = [each[:2] for each in reasons(driver)]
    assert too_large == [(1, "too-large"), (4, "too-large")]


def test_large_keys_and_headers_count() -> None:
    topology = Topology("app")
    topology.stream("in").map(lambda _key, value: ("x" * value, "y")).to("out")
    driver = TopologyDriver(topology)
    pipe(driver, 999_899, 999_900, 1_000_001)
    assert [len(key) for key, _ in driver.read("out")] == [999_899]
    assert [each[1] for each in reasons(driver)] == ["too-large", "too-large"]
    pipe(driver, 999_899, headers=(("h", None),))
    assert [each[1] for each in reasons(driver)] == ["too-large"] * 3


def test_headers_pass_through() -> None:
    topology = Topology("app")
    topology.stream("in").filter(bool).map_values(str).to("out")
    driver = TopologyDriver(topology)
    headers: Headers = (("a", b"1"), ("a", None))
    pipe(driver, 1, headers=headers)
    pipe(driver, 2)
    assert [record.headers for record in driver.read_records("out")] == [headers, ()]


def test_an_internal_topic_can_not_be_chosen() -> None:
    topology = Topology("app")
    stream = topology.stream("in")
    stream.group_by_key().count(name="count")
    stream.to(lambda _: "app-count-changelog")
    driver = TopologyDriver(topology)
    pipe(driver, 1)
    ((_, reason, error),) = reasons(driver)
    assert reason == "function"
    assert "internal" in error
    assert driver.store("count") == {}


@dataclass
class Order:
    items: list[int]


@pytest.mark.parametrize(
    "value",
    [{"items": [1]}, Order([1]), ({"items": [1]},), [[1]]],
    ids=lambda each: str(type(each)),
)
def test_a_value_changed_in_place_on_one_way_is_not_changed_on_another(value: Any) -> None:
    def spoil(given: Any) -> Any:
        inner = given[0] if isinstance(given, tuple) else given
        items = inner.items if isinstance(inner, Order) else inner
        (items if isinstance(items, list) else items["items"]).append(9)
        return given

    before = deepcopy(value)
    seen: list[Any] = []
    topology = Topology("app")
    stream = topology.stream("in").map_values(lambda _: value, name="make")
    for name in ("a", "b"):
        stream.map_values(spoil, name=f"spoil-{name}").to(f"spoiled-{name}")
        stream.peek(lambda _, given: seen.append(deepcopy(given)), name=f"see-{name}")
    stream.to("out", value=Any)
    driver = TopologyDriver(topology)
    driver.pipe("in", key="k", value=1)
    assert seen == [before, before]
    assert driver.dead_letters() == []


def added(name: str) -> Any:
    def add(given: list[str]) -> list[str]:
        given.append(name)
        return given

    return add


def a_table(stream: Stream[Any, Any]) -> list[Any]:
    table = stream.to_table(name="t", emit="change")
    return [table.to_stream(), table, table.to_stream(), table]


def the_same_twice(stream: Stream[Any, Any]) -> list[Any]:
    return [stream.merge(stream)]


def windows(stream: Stream[Any, Any]) -> list[Any]:
    made = stream.group_by_key().window(tumbling("1m"), emit="change").reduce(_latest, name="w")
    return [made.to_stream(), made.to_stream()]


def _latest(_: Any, new: Any) -> Any:
    return new


@pytest.mark.parametrize("ways_of", [a_table, the_same_twice, windows])
def test_each_way_of_a_value_has_its_own(ways_of: Callable[[Stream[Any, Any]], list[Any]]) -> None:
    topology = Topology("app")
    stream = topology.stream("in").map_values(lambda _: list[str](), name="make")
    ways = ways_of(stream)
    for number, way in enumerate(ways):
        changed = way.map_values(added(str(number)), name=f"add-{number}")
        (changed.to_stream() if isinstance(changed, Table) else changed).to(f"out-{number}")
    driver = TopologyDriver(topology)
    for _ in range(3):
        driver.pipe("in", key="k", value=1)
    for number in range(len(ways)):
        read = driver.read(f"out-{number}", key=bytes, value=Any)
        assert read
        assert all(value == [str(number)] for _, value in read)
