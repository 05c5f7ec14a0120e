"""What Kafka knows of topics besides their records: ids, and how long tombstones are kept."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import TopicCollection
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from processor.errors import TopicMismatch
from processor.kafka.clients import patiently

_TIMEOUT = 30.0
_HEARD = 3.0
"""Seconds in which every broker knows a topic that was just made."""

_HALF = (1 << 64) - 1


def topic_ids(admin: Any, topics: Iterable[str]) -> dict[str, str]:
    """Each topic's id, which a topic that is deleted and made again does not have.

    Raises:
        TopicMismatch: One is not there, though a broker has had time to hear of it.
        KafkaError: The broker does not answer.
    """
    wanted = sorted(topics)
    if not wanted:
        return {}

    def ask() -> dict[str, str]:
        asked = admin.describe_topics(TopicCollection(wanted), request_timeout=_TIMEOUT)
        return {name: topic_id(found.result()) for name, found in asked.items()}

    deadline = time.monotonic() + _HEARD
    while True:
        try:
            return patiently(ask, f"describe {', '.join(wanted)}")
        except TopicMismatch:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def changelog_id(admin: Any, topic: str) -> str:
    """The id of one topic.

    Raises:
        KafkaError: The broker does not answer.
    """
    return topic_ids(admin, [topic])[topic]


def topic_id(described: Any) -> str:
    """The id of a topic that was described."""
    found = described.topic_id
    high, low = found.get_most_significant_bits(), found.get_least_significant_bits()
    return f"{high & _HALF:016x}{low & _HALF:016x}"


def tombstone_retention(admin: Any, topic: str) -> int:
    """Milliseconds for which the topic keeps tombstones, at least; 0 where brokers don't say.

    Raises:
        KafkaError: The broker does not answer.
    """
    resource = ConfigResource(ResourceType.TOPIC, topic)

    def ask() -> Any:
        return admin.describe_configs([resource])[resource].result(_TIMEOUT)

    return retention_of(patiently(ask, f"describe the topic {topic}"))


def retention_of(config: Mapping[str, Any]) -> int:
    """The same, by a topic's settings as the client describes them."""
    found = config.get("delete.retention.ms")
    return 0 if found is None or found.value is None else max(0, int(found.value))
