"""Changes an application's number of slots, and its inputs' numbers of partitions, in Kafka.

Owns the order of the steps: a process that ends between any two of them leaves an application that
can be started, or rescaled again. What a change means is worked out by `cluster.rescale`.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from confluent_kafka import KafkaException, Producer
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.cluster.rescale import Rescaling
from processor.errors import KafkaError, TopicMismatch, UsageError
from processor.kafka.clients import (
    COMMON,
    ClientConfig,
    admin_client,
    commit_for,
    patiently,
    take_over_transactions,
    topics_of,
    translated,
)
from processor.kafka.description import read_description, write_description
from processor.node.observing import live_nodes
from processor.node.setup import create_topics, grow
from processor.records import Partition, TopicPartition
from processor.topology.plan import Layout, Plan, check_existing, lay_out
from processor.topology.slots import slot_name
from processor.wording import several

_TIMEOUT = 30.0
_MARGIN = 15.0
_AT_ONCE = 8


def survey(
    plan: Plan, client: ClientConfig, *, slots: int | None, partitions: Mapping[str, int]
) -> Rescaling:
    """What would change.

    Args:
        plan: The application's.
        client: librdkafka settings.
        slots: How many slots it shall have; None: as many as it has.
        partitions: Input topic → how many partitions it shall have.

    Raises:
        UsageError: An input would shrink, or the topology does not read it.
        TopicMismatch: It has never been started, or keys would no longer be where their state is.
        KafkaError: No broker answers.
    """
    there = {name: len(topic.partitions) for name, topic in topics_of(client).items()}
    if missing := [topic for topic in (*plan.inputs, plan.slots_topic) if topic not in there]:
        raise TopicMismatch(
            f"there is no topic {missing[0]}: {plan.application} has not been started. At its "
            "first start it takes the number from the setting `slots`"
        )
    for topic, count in partitions.items():
        _check_growth(plan, topic, there.get(topic, 0), count)
    inputs = {topic: there[topic] for topic in plan.inputs}
    before = lay_out(plan, inputs, there, there[plan.slots_topic])
    after = lay_out(plan, {**inputs, **partitions}, there, slots or before.slots)
    check_existing(after, there)
    return Rescaling(before, after)


def check_stopped(client: ClientConfig, application: str, failover_timeout: int) -> None:
    """Makes sure that no node runs, which takes a moment of listening.

    Raises:
        UsageError: One does.
        KafkaError: No broker answers.
    """
    if names := live_nodes(client, application, failover_timeout):
        raise UsageError(
            f"{len(names)} of {application}'s nodes still run ({', '.join(names)}): stop them "
            "first, with Ctrl-C or SIGTERM. What they have done is committed then, and nothing is "
            "lost meanwhile"
        )


def rescale(
    change: Rescaling,
    client: ClientConfig,
    *,
    replication: int,
    patience: float,
    on_step: Callable[[str], None],
) -> None:
    """Does it; no node may run.

    Args:
        change: What to do.
        client: librdkafka settings.
        replication: Of the topic that holds the number of slots; -1: as the brokers' default.
        patience: Seconds that the group may wait for members which have ended.
        on_step: Called with what is being done.

    Raises:
        KafkaError: Kafka refuses, or a worker still runs.
    """
    admin: Any = admin_client(client)
    await_retired(change, admin, patience, on_step)
    retire(change.before, client, on_step)
    inputs = {topic: new for topic, (_, new) in change.grown.items() if topic in _inputs(change)}
    for topic, count in inputs.items():
        on_step(f"{topic}: {several(count, 'partition')}")
        grow(admin, topic, count)
    if inputs:
        _begin_new(change, client, inputs)
    if change.before.slots != change.after.slots:
        on_step(several(change.after.slots, "slot"))
        _settle(change, admin, replication)


def retire(before: Layout, client: ClientConfig, on_step: Callable[[str], None]) -> None:
    """Makes sure that no worker of before can commit any more, nor start again.

    First the description says so, which each worker looks at once it has its transactional id;
    then the ids are taken away from those that have them. What they left open is aborted.

    Raises:
        KafkaError: Kafka refuses.
    """
    plan = before.plan
    if (found := read_description(client, plan)) is not None:
        following = msgspec.structs.replace(found, epoch=found.epoch + 1)
        write_description(client, plan.description_topic, following)
    fence(plan.application, before.slots, client, on_step)


def fence(
    application: str, slots: int, client: ClientConfig, on_step: Callable[[str], None]
) -> None:
    """Takes the slots' transactional ids away from whoever has them.

    Raises:
        KafkaError: Kafka refuses.
    """
    on_step("fences the workers that there were")

    def take(slot: int) -> None:
        name = {"transactional.id": slot_name(application, slot, slots)}
        take_over_transactions(Producer({**COMMON, **client, **name}))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for taken in [pool.submit(take, slot) for slot in range(slots)]:
            taken.result()


def await_retired(
    change: Rescaling, admin: Any, patience: float, on_step: Callable[[str], None]
) -> None:
    """Waits until the group has forgotten the members that will be no slots any more.

    Raises:
        KafkaError: They are still there after a time in which those that ended are forgotten.
    """
    application = change.after.plan.application
    deadline = time.monotonic() + patience + _MARGIN
    reported = False
    while left := list(filter(change.retired, members(admin, application))):
        if time.monotonic() > deadline:
            raise KafkaError(
                f"{', '.join(sorted(left))} are still members of the group {application}: a worker "
                "of a node that is gone still runs somewhere, or had a longer session_timeout. "
                "Stop it, and try again; nothing was changed"
            )
        if not reported:
            on_step(f"the group forgets {', '.join(sorted(left))}, in {patience:.0f} s at most")
        reported = True
        time.sleep(0.2)


def _inputs(change: Rescaling) -> frozenset[str]:
    return frozenset(change.after.plan.inputs)


def _check_growth(plan: Plan, topic: str, old: int, new: int) -> None:
    if topic not in plan.inputs:
        raise UsageError(
            f"{topic} is no input of {plan.application}; these are: {', '.join(plan.inputs)}"
        )
    if new < old:
        raise UsageError(
            f"{topic} has {old} partitions, and Kafka takes none away: to have {new}, make another "
            "topic, and copy the records there"
        )


def members(admin: Any, group: str) -> list[str]:
    """The members of a group, by `group.instance.id` where they have one.

    Raises:
        KafkaError: Kafka does not answer.
    """

    def ask() -> list[Any]:
        asked = admin.describe_consumer_groups([group], request_timeout=_TIMEOUT)
        try:
            return asked[group].result().members
        except KafkaException as error:
            if error.args[0].code() == ClientError.GROUP_ID_NOT_FOUND:
                return []
            raise

    found = patiently(ask, f"describe the group {group}")
    return [member.group_instance_id or member.member_id for member in found]


def _begin_new(change: Rescaling, client: ClientConfig, counts: Mapping[str, int]) -> None:
    """Commits the beginning of new partitions: `start_from` is for topics never read before."""
    new = {
        TopicPartition(topic, Partition(number)): 0
        for topic, count in counts.items()
        for number in range(change.before.partitions[topic], count)
    }
    commit_for(client, change.after.plan.application, new, "commit where to begin")


def _settle(change: Rescaling, admin: Any, replication: int) -> None:
    """The slots topic has a partition for each slot; what nodes once said there counts no more."""
    topic = change.after.plan.slots_topic
    if change.after.slots > change.before.slots:
        grow(admin, topic, change.after.slots)
        return
    try:
        admin.delete_topics([topic])[topic].result(_TIMEOUT)
    except KafkaException as error:
        raise translated(error, f"delete the topic {topic}") from error
    deadline = time.monotonic() + _TIMEOUT
    while topic in topics_of({}, admin) and time.monotonic() < deadline:
        time.sleep(0.05)
    made = [each for each in change.after.internal_topics if each.name == topic]
    create_topics(admin, made, replication)
