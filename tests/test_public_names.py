"""The names that users build on; a change of these lists is a decision."""

from inspect import get_annotations

import pytest

import processor
from processor import (
    CogroupedStream,
    GlobalTable,
    GroupedStream,
    GroupedTable,
    KeyValueStore,
    Stream,
    Table,
    Topology,
    WindowedStream,
    WindowedTable,
)
from processor.testing import TopologyDriver

PACKAGE = """
Aggregator BadRecordError CogroupedStream GlobalTable GroupedStream GroupedTable Headers
JoinWindow JoinedStream KeyValueStore KprocError ProcessContext Punctuator Record SchemaRegistry
Serde StoreSpec Stream Table Timestamp Topology TopologyError UsageError Windowed WindowedStream
WindowedTable approx_distinct_of approx_quantiles_of avro calendar collect_of count
counted distinct_of every first_of hopping json_schema key_value last_of max_of mean_of min_of
protobuf run session sliding sum_of top_of tumbling wall_clock
"""
METHODS = {
    Topology: "global_table sample_data stream table",
    Stream: """
        deduplicate enrich filter filter_not flat_map flat_map_values for_each group_by
        group_by_key join key_by left_join map map_async
        map_values merge on_bad_record outer_join peek print process repartition split
        through to to_table
    """,
    GroupedStream: "agg cogroup aggregate count reduce window",
    WindowedStream: "agg aggregate count reduce",
    GroupedTable: "aggregate count reduce",
    CogroupedStream: "aggregate cogroup window",
    Table: """
        filter filter_not group_by join left_join map_values outer_join print suppress to to_stream
    """,
    WindowedTable: "final join late left_join outer_join print to to_stream",
    GlobalTable: "store topic",
    KeyValueStore: "delete get get_many items put",
    TopologyDriver: """
        advance bad_records checkpoint dead_letters idle now pipe pipe_bytes read read_records
        restart store
    """,
}


def test_names_of_the_package() -> None:
    assert sorted(processor.__all__) == sorted(PACKAGE.split())
    assert all(hasattr(processor, name) for name in processor.__all__)
    assert dir(processor) == processor.__all__  # no module, and nothing that it imports


def test_what_a_topology_is_made_of_is_shown_by_step_and_types() -> None:
    topology = Topology("shown")
    words = topology.stream("lines").flat_map_values(split, name="words")
    grouped = words.group_by(initial)
    table = grouped.count(name="counts")
    assert repr(topology) == "Topology('shown', 6 nodes)"
    assert repr(words) == "Stream('words', str → str)"
    assert repr(grouped) == "GroupedStream('key-by-1', str → str)"
    assert repr(table) == "Table('counts', str → int)"
    assert repr(table.to_stream()) == "Stream('counts', str → int)"
    assert repr(topology.stream("other")) == "Stream('source-other', str → Any)"
    assert repr(topology.global_table("people")) == "GlobalTable('people', store 'people-global')"


def split(line: str) -> list[str]:
    return line.split()


def initial(word: str) -> str:
    return word[:1]


@pytest.mark.parametrize("owner", METHODS)
def test_methods_and_properties(owner: type) -> None:
    ours = [each for each in owner.__mro__ if each.__module__.startswith("processor.")]
    named = {name for each in ours for name in (*vars(each), *get_annotations(each))}
    shown = {name for name in named if not name.startswith("_")}
    assert sorted(shown) == sorted(METHODS[owner].split())


def test_a_topology_shows_what_its_author_gave() -> None:
    shown = {name for name in vars(Topology("shown")) if not name.startswith("_")}
    assert shown == {"name", "samples", "settings"}
