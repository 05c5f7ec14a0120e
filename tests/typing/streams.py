"""What pyright has to make of streams; checked by test_inference, never run by itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypedDict, assert_type

from processor import (
    ProcessContext,
    Record,
    Serde,
    Stream,
    Timestamp,
    Topology,
    every,
    key_value,
    wall_clock,
)


@dataclass(frozen=True)
class Order:
    user: str
    amount: int


class Total(TypedDict):
    user: str
    total: int


topology = Topology("typed")
orders = topology.stream("orders", value=Order)


def sources(serde: Serde[Order]) -> None:
    assert_type(topology.stream("a"), Stream[str, Any])
    assert_type(orders, Stream[str, Order])
    assert_type(topology.stream("b", key=bytes), Stream[bytes, Any])
    assert_type(topology.stream("c", "d", key=int, value=Total), Stream[int, Total])
    assert_type(topology.stream("e", value=serde), Stream[str, Order])
    assert_type(topology.stream("g", value=Order, timestamp=lambda o: o.amount), Stream[str, Order])
    assert_type(topology.stream("h", timestamp=wall_clock), Stream[str, Any])
    assert_type(topology.stream("f", value=list[Order]), Stream[str, list[Order]])


def stateless() -> None:
    assert_type(orders.filter(lambda order: order.amount > 5), Stream[str, Order])
    assert_type(orders.filter_not(lambda order: order.amount > 5), Stream[str, Order])
    assert_type(orders.map_values(lambda order: order.amount), Stream[str, int])
    assert_type(orders.map(lambda key, order: (order.amount, key)), Stream[int, str])
    assert_type(orders.flat_map_values(lambda order: order.user.split()), Stream[str, str])
    assert_type(orders.flat_map(lambda key, order: [(order.amount, key)]), Stream[int, str])
    assert_type(orders.key_by(lambda order: order.amount), Stream[int, Order])
    assert_type(orders.key_by("amount"), Stream[Any, Order])
    assert_type(orders.peek(lambda key, order: print(key, order.user)), Stream[str, Order])
    assert_type(orders.print("orders"), Stream[str, Order])
    assert_type(orders.on_bad_record("skip"), Stream[str, Order])
    assert_type(orders.on_bad_record(lambda error, record: "fail"), Stream[str, Order])
    assert_type(orders.on_bad_record(lambda error, record: record), Stream[str, Order])
    assert_type(orders.repartition(partitions=4), Stream[str, Order])
    assert_type(orders.through("elsewhere"), Stream[str, Order])


def branches() -> None:
    big, rest = orders.split(big=lambda order: order.amount > 5).values()
    assert_type(big, Stream[str, Order])
    assert_type(big.merge(rest), Stream[str, Order])
    named = orders.split(big=lambda order: order.amount > 5)
    assert_type(named, dict[str, Stream[str, Order]])
    assert_type(named["default"], Stream[str, Order])


def processed() -> None:
    sums = key_value("sums", key=str, value=int)

    def totals(record: Record[str, Order], context: ProcessContext) -> Iterator[Record[str, Total]]:
        store = context.store(sums)
        before = store.get(record.key, 0)
        assert_type(before, int)
        total = before + record.value.amount
        store.put(record.key, total)
        yield Record(record.key, Total(user=record.key, total=total), record.timestamp)

    def remind(time: Timestamp, context: ProcessContext) -> Iterator[Record[str, Total]]:
        for user, total in context.store(sums).items():
            assert_type((user, total), tuple[str, int])
            yield Record(user, Total(user=user, total=total), time)

    def swallow(record: Record[str, Order], context: ProcessContext) -> None:
        context.store(sums).delete(record.key)

    made = orders.process(totals, stores=[sums], punctuators=[every("1m", remind)])
    assert_type(made, Stream[str, Total])
    orders.process(swallow, stores=[sums])
    assert_type(
        orders.process(
            lambda record, _: [Record(record.value.amount, record.key, record.timestamp)]
        ),
        Stream[int, str],
    )


def sinks() -> None:
    orders.to("out")
    orders.to("out", key=str, value=Order)
    orders.to(lambda record: f"orders-{record.key}-{record.value.amount}")
    orders.for_each(lambda key, order: print(key, order.amount))


async def lookup(order: Order) -> Total:
    return {"user": order.user, "total": 0}


def awaited() -> None:
    assert_type(orders.map_async(lookup), Stream[str, Total])
    assert_type(
        orders.enrich(lookup, lambda order, total: (order, total)), Stream[str, tuple[Order, Total]]
    )


def wrong() -> None:
    orders.filter(lambda order: order.price)  # pyright: ignore[reportUnknownMemberType, reportUnknownLambdaType, reportAttributeAccessIssue]
    orders.map_values(lambda order: order.price)  # pyright: ignore[reportUnknownMemberType, reportUnknownLambdaType, reportAttributeAccessIssue]
    orders.map(lambda order: (order, order))  # pyright: ignore[reportArgumentType]
    orders.flat_map_values(lambda order: order.amount)  # pyright: ignore[reportArgumentType]
    orders.flat_map(lambda key, order: [order])  # pyright: ignore[reportArgumentType]
    orders.key_by(5)  # pyright: ignore[reportCallIssue, reportArgumentType]
    orders.merge(orders.map_values(lambda order: order.amount))  # pyright: ignore[reportArgumentType]
    orders.to(lambda record: record.value)  # pyright: ignore[reportArgumentType]
    orders.to(5)  # pyright: ignore[reportArgumentType]
    orders.process(lambda record, context: [record.value])  # pyright: ignore[reportArgumentType]
    topology.stream("orders", value=5)  # pyright: ignore[reportArgumentType]
    topology.stream("orders", on_bad_record="drop")  # pyright: ignore[reportArgumentType]
    topology.stream("orders", timestamp=5)  # pyright: ignore[reportArgumentType]
    topology.stream(["orders", "more"])  # pyright: ignore[reportArgumentType]
    every("1m", lambda record: None)  # pyright: ignore[reportArgumentType]
