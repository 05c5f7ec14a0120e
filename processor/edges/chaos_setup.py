"""What a chaos run needs before it begins: topics that nobody else uses, nodes with equal settings.

Knows nothing of faults.
"""

from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.edges.chaos_site import Site
from processor.edges.clients import QUIET, ClientConfig, partitions_of, topics_of
from processor.edges.node import client_settings, prepare_topics
from processor.edges.progress import list_offsets, partitions
from processor.edges.victims import ChaosBroker, ChaosNode
from processor.errors import UsageError
from processor.settings import Settings, unsecured
from processor.topology.graph import Sink
from processor.topology.plan import Layout, Plan

_TIMEOUT = 30.0


def start_broker(
    folder: Path, plan: Plan, settings: Settings, *, leave: bool
) -> tuple[ChaosBroker, Settings]:
    """A Kafka of its own, and the settings for it.

    Raises:
        KprocError: As `EmbeddedKafka.start`.
    """
    config: dict[str, str] = {}
    nodes = [node for part in plan.subtopologies for node in part.nodes]
    if any(isinstance(node, Sink) and callable(node.topic) for node in nodes):
        # Nobody knows beforehand which topics these are.
        config = {"auto.create.topics.enable": "true", "num.partitions": str(settings.partitions)}
    broker = ChaosBroker(folder, config, detach=leave)
    own = unsecured(settings, broker.kafka.bootstrap)
    return broker, own.model_copy(update={"replication_factor": 1})


def make_topics(plan: Plan, settings: Settings) -> Layout:
    """Checks and makes all topics.

    Raises:
        UsageError: One of them holds records already.
        KafkaError: They don't fit the topology, or Kafka does not answer.
    """
    _refuse_records(plan, client_settings(settings))
    return prepare_topics(plan, settings)


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
