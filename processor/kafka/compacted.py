"""Reads one key of a compacted topic's partition, to its end, outside of any group."""

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ClientPartition

from processor.kafka.clients import COMMON, ClientConfig, watermarks
from processor.kafka.reader import Reader, reading_config
from processor.records import TopicPartition

_TIMEOUT = 30.0


def last_value(client: ClientConfig, group: str, place: TopicPartition, key: bytes) -> bytes | None:
    """What was last committed under the key; None if nothing was, or it was deleted.

    Raises:
        KafkaError: The topic can't be read.
    """
    config = {**reading_config(group), "fetch.wait.max.ms": 10}
    consumer = Consumer({**COMMON, **client, **config})
    try:
        first, end = watermarks(consumer, ClientPartition(*place))
        found = None
        for batch in Reader(consumer, {place: first}).until({place: end}, _TIMEOUT):
            for message in batch:
                found = message.value() if message.key() == key else found
        return found
    finally:
        consumer.close()
