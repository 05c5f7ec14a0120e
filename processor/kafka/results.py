"""Reads back what an application wrote: the last value of each key of an output topic."""

import time
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.kafka.clients import COMMON, ClientConfig, admin_client, partitions_of, watermarks
from processor.kafka.progress import list_offsets, partitions
from processor.kafka.reader import Reader, reading_config
from processor.records import TopicPartition

_TIMEOUT = 30.0
_SETTLE = 5.0


@dataclass(frozen=True, slots=True)
class Results:
    """The committed records at the end of a topic.

    Attributes:
        values: The last value of each key, in no order; None for a key that was deleted.
        keyless: The last values of records without a key.
        complete: Whether they are all records that the topic holds.
    """

    values: dict[bytes, bytes | None]
    keyless: list[bytes | None]
    complete: bool


def read_results(client: ClientConfig, topic: str, limit: int) -> Results:
    """The results in a topic, from about its last `limit` offsets.

    Raises:
        TopicMismatch: There is no such topic.
        KafkaError: It can't be read, or not within half a minute.
    """
    consumer = Consumer({**COMMON, **client, **reading_config("kproc-results")})
    try:
        ranges = _settled_ranges(client, consumer, topic)
        kept = max(1, limit // len(ranges))
        starts = {source: max(low, high - kept) for source, (low, high) in ranges.items()}
        ends = {source: high for source, (_, high) in ranges.items()}
        values: dict[bytes, bytes | None] = {}
        keyless: list[bytes | None] = []
        for batch in Reader(consumer, starts, passing=()).until(ends, _TIMEOUT):
            for message in batch:
                key: Any = message.key()
                value: Any = message.value()
                if key is None:
                    keyless.append(value)
                else:
                    values[key] = value
        complete = all(starts[source] == low for source, (low, _) in ranges.items())
        return Results(values, keyless, complete)
    finally:
        consumer.close()


def _settled_ranges(
    client: ClientConfig, consumer: Consumer, topic: str
) -> dict[TopicPartition, tuple[int, int]]:
    """The first offset of each partition, and the end of what is committed.

    A commit is acknowledged a moment before the brokers of its partitions know of it, so that what
    was written last is waited for; a transaction that stays open is not.
    """
    sources = partitions({topic: partitions_of(client, topic, consumer)})
    written = list_offsets(admin_client(client), sources, OffsetSpec.latest())
    deadline = time.monotonic() + _SETTLE
    while True:
        ranges = {each: watermarks(consumer, ClientPartition(*each)) for each in sources}
        is_settled = all(high >= written[each] for each, (_, high) in ranges.items())
        if is_settled or time.monotonic() > deadline:
            return ranges
        time.sleep(0.02)
