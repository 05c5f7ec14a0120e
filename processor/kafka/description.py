"""The topic in which an application says what it runs with, and what Kafka knows besides.

Owns one record: who starts writes it if it has changed. What a change means is worked out by
`topology.changes`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.errors import KafkaError, StateError, StateMismatch
from processor.kafka.changelogs import topic_ids
from processor.kafka.clients import (
    COMMON,
    ClientConfig,
    admin_client,
    committed_by,
    translated,
)
from processor.kafka.compacted import last_value
from processor.kafka.progress import list_offsets
from processor.records import Partition, TopicPartition
from processor.topology.changes import Change, Description, Facts, compare, stamp
from processor.topology.plan import DESCRIPTION, Layout, Plan

KEY = b"topology"
_TIMEOUT = 30.0


def read_description(client: ClientConfig, plan: Plan) -> Description | None:
    """What an application wrote last; None if it wrote nothing.

    Raises:
        StateError: A newer version wrote it.
        KafkaError: The topic can't be read.
    """
    return description_in(client, plan.description_topic)


def description_in(client: ClientConfig, topic: str) -> Description | None:
    """What was written last in a topic of descriptions; None if nothing was.

    Raises:
        StateError: A newer version wrote it.
        KafkaError: The topic can't be read.
    """
    application = topic.removesuffix(DESCRIPTION)
    found = last_value(client, application, TopicPartition(topic, Partition(0)), KEY)
    return decoded(topic, found) if found else None


def check_current(found: Description | None, stamp_: str, application: str) -> None:
    """Makes sure that an application is still as its node has found it; a reset counts, too.

    Raises:
        StateMismatch: It is not.
    """
    if stamp_ and stamp(found) != stamp_:
        raise StateMismatch(
            f"{application} was rescaled, reset or given another topology since this node "
            "started, so that it must not work on: start this node again"
        )


def decoded(topic: str, data: bytes) -> Description:
    """A description that was read.

    Raises:
        StateError: It can't be understood.
    """
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

    producer = Producer({**COMMON, "acks": "all", "linger.ms": 0, **client, "on_delivery": note})
    producer.produce(topic, msgspec.json.encode(description), KEY, 0)
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
        KafkaError: Kafka does not answer.
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
    """What happens to an application's stores and topics.

    Raises:
        KafkaError: Kafka does not answer.
    """
    return compare(before, layout, facts(client, layout.plan, before, there))


def check_changes(
    client: ClientConfig, layout: Layout, there: Mapping[str, int], before: Description | None
) -> None:
    """Makes sure that nothing is lost by a start with this layout.

    Raises:
        StateMismatch: Something would be lost.
        KafkaError: Kafka does not answer.
    """
    if before is not None:
        _check_ledger(client, layout.plan, there, before)
    found = changes(client, layout, there, before)
    refused = [change for change in found if change.action == "refuse"]
    if refused:
        lines = "".join(f"\n  {each.what} {each.name}: {each.why}" for each in refused)
        raise StateMismatch(
            f"the topology does not fit the state that {layout.plan.application} has. Nothing was "
            f"changed.{lines}\n`kproc plan FILE.py` shows all that would happen to it"
        )


def _check_ledger(
    client: ClientConfig, plan: Plan, there: Mapping[str, int], before: Description
) -> None:
    """Makes sure that how far inputs were read is known though the ledger was lost.

    Raises:
        StateMismatch: It is not.
        KafkaError: Kafka does not answer.
    """
    admin, topic = admin_client(client), plan.ledger_topic
    present = topic_ids(admin, {topic} & there.keys())
    if before.ids.get(topic) in (None, present.get(topic)):
        return
    read = {name: min(before.began.get(name, 0), there.get(name, 0)) for name in plan.inputs}
    found = committed_by(client, plan.application, all_partitions(read, read))
    if unknown := [str(source) for source, each in found.items() if each.offset < 0]:
        raise StateMismatch(
            f"it is not known how far {', '.join(unknown)} was processed: the group has no offset, "
            f"and the topic {topic} was deleted. `kproc reset FILE.py --to TIME` starts over from "
            "a time that you choose"
        )


def facts(
    client: ClientConfig, plan: Plan, before: Description | None, there: Mapping[str, int]
) -> Facts:
    """What Kafka knows of the changelogs and repartition topics, old and new.

    Raises:
        KafkaError: It does not answer.
    """
    old = before or Description({}, {}, {})
    own = [spec.name for part in plan.subtopologies for spec in part.stores]
    stores = dict.fromkeys((*own, *old.stores))
    changelogs = all_partitions(map(plan.changelog, stores), there)
    repartitions = all_partitions(dict.fromkeys((*plan.repartitions, *old.repartitions)), there)
    admin = admin_client(client)
    known = (*plan.inputs, *plan.repartitions, *map(plan.changelog, stores))
    ids = topic_ids(admin, {topic for topic in known if topic in there})
    firsts = list_offsets(admin, [*changelogs, *repartitions], OffsetSpec.earliest())
    ends = list_offsets(admin, [*changelogs, *repartitions], OffsetSpec.latest())
    done = dict(firsts)
    if repartitions:
        found = committed_by(client, plan.application, repartitions)
        done |= {each: max(firsts[each], found[each].offset) for each in repartitions}
    return Facts(
        there,
        _sums({each: ends[each] - firsts[each] for each in changelogs}),
        _sums({each: ends[each] - done[each] for each in repartitions}),
        ids,
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
