"""Reads back what an application wrote: the last value of each key of an output topic."""

from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ClientPartition

from processor.kafka.clients import QUIET, ClientConfig, partitions_of, watermarks
from processor.kafka.reader import Reader, reading_config
from processor.records import Partition, TopicPartition

_TIMEOUT = 30.0


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
    consumer = Consumer({**QUIET, **client, **reading_config("kproc-results")})
    try:
        ranges = _ranges(consumer, topic, partitions_of(client, topic, consumer))
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


def _ranges(
    consumer: Consumer, topic: str, partitions: int
) -> dict[TopicPartition, tuple[int, int]]:
    """The first offset and the end of each partition."""
    sources = [TopicPartition(topic, Partition(each)) for each in range(partitions)]
    return {source: watermarks(consumer, ClientPartition(*source)) for source in sources}
