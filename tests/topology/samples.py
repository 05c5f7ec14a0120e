"""Topologies that several tests show: a small one, a wide one, one with records that come back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

from processor import (
    JoinWindow,
    ProcessContext,
    Record,
    Topology,
    count,
    counted,
    hopping,
    key_value,
    max_of,
    session,
    sum_of,
    tumbling,
)


@dataclass(frozen=True)
class Order:
    user: str
    amount: int


class Flight(TypedDict):
    carrier: str
    origin: str
    delay: int


def pair(one: Any, other: Any) -> list[Any]:
    return [one, other]


def added(total: int, order: Order) -> int:
    return total + order.amount


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


def windows() -> Topology:
    topology = Topology("windows")
    orders = topology.stream("orders", value=Order)
    by_user = orders.group_by("user")
    minutes = by_user.window(tumbling("1m", grace="10s")).agg(
        total=sum_of("amount"), orders=count(), name="minutes"
    )
    minutes.to("minutes")
    minutes.late().to("late-orders")
    by_user.window(session("30m"), retention="1d").count(name="visits").to("visits")
    hours = by_user.window(hopping("1h", every="5m"), emit="change")
    hours.agg(most=max_of("amount"), name="hours").to("hours")
    by_key = orders.group_by_key()
    by_key.window(counted(100)).count(name="hundreds").to("hundreds")
    counts = orders.to_table(name="last-orders").group_by("user", name="users").count()
    counts.suppress(until="10s", max_records=1000, name="calm").to("orders-by-user")
    return topology


def joins() -> Topology:
    topology = Topology("joins")
    orders, payments = (topology.stream(name, value=Order) for name in ("orders", "payments"))
    users, cities = topology.table("users"), topology.table("cities")
    rates = topology.global_table("rates", name="rates")
    known = orders.left_join(users, pair, name="known")
    known.join(rates, pair, on="currency", name="rated").to("rated-orders")
    paid = orders.outer_join(payments, pair, within=JoinWindow("1h", grace="5m"), name="paid")
    paid.to("paid-orders")
    orders.join(payments, pair, within=JoinWindow(before="10s", after="1h"), name="soon").to(
        "soon-paid"
    )
    users.join(cities, pair, on="city", name="user-cities").to("user-cities")
    users.outer_join(cities, pair, name="both").to("both")
    cogrouped = orders.group_by_key().cogroup(added).cogroup(payments.group_by_key(), added)
    cogrouped.window(tumbling("1d")).aggregate(int, name="days").to("days")
    return topology


ALL = {
    "order-totals": order_totals,
    "flights": flights,
    "loops": loops,
    "windows": windows,
    "joins": joins,
}
