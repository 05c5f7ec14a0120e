"""Protobuf alone and with a registry."""

from itertools import product

import pytest
from google.protobuf.wrappers_pb2 import DoubleValue

from processor.errors import TopologyError
from processor.serdes import SchemaRegistry, protobuf
from processor.serdes.memory_registry import MemoryRegistry
from tests.serdes.messages import First, Line, Money, Order

ORDER = Order(id=5, total=Money(cents=70))


def test_a_message_alone() -> None:
    serde = protobuf(Order)
    assert serde.name == "protobuf(test.Order)"
    assert serde.encode(ORDER) == ORDER.SerializeToString()
    assert serde.decode(serde.encode(ORDER)) == ORDER
    with pytest.raises(TypeError, match="expected Order, not Money"):
        serde.encode(Money())
    with pytest.raises(TopologyError, match="is no message of Protobuf"):
        protobuf(int)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("message", "place"),
    [(First(name="x"), b"\x00"), (ORDER, b"\x02\x02"), (Line(count=3), b"\x04\x02\x00")],
)
def test_the_place_in_its_file_stands_before_the_data(message: object, place: bytes) -> None:
    memory = MemoryRegistry()
    serde = protobuf(type(message), registry=SchemaRegistry(auto_register=True))  # type: ignore[type-var]
    data = memory.resolve(lambda: serde.encode(message))
    assert data[5:] == place + message.SerializeToString()  # type: ignore[attr-defined]
    assert serde.decode(data) == message


def test_imported_files_are_registered_first() -> None:
    memory = MemoryRegistry()
    serde = protobuf(Order, registry=SchemaRegistry(auto_register=True))
    memory.resolve(lambda: serde.encode(ORDER))
    assert list(memory.subjects) == ["shared.proto", "test.Order"]
    schema = memory.schemas[memory.subjects["test.Order"][0]]
    assert schema.references == (("shared.proto", "shared.proto", 1),)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "which message of its file"),
        (b"\xff" * 100, "which message of its file"),
        (b"\x01", "at -1 indexes"),
        (b"\x80\x01", "at 64 indexes"),
        (b"\x04\x02", "which message of its file"),
        (b"\x02\x02\xff\xff\xff\xff", "it is no test.Order"),
        (b"\x02\x02\x22" + b"\xff" * 4 + b"\x0f", "it is no test.Order"),
    ],
)
def test_payloads_that_mean_harm(data: bytes, why: str) -> None:
    memory = MemoryRegistry()
    serde = protobuf(Order, registry=SchemaRegistry(auto_register=True))
    head = memory.resolve(lambda: serde.encode(ORDER))[:5]
    with pytest.raises(ValueError, match=why):
        serde.decode(head + data)


def test_deep_recursion() -> None:
    data = b""
    for _ in range(300):
        size = len(data)
        length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
        data = b"\x22" + length + data
    with pytest.raises(ValueError, match=r"it is no test\.Order"):
        protobuf(Order).decode(data)


def test_messages_are_one_key_if_and_only_if_they_are_equal() -> None:
    serde = protobuf(DoubleValue)
    numbers = (0.0, -0.0, 1.0, float("nan"))
    messages = [DoubleValue(value=number) for number in numbers]
    for one, other in product(messages, repeat=2):
        assert (serde.encode(one) == serde.encode(other)) is (one == other)
