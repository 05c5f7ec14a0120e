"""What goes in comes out equal, whatever topics and stores lie between.

Objects are compared with the objects that went in and not with what serdes make of their bytes, so
that what these lose shows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AnyUrl, SecretBytes, SecretStr

from processor import Topology, tumbling
from processor.errors import TopologyError
from processor.operators.aggregates.catalogue import collect_of, last_of
from processor.serdes import SchemaRegistry, Serde, avro, json_of, kept_serde_for
from processor.testing import TopologyDriver
from processor.topology.stream import Stream
from tests.serdes import kinds
from tests.serdes.test_internal import ANYTHING, alike

AnyStream = Stream[Any, Any]
Place = Callable[[AnyStream, list[Any]], None]


def collecting(seen: list[Any]) -> Callable[[Any], int]:
    def see(value: Any) -> int:
        seen.append(value)
        return 0

    return see


def behind_repartition(stream: AnyStream, seen: list[Any]) -> None:
    stream.repartition(name="r").map_values(collecting(seen)).to("out")


def behind_group_by(stream: AnyStream, seen: list[Any]) -> None:
    grouped = stream.group_by(lambda _: "g", name="g")
    grouped.reduce(lambda _, new: new, name="n").to_stream().map_values(collecting(seen)).to("out")


def in_a_table(stream: AnyStream, seen: list[Any]) -> None:
    stream.to_table(name="t").map_values(collecting(seen)).to_stream().to("out")


def in_a_window(stream: AnyStream, seen: list[Any]) -> None:
    windowed = stream.group_by_key().window(tumbling("1h"), emit="change")
    windowed.reduce(lambda _, new: new, name="w").to_stream().map_values(collecting(seen)).to("out")


def in_parts(stream: AnyStream, seen: list[Any]) -> None:
    table = stream.group_by_key().agg(last=last_of(), every=collect_of(), name="p")
    table.to_stream().map_values(lambda made: seen.extend([made["last"], *made["every"]])).to("out")


def in_a_join(stream: AnyStream, seen: list[Any]) -> None:
    other = stream.map_values(lambda _: 0, name="other")
    stream.join(other, lambda value, _: collecting(seen)(value), within="1m", name="j").to("out")


def kept_by_the_user(stream: AnyStream, seen: list[Any]) -> None:
    stream.deduplicate(within="1h", name="d").repartition(name="r").map_values(collecting(seen)).to(
        "out"
    )


def on_several_ways(stream: AnyStream, seen: list[Any]) -> None:
    for out in ("out", "other", "third"):
        stream.map_values(collecting(seen)).to(out)


def in_derived_tables(stream: AnyStream, seen: list[Any]) -> None:
    """Tables that hold back what they emit until the checkpoint, and tables made of them."""
    table = stream.to_table(name="t").filter(lambda value: value is not None)
    regrouped = table.group_by(lambda _: "g", name="g")
    last = regrouped.reduce(lambda _, new: new, lambda old, _: old, name="n")
    last.map_values(collecting(seen)).to("n")
    joined = table.join(stream.to_table(name="u"), lambda value, _: collecting(seen)(value))
    joined.to("out")


PLACES: list[Place] = [
    on_several_ways,
    in_derived_tables,
    behind_repartition,
    behind_group_by,
    in_a_table,
    in_a_window,
    in_parts,
    in_a_join,
    kept_by_the_user,
]


def typed(annotation: Any, value: Any) -> Callable[[Any], Any]:
    def make(_: Any) -> Any:
        return value

    make.__annotations__["return"] = annotation
    return make


def what_comes_out(place: Place, make: Callable[[Any], Any]) -> list[Any]:
    seen: list[Any] = []
    topology = Topology("app")
    place(topology.stream("in", key=str, value=int).map_values(make, name="make"), seen)
    driver = TopologyDriver(topology, on_bad_record="fail")
    driver.pipe("in", key="k", value=1, timestamp=1_000)
    driver.checkpoint()
    driver.restart()
    driver.pipe("in", key="k", value=2, timestamp=2_000)
    driver.checkpoint()
    return seen


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("annotation", "value"), kinds.EXAMPLES, ids=kinds.name_of)
def test_values_of_every_kind(place: Place, annotation: Any, value: Any) -> None:
    seen = what_comes_out(place, typed(annotation, value))
    assert seen
    for each in seen:
        assert type(each) is type(value)
        assert each == value


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("serde", "value"), [each[1:] for each in kinds.FROM_TOPICS], ids=lambda _: ""
)
def test_values_that_topics_have(place: Place, serde: Serde[Any], value: Any) -> None:
    seen: list[Any] = []
    topology = Topology("app")
    place(topology.stream("in", key=str, value=serde), seen)
    driver = TopologyDriver(topology, on_bad_record="fail")
    data = serde.encode(value)
    read = serde.decode(data)  # as a validator of the model makes it, once
    for timestamp in (1_000, 2_000):
        driver.pipe_bytes("in", key=b"k", value=data, timestamp=timestamp)
        driver.restart()
    assert seen
    assert all(type(each) is type(value) and each == read for each in seen)


@pytest.mark.parametrize("place", PLACES)
def test_messages_that_a_function_made(place: Place) -> None:
    _, _, message = kinds.FROM_TOPICS[-1]
    for annotation, value in ((type(message), message), (list[type(message)], [message])):  # type: ignore[misc]
        seen = what_comes_out(place, typed(annotation, value))
        assert seen
        assert all(each == value for each in seen)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(ANYTHING.filter(lambda value: value is not None), st.sampled_from(PLACES))
def test_any_value_without_a_type(value: Any, place: Place) -> None:
    seen = what_comes_out(place, lambda _: value)
    assert seen
    assert all(alike(each, value) for each in seen)


def opened(given: dict[str, Any]) -> kinds.Open:
    return kinds.Open(**given)


FLOATS, TEXTS = st.floats(allow_nan=False), st.text()
CENTS = st.builds(kinds.Cents.model_construct, v=FLOATS)
POINTS = st.builds(kinds.Point, st.integers(), st.sampled_from(kinds.Color))
MODELS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (kinds.Cents, CENTS),
    (
        kinds.Aliased,
        st.builds(
            kinds.Aliased.model_construct, one=st.integers(), two=st.integers(), hidden=TEXTS
        ),
    ),
    (
        kinds.Secrets,
        st.builds(
            kinds.Secrets.model_construct,
            text=TEXTS.map(SecretStr),
            data=st.binary().map(SecretBytes),
            url=st.just(AnyUrl("http://a/b")),
            mail=TEXTS,
        ),
    ),
    (kinds.Open, st.dictionaries(st.text("xyz", min_size=1), ANYTHING).map(opened)),
    (kinds.Root, st.lists(CENTS).map(kinds.Root.model_construct)),
    (kinds.Halved, st.builds(kinds.Halved, FLOATS, st.none() | st.datetimes(), st.lists(TEXTS))),
    (kinds.Slotted, st.builds(kinds.Slotted, st.integers(), st.decimals(allow_nan=False))),
    (kinds.Struct, st.builds(kinds.Struct, st.integers(-(2**62), 2**62), st.none() | TEXTS)),
    (
        kinds.Frozen,
        st.builds(kinds.Frozen, st.lists(st.integers()).map(tuple), st.frozensets(TEXTS)),
    ),
    (kinds.Point | kinds.Frozen | Decimal, POINTS | st.builds(kinds.Frozen, st.just(()))),
    (
        kinds.Typed,
        st.fixed_dictionaries({"a": st.integers(), "point": POINTS}, optional={"note": TEXTS}),
    ),
    (dict[str, kinds.Cents | None], st.dictionaries(TEXTS, CENTS | st.none())),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "values"), MODELS, ids=lambda each: "")
@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_value_of_a_model(
    annotation: Any, values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    value, place = data.draw(values), data.draw(st.sampled_from(PLACES))
    seen = what_comes_out(place, typed(annotation, value))
    assert seen
    assert all(type(each) is type(value) and each == value for each in seen)


def test_a_validator_sees_a_value_once() -> None:
    topology = Topology("app")
    stream = topology.stream("in", value=kinds.Cents)
    grouped = stream.group_by(lambda _: "all", name="all")
    grouped.aggregate(float, lambda so_far, order: so_far + order.v, name="sum").to_stream().to(
        "out"
    )
    driver = TopologyDriver(topology)
    for v in (10_000, 5_000):
        driver.pipe_bytes("in", key=b"k", value=b'{"v": %d}' % v)
    assert driver.read("out")[-1] == ("all", 150.0)


def repartitioned(stream: AnyStream, serde: Serde[Any]) -> AnyStream:
    return stream.repartition(name="r", value=serde)


def in_a_given_table(stream: AnyStream, serde: Serde[Any]) -> AnyStream:
    return stream.to_table(name="t", value=serde).to_stream()


def in_a_given_fold(stream: AnyStream, serde: Serde[Any]) -> AnyStream:
    folded = stream.group_by_key().reduce(lambda _, new: new, name="f", value=serde)
    return folded.to_stream()


def through_a_topic(stream: AnyStream, serde: Serde[Any]) -> AnyStream:
    return stream.through("between", value=serde)


@pytest.mark.parametrize("put", [repartitioned, in_a_given_table, in_a_given_fold, through_a_topic])
@pytest.mark.parametrize(("annotation", "value"), kinds.EXAMPLES, ids=kinds.name_of)
def test_a_serde_that_is_given_changes_no_value_in_silence(
    put: Callable[[AnyStream, Serde[Any]], AnyStream], annotation: Any, value: Any
) -> None:
    try:
        serde = json_of(annotation)
    except TopologyError:  # no JSON holds it
        return
    seen: list[Any] = []
    topology = Topology("app")
    stream = topology.stream("in", key=str, value=int).map_values(typed(annotation, value))
    put(stream, serde).map_values(collecting(seen)).to("out")
    driver = TopologyDriver(topology)
    for timestamp in (1_000, 2_000):
        driver.pipe("in", key="k", value=1, timestamp=timestamp)
        driver.restart()
    letters = [dict(each.headers)["kproc.error"] or b"" for each in driver.dead_letters()]
    assert seen or letters
    assert all(type(each) is type(value) and each == value for each in seen)


def test_what_was_kept_as_json_and_a_validator_would_change_again_is_not_read() -> None:
    serde = kept_serde_for(json_of(kinds.Cents), what="the value")
    with pytest.raises(ValueError, match="the value would come back as another"):
        serde.decode(b'{"v": 500}')
    assert serde.decode(b'{"v": 0}') == kinds.Cents(v=0)


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        ("float", 1.1, False),
        ("float", 1.5, True),
        ("double", 1.1, True),
        (
            {"type": "long", "logicalType": "timestamp-millis"},
            datetime(2026, 1, 1, tzinfo=UTC),
            True,
        ),
        (
            {"type": "long", "logicalType": "timestamp-millis"},
            datetime(2026, 1, 1, microsecond=1, tzinfo=UTC),
            False,
        ),
    ],
)
@pytest.mark.parametrize("put", [repartitioned, in_a_given_table, in_a_given_fold, through_a_topic])
def test_avro_that_is_given_cuts_nothing_in_silence(
    put: Callable[[AnyStream, Serde[Any]], AnyStream],
    kind: Any,
    value: Any,
    kept: bool,  # noqa: FBT001
) -> None:
    seen: list[Any] = []
    topology = Topology("app")
    stream = topology.stream("in", key=str, value=int).map_values(lambda _: value)
    put(stream, avro(kind)).map_values(collecting(seen)).to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", key="k", value=1)
    assert seen == ([value] if kept else [])
    assert len(driver.dead_letters()) == (not kept)


def test_topics_of_a_registry_are_checked_on_the_way_through() -> None:
    schema = {"type": "record", "name": "C", "fields": [{"name": "v", "type": "double"}]}
    serde = avro(schema, kinds.Cents, registry=SchemaRegistry(auto_register=True))
    topology = Topology("app")
    stream = topology.stream("in", key=str, value=int)
    halved = stream.map_values(typed(kinds.Cents, kinds.Cents(v=500)))
    halved.through("between", value=serde).map_values(lambda value: value.v).to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", key="k", value=1)
    (letter,) = driver.dead_letters()
    assert b"would come back as another" in (dict(letter.headers)["kproc.error"] or b"")
    assert driver.read("out") == []


def test_a_store_without_a_type_judges_each_value() -> None:
    values = iter([None, Decimal("12.34"), Decimal("1.00"), object()])
    topology = Topology("app")
    table = topology.stream("in").map_values(lambda _: next(values)).to_table(name="t")
    table.to_stream().map_values(repr).to("out")
    driver = TopologyDriver(topology)
    for _ in range(4):
        driver.pipe("in", key="k", value=1)
    assert driver.store("t") == {"k": Decimal("1.00")}
    (letter,) = driver.dead_letters()
    assert b"object can't be kept without its type" in (dict(letter.headers)["kproc.error"] or b"")


@dataclass
class Order:
    amount: int


def test_a_topic_of_the_user_is_written_for_others_downstream_of_a_repartition() -> None:
    topology = Topology("app")
    topology.stream("in", value=Order).repartition(value=Order).to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", key="k", value=Order(5))
    assert driver.read("out", value=bytes) == [("k", b'{"amount":5}')]
