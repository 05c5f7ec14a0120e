"""What pyright has to make of groups, tables and the driver; checked by test_inference."""

from dataclasses import dataclass
from typing import Any, assert_type

from processor import GroupedStream, GroupedTable, Stream, Table, Topology
from processor.testing import TopologyDriver


@dataclass(frozen=True)
class Order:
    user: str
    amount: int


@dataclass
class Sum:
    amount: int = 0


topology = Topology("typed")
orders = topology.stream("orders", value=Order)
by_user = orders.group_by(lambda order: order.user)


def groups() -> None:
    assert_type(by_user, GroupedStream[str, Order])
    assert_type(orders.group_by("user"), GroupedStream[Any, Order])
    assert_type(orders.group_by_key(), GroupedStream[str, Order])


def add(total: Sum, order: Order) -> Sum:
    return Sum(total.amount + order.amount)


def add_or_delete(total: Sum, order: Order) -> Sum | None:
    return add(total, order) if order.amount else None


def tables() -> None:
    assert_type(by_user.count(name="orders"), Table[str, int])
    assert_type(by_user.reduce(max_order, name="largest"), Table[str, Order])
    assert_type(by_user.aggregate(Sum, add, name="sums"), Table[str, Sum])
    assert_type(by_user.aggregate(Sum, add_or_delete, name="sums"), Table[str, Sum])
    assert_type(
        by_user.aggregate(lambda: 0, lambda total, order: total + order.amount, name="totals"),
        Table[str, int],
    )
    assert_type(topology.table("users"), Table[str, Any])
    assert_type(topology.table("users", key=int), Table[int, Any])
    assert_type(topology.table("users", value=Order), Table[str, Order])
    assert_type(topology.table("users", key=int, value=Order), Table[int, Order])
    assert_type(orders.to_table(), Table[str, Order])


users = topology.table("users", value=Order)
by_amount = users.group_by(lambda order: order.amount)


def subtract(total: Sum, order: Order) -> Sum:
    return Sum(total.amount - order.amount)


def tables_of_tables() -> None:
    assert_type(users.filter(lambda order: order.amount > 5), Table[str, Order])
    assert_type(users.filter_not(lambda order: order.amount > 5), Table[str, Order])
    assert_type(users.map_values(lambda order: order.amount), Table[str, int])
    assert_type(users.suppress(until="1m", max_records=10), Table[str, Order])
    assert_type(topology.table("prices", value=int, versioned="1h"), Table[str, int])
    assert_type(topology.table("prices", key=int, value=int, ttl="1d"), Table[int, int])
    assert_type(orders.to_table(ttl="1d"), Table[str, Order])
    assert_type(by_amount, GroupedTable[int, Order])
    assert_type(users.group_by("amount"), GroupedTable[Any, Order])
    assert_type(by_amount.count(), Table[int, int])
    assert_type(by_amount.reduce(max_order, lambda one, _: one), Table[int, Order])
    assert_type(by_amount.aggregate(Sum, add, subtract), Table[int, Sum])


def changes() -> None:
    counts = by_user.count(name="orders", emit="change")
    assert_type(counts.to_stream(), Stream[str, int])
    assert_type(counts.print("orders"), Table[str, int])
    assert_type(counts.to_stream().map_values(str), Stream[str, str])
    counts.to("counts")
    counts.to(lambda record: f"{record.key}-{record.value + 1}")


def max_order(one: Order, other: Order) -> Order:
    return max(one, other, key=lambda order: order.amount)


def driver() -> None:
    driver = TopologyDriver(topology)
    assert_type(driver.read("counts"), list[tuple[Any, Any]])
    assert_type(driver.store("counts"), dict[Any, Any])


def wrong() -> None:
    by_user.count(emit="always")  # pyright: ignore[reportArgumentType]
    by_user.reduce(lambda one, other: one.amount)  # pyright: ignore[reportArgumentType]
    by_user.aggregate(Sum, lambda total, order: order.amount)  # pyright: ignore[reportArgumentType]
    by_user.aggregate(Sum())  # pyright: ignore[reportCallIssue]
    by_user.filter(bool)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]
    by_user.count(name="orders").map(bool)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]
    users.filter(lambda order: order.price)  # pyright: ignore[reportUnknownMemberType, reportUnknownLambdaType, reportAttributeAccessIssue]
    by_amount.reduce(max_order)  # pyright: ignore[reportCallIssue]
    by_amount.aggregate(Sum, add, lambda total, order: order)  # pyright: ignore[reportArgumentType]
    topology.table("users", "more")  # pyright: ignore[reportCallIssue]
    orders.deduplicate()  # pyright: ignore[reportCallIssue]
