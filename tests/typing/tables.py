"""What pyright has to make of groups, tables and the driver; checked by test_inference."""

from dataclasses import dataclass
from typing import Any, assert_type

from processor import GroupedStream, Stream, Table, Topology
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
    by_user.count(name="orders").filter(bool)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]
    topology.table("users", "more")  # pyright: ignore[reportCallIssue]
    orders.deduplicate()  # pyright: ignore[reportCallIssue]
