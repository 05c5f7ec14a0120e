"""What a chaos run needs before it begins: topics that nobody else uses, nodes with equal settings.

Knows nothing of faults.
"""

from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.chaos.schedule import Victim
from processor.chaos.site import Site
from processor.chaos.victims import ChaosBrokers, ChaosNode
from processor.cluster.slots import slot_name
from processor.errors import UsageError
from processor.kafka.clients import QUIET, ClientConfig, partitions_of, topics_of
from processor.kafka.progress import list_offsets, partitions
from processor.local.brokers import REPLICAS, Brokers
from processor.node.setup import prepare
from processor.settings import Settings, unsecured
from processor.topology.graph import Sink
from processor.topology.plan import Layout, Plan

_TIMEOUT = 30.0


def start_brokers(
    folder: Path, plan: Plan, settings: Settings, count: int, *, leave: bool
) -> tuple[ChaosBrokers, Settings]:
    """A Kafka of its own, and the settings for it.

    Raises:
        KprocError: As `Brokers`.
    """
    config: dict[str, str] = {}
    nodes = [node for part in plan.subtopologies for node in part.nodes]
    if any(isinstance(node, Sink) and callable(node.topic) for node in nodes):
        # Nobody knows beforehand which topics these are.
        config = {"auto.create.topics.enable": "true", "num.partitions": str(settings.partitions)}
    brokers = Brokers(folder, count, config, detach=leave)
    own = unsecured(settings, brokers.bootstrap)
    replicas = min(count, REPLICAS)
    find = partial(_who_does, brokers, plan, settings.slots)
    return ChaosBrokers(brokers, find), own.model_copy(update={"replication_factor": replicas})


def _who_does(brokers: Brokers, plan: Plan, slots: int, role: Victim, choice: int) -> int:
    """The broker with a role; for which slot or topic it has that, is left to a number."""
    changelogs = [plan.changelog(spec.name) for part in plan.subtopologies for spec in part.stores]
    led = {"input-leader": plan.inputs, "changelog-leader": changelogs}
    match role:
        case "transaction-coordinator":
            slot = slot_name(plan.application, choice % slots, slots)
            return brokers.transaction_coordinator(slot)
        case "group-coordinator":
            return brokers.group_coordinator(plan.application)
        case _:
            topics = led.get(role, [plan.slots_topic])
            return brokers.leader(topics[choice % len(topics)])


def make_topics(plan: Plan, settings: Settings) -> Layout:
    """Checks and makes all topics.

    Raises:
        UsageError: One of them holds records already.
        KafkaError: They don't fit the topology, or Kafka does not answer.
    """
    _refuse_records(plan, settings.clients.kafka)
    return prepare(plan, settings)


def _refuse_records(plan: Plan, client: ClientConfig) -> None:
    """Others' records must neither be worked on nor be mixed with those of the load."""
    admin: Any = AdminClient({**QUIET, **client})
    there = topics_of(client, admin, _TIMEOUT)
    users = (*plan.inputs, *plan.tables, *plan.outputs)
    own = {*users, *plan.internal, plan.dead_letters}
    sources = partitions({topic: len(there[topic].partitions) for topic in own if topic in there})
    first = list_offsets(admin, sources, OffsetSpec.earliest())
    ends = list_offsets(admin, sources, OffsetSpec.latest())
    used = sorted({source.topic for source in sources if ends[source] > first[source]})
    if used:
        raise UsageError(
            f"{', '.join(used)}: there are records already, and chaos writes to these topics. "
            "Leave out --bootstrap to have a Kafka for this alone, or delete the topics if nobody "
            "needs them"
        )


def outputs_of(plan: Plan, client: ClientConfig) -> dict[str, int]:
    """The partition counts of the output topics."""
    return {topic: partitions_of(client, topic) for topic in plan.outputs}


def make_nodes(site: Site, count: int) -> list[ChaosNode]:
    """Starts nodes, each on a folder of its own."""
    launches = [partial(site.start_node, number) for number in range(1, count + 1)]
    return [ChaosNode(number, launch, launch()) for number, launch in enumerate(launches, 1)]
