"""Types that come with a serde count as those that are named themselves."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from processor import (
    SchemaRegistry,
    Serde,
    Topology,
    avro,
    json_schema,
    last_of,
    max_of,
    protobuf,
    sum_of,
    tumbling,
)
from processor.errors import TopologyError
from processor.testing import TopologyDriver
from tests.serdes import messages

PRICE = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
SCHEMA = {
    "type": "record",
    "name": "Pay",
    "fields": [{"name": "card", "type": "string"}, {"name": "price", "type": PRICE}],
}


@dataclass
class Pay:
    card: str
    price: Decimal


@dataclass
class Sum:
    x: Decimal


REGISTRY = SchemaRegistry()
SERDES: list[Serde[Any]] = [
    avro(SCHEMA, Pay),
    avro(SCHEMA, Pay, framing="single-object"),
    avro(SCHEMA, Pay, registry=REGISTRY),
    json_schema(Pay, registry=REGISTRY),
    protobuf(messages.Order),
    protobuf(messages.Order, registry=REGISTRY),
]


@pytest.mark.parametrize("serde", SERDES, ids=lambda serde: serde.name)
def test_fields_are_checked(serde: Serde[Any]) -> None:
    stream = Topology("app").stream("in", value=serde)
    with pytest.raises(TopologyError, match=r"'nope' is no field of (Pay|Order), which has "):
        stream.group_by("nope")


def test_without_a_type_any_field_may_be_there() -> None:
    for serde in avro(SCHEMA), json_schema(registry=REGISTRY):
        Topology("app").stream("in", value=serde).group_by("nope").count()


@pytest.mark.parametrize(("of", "result"), [(sum_of, "3.50"), (max_of, "2.00"), (last_of, "2.00")])
def test_decimals_are_aggregated(of: Any, result: str) -> None:
    topology = Topology("app")
    group = topology.stream("in", value=avro(SCHEMA, Pay)).group_by_key()
    group.agg(Sum, x=of("price"), name="all").to("out", value=Sum)
    group.window(tumbling("1s")).agg(Sum, x=of("price"), name="each").to("each")
    driver = TopologyDriver(topology)
    for time, price in enumerate(("1.50", "2.00")):
        driver.pipe("in", key="a", value=Pay("a", Decimal(price)), timestamp=time)
    driver.idle()
    assert driver.dead_letters() == []
    assert driver.read("out")[-1] == ("a", Sum(Decimal(result)))
    assert [value["x"] for _, value in driver.read("each")] == [result]
