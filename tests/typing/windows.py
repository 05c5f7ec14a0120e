"""What pyright has to make of windows and aggregates; checked by test_inference."""

from dataclasses import dataclass
from typing import Any, assert_type

from processor import (
    Aggregator,
    Stream,
    Table,
    Topology,
    Windowed,
    WindowedStream,
    WindowedTable,
    count,
    mean_of,
    sum_of,
    tumbling,
)


@dataclass(frozen=True)
class Order:
    user: str
    amount: int


@dataclass(frozen=True)
class Total:
    total: int
    orders: int


topology = Topology("typed")
orders = topology.stream("orders", value=Order)
windows = orders.group_by(lambda order: order.user).window(tumbling("10s"))


def add(total: Total, order: Order) -> Total:
    return Total(total.total + order.amount, total.orders + 1)


def counts() -> None:
    assert_type(windows, WindowedStream[str, Order])
    table = windows.count()
    assert_type(table, WindowedTable[str, Order, int])
    assert_type(table.to_stream(), Stream[Windowed[str], int])
    assert_type(table.late(), Stream[str, Order])
    assert_type(table.final(), Stream[Windowed[str], int])


def aggregates() -> None:
    assert_type(windows.reduce(lambda one, _: one), WindowedTable[str, Order, Order])
    folded = windows.aggregate(lambda: Total(0, 0), add)
    assert_type(folded, WindowedTable[str, Order, Total])
    several = windows.agg(total=sum_of("amount"), orders=count())
    assert_type(several, WindowedTable[str, Order, dict[str, Any]])
    model = windows.agg(Total, total=sum_of("amount"), orders=count())
    assert_type(model, WindowedTable[str, Order, Total])
    assert_type(orders.group_by_key().agg(n=count()), Table[str, dict[str, Any]])
    assert_type(orders.group_by_key().agg(Total, total=sum_of("amount")), Table[str, Total])
    windows.agg(total="amount")  # pyright: ignore[reportArgumentType]
    assert_type(count(), Aggregator[int])
    assert_type(mean_of("amount"), Aggregator[float | None])
