"""What the reference run uses besides its input: global tables, and schemas that it asks for."""

from processor import SchemaRegistry, Timestamp, Topology, avro
from processor.chaos.outside import Outside, tables_of
from processor.chaos.replay import replay
from processor.records import Batch, Offset, Partition, RawBatch, TopicPartition
from processor.serdes.avro.schema import read_schema
from processor.serdes.memory_registry import MemoryRegistry
from processor.serdes.registry import SchemaText, prefix
from processor.settings import Settings
from processor.topology.plan import TaskId, lay_out, plan

SCHEMA = {"type": "record", "name": "Order", "fields": [{"name": "n", "type": "int"}]}
OPTIONS = Settings(on_bad_record="fail").options.alone()


def source(topic: str, partition: int = 0) -> TopicPartition:
    return TopicPartition(topic, Partition(partition))


def log(*pairs: tuple[bytes | None, bytes | None]) -> RawBatch:
    times = [Timestamp(1)] * len(pairs)
    offsets = [Offset(row) for row in range(len(pairs))]
    return Batch([key for key, _ in pairs], [value for _, value in pairs], times, offsets)


def test_records_meet_the_whole_table() -> None:
    topology = Topology("app")
    names = topology.global_table("names", value=str)
    orders = topology.stream("in", value=str)
    orders.join(names, lambda _, name: name, on=lambda _, user: user).to("out")
    made = plan(topology)
    tables = {
        source("names"): log((b"ann", b"Ann"), (b"bob", b"Bob"), (b"bob", b"\xff"), (None, b"x")),
        source("names", 1): log((b"cy", b"Cy"), (b"cy", None)),
    }
    orders_log = log(*((b"k", user) for user in (b"ann", b"bob", b"cy")))
    outside = Outside(tables_of(made, tables))
    layout, task = lay_out(made, {"in": 1}), TaskId(0, Partition(0))
    found = replay(layout, task, {source("in"): orders_log}, OPTIONS, outside, each=False)
    assert [record.value for record in found.outputs["out"]] == [b"Ann", b"Bob"]


def test_schemas_are_asked_for() -> None:
    topology = Topology("app")
    serde = avro(SCHEMA, registry=SchemaRegistry(auto_register=True))
    topology.stream("in", value=serde).to("out", value=serde)
    registry = MemoryRegistry()
    schema_id = registry.register("in-value", SchemaText("AVRO", read_schema(SCHEMA).text)).id
    orders_log = log(*((b"k", prefix(schema_id) + bytes([2 * n])) for n in range(3)))
    layout, task = lay_out(plan(topology), {"in": 1}), TaskId(0, Partition(0))
    outside = Outside(answer=registry.answer)
    found = replay(layout, task, {source("in"): orders_log}, OPTIONS, outside, each=True)
    assert [(record.value or b"")[5:] for record in found.outputs["out"]] == [b"\0", b"\2", b"\4"]
