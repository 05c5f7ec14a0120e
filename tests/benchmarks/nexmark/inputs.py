"""Nexmark's events as they stand in Kafka: a topic for each kind, keyed by ids.

Persons and auctions are keyed by their own ids, bids by their auctions. NEXMARK_PREFIX is put
before the names of topics, NEXMARK_RUN before those of applications and of what they write.
"""

import os
from collections.abc import Iterable, Iterator

import msgspec
from confluent_kafka import Producer

from processor import Record, Timestamp
from tests import ledger
from tests.benchmarks.nexmark.events import SIDE_ROWS, Auction, Bid, Event, Person

PREFIX = os.environ.get("NEXMARK_PREFIX", "nexmark")
RUN = os.environ.get("NEXMARK_RUN", PREFIX)
PERSONS, AUCTIONS, BIDS = f"{PREFIX}-persons", f"{PREFIX}-auctions", f"{PREFIX}-bids"
SIDE_INPUT = f"{PREFIX}-side-input"
TOPICS = (PERSONS, AUCTIONS, BIDS, SIDE_INPUT)
LATER_ID = 1_000_000_000
"""Higher than all ids of events."""
SIDE = [f"row {number}" for number in range(SIDE_ROWS)]


def output(name: str, run: str = RUN) -> str:
    """The topic that a query writes to."""
    return f"{run}-{name}-results"


def records(events: Iterable[Event]) -> Iterator[tuple[str, Record[int, Event]]]:
    """Events with their topics."""
    for event in events:
        match event:
            case Person():
                topic, key = PERSONS, event.id
            case Auction():
                topic, key = AUCTIONS, event.id
            case Bid():
                topic, key = BIDS, event.auction
        yield topic, Record(key, event, Timestamp(event.date_time))


def side_input() -> list[Record[int, str]]:
    """What query 13 joins with; older than all events."""
    return [Record(key, value, Timestamp(1)) for key, value in enumerate(SIDE)]


def produce(kafka: str, events: Iterable[Event], partitions: int) -> dict[str, int]:
    """Makes the topics and writes everything; how many records each has.

    Keys are in the partitions that Java's client chooses for them, and kproc.
    """
    ledger.create(kafka, dict.fromkeys(TOPICS, partitions))
    settings = {"linger.ms": 20, "compression.type": "lz4", "partitioner": "murmur2_random"}
    producer = Producer({"bootstrap.servers": kafka, **settings})
    counts = dict.fromkeys(TOPICS, 0)
    encode = msgspec.json.encode
    side = ((SIDE_INPUT, row.key, row.value.encode(), row.timestamp) for row in side_input())
    rest = ((topic, row.key, encode(row.value), row.timestamp) for topic, row in records(events))
    for each in (side, rest):
        for topic, key, value, time in each:
            ledger.produce(producer, topic, -1, key.to_bytes(8, "big"), value, time)
            counts[topic] += 1
    assert producer.flush(60) == 0
    return counts


def produce_later(kafka: str, partitions: int, time: int) -> list[Bid]:
    """Writes bids that close all windows which end before a time, whatever they are grouped by."""
    ids = range(LATER_ID, LATER_ID + 25 * partitions)
    later = [Bid(each, each, each, "", "", time, "") for each in ids]
    rows = (
        (number % partitions, bid.auction.to_bytes(8, "big"), msgspec.json.encode(bid), time)
        for number, bid in enumerate(later)
    )
    ledger.write(kafka, BIDS, rows)
    return later
