"""The error of each wrong topology, read as a whole: golden/messages.txt."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from processor import Stream, Topology, calendar, every, key_value, tumbling
from processor.errors import KprocError
from processor.topology.plan import lay_out, plan


@dataclass(frozen=True)
class Order:
    user: str
    amount: int


def orders(name: str = "app") -> Stream[str, Order]:
    return Topology(name).stream("orders", value=Order)


def read_otherwise() -> None:
    topology = Topology("app")
    topology.stream("orders", value=Order)
    topology.stream("orders", value=str)


def two_steps_of_a_name() -> None:
    orders().filter(bool, name="big").filter(bool, name="big")


def two_repartitions_of_a_name() -> None:
    stream = orders()
    stream.group_by("user").count()
    stream.group_by("user").count(name="again")


def a_store_of_two_steps() -> None:
    spec = key_value("seen", key=str, value=int)
    stream = orders()
    stream.process(lambda record, _: [record], stores=[spec], name="one")
    stream.process(lambda record, _: [record], stores=[spec], name="other")


def different_counts() -> None:
    topology = Topology("app")
    paid = topology.stream("orders").merge(topology.stream("payments"), name="paid")
    paid.group_by_key().count()
    lay_out(plan(topology), {"orders": 6, "payments": 4})


def joined_by_other_bytes() -> None:
    topology = Topology("app")
    topology.stream("orders").join(topology.table("users", key=int), lambda _, user: user)


def joined_across_topologies() -> None:
    orders().join(Topology("other").table("users"), lambda _, user: user)


def joined_with_other_counts() -> None:
    topology = Topology("app")
    topology.stream("orders").join(topology.table("users"), lambda _, user: user)
    lay_out(plan(topology), {"orders": 6, "users": 4})


def taken_by_a_changelog() -> None:
    topology = Topology("app")
    topology.stream("orders").group_by_key().count().to("app-orders-count-changelog")
    plan(topology)


WRONG: dict[str, Callable[[], Any]] = {
    "application without a name": lambda: Topology(""),
    "topic with a space": lambda: Topology("app").stream("my orders"),
    "topics as a list": lambda: Topology("app").stream(["orders", "payments"]),
    "no topic": lambda: Topology("app").stream(),
    "a topic twice in one stream": lambda: Topology("app").stream("orders", "orders"),
    "a topic read in two ways": read_otherwise,
    "no such policy": lambda: Topology("app").stream("orders", on_bad_record="drop"),
    "nothing read": lambda: plan(Topology("app")),
    "a type without a serde": lambda: Topology("app").stream("orders", value=complex),
    "a key that can't be hashed": lambda: Topology("app").stream("orders", key=list[int]),
    "no such field": lambda: orders().group_by("usr"),
    "no name to infer": lambda: orders().group_by(lambda order: order.user).count(),
    "two steps of a name": two_steps_of_a_name,
    "two repartitions of a name": two_repartitions_of_a_name,
    "a store of two steps": a_store_of_two_steps,
    "no such emit": lambda: orders().group_by_key().count(emit="always"),
    "no such clock": lambda: every("1s", lambda time, context: [], clock="sun"),
    "no duration": lambda: orders().deduplicate(within="soon"),
    "a duration that is too short": lambda: tumbling(0),
    "a time zone that is no name": lambda: calendar("day", tz=1),
    "no topic's name": lambda: orders().to(5),
    "partitions that are no number": lambda: orders().repartition(partitions="many"),
    "a join with something else": lambda: orders().outer_join(
        "users", lambda one, other: other, within="1m"
    ),
    "a global table with an empty name": lambda: Topology("app").global_table("t", name=""),
    "a branch called default": lambda: orders().split(default=bool),
    "streams of two topologies": lambda: orders().merge(orders("other")),
    "a name of an internal topic": taken_by_a_changelog,
    "different partition counts": different_counts,
    "a join of keys with other bytes": joined_by_other_bytes,
    "a join of two topologies": joined_across_topologies,
    "a join of other partition counts": joined_with_other_counts,
}


def test_messages_are_the_golden_ones(golden: Callable[[str, str], None]) -> None:
    messages: list[str] = []
    for what, make in WRONG.items():
        try:
            make()
        except KprocError as error:
            messages.append(f"{what}\n    {type(error).__name__}: {error}\n")
    assert len(messages) == len(WRONG)
    golden("messages.txt", "\n".join(messages))
