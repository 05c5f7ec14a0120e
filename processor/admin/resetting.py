"""Drops an application's state in Kafka and on this machine, on purpose.

Owns the order of the steps. The first writes that a reset has begun, the last that it has ended:
one that is killed between them is given again, and until then the application does not start.
Changelogs are emptied rather than deleted: their offsets go on, so that a store on another
machine's disk is seen to be from before, and dropped there.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import KafkaException, Producer
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.admin.rescaling import fence, members
from processor.errors import KafkaError, StoreLocked, TopicMismatch, UsageError
from processor.kafka.clients import (
    COMMON,
    ClientConfig,
    admin_client,
    commit_for,
    topics_of,
    translated,
)
from processor.kafka.description import all_partitions, read_description, write_description
from processor.kafka.progress import list_offsets
from processor.operators.base import NO_TIME
from processor.records import Offset, TopicPartition
from processor.runtime.commands import Position
from processor.runtime.ledger import Entry, encoded, key_of
from processor.storage.state_dir import destroy
from processor.topology.changes import Description
from processor.topology.plan import Plan

_TIMEOUT = 30.0
_MARGIN = 15.0


@dataclass(frozen=True, slots=True)
class Reset:
    """What a reset does.

    Attributes:
        plan: The application's.
        slots: How many it has.
        description: What it ran with, if that is known.
        stores: Whose contents are dropped.
        emptied: Topics whose records are deleted: changelogs and repartition topics.
        deleted: Topics that the topology does not need any more.
        positions: Where the inputs are read from afterwards; unchanged if there are none.
        folders: The stores on this machine.
    """

    plan: Plan
    slots: int
    description: Description | None
    stores: tuple[str, ...]
    emptied: tuple[TopicPartition, ...]
    deleted: tuple[str, ...]
    positions: Mapping[TopicPartition, Offset]
    folders: tuple[Path, ...]


def survey(
    plan: Plan,
    client: ClientConfig,
    state_dir: Path,
    *,
    stores: Iterable[str],
    to: Any = None,
) -> Reset:
    """What a reset would do.

    Args:
        plan: The application's.
        client: librdkafka settings.
        state_dir: The setting of that name.
        stores: Only these; without any, all stores, repartition topics and positions.
        to: An `OffsetSpec`: where the inputs are read from afterwards, where all is reset.

    Raises:
        UsageError: There is no such store.
        TopicMismatch: The application has not been started.
        KafkaError: Kafka does not answer.
    """
    admin: Any = admin_client(client)
    there = {name: len(topic.partitions) for name, topic in topics_of(client, admin).items()}
    if plan.slots_topic not in there:
        raise TopicMismatch(f"{plan.application} has not been started here: nothing to reset")
    before = read_description(client, plan) if plan.description_topic in there else None
    own = {spec.name for part in plan.subtopologies for spec in part.stores}
    known = {*own, *(before.stores if before else ())}
    given = tuple(dict.fromkeys(stores))
    if unknown := [name for name in given if name not in known]:
        raise UsageError(
            f"{plan.application} has no store {unknown[0]}; there are: {', '.join(sorted(known))}"
        )
    chosen = given or tuple(sorted(known))
    old = set(before.repartitions if before else ()) - plan.repartitions.keys()
    gone = [plan.changelog(name) for name in chosen if name not in own]
    kept = [plan.changelog(name) for name in chosen if name in own]
    if not given:
        gone += sorted(old)
        kept += plan.repartitions
    inputs = [] if given else all_partitions(plan.inputs, there)
    if before is None:
        gone.append(plan.ledger_topic)  # nobody knows which of its partitions is whose
    return Reset(
        plan,
        there[plan.slots_topic],
        before,
        chosen,
        tuple(all_partitions(kept, there)),
        tuple(topic for topic in gone if topic in there),
        _positions(admin, inputs, to or OffsetSpec.earliest()),
        tuple(_folders(state_dir, plan.application, chosen)),
    )


def reset(
    asked: Reset, client: ClientConfig, *, patience: float, on_step: Callable[[str], None]
) -> None:
    """Does it; no node may run.

    Args:
        asked: What to do.
        client: librdkafka settings.
        patience: Seconds that the group may wait for members which have ended.
        on_step: Called with what is being done.

    Raises:
        KafkaError: Kafka refuses, or a worker still runs.
        StateError: A store on this machine can't be deleted.
    """
    admin: Any = admin_client(client)
    plan = asked.plan
    _await_members(admin, plan.application, patience, on_step)
    known = asked.description or Description({}, {}, {})
    begun = msgspec.structs.replace(known, resetting=True, epoch=known.epoch + 1)
    if asked.description is not None:
        _describe(client, plan, begun)
    fence(plan.application, asked.slots, client, on_step)
    for folder in asked.folders:
        on_step(f"deletes {folder}")
        try:
            destroy(folder)
        except StoreLocked as error:
            # Its position will be from before: whoever opens it next drops it.
            on_step(f"{error}; it is dropped when it is opened again")
    _empty(admin, client, asked, on_step)
    for topic in asked.deleted:
        on_step(f"deletes the topic {topic}")
        _drop(admin, topic)
    if asked.positions:
        on_step("sets where the inputs are read from")
        _commit(client, asked, asked.positions)
    if asked.description is not None:
        _describe(client, plan, _without(begun, asked))


def _without(before: Description, asked: Reset) -> Description:
    """What is left to be known: stores that were dropped may be anything at the next start."""
    deleted = {*asked.deleted}
    renewed = {*deleted, *(source.topic for source in (*asked.emptied, *asked.positions))}
    return msgspec.structs.replace(
        before,
        resetting=False,
        stores={name: store for name, store in before.stores.items() if name not in asked.stores},
        repartitions={
            name: each for name, each in before.repartitions.items() if name not in deleted
        },
        ids={topic: each for topic, each in before.ids.items() if topic not in renewed},
    )


def _describe(client: ClientConfig, plan: Plan, description: Description) -> None:
    write_description(client, plan.description_topic, description)


def _positions(
    admin: Any, inputs: list[TopicPartition], to: Any
) -> Mapping[TopicPartition, Offset]:
    found = list_offsets(admin, inputs, to)
    ends = list_offsets(admin, inputs, OffsetSpec.latest())
    # After the last record there is no offset for a time.
    return {each: offset if offset >= 0 else ends[each] for each, offset in found.items()}


def _folders(state_dir: Path, application: str, stores: Iterable[str]) -> list[Path]:
    """Of all nodes that have had this folder."""
    nodes = [state_dir, *sorted(state_dir.glob("node-*"))]
    found = (node / application / store for node in nodes for store in stores)
    return [each for store in found if store.is_dir() for each in sorted(store.iterdir())]


def _await_members(admin: Any, group: str, patience: float, on_step: Callable[[str], None]) -> None:
    """Waits until the group has forgotten its members: until then nobody else can commit."""
    deadline, reported = time.monotonic() + patience + _MARGIN, False
    while left := members(admin, group):
        if time.monotonic() > deadline:
            raise KafkaError(
                f"{', '.join(sorted(left))} are still members of the group {group}: a worker of a "
                "node that is gone still runs somewhere, or had a longer session_timeout. Stop it, "
                "and try again; nothing was changed"
            )
        if not reported:
            on_step(f"the group forgets {', '.join(sorted(left))}, in {patience:.0f} s at most")
        reported = True
        time.sleep(0.2)


def _empty(admin: Any, client: ClientConfig, asked: Reset, on_step: Callable[[str], None]) -> None:
    topics = dict.fromkeys(source.topic for source in asked.emptied)
    changelogs = [topic for topic in topics if topic not in asked.plan.repartitions]
    for topic in topics:
        on_step(f"empties {topic}")
    # One more record: stores that were up to date anywhere are behind the beginning then, too.
    _write_tombstones(client, asked.emptied)
    ends = list_offsets(admin, asked.emptied, OffsetSpec.latest())
    delete_before(admin, ends, changelogs)
    _note(client, asked, ends)
    own = {each: end for each, end in ends.items() if each.topic in asked.plan.repartitions}
    if own:
        _commit(client, asked, own)


def _write_tombstones(client: ClientConfig, sources: Iterable[TopicPartition]) -> None:
    producer = Producer({**COMMON, "acks": "all", **client})
    for topic, partition in sources:
        producer.produce(topic, None, b"", partition)
    if producer.flush(_TIMEOUT):
        raise KafkaError(f"changelogs can't be written in {_TIMEOUT:.0f} s: see what brokers do")


def _configure(admin: Any, topic: str, policy: str) -> None:
    entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    try:
        admin.incremental_alter_configs([resource])[resource].result(_TIMEOUT)
    except KafkaException as error:
        raise translated(error, f"alter the topic {topic}") from error


def delete_before(
    admin: Any, ends: Mapping[TopicPartition, Offset], compacted: Iterable[str]
) -> None:
    """Deletes the beginnings of partitions; compacted topics are made to allow that meanwhile.

    Raises:
        KafkaError: Kafka refuses.
    """
    topics = tuple(compacted)
    for topic in topics:
        _configure(admin, topic, "compact,delete")
    _delete(admin, ends)
    for topic in topics:
        _configure(admin, topic, "compact")


def _delete(admin: Any, ends: Mapping[TopicPartition, Offset]) -> None:
    wanted = [ClientPartition(*source, end) for source, end in ends.items()]
    deadline = time.monotonic() + _TIMEOUT
    while wanted:
        try:
            for deleted in admin.delete_records(wanted).values():
                deleted.result(_TIMEOUT)
        except KafkaException as error:
            # The broker learns of a topic's new policy a moment later.
            late = error.args[0].code() == ClientError.POLICY_VIOLATION
            if not late or time.monotonic() > deadline:
                raise translated(error, "delete the records of the changelogs") from error
            time.sleep(0.05)
        else:
            return


def _drop(admin: Any, topic: str) -> None:
    try:
        admin.delete_topics([topic])[topic].result(_TIMEOUT)
    except KafkaException as error:
        if error.args[0].code() != ClientError.UNKNOWN_TOPIC_OR_PART:
            raise translated(error, f"delete the topic {topic}") from error


def _commit(client: ClientConfig, asked: Reset, positions: Mapping[TopicPartition, Offset]) -> None:
    """Sets positions, with both of their witnesses."""
    commit_for(client, asked.plan.application, positions, "commit positions")
    _note(client, asked, positions)


def _note(client: ClientConfig, asked: Reset, positions: Mapping[TopicPartition, Offset]) -> None:
    """Writes positions, or where changelogs begin, into the ledger."""
    ledger = asked.description.ledger if asked.description is not None else {}
    producer = Producer({**COMMON, "acks": "all", **client})
    for source, offset in positions.items():
        if source.partition < len(numbers := ledger.get(source.topic, ())):
            value = encoded(Entry(offset, Position(offset, NO_TIME).metadata))
            place = numbers[source.partition]
            producer.produce(asked.plan.ledger_topic, value, key_of(source), place)
    if producer.flush(_TIMEOUT):
        raise KafkaError(f"positions can't be written in {_TIMEOUT:.0f} s: see what brokers do")
