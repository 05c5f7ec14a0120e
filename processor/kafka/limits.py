"""Limits: which records topics take, by their size and time.

The application's own topics have to take all that its settings allow, and to keep it; of outputs it
is read what they take, so that other records are bad ones before they are sent.
"""

import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from processor.errors import PermissionDenied
from processor.kafka.clients import ClientConfig, admin_client, translated
from processor.options import TopicLimits
from processor.topology.plan import InternalTopic

_TIMEOUT = 30.0
_BYTES = "max.message.bytes"
_BEFORE, _AFTER = "message.timestamp.before.max.ms", "message.timestamp.after.max.ms"
_EITHER = "message.timestamp.difference.max.ms"  # of brokers before 3.6
TIMES = (_BEFORE, _AFTER)
_UNCLEAN = "unclean.leader.election.enable"

_BROKERS_DEFAULT = 1_048_588
_FRAME = 512
"""Bytes that a batch of one record has besides what `record_bytes` counts, and more."""


def fitted(topic: InternalTopic, max_record_bytes: int) -> InternalTopic:
    """An internal topic that takes records of this size."""
    least = int(topic.config.get(_BYTES, _BROKERS_DEFAULT))
    size = max(least, max_record_bytes + _FRAME)
    return topic._replace(config={**topic.config, _BYTES: str(size)})


def lacking(topic: InternalTopic, found: Mapping[str, str]) -> Mapping[str, str]:
    """What has to be altered of an internal topic's settings, and to which values.

    A leader that lacks records must not be elected: what is in their place later would be taken for
    them. That is looked for in topics that were just made as well, as brokers may have another
    default, and some let nobody set it who makes a topic.
    """
    low = {
        name: topic.config[name]
        for name in (_BYTES, *TIMES)
        if name in topic.config and name in found and int(found[name]) < int(topic.config[name])
    }
    return {**low, _UNCLEAN: "false"} if found.get(_UNCLEAN) == "true" else low


def alter(admin: Any, topic: str, values: Mapping[str, str]) -> None:
    """Alters a topic, where that is allowed; what is left to be done is reported by `durability`.

    Raises:
        KprocError: It can't be done for another reason.
    """
    changes = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in values.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=changes)
    try:
        admin.incremental_alter_configs([resource])[resource].result(_TIMEOUT)
    except KafkaException as error:
        known = translated(error, f"alter the topic {topic}")
        if not isinstance(known, PermissionDenied):
            raise known from error


def limits_of(client: ClientConfig, topics: Iterable[str]) -> Mapping[str, TopicLimits]:
    """The limits of those topics that may be described.

    Raises:
        KprocError: No broker answers.
    """
    admin: Any = admin_client(client)
    found = settings_of(admin, topics)
    return {topic: _limits(values) for topic, values in found.items()}


def settings_of(admin: Any, topics: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
    """The settings of those topics that may be described."""
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
    found: dict[str, Mapping[str, str]] = {}
    if not resources:
        return found
    answers = admin.describe_configs(resources, request_timeout=_TIMEOUT)
    for resource, answer in answers.items():
        with suppress(KafkaException):  # those of others may be hidden from us
            values = answer.result(_TIMEOUT)
            found[resource.name] = {name: each.value for name, each in values.items()}
    return found


def _limits(values: Mapping[str, str]) -> TopicLimits:
    size = int(values.get(_BYTES, sys.maxsize))
    if values.get("message.timestamp.type") == "LogAppendTime":
        return TopicLimits(size)
    either = values.get(_EITHER, str(sys.maxsize))
    before, after = (int(values.get(name, either)) for name in TIMES)
    return TopicLimits(size, before, after)
