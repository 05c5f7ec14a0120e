"""Before the first record: the topics of a plan are there and fit, or an error says what doesn't.

Owns what is created in Kafka. Nothing is created until everything that exists has been checked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import KafkaError as ClientError
from confluent_kafka.cimpl import NewPartitions, NewTopic
from msgspec.structs import replace as replaced

from processor.durations import milliseconds, seconds
from processor.errors import SettingsError, StateMismatch, TopicMismatch
from processor.kafka.changelogs import topic_ids
from processor.kafka.clients import ClientConfig, admin_client, await_topics, topics_of, translated
from processor.kafka.description import (
    check_changes,
    description_in,
    last_description,
    write_description,
)
from processor.kafka.limits import TIMES, alter, fitted, lacking, settings_of
from processor.node.observing import live_nodes
from processor.settings import Settings
from processor.topology.changes import Description, following, is_alike, ledger_places, stamp
from processor.topology.plan import (
    DESCRIPTION,
    InternalTopic,
    Layout,
    Plan,
    Settled,
    check_existing,
    lay_out,
)

_TIMEOUT = 30.0


def prepare(plan: Plan, settings: Settings, nodes: int = 1) -> Layout:
    """Checks the topics of a plan, creates those that are missing and the application's own.

    Unless `slots` is set, an application keeps the number that it has; one that is new gets a slot
    for each node at least.

    Args:
        plan: The plan.
        settings: The application's.
        nodes: How many nodes are started.

    Raises:
        SettingsError: The application has another number of slots, and is not to keep it.
        BrokerUnreachable: No broker answered in time.
        TopicMismatch: A topic is missing, or has other partitions than are needed.
        StateMismatch: The topology would lose what the application holds.
        PermissionDenied: A topic may not be seen or created.
    """
    client = settings.clients.kafka
    admin: Any = admin_client(client)
    found = topics_of(client, admin, seconds(settings.startup_timeout, "startup_timeout"))
    there = {name: len(topic.partitions) for name, topic in found.items()}
    counts = counts_of(plan, there, settings.partitions if settings.create_topics else None)
    missing = [topic for topic in _users(plan) if topic not in there]
    layout = lay_out(plan, counts, there, _slots(plan, there, settings, nodes))
    check_existing(layout, there)
    before = last_description(client, plan, there)
    after = following(before, layout)
    layout = replace(layout, settled=Settled(ledger_places(after), after.began, {}))
    present = topic_ids(admin, {topic for topic in _identified(layout) if topic in there})
    if (
        before is None
        or replaced(before, ids={}) != replaced(after, ids={})
        or before.ids != present
    ):
        check_changes(client, layout, there, before)
    _check_owners(client, layout, there, before)
    if before is not None and not is_alike(before, after) and plan.slots_topic in there:
        silence = milliseconds(settings.failover_timeout, "failover_timeout")
        names = live_nodes(client, plan.application, silence, before.epoch)
        if names and last_description(client, plan, there) != before:
            # One that was started at the same time was faster: what it has written counts now.
            return prepare(plan, settings, nodes)
        _check_alone(plan.application, names)
    wanted = [fitted(topic, settings.max_record_bytes) for topic in layout.internal_topics]
    internal = [topic for topic in wanted if topic.name not in there]
    configs: dict[str, Mapping[str, str]] = {
        topic.name: _checked_config(admin, topic, plan) for topic in wanted if topic.name in there
    }
    needed = [InternalTopic(topic, settings.partitions, {}) for topic in missing] + internal
    create_topics(admin, needed, settings.replication_factor)
    configs |= settings_of(admin, [topic.name for topic in internal])
    for topic in wanted:
        if values := lacking(topic, configs.get(topic.name, {})):
            alter(admin, topic.name, values)
    _fit_ledger(admin, layout, there)
    after = replaced(after, ids=topic_ids(admin, _identified(layout)))
    if after != before:
        write_description(client, plan.description_topic, after)
    settled = Settled(ledger_places(after), after.began, after.ids, after.epoch, stamp(after))
    return replace(layout, settled=settled)


def _check_owners(
    client: ClientConfig, layout: Layout, there: Mapping[str, int], before: Description | None
) -> None:
    """Makes sure that no internal topic is another application's, whose name fits it as well.

    Raises:
        TopicMismatch: One is.
    """
    mine = layout.plan.application
    known = before.ids if before is not None else {}
    for topic in layout.internal_topics:
        if topic.name not in there or topic.name in known:
            continue
        parts = topic.name.split("-")
        names = ("-".join(parts[:count]) for count in range(1, len(parts)))
        for owner in names:
            described = f"{owner}{DESCRIPTION}"
            if owner == mine or described not in there:
                continue
            found = description_in(client, described)
            if found is not None and topic.name in found.ids:
                raise TopicMismatch(
                    f"the topic {topic.name} belongs to the application {owner}, and {mine} would "
                    "call one of its own so, too: give the application, or the store or "
                    "repartition, another name. Nothing was changed"
                )


def _check_alone(application: str, names: Sequence[str]) -> None:
    """Makes sure that no node runs by the last description, of which these are the names.

    One with an earlier description was retired: it commits nothing, and ends when it finds out.

    Raises:
        StateMismatch: One does.
    """
    if names:
        raise StateMismatch(
            f"{', '.join(names)} run {application} with other stores, repartitions or inputs: "
            "whoever has a slot would leave out of its stores what the others keep there. Stop all "
            "nodes, then start them with this topology; `kproc plan FILE.py` shows what changes. "
            "Nothing was changed"
        )


def _identified(layout: Layout) -> Sequence[str]:
    """The topics whose ids matter: positions are positions in them."""
    plan = layout.plan
    stores = (spec.name for part in plan.subtopologies for spec in part.stores)
    return list(
        dict.fromkeys(
            (
                *plan.inputs,
                *plan.tables,
                *plan.repartitions,
                *map(plan.changelog, stores),
                plan.ledger_topic,
            )
        )
    )


def _fit_ledger(admin: Any, layout: Layout, there: Mapping[str, int]) -> None:
    """Gives the ledger more partitions, if more are read than were."""
    (ledger,) = (each for each in layout.internal_topics if each.name == layout.plan.ledger_topic)
    if there.get(ledger.name, ledger.partitions) < ledger.partitions:
        grow(admin, ledger.name, ledger.partitions)


def grow(admin: Any, topic: str, count: int) -> None:
    """Adds partitions to a topic, up to so many.

    Raises:
        KafkaError: That fails.
    """
    try:
        admin.create_partitions([NewPartitions(topic, count)])[topic].result(_TIMEOUT)
    except KafkaException as error:
        raise translated(error, f"add partitions to {topic}") from error
    await_topics(admin, {topic: count})


def counts_of(plan: Plan, there: Mapping[str, int], create: int | None) -> Mapping[str, int]:
    """The partition counts of the inputs.

    Args:
        plan: The plan.
        there: The partition counts of the topics that there are.
        create: Of those that are to be created; None: they must be there.

    Raises:
        TopicMismatch: An input or output is missing.
    """
    missing = [topic for topic in _users(plan) if topic not in there]
    if missing and create is None:
        raise TopicMismatch(_missing(missing, plan))
    return {topic: there.get(topic, create or 0) for topic in plan.inputs}


def _users(plan: Plan) -> Sequence[str]:
    """The topics that are not the application's own."""
    return list(dict.fromkeys((*plan.inputs, *plan.tables, *plan.outputs)))


