from dataclasses import replace

import pytest

from processor import Topology
from processor.errors import TopologyError
from processor.operators.aggregates.by_key import Count, stamped
from processor.operators.stateless import Filter
from processor.serdes import int64, json, text
from processor.state.keyvalue import StoreSpec
from processor.topology.flow import Flow, flow_of
from processor.topology.form import Form
from processor.topology.graph import Edge


@pytest.fixture
def flow() -> Flow:
    return flow_of(Topology("app").stream("in"))


def test_a_source_knows_its_serdes_and_is_called_after_its_topics(flow: Flow) -> None:
    assert flow.key == Form(str, text)
    assert flow.value == Form(None, json)
    assert flow.label == "in"
    assert not flow.rekeyed
    assert flow_of(Topology("app").stream("a", "b")).label == "a-b"


def test_a_step_leaves_forms_and_label_as_they_are(flow: Flow) -> None:
    later = flow.then("filter", Filter(bool), None)
    assert (later.key, later.value, later.label) == (flow.key, flow.value, "in")
    assert later.edge.node.parents == (flow.edge,)


def test_a_name_is_the_label_from_there_on(flow: Flow) -> None:
    assert flow.then("filter", Filter(bool), "big").label == "big"


def test_a_step_that_changes_keys_may_part_equal_ones(flow: Flow) -> None:
    later = flow.then("map", Filter(bool), None, key=Form(int))
    assert later.rekeyed
    assert later.key == Form(int)
    assert later.then("filter", Filter(bool), None).rekeyed


def test_equal_keys_meet_again_downstream_of_a_repartition(flow: Flow) -> None:
    parted = flow.then("map", Filter(bool), None, key=Form(int))
    met = parted.partitioned_by_key("n")
    assert not met.rekeyed
    assert met.edge.node.topics == ("app-in-repartition",)
    assert met.partitioned_by_key("n") == met
    assert flow.partitioned_by_key("n") == flow


def test_a_repartition_topic_is_called_after_the_label_else_after_the_step(flow: Flow) -> None:
    unnamed = flow.builder.step("merge", (flow.edge,), Filter(bool))
    parted = replace(flow, edge=Edge(unnamed), label=None, rekeyed=True)
    assert parted.partitioned_by_key("n").edge.node.topics == ("app-n-repartition",)


def test_a_repartition_keeps_what_it_is_to_write(flow: Flow) -> None:
    parted = flow.then("map", Filter(bool), None, key=Form(), value=Form())
    met = parted.repartitioned("r", key=int64)
    assert met.key == Form(None, int64, int64)
    assert met.value == Form()


def test_a_table_emits_values_of_another_form(flow: Flow) -> None:
    spec = StoreSpec("n", text, stamped(int64))
    made = flow.table("count", spec, Count("n", "change"), Form(int, int64))
    assert made.value == Form(int, kept=int64)
    assert made.edge.node.stores == (spec,)
    assert made.edge.node.kind == "count"


def test_when_a_table_emits_is_one_of_two_choices(flow: Flow) -> None:
    spec = StoreSpec("n", text, stamped(int64))
    with pytest.raises(TopologyError, match="count n: emit='always'"):
        flow.table("count", spec, Count("n", "always"), Form(int))


def test_names_are_made_of_the_label(flow: Flow) -> None:
    assert flow.needed("given", "count", "count") == "given"
    assert flow.needed(None, "count", "count") == "in-count"
    assert flow.needed(None, "repartition") == "in"


def test_or_have_to_be_given(flow: Flow) -> None:
    unnamed = replace(flow, label=None)
    with pytest.raises(TopologyError, match=r"^count needs a name= here"):
        unnamed.needed(None, "count", "count")


def length(value: str) -> int:
    return len(value)


def test_labels_of_groupings(flow: Flow) -> None:
    assert flow.grouped_by("user", None) == "in-by-user"
    assert flow.grouped_by(length, None) == "in-by-length"
    assert flow.grouped_by(lambda value: value, None) is None
    assert flow.grouped_by("user", "given") == "given"
