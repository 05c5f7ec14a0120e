from collections.abc import Callable, Iterator
from typing import Any

import pytest

from processor import (
    GroupedStream,
    ProcessContext,
    Record,
    Stream,
    Table,
    Timestamp,
    Topology,
    every,
    key_value,
)
from processor.errors import TopologyError, UsageError
from processor.testing import TopologyDriver
from processor.topology.flow import flow_of
from processor.topology.graph import Sink, Source, Step
from processor.topology.topology import builder_of

Any2 = Stream[Any, Any]


@pytest.fixture
def app() -> Topology:
    return Topology("app")


@pytest.fixture
def stream(app: Topology) -> Any2:
    return app.stream("in")


def repartitions(app: Topology) -> list[str]:
    return [
        each.name.removeprefix("app-").removesuffix("-repartition")
        for each in builder_of(app).repartitions
    ]


def stores(app: Topology) -> list[str]:
    steps = [node for node in builder_of(app).nodes if isinstance(node, Step)]
    return [spec.name for step in steps for spec in step.stores]


def by_user(value: dict[str, Any]) -> str:
    return value["user"]


def keep(record: Record[Any, Any], context: ProcessContext) -> Iterator[Record[Any, Any]]:
    del context
    yield record


STEPS_THAT_KEEP_KEYS: list[Callable[[Any2], Any2]] = [
    lambda s: s.filter(bool),
    lambda s: s.filter_not(bool),
    lambda s: s.map_values(str),
    lambda s: s.flat_map_values(list),
    lambda s: s.peek(print),
    lambda s: s.print(),
    lambda s: s.split(a=bool)["default"],
    lambda s: s.merge(s.filter(bool)),
    lambda s: s.repartition(),
    lambda s: s.through("between"),
    lambda s: s.deduplicate(within="1s"),
    lambda s: s.to_table(name="t").to_stream(),
    lambda s: s.group_by_key().count().to_stream(),
]
STEPS_THAT_CHANGE_KEYS: list[Callable[[Any2], Any2]] = [
    lambda s: s.map(lambda key, value: (value, key)),
    lambda s: s.flat_map(lambda key, value: [(value, key)]),
    lambda s: s.key_by("user"),
    lambda s: s.key_by(by_user),
    lambda s: s.process(keep),
]


@pytest.mark.parametrize("step", STEPS_THAT_KEEP_KEYS)
def test_steps_that_leave_equal_keys_together(step: Callable[[Any2], Any2], app: Topology) -> None:
    step(app.stream("in")).group_by_key().count(name="n")
    assert repartitions(app) in ([], ["in"])  # "in": of .repartition() itself
    assert stores(app)[-1] == "n"


@pytest.mark.parametrize("step", STEPS_THAT_CHANGE_KEYS)
@pytest.mark.parametrize(
    "state",
    [
        lambda s: s.group_by_key().count(name="n"),
        lambda s: s.group_by_key().reduce(max, name="n"),
        lambda s: s.group_by_key().aggregate(int, max, name="n"),
        lambda s: s.to_table(name="n"),
        lambda s: s.deduplicate(within="1s", name="n"),
        lambda s: s.process(keep, stores=[key_value("n", key=str, value=str)], name="p"),
    ],
)
def test_state_downstream_of_changed_keys_needs_a_repartition(
    step: Callable[[Any2], Any2], state: Callable[[Any2], object], app: Topology
) -> None:
    state(step(app.stream("in")))
    assert len(repartitions(app)) == 1
    step_with_store = builder_of(app).nodes[-1]
    assert isinstance(step_with_store.parents[0].node, Source)


@pytest.mark.parametrize("step", STEPS_THAT_CHANGE_KEYS)
def test_no_state_needs_none(step: Callable[[Any2], Any2], app: Topology) -> None:
    step(app.stream("in")).filter(bool).map_values(str).process(keep).to("out")
    assert repartitions(app) == []


def test_punctuators_need_partitions_by_key_too(stream: Any2, app: Topology) -> None:
    def remind(time: Timestamp, context: ProcessContext) -> None:
        del time, context

    stream.key_by("user").process(keep, punctuators=[every("1s", remind)])
    assert repartitions(app) == ["in-by-user"]


def test_tables_of_a_keyed_stream_share_it_too(stream: Any2, app: Topology) -> None:
    keyed = stream.key_by(by_user)
    keyed.group_by_key().count()
    keyed.to_table()
    assert repartitions(app) == ["in-by-by_user"]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda s: s.group_by_key().count(), "in-count"),
        (lambda s: s.group_by_key().reduce(max), "in-reduce"),
        (lambda s: s.group_by_key().aggregate(int, max), "in-aggregate"),
        (lambda s: s.to_table(), "in-table"),
        (lambda s: s.deduplicate(within="1s"), "in-seen"),
        (lambda s: s.filter(bool, name="big").group_by_key().count(), "big-count"),
        (lambda s: s.through("between").group_by_key().count(), "between-count"),
        (lambda s: s.merge(s, name="m").group_by_key().count(), "m-count"),
        (lambda s: s.split(a=bool)["a"].group_by_key().count(), "in-a-count"),
        (lambda s: s.split(a=bool)["default"].to_table(), "in-default-table"),
        (lambda s: s.group_by(by_user).count(), "in-by-by_user-count"),
        (lambda s: s.group_by_key().count().to_stream().to_table(), "in-count-table"),
    ],
)
def test_names_of_stores_that_can_be_inferred(
    make: Callable[[Any2], object], name: str, app: Topology
) -> None:
    make(app.stream("in"))
    assert stores(app)[-1] == name


