"""The topic in which an application says what it runs with, and what Kafka knows besides.

Owns one record: who starts writes it if it has changed. What a change means is worked out by
`topology.changes`.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.edges.clients import (
    PASSING,
    QUIET,
    ClientConfig,
    asking_config,
    committed,
    translated,
    watermarks,
)
from processor.edges.progress import list_offsets
from processor.errors import KafkaError, StateError, StateMismatch
from processor.records import Partition, TopicPartition
from processor.topology.changes import Change, Description, Facts, compare, describe
from processor.topology.plan import Layout, Plan

_KEY = b"topology"
_TIMEOUT = 30.0
_READER: Mapping[str, Any] = {
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",
    "fetch.wait.max.ms": 10,
}


def read_description(client: ClientConfig, plan: Plan) -> Description | None:
    """What was written last; None if nothing was.

    Raises:
        StateError: A newer version wrote it.
        KafkaError: The topic can't be read.
    """
    topic = plan.description_topic
    consumer = Consumer({**QUIET, **_READER, **client, **asking_config(plan.application)})
    try:
        source = ClientPartition(topic, 0)
        first, end = watermarks(consumer, source)
        consumer.assign([ClientPartition(topic, 0, first)])
        found, reached, deadline = b"", first, time.monotonic() + _TIMEOUT
        while reached < end:
            for message in consumer.consume(100, timeout=0.1):
                error: Any = message.error()
                if error is None:
                    found = message.value() or b"" if message.key() == _KEY else found
                    reached = (message.offset() or 0) + 1
                elif error.code() == ClientError._PARTITION_EOF:  # noqa: SLF001 - its public name
                    reached = message.offset() or 0
                elif error.code() not in PASSING:
                    raise translated(error, f"read {topic}")
            if time.monotonic() > deadline:
                raise KafkaError(f"{topic} can't be read to its end: see whether the broker works")
    finally:
        consumer.close()
    return _decoded(topic, found) if found else None


def _decoded(topic: str, data: bytes) -> Description:
    try:
        found = msgspec.json.decode(data, type=Description)
    except msgspec.DecodeError as error:
        raise StateError(f"{topic} can't be understood ({error}): delete the topic") from error
    if found.version > Description.VERSION:
        raise StateError(
            f"{topic} was written by a newer kproc: update this one, or go on with that"
        )
    return found


def write_description(client: ClientConfig, topic: str, description: Description) -> None:
    """Writes it, and waits until it is there.

    Raises:
        KafkaError: It can't be written.
    """
    errors: list[ClientError] = []

    def note(error: ClientError | None, _message: Any) -> None:
        if error is not None:
            errors.append(error)

    producer = Producer({**QUIET, "acks": "all", "linger.ms": 0, **client, "on_delivery": note})
    producer.produce(topic, msgspec.json.encode(description), _KEY, 0)
    left = producer.flush(_TIMEOUT)
    if errors:
        raise translated(KafkaException(errors[0]), f"write {topic}")
    if left:
        raise KafkaError(
            f"{topic} could not be written in {_TIMEOUT:.0f} s: see whether brokers run"
        )


def last_description(
    client: ClientConfig, plan: Plan, there: Mapping[str, int]
) -> Description | None:
    """What the application ran with last; None if that is not known.

    Args:
        client: librdkafka settings.
        plan: Of the application.
        there: The partition counts of the topics that there are.

    Raises:
        StateError: A newer version has run it, or a reset was not finished.
        KafkaError: Kafka does not tell.
    """
    found = read_description(client, plan) if plan.description_topic in there else None
    if found is not None and found.resetting:
        raise StateMismatch(
            f"a reset of {plan.application} was not finished: give the same kproc reset again"
        )
    return found


def changes(
    client: ClientConfig, layout: Layout, there: Mapping[str, int], before: Description | None
) -> list[Change]:
    """What becomes of an application's stores and topics.

    Raises:
        KafkaError: Kafka does not tell.
    """
    return compare(before, layout, facts(client, layout.plan, before, there))


def check_changes(client: ClientConfig, layout: Layout, there: Mapping[str, int]) -> bool:
    """Makes sure that nothing is lost by a start; whether the description has to be written.

    Raises:
        StateMismatch: Something would be lost.
        StateError: As `last_description`.
        KafkaError: Kafka does not tell.
    """
    before, after = last_description(client, layout.plan, there), describe(layout)
    if before == after and all(map(there.__contains__, map(layout.plan.changelog, after.stores))):
        return False  # the usual case: nothing else has to be asked
    found = changes(client, layout, there, before)
    refused = [change for change in found if change.action == "refuse"]
    if refused:
        lines = "".join(f"\n  {each.what} {each.name}: {each.why}" for each in refused)
        raise StateMismatch(
            f"the topology does not fit the state that {layout.plan.application} has. Nothing was "
            f"changed.{lines}\n`kproc plan FILE.py` shows all that would become of it"
        )
    return before != after


def facts(
    client: ClientConfig, plan: Plan, before: Description | None, there: Mapping[str, int]
) -> Facts:
    """What Kafka knows of the changelogs and repartition topics, old and new.

    Raises:
        KafkaError: It does not tell.
    """
    old = before or Description({}, {}, {})
    own = [spec.name for part in plan.subtopologies for spec in part.stores]
    stores = dict.fromkeys((*own, *old.stores))
    changelogs = all_partitions(map(plan.changelog, stores), there)
    repartitions = all_partitions(dict.fromkeys((*plan.repartitions, *old.repartitions)), there)
    admin = AdminClient({**QUIET, **client})
    firsts = list_offsets(admin, [*changelogs, *repartitions], OffsetSpec.earliest())
    ends = list_offsets(admin, [*changelogs, *repartitions], OffsetSpec.latest())
    done = dict(firsts)
    if repartitions:
        asking = Consumer({**QUIET, **client, **asking_config(plan.application)})
        try:
            found = committed(asking, repartitions)
        finally:
            asking.close()
        done |= {each: max(firsts[each], found[each].offset) for each in repartitions}
    return Facts(
        there,
        _sums({each: ends[each] - firsts[each] for each in changelogs}),
        _sums({each: ends[each] - done[each] for each in repartitions}),
    )


def all_partitions(topics: Iterable[str], there: Mapping[str, int]) -> list[TopicPartition]:
    """All partitions of those of the topics that there are."""
    return [
        TopicPartition(topic, Partition(number))
        for topic in topics
        for number in range(there.get(topic, 0))
    ]


def _sums(counts: Mapping[TopicPartition, int]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for source, count in counts.items():
        sums[source.topic] = sums.get(source.topic, 0) + count
    return sums
