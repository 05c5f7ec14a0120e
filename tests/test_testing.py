"""TopologyDriver: what a user's tests see is what Kafka would have."""

from typing import Any

import pytest
from pydantic import BaseModel

from processor import Topology, every, key_value
from processor.errors import BadRecordError, SettingsError, TopicMismatch, UsageError
from processor.records import Record, Timestamp
from processor.testing import TopologyDriver


class Order(BaseModel):
    user: str
    amount: int


def orders() -> Topology:
    topology = Topology("orders")
    stream = topology.stream("orders", value=Order)
    stream.filter(lambda order: order.amount >= 500).map_values(
        lambda order: {"user": order.user, "big": True}
    ).to("big-orders")
    stream.group_by_key().count().to("counts", value=int)
    return topology


def counting(**options: Any) -> TopologyDriver:
    """Copies, counts by key, and counts by first letter behind a repartition."""
    topology = Topology("app")
    stream = topology.stream("in")
    stream.to("copies")
    stream.group_by_key().count(name="count").to("counts", value=int)
    stream.group_by(lambda value: value[0], name="letter").count(name="letters").to(
        "letters", value=int
    )
    return TopologyDriver(topology, **options)


def test_the_example() -> None:
    driver = TopologyDriver(orders())
    driver.pipe("orders", key="ann", value=Order(user="ann", amount=700))
    assert driver.read("big-orders") == [("ann", {"user": "ann", "big": True})]
    assert driver.store("orders-count") == {"ann": 1}
    assert driver.read("counts") == [("ann", 1)]
    assert driver.read("big-orders") == []


def test_values_are_read_as_the_type_that_is_asked_for() -> None:
    topology = Topology("app")
    orders = topology.stream("orders", value=Order).map_values(lambda order: order)
    orders.key_by(lambda order: order.amount).to("copies")
    driver = TopologyDriver(topology)
    order = Order(user="ann", amount=700)
    for _ in range(2):
        driver.pipe("orders", key="ann", value=order)
    first, second = driver.read("copies", value=Order)
    assert first == second == (700, order)
    driver.pipe("orders", key="ann", value=order)
    (record,) = driver.read_records("copies", key=str, value=bytes)
    assert (record.key, record.value) == ("700", b'{"user":"ann","amount":700}')


def test_records_keep_timestamp_and_headers() -> None:
    driver = counting()
    driver.pipe("in", key="a", value="x", timestamp=5, headers=(("h", b"1"),))
    assert driver.read_records("copies") == [Record("a", "x", Timestamp(5), (("h", b"1"),))]


def test_the_timestamp_is_by_default_the_time_on_the_clock() -> None:
    driver = counting(start=1000)
    driver.advance("2s")
    driver.pipe("in", key="a", value="x")
    assert driver.now == 3000
    assert driver.read_records("copies")[0].timestamp == 3000


def test_several_records_are_one_batch() -> None:
    driver = counting()
    driver.pipe("in", *(Record("a", value, Timestamp(0)) for value in ("x", "y", "x")))
    assert driver.read("counts") == [("a", 3)]
    assert driver.read("letters") == [("x", 2), ("y", 1)]


def test_records_go_to_the_partitions_of_their_keys() -> None:
    driver = counting(partitions=4)
    for number in range(20):
        driver.pipe("in", key=f"k{number % 10}", value="x")
    assert driver.store("count") == {f"k{number}": 2 for number in range(10)}
    assert driver.store("letters") == {"x": 20}
    tasks = {task.partition for task in driver._worker.tasks}
    assert tasks == {0, 1, 2, 3}


def test_without_automatic_checkpoints_outputs_are_uncommitted_first() -> None:
    driver = counting(auto_checkpoint=False)
    driver.pipe("in", key="a", value="x")
    assert driver.read("copies") == [("a", "x")]
    assert driver.read("counts") == []
    assert driver.store("count") == {}
    driver.checkpoint()
    assert driver.read("counts") == [("a", 1)]
    assert driver.read("letters") == [("x", 1)]
    assert driver.store("count") == {"a": 1}
    assert driver.store("letters") == {"x": 1}
    driver.checkpoint()
    assert driver.read("counts") == []
    # Nothing was left to commit; what comes now waits for the next checkpoint all the same.
    driver.pipe("in", key="a", value="x")
    driver.advance("1s")
    assert driver.read("counts") == []
    driver.checkpoint()
    assert driver.read("counts") == [("a", 2)]


