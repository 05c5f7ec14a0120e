"""What pyright has to make of columns; checked by test_inference, never run by itself."""

from dataclasses import dataclass
from typing import Any, assert_type

from polars import Expr

from processor import GroupedStream, Stream, Table, Topology, WindowedTable, col, count, tumbling


@dataclass(frozen=True)
class Order:
    user: str
    amount: int


@dataclass(frozen=True)
class Total:
    total: int


orders = Topology("typed").stream("orders", value=Order)
assert_type(col("amount"), Expr)
assert_type(orders.filter(col("amount") > 5), Stream[str, Order])
assert_type(orders.filter_not(col("amount") > 5), Stream[str, Order])
assert_type(orders.with_columns(double=col("amount") * 2), Stream[str, dict[str, Any]])
assert_type(orders.select("user", big=col("amount") > 5), Stream[str, dict[str, Any]])
assert_type(orders.select(total=col("amount"), value=Total), Stream[str, Total])
assert_type(orders.with_columns(col("amount").alias("total"), value=Total), Stream[str, Total])
assert_type(orders.key_by(col("user")), Stream[Any, Order])

grouped = orders.group_by(col("user"))
assert_type(grouped, GroupedStream[Any, Order])
assert_type(grouped.agg(total=col("amount").sum(), orders=count()), Table[Any, dict[str, Any]])
assert_type(grouped.agg(Total, total=col("amount").sum()), Table[Any, Total])
assert_type(
    grouped.window(tumbling("1s")).agg(Total, total=col("amount").sum()),
    WindowedTable[Any, Order, Total],
)

orders.select(total=5)  # pyright: ignore[reportArgumentType]
grouped.agg(total="amount")  # pyright: ignore[reportArgumentType]
