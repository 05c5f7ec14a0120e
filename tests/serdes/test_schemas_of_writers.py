"""The writer's schema is compared with the reader's, and what is written with the schema."""

from dataclasses import dataclass, make_dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from processor import Topology
from processor.errors import TopologyError
from processor.serdes import SchemaRegistry, avro, json_schema, protobuf
from processor.serdes.avro.reader import Incompatible, reader
from processor.serdes.avro.schema import read_schema
from processor.serdes.memory_registry import MemoryRegistry
from processor.serdes.protobuf_text import Declared, declared
from processor.serdes.registry import SchemaText, prefix
from processor.testing import TopologyDriver
from tests.serdes.messages import First, Order

REGISTRY = SchemaRegistry(auto_register=True)


def record(name: str, /, **fields: Any) -> dict[str, Any]:
    listed = [{"name": each, "type": kind} for each, kind in fields.items()]
    return {"type": "record", "name": name, "fields": listed}


def enum(name: str, *symbols: str) -> dict[str, Any]:
    return {"type": "enum", "name": name, "symbols": symbols}


def fixed(name: str, size: int) -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size}


def decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
LOCAL = {"type": "long", "logicalType": "local-timestamp-micros"}
MILLIS_OF_DAY = {"type": "int", "logicalType": "time-millis"}
MICROS_OF_DAY = {"type": "long", "logicalType": "time-micros"}


def there_and_back(schema: Any, value: Any, annotation: Any = Any) -> Any:
    serde = avro(schema, annotation)
    return serde.decode(serde.encode(value))


TWO_ORDERS = [record("v1.Order"), record("v2.Order", name="string")]


def test_a_union_of_two_records_of_one_last_name_keeps_each() -> None:
    for value in ({"-type": "v1.Order"}, {"-type": "v2.Order", "name": "q"}):
        assert there_and_back(TWO_ORDERS, value) == value
    both = record("v1.Order", name="string"), record("v2.Order", name="string")
    value = {"-type": "v2.Order", "name": "q"}
    assert there_and_back(list(both), value) == value


def test_a_last_name_of_two_records_names_neither() -> None:
    with pytest.raises(TypeError, match=r"one of v1\.Order, v2\.Order, but .* is 'Order'"):
        avro(TWO_ORDERS).encode({"-type": "Order", "name": "q"})


def test_the_error_of_a_dict_of_several_records_says_what_to_write() -> None:
    with pytest.raises(TypeError, match=r'which record it is: add \{"-type": "v1.Order"\}'):
        avro(TWO_ORDERS).encode({"name": "q"})


def test_classes_of_one_name_go_to_the_record_that_has_their_fields() -> None:
    first = make_dataclass("Order", [])
    second = make_dataclass("Order", [("name", str)])
    for value in (first(), second("q")):
        assert there_and_back(TWO_ORDERS, value, first | second) == value
    alike = [record("v1.Order", name="string"), record("v2.Order", name="string")]
    with pytest.raises(TopologyError, match=r"Order would stand for v1\.Order and for v2\.Order"):
        avro(alike, second)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (["int", "long"], 2**40),
        (["int", "long"], 5),
        (["long", "int"], 5),
        (["float", "double"], 1.1),
        (["float", "double"], 1.5),
        (["float", "double"], 1e300),
        (["float", "string", "double"], float("inf")),
        ([enum("A", "X"), enum("B", "Y")], "Y"),
        ([fixed("A", 2), fixed("B", 4)], b"abcd"),
        (["bytes", fixed("B", 4)], b"abc"),
        (["null", "int", MILLIS], datetime(2026, 1, 1, tzinfo=UTC)),
        (
            [
                decimal(4, 1),
                {**fixed("D", 4), "logicalType": "decimal", "precision": 6, "scale": 2},
            ],
            Decimal("1.23"),
        ),
        ([record("R", a="int"), {"type": "map", "values": "int"}], {"b": 2}),
        ([record("R", a="int"), {"type": "map", "values": "int"}], {"a": 2}),
        ([{"type": "map", "values": "int"}, record("R", a="string")], {"b": 2}),
    ],
)
def test_what_was_read_from_a_union_can_be_written_to_it(schema: Any, value: Any) -> None:
    assert there_and_back(schema, value) == value


def test_a_number_that_no_branch_holds_exactly_goes_to_the_widest() -> None:
    assert there_and_back(["float", "double"], 2**40) == float(2**40)
    assert there_and_back(["null", "string", "float"], 1.1) == pytest.approx(1.1)


def resolved(old: Any, new: Any, value: Any) -> Any:
    old, new = read_schema(old), read_schema(new)
    data = bytearray()

    class Out:
        def write(self, part: bytes) -> None:
            data.extend(part)

    fastavro.schemaless_writer(Out(), old.form, value)
    return reader(old, new, Any)(bytes(data))


MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)


