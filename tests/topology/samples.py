"""Topologies that several tests show: a small one, a wide one, one with records that come back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypedDict

from processor import ProcessContext, Record, Topology, key_value


@dataclass(frozen=True)
class Order:
    user: str
    amount: int


class Flight(TypedDict):
    carrier: str
    origin: str
    delay: int


def is_big(order: Order) -> bool:
    return order.amount >= 500


def annotate(record: Record[str, Flight], context: ProcessContext) -> Iterator[Record[str, Flight]]:
    del context
    yield record


def order_totals() -> Topology:
    topology = Topology("order-totals")
    orders = topology.stream("orders", value=Order)
    orders.filter(is_big).map_values(lambda order: {"user": order.user}).to("big-orders")
    orders.group_by("user").count().to("order-totals")
    return topology


def flights() -> Topology:
    topology = Topology("flights")
    america = topology.stream("flights", value=Flight, on_bad_record="skip")
    abroad = topology.stream("flights-eu", "flights-asia", value=Flight)
    everywhere = america.merge(abroad, name="all-flights")
    parts = everywhere.split(late=lambda it: it["delay"] > 15, gone=lambda it: it["delay"] > 600)
    parts["late"].to(lambda record: f"late-{record.value['carrier']}")
    parts["gone"].merge(parts["default"], name="rest").print("rest")
    by_carrier = everywhere.key_by("carrier", name="by-carrier")
    by_carrier.group_by_key().count(name="per-carrier").to("carrier-counts")
    notes = key_value("carrier-notes", key=str, value=str)
    seen = key_value("seen-carriers", key=str, value=int)
    by_carrier.process(annotate, stores=[seen, notes], name="annotate").to("carrier-notes")
    delays = everywhere.group_by("origin").aggregate(
        int, lambda total, flight: total + flight["delay"], name="origin-delays"
    )
    delays.to("origin-delays")
    tenths = delays.to_stream().filter(bool).key_by(lambda total: total // 10, name="tenths")
    tenths.group_by_key().count(name="histogram").to("histogram")
    return topology


def loops() -> Topology:
    topology = Topology("loops-of-an-application-with-a-long-name")
    orders = topology.stream("orders", value=Order)
    payments = topology.stream("payments", value=Order)
    copy = orders.repartition(name="copy", partitions=6)
    copy.deduplicate(within="1h", name="once").through("clean-orders").for_each(print)
    back = payments.key_by("user").repartition(name="payments")
    joined = orders.merge(back, name="joined")
    joined.map_values(is_big).to(
        "a-topic-with-a-very-long-name.that-goes-on.and_on_and_on-version-2"
    )
    again = joined.key_by("user", name="again").repartition()
    again.merge(payments, name="both").to("out")
    own = orders.key_by("amount", name="own").repartition()
    own.merge(orders, name="with-own").to("own-out")
    return topology


ALL = {"order-totals": order_totals, "flights": flights, "loops": loops}
