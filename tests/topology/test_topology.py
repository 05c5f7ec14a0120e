import pytest

from processor import Record, Timestamp, Topology, every, key_value
from processor.errors import TopologyError, UsageError
from processor.serdes import json, text
from processor.topology.flow import flow_of
from processor.topology.form import Form
from processor.topology.table import values_of


def test_a_stream_has_text_keys_and_json_values_unless_types_are_given() -> None:
    flow = flow_of(Topology("app").stream("in"))
    assert (flow.key, flow.value) == (Form(str, text), Form(None, json))


def test_a_serde_says_how_but_not_what() -> None:
    assert flow_of(Topology("app").stream("in", value=text)).value == Form(None, text)


def test_types_without_a_serde_are_refused_by_the_topics_name() -> None:
    with pytest.raises(TopologyError, match=r"^the value of orders: no JSON can hold"):
        Topology("app").stream("orders", value=complex)
    with pytest.raises(TopologyError, match=r"^the key of orders: .* can't be a key"):
        Topology("app").stream("orders", key=list[int])


def test_a_table_is_the_last_value_of_each_key() -> None:
    table = Topology("app").table("users", value=int)
    store = values_of(table).store
    assert store.name == "users-table"
    assert (store.key.name, store.value.name) == ("text", "stamped(int64)")
    assert values_of(Topology("app").table("users", name="people")).store.name == "people"


def test_when_a_table_emits_is_checked() -> None:
    with pytest.raises(TopologyError, match="table users-table: emit='always': possible are"):
        Topology("app").table("users", emit="always")


def test_settings_are_a_copy() -> None:
    given = {"slots": 2}
    topology = Topology("app", settings=given)
    given["slots"] = 3
    assert topology.settings == {"slots": 2}
    assert Topology("app").settings == {}


def test_sample_data_waits_until_it_is_asked_for() -> None:
    topology = Topology("app")
    topology.sample_data("in", lambda: iter([Record("a", 1, Timestamp(0))]), count=1, value=int)
    (sample,) = topology.samples
    assert (sample.topic, sample.count) == ("in", 1)
    assert (sample.key.name, sample.value.name) == ("text", "int64")
    assert list(sample.records()) == [("a", 1, 0, ())]


def test_a_store_has_serdes_of_its_types() -> None:
    spec = key_value("seen", key=int, value=list[str])
    assert (spec.name, spec.key.name, spec.value.name) == ("seen", "int64", "internal(list[str])")
    with pytest.raises(TopologyError, match="the key of store seen"):
        key_value("seen", key=dict, value=int)


def test_a_punctuator_has_an_interval_and_a_clock() -> None:
    punctuator = every("10s", lambda time, context: [])
    assert (punctuator.every, punctuator.clock) == (10_000, "stream")
    with pytest.raises(UsageError, match=r"the interval of every\(\): 'often' is not a duration"):
        every("often", lambda time, context: [])
    with pytest.raises(TopologyError, match="clock='sun': possible are 'stream', 'wall'"):
        every("10s", lambda time, context: [], clock="sun")