def test_moments_in_other_units_stay_the_same_moments() -> None:
    assert resolved(MILLIS, MICROS, MOMENT) == MOMENT
    assert resolved(MICROS, MILLIS, MOMENT) == MOMENT
    assert resolved(MILLIS_OF_DAY, MICROS_OF_DAY, time(1, 2, 3)) == time(1, 2, 3)
    assert resolved(["null", MILLIS], ["null", MICROS], MOMENT) == MOMENT
    assert resolved("long", MICROS, 1) == datetime(1970, 1, 1, 0, 0, 0, 1, UTC)


def test_what_is_another_kind_of_time_is_refused() -> None:
    with pytest.raises(Incompatible, match=r"timestamp-millis.*can't be read as long \(local"):
        reader(read_schema(MILLIS), read_schema(LOCAL), Any)
    with pytest.raises(Incompatible):
        reader(read_schema({"type": "int", "logicalType": "date"}), read_schema(MICROS), Any)


def test_a_writers_default_that_does_not_fit_says_nothing() -> None:
    memory = MemoryRegistry()
    text = (
        '{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":"x"},'
        '{"name":"b","type":"string"}]}'
    )
    answer = memory.register("in-value", SchemaText("AVRO", text))
    data = prefix(answer.id) + b"\x0a\x02z"
    for serde in (
        avro(record("R", a="int", b="string"), registry=REGISTRY),
        avro(registry=SchemaRegistry()),
    ):
        assert memory.resolve(lambda serde=serde: serde.decode(data)) == {"a": 5, "b": "z"}


def test_equal_maps_as_keys_meet() -> None:
    schema = {"type": "map", "values": "int"}
    forward = {f"k{n}": n for n in range(20)}
    backward = dict(reversed(forward.items()))
    assert avro(schema).encode(forward) == avro(schema).encode(backward)


def _with_map() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="maps.proto", package="maps", syntax="proto3")
    message = file.message_type.add(name="Key")
    entry = message.nested_type.add(name="ByNameEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=1, type=9)
    entry.field.add(name="value", number=2, label=1, type=3)
    message.field.add(name="by_name", number=1, label=3, type=11, type_name=".maps.Key.ByNameEntry")
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("maps.Key"))


def test_equal_messages_as_keys_meet() -> None:
    cls = _with_map()
    forward = {f"k{n}": n for n in range(20)}
    topology = Topology("app")
    topology.stream("in", key=protobuf(cls), value=int).group_by_key().count(
        name="n", emit="change"
    ).to_stream().to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", key=cls(by_name=forward), value=1)
    driver.pipe("in", key=cls(by_name=dict(reversed(forward.items()))), value=1)
    assert [count for _, count in driver.read("out")] == [1, 2]


def test_another_message_of_the_file_is_not_read_as_this_one() -> None:
    memory = MemoryRegistry()
    order, first = protobuf(Order, registry=REGISTRY), protobuf(First, registry=REGISTRY)
    data = memory.resolve(lambda: first.encode(First(name="x")))
    with pytest.raises(ValueError, match=r"the record is a First, not a test\.Order"):
        memory.resolve(lambda: order.decode(data))


PROTO = """
syntax = "proto3"; // message Not {}
package test;
import "shared.proto";
option java_package = 'a//b';
/* message Neither { } */
enum Kind { A = 0; }
message Other { option (x) = { y: 1 }; map<string, int64> message = 1; }
message Order {
  message Line { int32 count = 1; }
  oneof choice { string message = 5; }
  int64 id = 1;
}
"""


def test_the_messages_of_a_file() -> None:
    assert declared(PROTO) == [
        Declared("Other", []),
        Declared("Order", [Declared("Line", [])]),
    ]
    with pytest.raises(TopologyError, match="no file of Protobuf"):
        declared("message A { message")


def test_a_message_at_another_place_of_its_writers_file_is_found_by_name() -> None:
    memory = MemoryRegistry()
    answer = memory.register("in-value", SchemaText("PROTOBUF", PROTO))
    serde = protobuf(Order, registry=REGISTRY)
    data = Order(id=5).SerializeToString()
    read = memory.resolve(lambda: serde.decode(prefix(answer.id) + b"\x02\x02" + data))
    assert read == Order(id=5)
    with pytest.raises(ValueError, match="the record is a Other"):
        serde.decode(prefix(answer.id) + b"\x00" + data)
    with pytest.raises(ValueError, match="has no message at"):
        serde.decode(prefix(answer.id) + b"\x02\x12" + data)


@dataclass
class Person:
    age: int


def test_what_the_schema_forbids_is_not_written() -> None:
    memory = MemoryRegistry()
    schema = {"title": "P", "type": "object", "properties": {"age": {"minimum": 0}}}
    serde = json_schema(Person, registry=REGISTRY, schema=schema)
    assert memory.resolve(lambda: serde.encode(Person(5)))[5:] == b'{"age":5}'
    with pytest.raises(ValueError, match=r"the schema forbids it: \$\.age: minimum is violated"):
        serde.encode(Person(-1))
    untyped = json_schema(registry=REGISTRY, schema=schema)
    with pytest.raises(ValueError, match="forbids"):
        memory.resolve(lambda: untyped.encode({"age": -1}))