@pytest.mark.parametrize(
    "make",
    [
        lambda s: s.group_by(lambda value: value["user"]).count(),
        lambda s: s.merge(s).group_by_key().reduce(max),
        lambda s: s.merge(s).repartition(),
        lambda s: s.merge(s).process(keep, stores=[key_value("n", key=str, value=str)]),
    ],
)
def test_names_that_have_to_be_given(make: Callable[[Any2], object], stream: Any2) -> None:
    with pytest.raises(TopologyError, match="needs a name= here"):
        make(stream)


def test_parts_of_a_split_are_outputs_of_one_step(stream: Any2) -> None:
    parts = stream.split(big=bool, small=bool)
    assert list(parts) == ["big", "small", "default"]
    assert [flow_of(part).edge.port for part in parts.values()] == [0, 1, 2]
    (step,) = {flow_of(part).edge.node for part in parts.values()}
    assert step.outputs == ("big", "small", "default")
    with pytest.raises(TopologyError, match="the rest is 'default'"):
        stream.split(default=bool)


def test_a_merge_knows_what_all_agree_on(app: Topology) -> None:
    one, other = app.stream("a", value=int), app.stream("b", value=int)
    assert flow_of(one.merge(other)).value == flow_of(one).value
    assert flow_of(one.merge(app.stream("c", value=str))).value.type is None
    assert flow_of(one.merge(other.map_values(int))).value.read is None
    assert flow_of(one.merge(other.key_by(str))).rekeyed


def test_a_merge_of_keys_with_other_bytes_brings_equal_ones_together(app: Topology) -> None:
    written = app.stream("numbers", key=int)
    computed = app.stream("in").key_by("n").repartition(name="computed")
    merged = written.merge(computed, name="both")
    counts = merged.group_by_key().count(emit="change")
    counts.to("counts")
    driver = TopologyDriver(app, partitions=3)
    for number in range(5):
        driver.pipe("in", key="z", value={"n": number})
        driver.pipe("numbers", key=number, value="x")
    assert sorted(driver.read("counts")) == [(n, count) for n in range(5) for count in (1, 2)]
    with pytest.raises(TopologyError, match="needs a name="):
        written.merge(computed).group_by_key().count()


def test_a_merge_stays_in_its_topology(stream: Any2) -> None:
    with pytest.raises(TopologyError, match="different topologies"):
        stream.merge(Topology("other").stream("a"))


def test_what_is_no_stream_is_not_merged(stream: Any2, app: Topology) -> None:
    table: Any = app.table("airports")
    with pytest.raises(TopologyError, match=r"not a Table; .* table.to_stream\(\)"):
        stream.merge(table)
    grouped = stream.group_by_key()
    with pytest.raises(TopologyError, match=r"cogroup: give a grouped stream, .* not a Table"):
        grouped.cogroup(lambda total, _: total).cogroup(table, lambda total, _: total)


def test_streams_are_immutable(stream: Any2) -> None:
    before = flow_of(stream)
    stream.filter(bool, name="f").key_by("user").to("out")
    assert flow_of(stream) is before
    with pytest.raises(AttributeError):
        stream._flow = before


def test_kinds_distinguish_steps(stream: Any2, app: Topology) -> None:
    stream.filter_not(bool).print()
    stream.for_each(print)
    grouped = stream.group_by_key()
    grouped.count()
    grouped.reduce(max)
    grouped.aggregate(int, max)
    stream.to_table()
    kinds = [node.kind for node in builder_of(app).nodes if isinstance(node, Step)]
    assert kinds == ["filter-not", "print", "for-each", "count", "reduce", "aggregate", "table"]


def test_what_is_written_unchanged_is_written_as_it_was_read(app: Topology) -> None:
    app.stream("a", key=int, value=float).filter(bool).to("b")
    app.stream("c", key=int, value=float).map_values(str).to("d")
    app.stream("e").to("f", key=bytes, value=bytes)
    app.stream("g", key=int, value=float).map_values(lambda value: value).to("h")
    sinks = [node for node in builder_of(app).nodes if isinstance(node, Sink)]
    assert [(sink.key.name, sink.value.name) for sink in sinks] == [
        ("int64", "float64"),
        ("int64", "text"),
        ("bytes", "bytes"),
        ("int64", "auto"),
    ]


def test_through_is_read_as_it_was_written(app: Topology) -> None:
    later = app.stream("a", value=int).map_values(str).through("b")
    source = flow_of(later).edge.node
    assert isinstance(source, Source)
    assert (source.key.name, source.value.name) == ("text", "text")
    assert flow_of(later).value.type is str


def test_types_of_streams(stream: Any2) -> None:
    assert isinstance(stream.group_by_key(), GroupedStream)
    assert isinstance(stream.group_by_key().count(), Table)
    assert isinstance(stream.to_table().to_stream(), Stream)


def test_durations_are_checked_at_once(stream: Any2) -> None:
    with pytest.raises(UsageError, match="within of in-seen: 'soon' is not a duration"):
        stream.deduplicate(within="soon")
