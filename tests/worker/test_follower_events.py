"""What the follower makes of what its clients say, without a broker."""

import os
from collections.abc import Generator
from typing import Any

import pytest
from confluent_kafka import KafkaError as ClientError
from confluent_kafka import Message
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import ClusterMetadata, TopicMetadata

from processor.errors import KafkaError
from processor.kafka.messages import Run, Span
from processor.records import Batch, Offset, Partition, RawBatch, Timestamp, TopicPartition
from processor.state.store import MemoryStore
from processor.worker.channel import Channel
from processor.worker.follower import Follower
from tests.worker.fetching import Fetching

SOURCE = TopicPartition("changelog", Partition(0))


class Client:
    """A consumer of a broker that answers, and knows no ends."""

    def __init__(self) -> None:
        self.assigned: list[tuple[str, int, int]] = []

    def list_topics(self, topic: str, *_given: object) -> ClusterMetadata:
        found = ClusterMetadata()
        found.topics = {topic: TopicMetadata()}
        return found

    def assign(self, partitions: list[ClientPartition]) -> None:
        self.assigned = [(each.topic, each.partition, each.offset) for each in partitions]

    def unassign(self) -> None:
        self.assigned = []

    def get_watermark_offsets(self, *_given: object, **_named: object) -> None:
        return None


class Following:
    """A store that follows a changelog, up to offset 2 as a restore."""

    def __init__(self) -> None:
        self.eager, self.calm = Fetching(Client()), Fetching(Client())
        self.store = MemoryStore()
        self._line = os.open(os.devnull, os.O_WRONLY)
        given: tuple[Any, Any] = (self.eager, self.calm)
        channel = Channel(self._line, 0)
        self.follower = Follower(given[0], lambda: given[1], "broker:9092", channel)
        self.follower.add(SOURCE, self.store, Offset(2))

    def comes(self, *offsets: int, source: TopicPartition = SOURCE) -> None:
        keys = [b"%d" % each for each in offsets]
        times = [Timestamp(0)] * len(offsets)
        batch: RawBatch = Batch([*keys], [*keys], times, list(map(Offset, offsets)))
        self.eager.runs.append(Run(source, batch, [Span(offsets[0], offsets[-1], 1)]))

    def close(self) -> None:
        os.close(self._line)


@pytest.fixture
def following() -> Generator[Following]:
    made = Following()
    yield made
    made.close()


def said(code: int, offset: int = 2) -> Message:
    return Message(*SOURCE, offset, error=ClientError(code))


def test_a_restore_is_done_at_its_end(following: Following) -> None:
    following.comes(0)
    assert following.follower.poll(hurry=True) == []
    assert following.eager.consumer.assigned == [("changelog", 0, 0)]
    assert (following.store.position, following.follower.is_done(SOURCE)) == (1, False)
    status = following.follower.status()
    assert status is not None
    assert (status.stores, status.records, status.total) == (1, 1, 2)
    following.comes(1)
    following.follower.poll(hurry=True)
    assert (following.store.position, following.follower.is_done(SOURCE)) == (2, True)
    assert following.follower.status() is None


def test_an_end_takes_the_position_past_a_transactions_marker(following: Following) -> None:
    following.comes(0)
    following.eager.others = [said(ClientError._PARTITION_EOF)]
    following.follower.poll(hurry=True)
    assert (following.store.position, following.follower.is_done(SOURCE)) == (2, True)


def test_records_of_what_is_not_followed_are_left_out(following: Following) -> None:
    following.comes(0, 1, source=TopicPartition("changelog", Partition(1)))
    following.follower.poll(hurry=True)
    assert following.store.position == 0


def test_a_changelog_that_lost_the_position_is_looked_at_again(following: Following) -> None:
    following.eager.others = [said(ClientError._AUTO_OFFSET_RESET)]
    assert following.follower.poll(hurry=True) == [SOURCE]


def test_an_error_that_does_not_pass_is_raised(following: Following) -> None:
    following.eager.others = [said(ClientError.TOPIC_AUTHORIZATION_FAILED)]
    with pytest.raises(KafkaError, match="changelog"):
        following.follower.poll(hurry=True)


def test_what_has_caught_up_asks_less_often_and_both_are_closed(following: Following) -> None:
    following.comes(0, 1)
    following.follower.poll(hurry=True)
    following.follower.poll(hurry=False)
    assert following.eager.consumer.assigned == []
    assert following.calm.consumer.assigned == [("changelog", 0, 2)]
    following.follower.poll(hurry=True)
    assert following.eager.consumer.assigned == [("changelog", 0, 2)]
    following.follower.close()
    assert (following.eager.closed, following.calm.closed) == (True, True)
