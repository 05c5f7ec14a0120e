"""The inbox on a real group, on both ways: records by the consumer's own calls or by the plane."""

import time
from collections.abc import Callable, Generator
from typing import Any

import pytest
from confluent_kafka import Producer

from processor.errors import Fenced, StateError
from processor.kafka.fetching import fetcher
from processor.records import Offset, Partition, TopicPartition
from processor.runtime.commands import Assigned, Event, Fetched, ReachedEnd
from processor.worker.epochs import Epochs
from processor.worker.inbox import Inbox
from tests import ledger

pytestmark = pytest.mark.kafka
MakeTopic = Callable[..., str]
MakeInbox = Callable[..., Inbox]

_PATIENCE = 120.0


@pytest.fixture
def topic(make_topic: MakeTopic) -> str:
    return make_topic(partitions=2)


@pytest.fixture
def make_inbox(kafka: str, topic_name: str, topic: str, *, native: bool) -> Generator[MakeInbox]:
    """Makes inboxes of one slot: each that joins fences the one before."""
    made: list[Inbox] = []

    def make(epochs: Epochs | None = None) -> Inbox:
        config = {
            "bootstrap.servers": kafka,
            "group.id": topic_name,
            "group.instance.id": "slot-0",
            "group.protocol": "classic",
            "partition.assignment.strategy": "range",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "heartbeat.interval.ms": 500,
        }
        own = frozenset(sources(topic))
        fetching = fetcher(config, native=native)
        made.append(Inbox(fetching, [topic], own, "", epochs or Epochs()))
        return made[-1]

    yield make
    for each in made:
        each.close()


def sources(topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, Partition(number)) for number in (0, 1)]


def write(kafka: str, topic: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    for number in range(count):
        for partition in (0, 1):
            producer.produce(topic, b"%d" % number, b"key", partition)
    assert producer.flush(_PATIENCE) == 0


def until(inbox: Inbox, done: Callable[[list[Event]], Any]) -> list[Event]:
    """The events, up to those that are waited for."""
    events: list[Event] = []
    deadline = time.monotonic() + _PATIENCE
    while not done(events):
        assert time.monotonic() < deadline, events
        events += inbox.poll(1000, 0.02)
    return events


def joined(inbox: Inbox) -> None:
    inbox.subscribe()
    until(inbox, lambda events: any(isinstance(each, Assigned) for each in events))


def read(events: list[Event], source: TopicPartition) -> list[int]:
    return [
        offset
        for event in events
        if isinstance(event, Fetched) and event.source == source
        for offset in event.records.offsets
    ]


def test_records_flow_from_where_it_is_asked_to_the_end(
    kafka: str, topic: str, make_inbox: MakeInbox
) -> None:
    write(kafka, topic, 3000)
    first, second = sources(topic)
    inbox = make_inbox()
    joined(inbox)
    for start in (0, 2990, 1000):
        inbox.fetch({first: Offset(start), second: Offset(start)})
        events = until(
            inbox, lambda events: sum(isinstance(each, ReachedEnd) for each in events) == 2
        )
        assert read(events, first) == read(events, second) == list(range(start, 3000))
        ends = [each for each in events if isinstance(each, ReachedEnd)]
        assert {(end.source, end.offset) for end in ends} == {(first, 3000), (second, 3000)}
        for source in (first, second):  # its end comes behind all of its records
            where = events.index(next(end for end in ends if end.source == source))
            assert read(events[where:], source) == []
    inbox.fetch({second: Offset(10)})
    events = until(inbox, lambda events: len(read(events, second)) == 2990)
    assert read(events, first) == []
    assert inbox.lag(second, Offset(2000)) == 1000


def test_what_is_paused_waits(kafka: str, topic: str, make_inbox: MakeInbox) -> None:
    write(kafka, topic, 3000)
    first, second = sources(topic)
    inbox = make_inbox()
    joined(inbox)
    inbox.fetch({first: Offset(0), second: Offset(0)})
    inbox.pause(frozenset({first}))
    events = until(inbox, lambda events: len(read(events, second)) == 3000)
    before = read(events, first)
    assert before == list(range(len(before)))
    inbox.pause(frozenset())
    events += until(inbox, lambda more: len(before) + len(read(more, first)) == 3000)
    assert read(events, first) == list(range(3000))


def test_the_record_before_a_position_is_compared(
    kafka: str, topic: str, make_inbox: MakeInbox
) -> None:
    write(kafka, topic, 100)
    first, second = sources(topic)
    epochs = Epochs()
    epochs.know(first, Offset(50), 0)
    inbox = make_inbox(epochs)
    joined(inbox)
    inbox.fetch({first: Offset(50), second: Offset(50)})
    events = until(
        inbox, lambda events: len(read(events, first)) + len(read(events, second)) >= 100
    )
    assert read(events, first) == read(events, second) == list(range(50, 100))
    assert epochs.of(first, Offset(100)) == 0
    epochs.know(first, Offset(50), 7)
    inbox.fetch({first: Offset(50)})
    with pytest.raises(StateError, match="record 49 is of leader epoch 0, not 7"):
        until(inbox, lambda _: False)


def test_a_position_that_is_gone_is_reported(kafka: str, topic: str, make_inbox: MakeInbox) -> None:
    write(kafka, topic, 10)
    first, second = sources(topic)
    ledger.delete_before(kafka, topic, {0: 5})
    inbox = make_inbox()
    joined(inbox)
    inbox.fetch({first: Offset(3), second: Offset(0)})
    with pytest.raises(StateError, match=f"{topic} partition 0 should be read on from are gone"):
        until(inbox, lambda _: False)


def test_another_worker_of_the_slot_fences(kafka: str, topic: str, make_inbox: MakeInbox) -> None:
    """The one that is fenced may have fetched a lot, and closes all the same."""
    write(kafka, topic, 20_000)
    first, second = sources(topic)
    inbox, other = make_inbox(), make_inbox()
    joined(inbox)
    inbox.fetch({first: Offset(0), second: Offset(0)})
    until(inbox, lambda events: read(events, first))
    joined(other)
    with pytest.raises(Fenced, match="another worker has taken over the slot"):
        until(inbox, lambda _: False)
    inbox.close()
    other.fetch({first: Offset(0), second: Offset(0)})
    events = until(other, lambda events: len(read(events, first)) == 20_000)
    assert read(events, first) == list(range(20_000))
