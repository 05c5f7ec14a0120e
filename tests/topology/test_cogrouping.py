"""Several streams in one aggregate; the cases of Kafka Streams' own tests are among them."""

from typing import Any

import pytest

from processor import Record, Timestamp, Topology, tumbling
from processor.errors import TopologyError
from processor.testing import TopologyDriver


def plus(so_far: str, value: str) -> str:
    return so_far + value


def minus(so_far: str, value: str) -> str:
    return f"{so_far}-{value}"


def cogrouped(emit: Any = "change") -> TopologyDriver:
    topology = Topology("app")
    one, two = topology.stream("one"), topology.stream("two")
    table = (
        one.group_by_key()
        .cogroup(plus)
        .cogroup(two.group_by_key(), minus)
        .aggregate(str, name="all", emit=emit)
    )
    table.to("out")
    return TopologyDriver(topology)


def test_each_stream_is_added_by_its_own_function() -> None:
    driver = cogrouped()
    for topic, key, value, time in [
        ("one", "k1", "A", 0),
        ("two", "k1", "B", 10),
        ("two", "k2", "C", 5),
        ("one", "k2", "D", 1),
    ]:
        driver.pipe(topic, key=key, value=value, timestamp=time)
    emitted = [(each.key, each.value, each.timestamp) for each in driver.read_records("out")]
    assert emitted == [("k1", "A", 0), ("k1", "A-B", 10), ("k2", "-C", 5), ("k2", "-CD", 5)]
    assert driver.store("all") == {"k1": "A-B", "k2": "-CD"}


def test_at_a_checkpoint_the_last_change_is_emitted() -> None:
    driver = cogrouped("checkpoint")
    driver.pipe("one", Record("k", "A", Timestamp(0)), Record("k", "B", Timestamp(1)))
    assert driver.read("out") == [("k", "AB")]


def test_records_without_a_key_are_bad() -> None:
    driver = cogrouped()
    driver.pipe("two", key=None, value="A")
    assert driver.bad_records == {("all", "null-key"): 1}


def test_of_one_topic_each_record_is_added_in_its_turn() -> None:
    topology = Topology("app")
    stream = topology.stream("in").group_by_key()
    stream.cogroup(plus).cogroup(stream, minus).aggregate(str, name="all").to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", *(Record("k", value, Timestamp(0)) for value in "AB"))
    assert driver.read("out") == [("k", "A-AB-B")]


def test_streams_with_new_keys_meet_downstream_of_internal_topics() -> None:
    topology = Topology("app")
    one = topology.stream("one").group_by(lambda value: value[0], name="one-by")
    two = topology.stream("two").group_by(lambda value: value[0], name="two-by")
    one.cogroup(plus).cogroup(two, minus).aggregate(str, name="all")
    driver = TopologyDriver(topology, partitions={"one": 2, "two": 3})
    for value in ("ab", "bc", "ac"):
        driver.pipe("one", key="x", value=value)
        driver.pipe("two", key="y", value=value)
    assert driver.store("all") == {"a": "ab-abac-ac", "b": "bc-bc"}


def test_by_windows() -> None:
    topology = Topology("app")
    one, two = topology.stream("one").group_by_key(), topology.stream("two").group_by_key()
    windowed = one.cogroup(plus).cogroup(two, minus).window(tumbling("10s"))
    windowed.aggregate(str, name="all").to_stream().map(
        lambda window, value: (f"{window.key}@{window.start}", value)
    ).to("out")
    driver = TopologyDriver(topology)
    for topic, value, time in [
        ("one", "A", 0),
        ("two", "B", 9),
        ("two", "C", 12),
        ("one", "D", 31),
    ]:
        driver.pipe(topic, key="k", value=value, timestamp=time * 1000)
    assert driver.read("out") == [("k@0", "A-B"), ("k@10000", "-C")]


def test_a_value_that_is_the_aggregate_is_not_shared_with_other_steps() -> None:
    topology = Topology("app")
    stream = topology.stream("in")

    def change(value: dict[str, int]) -> None:
        value["n"] = -1

    def last(so_far: dict[str, int], value: dict[str, int]) -> dict[str, int]:
        so_far["n"] = 7
        return value

    stream.group_by_key().cogroup(last).aggregate(dict, name="all", emit="change").to("out")
    stream.peek(lambda _, value: change(value))
    driver = TopologyDriver(topology)
    driver.pipe("in", *(Record("k", {"n": n}, Timestamp(0)) for n in range(2)))
    assert driver.read("out") == [("k", {"n": 0}), ("k", {"n": 1})]


def test_what_does_not_go_together() -> None:
    topology = Topology("app")
    one, two = topology.stream("one").group_by_key(), topology.stream("two", key=int)
    with pytest.raises(TopologyError, match="text and those of the other int64"):
        one.cogroup(plus).cogroup(two.group_by_key(), minus).aggregate(str)  # pyright: ignore[reportArgumentType]
    other = Topology("other").stream("two").group_by_key()
    with pytest.raises(TopologyError, match="different topologies"):
        one.cogroup(plus).cogroup(other, minus).aggregate(str)
