"""What a trial needs before it begins: a Kafka of its own, and topics that nobody else uses."""

from pathlib import Path
from typing import Any

from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.errors import UsageError
from processor.kafka.clients import ClientConfig, admin_client, partitions_of, topics_of
from processor.kafka.progress import list_offsets, partitions
from processor.local.brokers import REPLICAS, Brokers
from processor.node.setup import prepare
from processor.settings import Settings, unsecured
from processor.topology.graph import Sink
from processor.topology.plan import Layout, Plan

_TIMEOUT = 30.0


def start_brokers(
    folder: Path, plan: Plan, settings: Settings, count: int, *, leave: bool = False
) -> tuple[Brokers, Settings]:
    """A Kafka of its own, and the settings for it.

    Args:
        folder: Where it keeps its data.
        plan: Of the topology.
        settings: The effective ones.
        count: How many brokers.
        leave: Whether they outlive this process.

    Raises:
        KprocError: As `Brokers`.
    """
    config: dict[str, str] = {}
    own = settings
    nodes = [node for part in plan.subtopologies for node in part.nodes]
    if any(isinstance(node, Sink) and callable(node.topic) for node in nodes):
        # Nobody knows beforehand which topics these are.
        config = {"auto.create.topics.enable": "true", "num.partitions": str(settings.partitions)}
        producer = {**settings.producer, "allow.auto.create.topics": True}
        own = settings.model_copy(update={"producer": producer})
    brokers = Brokers(folder, count, config, detach=leave)
    own = unsecured(own, brokers.bootstrap)
    replicas = min(count, REPLICAS)
    return brokers, own.model_copy(update={"replication_factor": replicas})


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
    admin: Any = admin_client(client)
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
