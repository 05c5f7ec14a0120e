"""Reads back what an application wrote: the last value of each key of an output topic."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.errors import KafkaError
from processor.kafka.clients import QUIET, ClientConfig, partitions_of, translated, watermarks

_TIMEOUT = 30.0
_CHUNK = 10_000


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
    config = {**QUIET, **client, "group.id": "kproc-results", "isolation.level": "read_committed"}
    consumer = Consumer({**config, "enable.auto.commit": False, "enable.partition.eof": True})
    try:
        starts, complete = _starts(consumer, topic, partitions_of(client, topic, consumer), limit)
        consumer.assign(starts)
        values: dict[bytes, bytes | None] = {}
        keyless: list[bytes | None] = []
        for message in _messages(consumer, len(starts)):
            key: Any = message.key()
            value: Any = message.value()
            if key is None:
                keyless.append(value)
            else:
                values[key] = value
        return Results(values, keyless, complete)
    except KafkaException as error:
        raise translated(error, f"read {topic!r}") from error
    finally:
        consumer.close()


def _starts(
    consumer: Consumer, topic: str, partitions: int, limit: int
) -> tuple[list[TopicPartition], bool]:
    """Where to begin so that it is no more than the limit, and whether that leaves nothing out."""
    share = max(1, limit // partitions)
    starts: list[TopicPartition] = []
    complete = True
    for partition in range(partitions):
        low, high = watermarks(consumer, TopicPartition(topic, partition))
        complete = complete and high - low <= share
        starts.append(TopicPartition(topic, partition, max(low, high - share)))
    return starts, complete


def _messages(consumer: Consumer, partitions: int) -> Iterator[Message]:
    """The records up to the end of each partition."""
    deadline = time.monotonic() + _TIMEOUT
    ended: set[int | None] = set()
    while len(ended) < partitions:
        if time.monotonic() > deadline:
            raise KafkaError(f"it took more than {_TIMEOUT:.0f} s to read the results back")
        for message in consumer.consume(_CHUNK, 0.1):
            error = message.error()
            if error is None:
                yield message
            elif error.code() == ClientError._PARTITION_EOF:  # noqa: SLF001 - its public name
                ended.add(message.partition())
            else:
                raise KafkaException(error)
