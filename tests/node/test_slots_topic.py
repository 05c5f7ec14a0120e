"""Beats through a real topic: order, the broker's time, what is no beat."""

import select
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest

from processor.cluster.beats import Beat, Claim, Replica
from processor.errors import TopicMismatch
from processor.node.slots_topic import BeatsReader, SlotsTopic
from tests import ledger

pytestmark = pytest.mark.kafka


@pytest.fixture
def topic(make_topic: Callable[..., str]) -> str:
    return make_topic(**{"message.timestamp.type": "LogAppendTime"})


@pytest.fixture
def join(kafka: str, topic: str) -> Generator[Callable[[], SlotsTopic]]:
    opened: list[SlotsTopic] = []

    def make() -> SlotsTopic:
        opened.append(SlotsTopic({"bootstrap.servers": kafka}, topic))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def hear(line: SlotsTopic, count: int) -> list[tuple[Beat, Any]]:
    found: list[tuple[Beat, Any]] = []
    deadline = time.monotonic() + 120
    while len(found) < count:
        assert time.monotonic() < deadline, found
        select.select([line], [], [], 1)
        found += line.read()
    return found


def test_all_nodes_hear_the_same_in_the_same_order(join: Callable[[], SlotsTopic]) -> None:
    one, other = join(), join()
    for number in range(50):
        replicas = (Replica(0, "primary", "running", lag=number, rate=1.5),)
        one.write(Beat("a", "a1", 2, claims=(Claim(0, number),), replicas=replicas))
        other.write(Beat("b", "b1", 2, leaving=True))
    heard, again = hear(one, 100), hear(other, 100)
    assert heard == again
    assert [beat.claims[0].term for beat, _ in heard if beat.node == "a"] == list(range(50))
    times = [timestamp for _, timestamp in heard]
    assert abs(times[0] - time.time() * 1000) < 60_000


def test_a_late_node_hears_what_was_said_lately(
    kafka: str, topic: str, join: Callable[[], SlotsTopic]
) -> None:
    texts = [b'{"node":"old","boot":"1","slots":2}'] * 1200
    ledger.write(kafka, topic, [(0, b"old", text) for text in texts])
    late = join()
    late.write(Beat("new", "1", 2))
    heard = [beat.node for beat, _ in hear(late, 1001)]
    assert heard == ["old"] * 1000 + ["new"]


def test_what_is_no_beat_is_reported_and_passed_over(
    kafka: str, topic: str, join: Callable[[], SlotsTopic]
) -> None:
    line = join()
    ledger.write(kafka, topic, [(0, b"x", b"no json"), (0, b"x", None), (0, b"x", b'{"node":1}')])
    line.write(Beat("a", "1", 2))
    assert [beat.node for beat, _ in hear(line, 1)] == ["a"]
    assert len(line.passing()) == 3
    assert line.passing() == []


def test_without_the_topic(kafka: str, topic_name: str) -> None:
    with pytest.raises(TopicMismatch, match="create it first"):
        BeatsReader({"bootstrap.servers": kafka}, f"{topic_name}-not-there")
