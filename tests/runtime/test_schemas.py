"""What the core does where a schema is not known: everything again, as if it always had been."""

from dataclasses import dataclass
from typing import Any

import pytest

from processor import Record, SchemaRegistry, Stream, Timestamp, Topology, avro
from processor.errors import RegistryUnreachable
from processor.serdes.avro.schema import read_schema
from processor.serdes.memory_registry import MemoryRegistry
from processor.serdes.registry import SchemasMissing, SchemaText, prefix
from processor.testing import TopologyDriver

OLD = {"type": "record", "name": "Order", "fields": [{"name": "amount", "type": "int"}]}
NEW = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "amount", "type": "long"},
        {"name": "big", "type": "boolean", "default": False},
    ],
}


@dataclass
class Order:
    amount: int
    big: bool = False


def totals() -> tuple[Topology, Stream[str, Order]]:
    topology = Topology("orders")
    registry = SchemaRegistry(auto_register=True)
    orders = topology.stream("orders", value=avro(NEW, Order, registry=registry))
    orders.to("copies")
    orders.group_by_key().count(name="counts").to("counts", value=int)
    return topology, orders


def old_order(driver: TopologyDriver, amount: int) -> bytes:
    schema = SchemaText("AVRO", read_schema(OLD).text)
    schema_id = driver.registry.register("orders-value", schema).id
    return prefix(schema_id) + avro(OLD).encode({"amount": amount})


def test_records_of_several_schemas_become_values_of_one_type() -> None:
    topology, _ = totals()
    driver = TopologyDriver(topology)
    driver.pipe("orders", key="ann", value=Order(1))
    driver.pipe_bytes("orders", key=b"ann", value=old_order(driver, 2))
    driver.pipe("orders", key="ann", value=Order(3, big=True))
    assert driver.read("copies") == [
        ("ann", Order(1)),
        ("ann", Order(2)),
        ("ann", Order(3, big=True)),
    ]
    assert driver.store("counts") == {"ann": 3}
    assert sorted(driver.registry.subjects) == ["copies-value", "orders-value"]
    assert not driver.bad_records


def test_state_and_time_are_as_if_nothing_had_been_asked() -> None:
    """A schema that appears in mid-transaction undoes what is uncommitted, once, and no more."""
    topology, _ = totals()
    driver = TopologyDriver(topology, auto_checkpoint=False)
    driver.pipe("orders", *(Record("ann", Order(each), Timestamp(each)) for each in range(5)))
    driver.pipe_bytes("orders", key=b"ann", value=old_order(driver, 7), timestamp=9)
    driver.checkpoint()
    assert driver.store("counts") == {"ann": 6}
    assert [order.amount for _, order in driver.read("copies")] == [0, 1, 2, 3, 4, 7]


def test_unknown_and_unreadable_schemas_are_bad_records() -> None:
    topology, _ = totals()
    driver = TopologyDriver(topology)
    driver.pipe_bytes("orders", key=b"ann", value=prefix(4711) + b"\x02")
    driver.pipe_bytes("orders", key=b"ann", value=b"text")
    strange = SchemaText("AVRO", '"string"')
    known = driver.registry.register("orders-value", strange).id
    driver.pipe_bytes("orders", key=b"ann", value=prefix(known) + b"\x02x")
    driver.pipe("orders", key="ann", value=Order(1))
    letters = [dict(letter.headers)["kproc.error"] or b"" for letter in driver.dead_letters()]
    assert b"no schema of id 4711" in letters[0]
    assert b"does not begin with a zero byte" in letters[1]
    assert b"was written as string and can't be read as record Order" in letters[2]
    assert driver.store("counts") == {"ann": 1}


class Away(MemoryRegistry):
    """A registry that does not answer for a while."""

    away = True

    def answer(self, missing: SchemasMissing) -> None:
        if self.away:
            raise RegistryUnreachable("away")
        super().answer(missing)


def test_a_registry_that_is_away_holds_records_up_and_loses_none() -> None:
    topology, _ = totals()
    driver = TopologyDriver(topology)
    data = old_order(driver, 1)
    away = driver.registry = Away()
    away.schemas = TopologyDriver(totals()[0]).registry.schemas
    with pytest.raises(RegistryUnreachable):
        driver.pipe_bytes("orders", key=b"ann", value=data)
    assert not driver.dead_letters()
    assert driver.store("counts") == {}
    away.away = False
    away.register("orders-value", SchemaText("AVRO", read_schema(OLD).text))
    driver.restart()  # as the supervisor does with the worker
    driver.checkpoint()
    assert driver.store("counts") == {"ann": 1}
    assert not driver.bad_records


def test_functions_of_the_user_can_not_swallow_what_is_missing() -> None:
    topology = Topology("orders")
    registry = SchemaRegistry(auto_register=True)
    serde = avro(NEW, Order, registry=registry)

    def copied(value: Any) -> bytes:
        try:
            return serde.encode(Order(value["amount"]))
        except Exception:  # noqa: BLE001 - the point of the test
            return b"swallowed"

    topology.stream("orders").map_values(copied).to("copies", value=bytes)
    driver = TopologyDriver(topology)
    driver.pipe("orders", key="ann", value={"amount": 1})
    ((_, data),) = driver.read("copies")
    assert serde.decode(data) == Order(1)
    assert list(driver.registry.subjects) == ["Order"]


def test_stores_keep_their_values_with_a_schema_too() -> None:
    topology = Topology("orders")
    serde = avro(NEW, Order, registry=SchemaRegistry(auto_register=True))
    table = topology.table("orders", value=serde)
    table.to("latest")
    driver = TopologyDriver(topology)
    driver.pipe("orders", key="ann", value=Order(1))
    driver.pipe_bytes("orders", key=b"bob", value=old_order(driver, 2))
    assert driver.store("orders-table") == {"ann": Order(1), "bob": Order(2)}
    driver.pipe("orders", key="ann", value=None)
    assert driver.read("latest")[-1] == ("ann", None)
