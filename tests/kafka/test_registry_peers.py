"""The same registry and the same bytes as Confluent's own serializers, in both directions."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from processor.kafka.registry import Registry
from processor.serdes import SchemaRegistry, Serde, avro, protobuf
from processor.serdes.avro.schema import read_schema
from tests.registry_server import RegistryServer, registry_server
from tests.serdes.messages import Line, Money, Order
from topologies.flights import Flight

FLIGHT = Flight("UA", 1545, None, "EWR", "IAH", 2, -11, 1400)
SCHEMA = read_schema("schemas/flight.avsc")
CONTEXT = SerializationContext("flights", MessageField.VALUE)


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with registry_server() as running:
        yield running


def ours(server: RegistryServer, serde: Serde[Any]) -> Serde[Any]:
    assert serde.registered is not None
    return Registry({"url": server.url}).asking(serde.registered.bound("flights", "value"))


def test_avro(server: RegistryServer) -> None:
    client: Any = SchemaRegistryClient({"url": server.url})
    mine = ours(server, avro(SCHEMA, Flight, registry=SchemaRegistry(auto_register=True)))
    theirs = AvroSerializer(client, SCHEMA.text)(asdict(FLIGHT), CONTEXT)
    assert mine.decode(theirs) == FLIGHT
    assert mine.encode(FLIGHT) == theirs
    assert AvroDeserializer(client)(mine.encode(FLIGHT), CONTEXT) == asdict(FLIGHT)
    assert list(server.subjects) == ["flights-value"]


@pytest.mark.parametrize("message", [Order(id=5, total=Money(cents=7)), Line(count=3)])
def test_protobuf(server: RegistryServer, message: Any) -> None:
    client: Any = SchemaRegistryClient({"url": server.url})
    kind = type(message)
    mine = ours(server, protobuf(kind, registry=SchemaRegistry(auto_register=True)))
    theirs = ProtobufSerializer(kind, client)(message, CONTEXT)
    assert mine.decode(theirs) == message
    assert mine.encode(message) == theirs
    assert ProtobufDeserializer(kind)(mine.encode(message), CONTEXT) == message
