import pytest

from processor import Topology, key_value
from processor.errors import TopologyError
from processor.operators.stateless import Filter
from processor.serdes import json, text
from processor.topology.builder import Builder, check_name
from processor.topology.graph import Edge, Sink, Source, Step


@pytest.fixture
def builder() -> Builder:
    return Builder("app")


def edge(builder: Builder, *topics: str) -> Edge:
    return Edge(builder.source(topics or ("in",), text, json, None))


@pytest.mark.parametrize("name", ["a", "A.b_c-1", "...", "x" * 100])
def test_names_that_topics_can_have(name: str) -> None:
    check_name("step", name)


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "ä", "x" * 101, None, 5, ["a"]])
def test_names_that_they_can_not_have(name: object) -> None:
    with pytest.raises(TopologyError, match="1 to 100 letters"):
        check_name("step", name)


def test_topics_may_have_249_letters(builder: Builder) -> None:
    builder.source(("x" * 249,), text, json, None)
    with pytest.raises(TopologyError, match="1 to 249 letters"):
        builder.source(("x" * 250,), text, json, None)


def test_applications_have_a_name() -> None:
    with pytest.raises(TopologyError, match="application name ''"):
        Builder("")


def test_steps_are_named_after_kind_and_number(builder: Builder) -> None:
    start = edge(builder)
    names = [builder.step("filter", (start,), Filter(bool)).name for _ in range(3)]
    assert names == ["filter-1", "filter-2", "filter-3"]
    assert builder.step("map", (start,), Filter(bool)).name == "map-1"


def test_a_number_that_is_taken_is_passed_over(builder: Builder) -> None:
    start = edge(builder)
    builder.step("filter", (start,), Filter(bool), name="filter-1")
    assert builder.step("filter", (start,), Filter(bool)).name == "filter-2"


def test_names_are_unique_in_a_topology(builder: Builder) -> None:
    start = edge(builder)
    builder.step("filter", (start,), Filter(bool), name="big")
    with pytest.raises(TopologyError, match="two steps are called 'big'"):
        builder.step("map", (start,), Filter(bool), name="big")


def test_a_store_belongs_to_one_step(builder: Builder) -> None:
    start, spec = edge(builder), key_value("seen", key=str, value=int)
    builder.step("process", (start,), Filter(bool), (spec,), "one")
    with pytest.raises(TopologyError, match="store 'seen' belongs to step 'one' already"):
        builder.step("process", (start,), Filter(bool), (spec,), "other")


def test_nodes_are_kept_in_order_and_know_their_parents(builder: Builder) -> None:
    start = edge(builder)
    step = builder.step("filter", (start,), Filter(bool))
    sink = builder.sink(Edge(step), "out", text, json)
    assert builder.nodes == [start.node, step, sink]
    assert sink.parents == (Edge(step),)
    assert [type(node) for node in builder.nodes] == [Source, Step, Sink]


def test_a_topic_that_is_read_twice_in_the_same_way_is_one_source(builder: Builder) -> None:
    assert edge(builder, "a", "b") == edge(builder, "a", "b")
    assert len(builder.nodes) == 1


@pytest.mark.parametrize(
    ("topics", "value", "policy"),
    [
        (("a",), json, None),
        (("b", "a"), json, None),
        (("a", "b", "c"), json, None),
        (("a", "b"), text, None),
        (("a", "b"), json, "skip"),
    ],
)
def test_a_topic_is_read_in_one_way(
    builder: Builder, topics: tuple[str, ...], value: object, policy: object
) -> None:
    edge(builder, "a", "b")
    with pytest.raises(TopologyError, match="a topic is read once in a topology"):
        builder.source(topics, text, value, policy)


def test_two_sources_are_not_read_as_one(builder: Builder) -> None:
    edge(builder, "a")
    edge(builder, "b")
    with pytest.raises(TopologyError, match="a topic is read once"):
        edge(builder, "a", "b")


def test_a_stream_has_topics_each_once() -> None:
    with pytest.raises(TopologyError, match="not none"):
        Topology("app").stream()
    with pytest.raises(TopologyError, match="not a, a"):
        Topology("app").stream("a", "a")


def test_topics_are_no_list() -> None:
    with pytest.raises(TopologyError, match=r"topic name \['a', 'b'\]"):
        Topology("app").stream(["a", "b"])


def test_policies_are_known_ones() -> None:
    with pytest.raises(TopologyError, match="'fail', 'skip', 'dead-letter'"):
        Topology("app").stream("a", on_bad_record="drop")


def test_the_same_records_are_repartitioned_once(builder: Builder) -> None:
    start = edge(builder)
    one = builder.repartition(start, text, json, "one", None)
    assert builder.repartition(start, text, json, "other", None) == one
    assert [each.name for each in builder.repartitions] == ["app-one-repartition"]


def test_in_another_form_they_are_other_records(builder: Builder) -> None:
    start = edge(builder)
    one = builder.repartition(start, text, json, "one", None)
    assert builder.repartition(start, text, text, "other", None) != one


def test_a_count_of_its_own_makes_a_topic_of_its_own(builder: Builder) -> None:
    start = edge(builder)
    builder.repartition(start, text, json, "one", None)
    builder.repartition(start, text, json, "other", 4)
    assert [each.partitions for each in builder.repartitions] == [None, 4]


def test_repartitions_have_names_of_their_own(builder: Builder) -> None:
    builder.repartition(edge(builder, "a"), text, json, "one", None)
    with pytest.raises(TopologyError, match="two repartitions are called 'one'"):
        builder.repartition(edge(builder, "b"), text, json, "one", None)
