"""What joins by a foreign key mean, case by case; some are those of Kafka Streams' own tests."""

import random
from typing import Any

import pytest

from processor import Record, Table, Timestamp, Topology
from processor.errors import TopologyError
from processor.operators.joins.foreign_key import (
    Response,
    Subscription,
    hash_of,
    response_serde,
    subscription_serde,
)
from processor.serdes import json, text
from processor.testing import TopologyDriver

Value = dict[str, Any] | None


def pair(left: Any, right: Any) -> str:
    return f"({left['n']},{right})"


def foreign(value: Any) -> Any:
    return value["on"]


@pytest.fixture(params=["join", "left_join"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def driver_of(kind: str, *, emit: Any = "checkpoint", **partitions: int) -> TopologyDriver:
    topology = Topology("app")
    left, right = topology.table("left", emit=emit), topology.table("right", emit=emit)
    joined: Table[str, str] = getattr(left, kind)(right, pair, on="on", name="joined", emit=emit)
    joined.to("out")
    return TopologyDriver(topology, partitions={"left": 3, "right": 2} | partitions)


def left(driver: TopologyDriver, key: str, number: int, on: str | None) -> dict[Any, Any]:
    driver.pipe("left", key=key, value={"n": number, "on": on})
    return dict(driver.read("out"))


def right(driver: TopologyDriver, key: str, value: str | None) -> dict[Any, Any]:
    driver.pipe("right", key=key, value=value)
    return dict(driver.read("out"))


def without(kind: str, **results: str) -> dict[str, str]:
    """What a left join alone emits."""
    return results if kind == "left_join" else {}


def test_from_the_left(kind: str) -> None:
    driver = driver_of(kind)
    assert right(driver, "r1", "R1") == right(driver, "r2", "R2") == {}
    assert left(driver, "l1", 1, "r1") == {"l1": "(1,R1)"}
    assert left(driver, "l2", 2, "r2") == {"l2": "(2,R2)"}
    assert left(driver, "l3", 3, "none") == without(kind, l3="(3,None)")
    assert left(driver, "l1", 4, "r2") == {"l1": "(4,R2)"}
    driver.pipe("left", key="l1", value=None)
    driver.pipe("left", key="l3", value=None)
    emitted = dict(driver.read("out"))
    assert emitted == ({"l1": None, "l3": None} if kind == "left_join" else {"l1": None})
    assert driver.store("joined") == {"l2": "(2,R2)"}
    assert len(driver.store("joined-subscriptions")) == 1


def test_from_the_right(kind: str) -> None:
    driver = driver_of(kind)
    assert left(driver, "l1", 1, "r1") == without(kind, l1="(1,None)")
    assert left(driver, "l2", 2, "r1") == without(kind, l2="(2,None)")
    assert left(driver, "l3", 3, "r") == without(kind, l3="(3,None)")
    assert right(driver, "r1", "R1") == {"l1": "(1,R1)", "l2": "(2,R1)"}
    assert right(driver, "r1", "R2") == {"l1": "(1,R2)", "l2": "(2,R2)"}
    assert right(driver, "r", "R") == {"l3": "(3,R)"}
    gone = right(driver, "r1", None)
    assert gone == (
        {"l1": "(1,None)", "l2": "(2,None)"} if kind == "left_join" else {"l1": None, "l2": None}
    )
    assert right(driver, "r1", None) == (gone if kind == "left_join" else {})


def test_another_foreign_key_one_that_nobody_has_and_none(kind: str) -> None:
    driver = driver_of(kind)
    right(driver, "r1", "R1")
    right(driver, "r2", "R2")
    assert left(driver, "l", 1, "r1") == {"l": "(1,R1)"}
    assert left(driver, "l", 2, "nobody") == {"l": "(2,None)" if kind == "left_join" else None}
    assert left(driver, "l", 3, "r2") == {"l": "(3,R2)"}
    assert left(driver, "l", 4, None) == {"l": "(4,None)" if kind == "left_join" else None}
    assert right(driver, "r2", "R3") == right(driver, "nobody", "R") == {}
    assert driver.store("joined-subscriptions") == {}
    assert driver.bad_records == {}


def test_a_response_to_an_older_value_is_stale() -> None:
    """Nothing is emitted for what was asked for before the value changed."""
    driver = driver_of("join", emit="change", right=1, left=1)
    right(driver, "r1", "R1")
    right(driver, "r2", "R2")
    values = [{"n": 1, "on": "r1"}, {"n": 2, "on": "r2"}]
    driver.pipe("left", *(Record("l", value, Timestamp(0)) for value in values))
    assert driver.read("out") == [("l", "(2,R2)")]


def test_timestamps_are_the_later_of_both() -> None:
    driver = driver_of("left_join")
    driver.pipe("left", key="l", value={"n": 1, "on": "r"}, timestamp=10)
    driver.pipe("right", key="r", value="R", timestamp=5)
    driver.pipe("right", key="r", value="S", timestamp=20)
    driver.pipe("left", key="l", value={"n": 2, "on": "r"}, timestamp=15)
    times = [(each.value, each.timestamp) for each in driver.read_records("out")]
    assert times == [("(1,None)", 10), ("(1,R)", 10), ("(1,S)", 20), ("(2,S)", 20)]


def test_a_table_with_itself() -> None:
    topology = Topology("app")
    staff = topology.table("staff")
    staff.left_join(
        staff, lambda one, boss: [one["name"], boss and boss["name"]], on="boss", name="bosses"
    ).to("out")
    driver = TopologyDriver(topology, partitions=3)
    driver.pipe("staff", key="1", value={"name": "Ann", "boss": None})
    driver.pipe("staff", key="2", value={"name": "Bob", "boss": "1"})
    driver.pipe("staff", key="3", value={"name": "Cy", "boss": "2"})
    driver.pipe("staff", key="2", value={"name": "Bo", "boss": "1"})
    assert driver.store("bosses") == {"1": ["Ann", None], "2": ["Bo", "Ann"], "3": ["Cy", "Bo"]}


@pytest.mark.parametrize("emit", ["checkpoint", "change"])
@pytest.mark.parametrize("seed", range(5))
def test_after_any_changes_it_is_the_join_of_both_tables(kind: str, seed: int, emit: str) -> None:
    chance = random.Random(seed)
    driver = driver_of(kind, emit=emit)
    driver._auto_checkpoint = False
    lefts: dict[str, Value] = {}
    rights: dict[str, Any] = {}
    for number in range(120):
        if chance.random() < 0.6:
            key, on = f"l{chance.randrange(6)}", chance.choice(["r0", "r1", "r2", "r3", None])
            lefts[key] = None if chance.random() < 0.2 else {"n": number % 5, "on": on}
            driver.pipe("left", key=key, value=lefts[key])
        else:
            key = f"r{chance.randrange(4)}"
            rights[key] = None if chance.random() < 0.3 else f"R{number}"
            driver.pipe("right", key=key, value=rights[key])
        match chance.randrange(8):
            case 0:
                driver.checkpoint()
            case 1:
                driver.checkpoint()
                driver.restart()
            case _:
                pass
    driver.checkpoint()
    found = {key: (value, rights.get(value["on"])) for key, value in lefts.items() if value}
    expected = {
        key: pair(value, other)
        for key, (value, other) in found.items()
        if other is not None or kind == "left_join"
    }
    assert driver.store("joined") == expected


def test_what_is_wrong_is_said_when_it_is_written() -> None:
    topology = Topology("app")
    one, other = topology.table("a", value=dict[str, Any]), topology.table("b", key=int)

    def wrong(value: dict[str, Any]) -> str:
        return value["on"]

    with pytest.raises(TopologyError, match=r"on= gives text, but the keys .* are int64"):
        one.join(other, pair, on=wrong)  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(TopologyError, match="different topologies"):
        one.join(Topology("other").table("b"), pair, on=foreign)


def test_messages_come_back_as_they_were() -> None:
    responses = response_serde(text)
    for value in (None, "", "R"):
        response = Response(bytes(16), value)
        assert responses.decode(responses.encode(response)) == response
    for hash_ in (None, bytes(15) + b"1"):
        subscription = Subscription(b"key", hash_)
        assert subscription_serde.decode(subscription_serde.encode(subscription)) == subscription
    assert hash_of({"a": 1}, json) == hash_of({"a": 1}, json) != hash_of({"a": 2}, json)
    assert len(hash_of("x", text)) == 16
