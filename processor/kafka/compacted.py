"""Reads one key of a compacted topic's partition, to its end, outside of any group."""

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.errors import KafkaError
from processor.kafka.clients import (
    PASSING,
    QUIET,
    ClientConfig,
    asking_config,
    translated,
    watermarks,
)
from processor.records import TopicPartition

_TIMEOUT = 30.0
_READER: Mapping[str, Any] = {
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",
    "fetch.wait.max.ms": 10,
    "isolation.level": "read_committed",
}


def last_value(client: ClientConfig, group: str, place: TopicPartition, key: bytes) -> bytes | None:
    """What was last committed under the key; None if nothing was, or it was deleted.

    Raises:
        KafkaError: The topic can't be read.
    """
    consumer = Consumer({**QUIET, **client, **asking_config(group), **_READER})
    try:
        first, end = watermarks(consumer, ClientPartition(*place))
        consumer.assign([ClientPartition(*place, first)])
        found, reached, deadline = None, first, time.monotonic() + _TIMEOUT
        while reached < end:
            for message in consumer.consume(1000, timeout=0.1):
                error: Any = message.error()
                if error is None:
                    found = message.value() if message.key() == key else found
                    reached = (message.offset() or 0) + 1
                elif error.code() == ClientError._PARTITION_EOF:  # noqa: SLF001 - its public name
                    reached = message.offset() or 0
                elif error.code() not in PASSING:
                    raise translated(error, f"read {place.topic}")
            if time.monotonic() > deadline:
                raise KafkaError(
                    f"{place.topic} can't be read to its end: see whether the broker works"
                )
        return found
    finally:
        consumer.close()