def test_a_checkpoint_commits_what_follows_from_it_too() -> None:
    topology = Topology("app")
    counts = topology.stream("in").group_by_key().count(name="count").to_stream()
    counts.group_by(lambda value: value % 2, name="odd").count(name="odds")
    driver = TopologyDriver(topology, auto_checkpoint=False)
    driver.pipe("in", key="a", value="x")
    driver.checkpoint()
    assert driver.store("odds") == {1: 1}


def test_a_restart_drops_what_is_uncommitted_and_works_on_the_input_again() -> None:
    driver = counting(auto_checkpoint=False)
    driver.pipe("in", key="a", value="x")
    driver.checkpoint()
    driver.pipe("in", key="a", value="y")
    driver.restart()
    assert driver.store("count") == {"a": 1}
    assert driver.read("copies") == [("a", "x")]
    driver.checkpoint()
    assert driver.read("copies") == [("a", "y")]
    assert driver.read("counts") == [("a", 1), ("a", 2)]
    assert driver.store("count") == {"a": 2}
    assert driver.store("letters") == {"x": 1, "y": 1}


def test_what_was_read_before_a_restart_is_read_again() -> None:
    driver = counting(auto_checkpoint=False)
    driver.pipe("in", key="a", value="x")
    assert driver.read("copies") == [("a", "x")]
    driver.restart()
    assert driver.read("copies") == []
    driver.pipe("in", key="a", value="y")
    assert driver.read("copies") == [("a", "x"), ("a", "y")]


def test_input_of_a_topic_that_the_topology_writes_too_outlives_a_restart() -> None:
    topology = Topology("app")
    topology.stream("in").through("middle").to("out")
    driver = TopologyDriver(topology, auto_checkpoint=False)
    driver.pipe("in", key="a", value=1)
    driver.pipe("middle", key="b", value=2)
    driver.pipe("in", key="c", value=3)
    driver.restart()
    driver.checkpoint()
    driver.pipe("in", key="d", value=4)
    driver.checkpoint()
    assert sorted(driver.read("out")) == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]


def test_stream_time_is_kept_over_a_restart() -> None:
    topology = Topology("app")
    topology.stream("in").process(
        lambda record, context: [record._replace(value=context.stream_time)], name="time"
    ).to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", key="a", value=0, timestamp=50)
    driver.restart()
    driver.pipe("in", key="a", value=0, timestamp=10)
    assert driver.read("out") == [("a", 50), ("a", 50)]


def test_the_wall_clock_stands_still_until_it_is_let_go_on() -> None:
    store = key_value("ticks", key=str, value=int)

    def tick(time: Timestamp, context: Any) -> list[Record[str, int]]:
        context.store(store).put("last", time)
        return [Record("tick", context.now, time)]

    topology = Topology("app")
    topology.stream("in").process(
        lambda _record, _context: None,
        stores=[store],
        punctuators=[every("10s", tick, clock="wall")],
        name="step",
    ).to("out")
    driver = TopologyDriver(topology, start=95_000)
    driver.advance("4s")
    assert driver.read("out") == []
    driver.advance(2)
    assert driver.read_records("out") == [Record("tick", 101_000, Timestamp(100_000))]
    assert driver.store("ticks") == {"last": 100_000}
    driver.restart()
    driver.advance("30s")
    assert driver.read("out") == [("tick", 131_000)]


