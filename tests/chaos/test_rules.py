"""Which comparison each result allows, for small topologies."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from processor import ProcessContext, Record, Stream, Topology, every, key_value
from processor.chaos.rules import Rule, rules
from processor.topology.plan import plan

SEEN = key_value("seen", key=str, value=int)


def remember(record: Record[str, Any], context: ProcessContext) -> Iterator[Record[str, Any]]:
    context.store(SEEN).put(record.key, 1)
    yield record


def nothing(_time: int, _context: ProcessContext) -> None:
    return None


def judged(define: Callable[[Topology], None]) -> dict[str, str]:
    topology = Topology("app")
    define(topology)
    found = rules(plan(topology))
    chosen = {"chosen": found.chosen} if found.chosen else {}
    every_one = {**found.topics, **chosen, **found.stores}
    return {name: judgement.rule.name for name, judgement in every_one.items()}


def stateless(topology: Topology) -> None:
    stream = topology.stream("in").filter(bool).key_by("id").flat_map_values(list)
    stream.to("out")
    stream.to(lambda record: f"out-{record.key}")


def two_topics(topology: Topology) -> None:
    one, other = topology.stream("one"), topology.stream("two")
    one.to("copy")
    one.merge(other).map_values(str).to("both")
    topology.stream("three", "four").to("as-one")


def counted(topology: Topology) -> None:
    counts = topology.stream("in").group_by_key().count(name="counts")
    counts.to("plain")
    counts.to_stream().map_values(str).to("mapped")
    counts.to_stream().filter(bool).to("filtered")
    counts.to_stream().key_by(str).to("rekeyed")
    counts.to_stream().merge(topology.stream("in")).to("mixed")


def every_change(topology: Topology) -> None:
    stream = topology.stream("in")
    stream.group_by_key().count(name="counts", emit="change").to_stream().filter(bool).to("out")


def behind_a_repartition(topology: Topology) -> None:
    counts = topology.stream("in").group_by("user", name="by-user").count(name="counts")
    again = counts.to_stream().group_by(str, name="by-count")
    again.count(name="histogram").to("out")


def behind_a_merge(topology: Topology) -> None:
    both = topology.stream("one").merge(topology.stream("two"))
    both.group_by_key().count(name="counts").to("out")


def beside_another_topic(topology: Topology) -> None:
    one = topology.stream("one")
    one.group_by_key().count(name="counts").to("counted")
    one.deduplicate(within="1h", name="once").to("first")
    one.merge(topology.stream("two")).to("both")


def of_a_table(topology: Topology) -> None:
    changes = topology.table("in", name="latest").to_stream()
    changes.group_by_key().count(name="how-often").to("out")


def processed(topology: Topology) -> None:
    topology.stream("in").process(remember, stores=[SEEN], name="remember").to("out")


def by_the_clock(topology: Topology) -> None:
    stream: Stream[Any, Any] = topology.stream("in").process(
        remember, stores=[SEEN], punctuators=[every("1s", nothing, clock="wall")], name="remember"
    )
    stream.map_values(str).to("out")
    topology.stream("in").to("copy")


@pytest.mark.parametrize(
    ("define", "expected"),
    [
        (stateless, {"out": "SEQUENCE", "chosen": "SEQUENCE"}),
        (two_topics, {"copy": "SEQUENCE", "both": "SET", "as-one": "SET"}),
        (
            counted,
            {
                "plain": "CHANGES",
                "mapped": "CHANGES",
                "filtered": "SELECTION",
                "rekeyed": "NOTHING",
                "mixed": "NOTHING",
                "counts": "SEQUENCE",
            },
        ),
        (every_change, {"out": "SEQUENCE", "counts": "SEQUENCE"}),
        (
            behind_a_repartition,
            {
                "app-by-user-repartition": "SEQUENCE",
                "app-by-count-repartition": "NOTHING",
                "out": "CHANGES",
                "counts": "SEQUENCE",
                "histogram": "SEQUENCE",
            },
        ),
        (behind_a_merge, {"out": "LAST", "counts": "LAST"}),
        (
            beside_another_topic,
            {
                "counted": "CHANGES",
                "first": "LAST",
                "both": "SET",
                "counts": "SEQUENCE",
                "once": "LAST",
            },
        ),
        (of_a_table, {"out": "LAST", "latest": "SEQUENCE", "how-often": "LAST"}),
        (processed, {"out": "SEQUENCE", "seen": "SEQUENCE"}),
        (by_the_clock, {"out": "NOTHING", "copy": "SEQUENCE", "seen": "NOTHING"}),
    ],
)
def test_rules(define: Callable[[Topology], None], expected: dict[str, str]) -> None:
    assert judged(define) == expected


def test_what_was_not_read_back_is_not_compared() -> None:
    topology = Topology("app")
    behind_a_repartition(topology)
    found = rules(plan(topology), frozenset({"app-by-user-repartition"}))
    assert found.stores["counts"].rule is Rule.NOTHING
    assert "deleted before they could be read" in found.stores["counts"].reason
    assert found.of_topic("out").rule is Rule.CHANGES


def test_nothing_is_known_of_other_topics() -> None:
    topology = Topology("app")
    counted(topology)
    assert rules(plan(topology)).of_topic("elsewhere").rule is Rule.NOTHING
