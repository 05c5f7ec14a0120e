"""What pyright has to make of joins; checked by test_inference."""

from dataclasses import dataclass
from typing import assert_type

from processor import CogroupedStream, JoinedStream, JoinWindow, Stream, Table, Topology


@dataclass(frozen=True)
class Order:
    user: str
    amount: int


@dataclass(frozen=True)
class User:
    name: str


topology = Topology("typed")
orders = topology.stream("orders", value=Order)
users = topology.table("users", value=User)
limits = topology.table("limits", value=int)


def named(order: Order, user: User) -> tuple[str, int]:
    return user.name, order.amount


def maybe_named(order: Order, user: User | None) -> str:
    return user.name if user else order.user


def streams_with_tables() -> None:
    assert_type(orders.join(users, named), Stream[str, tuple[str, int]])
    assert_type(orders.join(users, lambda order, user: user.name), Stream[str, str])
    assert_type(orders.left_join(users, maybe_named), Stream[str, str])


def tables_with_tables() -> None:
    assert_type(
        users.join(limits, lambda user, limit: (user.name, limit)), Table[str, tuple[str, int]]
    )
    assert_type(users.left_join(limits, lambda user, limit: limit or 0), Table[str, int])
    assert_type(users.outer_join(limits, lambda user, limit: limit or 0), Table[str, int])


def by_foreign_keys() -> None:
    kept = topology.table("kept-orders", key=int, value=Order)
    assert_type(kept.join(users, named, on=lambda order: order.user), Table[int, tuple[str, int]])
    assert_type(kept.left_join(users, maybe_named, on="user"), Table[int, str])
    kept.join(users, named, on=lambda order: order.amount)  # pyright: ignore[reportArgumentType]
    kept.join(users, named)  # pyright: ignore[reportArgumentType]


def streams_with_streams() -> None:
    payments = topology.stream("payments", value=int)
    assert_type(
        orders.join(payments, lambda order, paid: order.amount - paid, within="1h"),
        JoinedStream[str, Order, int, int],
    )
    assert_type(
        orders.left_join(
            payments,
            lambda order, paid: (order.user, paid),
            within=JoinWindow(before=0, after="1h"),
        ),
        JoinedStream[str, Order, int, tuple[str, int | None]],
    )
    assert_type(
        orders.outer_join(
            payments, lambda order, paid: order or paid, within=JoinWindow(3600, grace="5m")
        ),
        JoinedStream[str, Order, int, Order | int | None],
    )
    joined = orders.join(
        payments, lambda order, paid: order.amount - paid, within="1h", late="skip"
    )
    assert_type(joined.late_left(), Stream[str, Order])
    assert_type(joined.late_right(), Stream[str, int])
    assert_type(joined.map_values(str), Stream[str, str])


def total(so_far: int, order: Order) -> int:
    return so_far + order.amount


def groups() -> None:
    limited = topology.stream("more-limits", value=int).group_by_key()
    cogrouped = orders.group_by_key().cogroup(total).cogroup(limited, lambda so_far, one: one)
    assert_type(cogrouped, CogroupedStream[str, int])
    assert_type(cogrouped.aggregate(int), Table[str, int])


def wrong() -> None:
    orders.left_join(users, named)  # pyright: ignore[reportArgumentType]
    orders.join(limits, named)  # pyright: ignore[reportArgumentType]
    orders.left_join(users, lambda order, user: user.name)  # pyright: ignore[reportOptionalMemberAccess]
    users.outer_join(limits, lambda user, limit: user.name)  # pyright: ignore[reportOptionalMemberAccess]