def _missing(topics: Sequence[str], plan: Plan) -> str:
    inputs = (*plan.inputs, *plan.tables)
    read = [topic for topic in topics if topic in inputs]
    written = [topic for topic in topics if topic not in inputs]
    lists = [f"read but not there: {', '.join(read)}"] if read else []
    lists += [f"written but not there: {', '.join(written)}"] if written else []
    return (
        f"topics are missing, or may not be seen ({'; '.join(lists)}): create them, or set "
        "create_topics = true (--create-topics) to have them created with the number of partitions "
        "in `partitions`"
    )


def _slots(plan: Plan, there: Mapping[str, int], settings: Settings, nodes: int) -> int:
    slots = settings.slots
    if "slots" not in settings.model_fields_set:
        return there.get(plan.slots_topic, max(slots, nodes))
    found = there.get(plan.slots_topic, slots)
    if found != slots:
        raise SettingsError(
            f"{plan.application} has {found} slots, and the setting `slots` is {slots} here. Leave "
            f"the setting out, or stop all nodes and run: kproc rescale FILE.py --slots {slots}"
        )
    return found


def _checked_config(admin: Any, topic: InternalTopic, plan: Plan) -> Mapping[str, str]:
    """The settings of an internal topic that is there.

    Raises:
        TopicMismatch: It would lose something.
    """
    resource = ConfigResource(ResourceType.TOPIC, topic.name)
    try:
        found = admin.describe_configs([resource])[resource].result(_TIMEOUT)
    except KafkaException as error:
        raise translated(error, f"describe the topic {topic.name}") from error
    for name in ("cleanup.policy", "message.timestamp.type"):
        value, wanted = found[name].value, topic.config[name]
        if value != wanted:
            raise TopicMismatch(
                f"{topic.name} has {name}={value}, but must have {wanted} so as to lose "
                f"nothing: alter the topic, or delete it if it is not {plan.application}'s"
            )
    return {name: each.value for name, each in found.items()}


def create_topics(admin: Any, topics: Sequence[InternalTopic], replication: int) -> None:
    """Creates topics and waits until they can be used; those that others have made are as good.

    Raises:
        KafkaError: A topic can't be created.
    """
    if not topics:
        return
    wanted = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=replication,
            config=dict(topic.config),
        )
        for topic in topics
    ]
    unknown: list[InternalTopic] = []
    for topic, made in zip(topics, _created(admin, wanted), strict=True):
        try:
            made.result(_TIMEOUT)
        except KafkaException as error:
            code = error.args[0].code()
            if code == ClientError.INVALID_CONFIG and not topic.config.keys().isdisjoint(TIMES):
                unknown.append(topic)
            elif code != ClientError.TOPIC_ALREADY_EXISTS:
                raise translated(error, f"create the topic {topic.name}") from error
    # Brokers before 3.6 have no such limits, and do not know the settings.
    create_topics(admin, [_without_times(topic) for topic in unknown], replication)
    await_topics(admin, {topic.name: topic.partitions for topic in topics})


def _created(admin: Any, topics: Sequence[NewTopic]) -> Sequence[Any]:
    """What comes of creating each of the topics."""
    made = admin.create_topics(list(topics), operation_timeout=_TIMEOUT)
    return [made[topic.topic] for topic in topics]


def _without_times(topic: InternalTopic) -> InternalTopic:
    return topic._replace(config={k: v for k, v in topic.config.items() if k not in TIMES})
