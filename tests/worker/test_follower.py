"""A store that follows its changelog on a real Kafka, also past a time without contact."""

import os
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from processor import Topology
from processor.node.node import worker_spec
from processor.records import Offset, Partition, TopicPartition
from processor.settings import Settings
from processor.state.store import MemoryStore
from processor.topology.plan import Layout, plan
from processor.worker import follower as module
from processor.worker.channel import Channel
from processor.worker.follower import follower

pytestmark = pytest.mark.kafka

DEADLINE = 120


class Following:
    """A changelog that is written, and a store that follows it."""

    def __init__(self, kafka: str, topic: str, folder: Path, *, native: bool) -> None:
        self.source = TopicPartition(topic, Partition(0))
        self.store = MemoryStore()
        self._producer = Producer({"bootstrap.servers": kafka, "linger.ms": 0})
        topology = Topology("orders")
        topology.stream("in").to("out")
        way = "on" if native else "off"
        settings = Settings(state_dir=folder, bootstrap=kafka, native=way)
        spec = worker_spec("none.py", Layout(plan(topology), {"in": 1}), settings, 0)
        self.follower = follower(spec, Channel(os.open(os.devnull, os.O_WRONLY), 0))
        self.follower.add(self.source, self.store, Offset(0))

    def write(self, *keys: str) -> None:
        for key in keys:
            self._producer.produce(self.source.topic, b"value", key)
        assert self._producer.flush(DEADLINE) == 0

    def poll_until(self, reached: Callable[[], object]) -> list[TopicPartition]:
        deadline = time.monotonic() + DEADLINE
        while not (gone := self.follower.poll(hurry=False)) and not reached():
            assert time.monotonic() < deadline
        return gone

    def has(self, count: int) -> bool:
        return len(list(self.store.scan())) == count


@pytest.fixture
def following(
    kafka: str, make_topic: Callable[..., str], tmp_path: Path, *, native: bool
) -> Generator[Following]:
    made = Following(kafka, make_topic(), tmp_path, native=native)
    yield made
    made.follower.close()


def test_it_writes_what_comes(following: Following) -> None:
    following.write("a", "b")
    assert following.poll_until(lambda: following.has(2)) == []
    following.write("c")
    assert following.poll_until(lambda: following.has(3)) == []


def test_after_a_suspension_stores_are_looked_at_before_anything_is_written(
    following: Following,
) -> None:
    following.write("a")
    following.poll_until(lambda: following.has(1))
    following.write("b")
    following.follower._contact._sure -= 2 * module._AWAY
    assert following.poll_until(lambda: False) == [following.source]
    assert following.has(1)
    # Whoever looked at the store and found it usable goes on where it was.
    assert following.poll_until(lambda: following.has(2)) == []


def test_after_a_time_cut_off_stores_are_looked_at_when_a_broker_answers(
    following: Following,
) -> None:
    following.write("a")
    following.poll_until(lambda: following.has(1))
    contact = following.follower._contact
    contact._cut_off = True
    contact._sure -= 2 * module._AWAY
    contact._asked -= 2 * module._ASK
    assert following.poll_until(lambda: False) == [following.source]
    assert not contact._cut_off
