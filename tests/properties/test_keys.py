"""Keys that a function gives come back equal, and equal ones meet, whatever lies between.

Keys are compared as objects, and counted by objects that are equal, never by their bytes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from processor import Record, Topology, tumbling
from processor.operators.process import ProcessContext
from processor.serdes import json_of
from processor.testing import TopologyDriver
from processor.topology.stream import Stream
from processor.topology.table import values_of
from processor.topology.topology import key_value
from tests.serdes import test_typed_keys as typed

AnyStream = Stream[Any, Any]
Make = Callable[[Any], Any]
See = Callable[[Any, Any], None]
Place = Callable[[AnyStream, Make, See], None]


def behind_a_repartition(stream: AnyStream, make: Make, see: See) -> None:
    keyed = stream.key_by(make, name="k").repartition(name="r")
    keyed.peek(see).group_by_key().count(name="n").to_stream().peek(see).to("out")


def in_a_count(stream: AnyStream, make: Make, see: See) -> None:
    stream.group_by(make, name="g").count(name="n").to_stream().peek(see).to("out")


def in_a_table(stream: AnyStream, make: Make, see: See) -> None:
    table = stream.key_by(make, name="k").to_table(name="t", emit="change")
    table.to_stream().peek(see).group_by_key().count(name="n").to_stream().peek(see).to("out")


def in_windows(stream: AnyStream, make: Make, see: See) -> None:
    counted = stream.group_by(make, name="g").window(tumbling("1h"), emit="change").count(name="w")
    results = counted.to_stream().peek(lambda window, _: see(window.key, None))
    again = results.repartition(name="again").peek(lambda window, _: see(window.key, None))
    again.map_values(lambda count: count).peek(lambda window, n: see(window.key, n)).to("out")


def in_a_closed_window(stream: AnyStream, make: Make, see: See) -> None:
    counted = stream.group_by(make, name="g").window(tumbling("1m")).count(name="w")
    counted.to_stream().peek(lambda window, n: see(window.key, n)).to("out")


def in_a_join_of_streams(stream: AnyStream, make: Make, see: See) -> None:
    one, other = (stream.key_by(make, name=name).repartition(name=name) for name in "ab")
    joined = one.filter(bool).join(other.filter_not(bool), lambda *_: 1, within="1h", name="j")
    joined.peek(see).to("out")


def in_a_join_with_a_table(stream: AnyStream, make: Make, see: See) -> None:
    table = stream.filter_not(bool).key_by(make, name="b").to_table(name="t")
    stream.key_by(make, name="a").join(table, lambda *_: 1, name="j").peek(see).to("out")


def in_a_join_of_tables(stream: AnyStream, make: Make, see: See) -> None:
    one, other = (
        each.key_by(make, name=name).to_table(name=f"{name}-table")
        for name, each in (("a", stream.filter(bool)), ("b", stream.filter_not(bool)))
    )
    one.join(other, lambda *_: 1, name="j").to_stream().peek(see).to("out")


def in_a_store_of_the_user(stream: AnyStream, make: Make, see: See) -> None:
    store = key_value("s", key=make.__annotations__["return"], value=int)

    def add(record: Record[Any, Any], context: ProcessContext) -> Iterator[Record[Any, Any]]:
        kept = context.store(store)
        kept.put(record.key, (kept.get(record.key) or 0) + 1)
        for key, count in kept.items():
            see(key, count)
        yield record

    keyed = stream.key_by(make, name="k").repartition(name="r")
    keyed.process(add, stores=[store], name="p").to("out")


COUNTED: list[Place] = [
    behind_a_repartition,
    in_a_count,
    in_a_table,
    in_windows,
    in_a_closed_window,
    in_a_store_of_the_user,
]
JOINED: list[Place] = [in_a_join_of_streams, in_a_join_with_a_table, in_a_join_of_tables]


def seen_in(place: Place, annotation: Any, keys: list[Any]) -> list[tuple[Any, Any]]:
    """What is seen of records with these keys, in several partitions and after a restart each."""
    seen: list[tuple[Any, Any]] = []

    def make(number: int) -> Any:
        return keys[number]

    make.__annotations__["return"] = annotation
    topology = Topology("app")
    stream = topology.stream("in", key=str, value=int)
    place(stream, make, lambda key, value: seen.append((key, value)))
    driver = TopologyDriver(topology, partitions=3, on_bad_record="fail")
    for number in range(len(keys)):
        driver.pipe("in", key=str(number), value=number, timestamp=1_000 + number)
        driver.restart()
    driver.pipe("in", key="late", value=0, timestamp=10_000_000)
    return seen


EXAMPLES = [(kind, keys) for kind, keys in typed.EQUAL if len(keys) > 1]


@pytest.mark.parametrize("place", COUNTED)
@pytest.mark.parametrize(("annotation", "keys"), EXAMPLES, ids=typed.named)
def test_keys_come_back_equal_and_are_counted_as_one(
    place: Place, annotation: Any, keys: list[Any]
) -> None:
    seen = seen_in(place, annotation, keys)
    assert all(key == keys[0] and hash(key) == hash(keys[0]) for key, _ in seen)
    assert len(keys) in [count for _, count in seen]


@pytest.mark.parametrize("place", JOINED)
@pytest.mark.parametrize(("annotation", "keys"), EXAMPLES, ids=typed.named)
def test_keys_that_are_equal_meet_in_joins(place: Place, annotation: Any, keys: list[Any]) -> None:
    seen = seen_in(place, annotation, keys)
    assert seen
    assert all(key == keys[0] and hash(key) == hash(keys[0]) for key, _ in seen)


@dataclass(frozen=True)
class Asked:
    price: Any
    owner: Any


@pytest.mark.parametrize(("annotation", "keys"), EXAMPLES, ids=typed.named)
def test_foreign_keys_meet(annotation: Any, keys: list[Any]) -> None:
    seen: list[Any] = []

    def make(number: int) -> Any:
        return keys[number]

    make.__annotations__["return"] = annotation
    topology = Topology("app")
    left = topology.table("left", key=str, value=int)
    right = topology.stream("right", key=str, value=int).key_by(make, name="k").to_table(name="t")
    right.to_stream().peek(lambda key, _: seen.append(key)).to("keys")
    left.join(right, lambda one, other: [one, other], on=make, name="j").to("out")
    driver = TopologyDriver(topology, partitions=3, on_bad_record="fail")
    driver.pipe("right", key="r", value=0)
    for number in range(len(keys)):
        driver.pipe("left", key=str(number), value=number)
    assert sorted(driver.read("out")) == [(str(n), [n, 0]) for n in range(len(keys))]
    assert seen == [keys[0]]


def test_keys_by_a_function_meet_a_topic_of_others() -> None:
    def place(number: int) -> typed.Place:
        return typed.Place(float(number))

    topology = Topology("app")
    table = topology.table("places", key=typed.Place, value=str)
    numbers = topology.stream("in", key=str, value=int)
    numbers.key_by(place, name="k").join(table, lambda n, name: [n, name], name="j").to("out")
    driver = TopologyDriver(topology, partitions=5, on_bad_record="fail")
    for number in range(20):
        key = json_of(typed.Place, sort=True).encode(typed.Place(float(number)))
        driver.pipe_bytes("places", key=key, value=b"p%d" % number)
        driver.pipe("in", key="k", value=number)
    assert sorted(each for _, each in driver.read("out")) == [[n, f"p{n}"] for n in range(20)]


def test_a_key_that_a_validator_would_change_is_a_bad_record_where_others_wrote_the_topic() -> None:
    def make(_: int) -> typed.Cents:
        return typed.cents(5)

    topology = Topology("app")
    table = topology.table("names", key=typed.Cents, value=str)
    stream = topology.stream("in", key=str, value=int)
    stream.key_by(make, name="k").join(table, lambda n, name: [n, name], name="j").to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", key="k", value=1)
    (letter,) = driver.dead_letters()
    assert b"would come back as another from json(Cents)" in dict(letter.headers)["kproc.error"]


@pytest.mark.parametrize("kept_in", ["repartition", "table", "through", "count"])
@pytest.mark.parametrize("key", [typed.cents(5), typed.Halved(10.0), typed.cents(0)])
def test_a_serde_that_is_given_changes_no_key_in_silence(kept_in: str, key: Any) -> None:
    seen: list[Any] = []

    def make(_: int) -> Any:
        return key

    make.__annotations__["return"] = type(key)
    own = json_of(type(key), sort=True)
    topology = Topology("app")
    stream: AnyStream = topology.stream("in", key=str, value=int).key_by(make, name="k")
    if kept_in == "table":
        stream = stream.to_table(name="t", key=own).to_stream()
    elif kept_in == "through":
        stream = stream.through("between", key=own)
    else:
        stream = stream.repartition(name="r", key=own)
    if kept_in == "count":
        stream = stream.group_by_key().count(name="c").to_stream()
    stream.peek(lambda key, _: seen.append(key)).to("out")
    driver = TopologyDriver(topology)
    for _ in range(2):
        driver.pipe("in", key="k", value=1)
        driver.restart()
    assert all(each == key for each in seen)
    assert len(driver.dead_letters()) == (0 if key == typed.cents(0) else 2)
    assert bool(seen) is (key == typed.cents(0))


def test_the_key_of_a_topic_is_validated_once() -> None:
    seen: list[Any] = []
    topology = Topology("app")
    stream = topology.stream("in", key=typed.Cents, value=int)
    counted = stream.group_by_key().window(tumbling("1m")).count(name="w")
    counted.to_stream().peek(lambda window, _: seen.append(window.key)).to("out")
    stream.to_table(name="t").to_stream().peek(lambda key, _: seen.append(key)).to("table")
    driver = TopologyDriver(topology, on_bad_record="fail")
    driver.pipe_bytes("in", key=b'{"v":500,"Name":"a"}', value=(1).to_bytes(8, "big"), timestamp=1)
    driver.pipe_bytes("in", key=b'{"v":0}', value=(1).to_bytes(8, "big"), timestamp=10**7)
    assert seen.count(typed.cents(5, Name="a")) == 2
    assert {key.v for key in seen} == {5.0, 0.0}


def test_tables_that_keep_their_keys_in_other_forms_are_joined() -> None:
    topology = Topology("app")
    own = json_of(typed.Open, sort=True)
    left = topology.stream("left", key=typed.Open, value=int).to_table(name="l")
    right = topology.stream("right", key=typed.Open, value=int).to_table(name="r", key=own)
    assert values_of(left).store.key.name != values_of(right).store.key.name
    left.join(right, lambda one, other: [one, other], name="j").to("out")
    right.join(left, lambda one, other: [one, other], name="k").to("other")
    driver = TopologyDriver(topology, on_bad_record="fail")
    for topic, value in (("left", 1), ("right", 2), ("left", 3)):
        driver.pipe(topic, key=typed.Open(a=5), value=value)
    assert [value for _, value in driver.read("out")] == [[1, 2], [3, 2]]
    assert [value for _, value in driver.read("other")] == [[2, 1], [2, 3]]
