"""What pyright has to make of serdes with schemas; checked by test_inference, never run."""

from dataclasses import dataclass
from typing import Any, assert_type

from processor import SchemaRegistry, Serde, Stream, Topology, avro, json_schema


@dataclass
class Order:
    user: str


registry = SchemaRegistry(subjects="record", auto_register=True)
topology = Topology("orders")

assert_type(avro("order.avsc", Order), Serde[Order])
assert_type(avro("order.avsc", Order, registry=registry), Serde[Order])
assert_type(avro("order.avsc"), Serde[Any])
assert_type(avro(registry=registry), Serde[Any])
assert_type(json_schema(Order, registry=registry), Serde[Order])
orders = topology.stream("orders", value=avro("order.avsc", Order))
assert_type(orders, Stream[str, Order])

avro()  # pyright: ignore[reportCallIssue]
SchemaRegistry(subjects="any")  # pyright: ignore[reportArgumentType]