def test_dead_letters_are_bytes() -> None:
    driver = counting()
    driver.pipe_bytes("in", key=b"k", value=b"{")
    (letter,) = driver.dead_letters()
    assert (letter.key, letter.value) == (b"k", b"{")
    assert driver.dead_letters() == [letter]  # asking does not empty it
    assert driver.bad_records == {("source-in", "decode"): 1}
    driver.pipe_bytes("in", key=b"l", value=b"[")
    assert [each.key for each in driver.dead_letters()] == [b"k", b"l"]


def test_policy_fail_raises_and_leaves_nothing_of_the_record() -> None:
    driver = counting(on_bad_record="fail", auto_checkpoint=False)
    driver.pipe("in", key="a", value="x")
    with pytest.raises(BadRecordError, match="can't decode 1 bytes as json"):
        driver.pipe_bytes("in", key=b"k", value=b"{")
    assert driver.read("copies") == []


def test_unknown_topics_and_stores() -> None:
    driver = counting()
    with pytest.raises(UsageError, match="does not read 'other'; it reads in"):
        driver.pipe("other", value=1)
    with pytest.raises(UsageError, match="has no store 'other'"):
        driver.store("other")


def test_partition_counts_are_checked() -> None:
    topology = Topology("app")
    topology.stream("a").merge(topology.stream("b"), name="both").group_by_key().count(name="n")
    with pytest.raises(TopicMismatch):
        TopologyDriver(topology, partitions={"a": 1, "b": 2})
    with pytest.raises(UsageError, match="partitions= lacks b"):
        TopologyDriver(topology, partitions={"a": 1})


def test_a_topic_written_in_several_ways_is_read_as_bytes() -> None:
    topology = Topology("app")
    stream = topology.stream("in")
    stream.to("out", value=str)
    stream.map_values(len).to("out", value=int)
    driver = TopologyDriver(topology)
    driver.pipe("in", key="a", value="x")
    assert driver.read("out") == [("a", b"x"), ("a", (1).to_bytes(8, "big"))]


def failing(**settings: Any) -> Topology:
    topology = Topology("app", settings=settings)
    topology.stream("in", value=int).map_values(lambda value: 1 // value).to("out", value=int)
    return topology


def test_the_settings_of_the_topology_count() -> None:
    with pytest.raises(BadRecordError):
        TopologyDriver(failing(on_bad_record="fail")).pipe("in", key="a", value=0)
    driver = TopologyDriver(failing(on_bad_record="fail"), on_bad_record="skip")
    driver.pipe("in", key="a", value=0)
    assert driver.dead_letters() == []
    assert sum(driver.bad_records.values()) == 1
    topology = Topology("app", settings={"max_record_bytes": 1000})
    topology.stream("in").to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", key="a", value="x" * 1000)
    assert driver.read("out") == []
    assert sum(driver.bad_records.values()) == 1


def test_settings_are_refused_as_they_are_by_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KPROC_ON_BAD_RECORD", "fail")
    with pytest.raises(SettingsError, match=r"on_bad_records \(topology\): .*on_bad_record\?"):
        TopologyDriver(failing(on_bad_records="fail"))
    driver = TopologyDriver(failing())
    driver.pipe("in", key="a", value=0)
    assert len(driver.dead_letters()) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"on_bad_record": "drop"}, "on_bad_record='drop': possible are 'fail', 'skip'"),
        ({"partitions": 0}, "partitions=0: give a whole number from 1 on"),
        ({"partitions": "2"}, "partitions='2': "),
        ({"partitions": {"in": 1.5}}, "partitions=1.5: "),
        ({"start": -1}, "start=-1: give a whole number from 0 on .milliseconds since 1970"),
        ({"start": "2024-01-01"}, "start='2024-01-01': "),
    ],
)
def test_arguments_are_checked(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TopologyDriver(failing(), **given)


def test_what_nothing_writes_is_not_read() -> None:
    driver = counting()
    with pytest.raises(UsageError, match="'typo'; it writes copies, counts, letters"):
        driver.read("typo")
    assert driver.read("app-dead-letters") == []
    assert driver.read("app-count-changelog") == []
    topology = Topology("chosen")
    topology.stream("in").to(lambda record: record.value)
    assert TopologyDriver(topology).read("any") == []
