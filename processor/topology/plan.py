"""The plan: subtopologies and stores of a topology, and with partition counts its tasks and topics.

`plan` needs the topology alone and refuses what is wrong in itself; `lay_out` adds what only the
cluster knows, the input topics' partition counts. Neither connects to anything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from zlib import crc32

from processor.errors import TopicMismatch, TopologyError
from processor.operators.base import Holding
from processor.records import Partition, TopicPartition
from processor.state.keyvalue import StoreSpec
from processor.state.shared import GlobalSpec
from processor.topology.graph import Node, Repartition, Sink, Source, Step
from processor.topology.topology import Topology, builder_of
from processor.wording import several

NOTHING: Mapping[str, int] = {}
SLOTS = "-slots"
"""What follows the application's name in the name of its slots topic."""


DEAD_LETTERS = "-dead-letters"
"""What follows it in the name of the topic for dead letters."""


DESCRIPTION = "-topology"
"""What follows it in the name of the topic with its description."""


class TaskId(NamedTuple):
    """One subtopology, one partition; printed as `0_3`."""

    subtopology: int
    partition: Partition

    def __str__(self) -> str:
        return f"{self.subtopology}_{self.partition}"


class StoreId(NamedTuple):
    """One store of one task; its partition is that of its changelog too."""

    name: str
    partition: Partition

    def __str__(self) -> str:
        return f"{self.name}[{self.partition}]"


@dataclass(frozen=True)
class Subtopology:
    """A part of the topology whose nodes are connected without a topic between them."""

    number: int
    nodes: tuple[Node, ...]  # parents before children

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """Its sources."""
        return tuple(node for node in self.nodes if isinstance(node, Source))

    @cached_property
    def topics(self) -> tuple[str, ...]:
        """The topics it reads."""
        return tuple(topic for source in self.sources for topic in source.topics)

    @cached_property
    def written(self) -> tuple[str, ...]:
        """The topics it writes, without those chosen for each record."""
        sinks = [node for node in self.nodes if isinstance(node, Sink)]
        return tuple(dict.fromkeys(s.topic for s in sinks if isinstance(s.topic, str)))

    @cached_property
    def holds_back(self) -> bool:
        """Whether it has steps with results that wait until the stream time goes on."""
        operators = (node.operator for node in self.nodes if isinstance(node, Step))
        return any(isinstance(each, Holding) and each.holds_back for each in operators)

    @cached_property
    def heeds_time(self) -> bool:
        """Whether results depend on stream time, or on the order of records of several tasks."""
        return any(isinstance(node, Step) and node.operator.heeds_time for node in self.nodes)

    @cached_property
    def stores(self) -> tuple[StoreSpec[Any, Any], ...]:
        """Its stores."""
        steps = [node for node in self.nodes if isinstance(node, Step)]
        return tuple(spec for step in steps for spec in step.stores)


@dataclass(frozen=True)
class Plan:
    """A checked topology."""

    application: str
    subtopologies: tuple[Subtopology, ...]
    repartitions: Mapping[str, Repartition]
    global_tables: tuple[GlobalSpec[Any, Any], ...] = ()

    @property
    def tables(self) -> tuple[str, ...]:
        """The user's topics that every worker reads whole, for global tables."""
        return tuple(each.topic for each in self.global_tables)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The user's topics that are read."""
        read = (topic for part in self.subtopologies for topic in part.topics)
        return tuple(topic for topic in read if topic not in self.repartitions)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The user's topics that are written, without those chosen for each record."""
        written = dict.fromkeys(topic for part in self.subtopologies for topic in part.written)
        return tuple(topic for topic in written if topic not in self.repartitions)

    @cached_property
    def followed(self) -> frozenset[str]:
        """The repartition topics that carry the progress of the tasks that write them.

        They are those whose readers heed time, or write for some that do. Where topics lead back to
        a subtopology, as in a join by foreign key, waiting for each other would never end.
        """
        reach = _reach(self)
        readers = {topic: part for part in self.subtopologies for topic in part.topics}
        heeding = {part.number for part in self.subtopologies if part.heeds_time}
        return frozenset(
            topic
            for topic in self.repartitions
            if heeding & (reached := reach[readers[topic].number])
            and not any(writer.number in reached for writer in self.writers(topic))
        )

    def writers(self, topic: str) -> tuple[Subtopology, ...]:
        """The subtopologies that write a topic."""
        return tuple(part for part in self.subtopologies if topic in part.written)

    @cached_property
    def fingerprint(self) -> int:
        """Distinguishes topologies whose subtopologies have other numbers."""
        return crc32(repr([part.topics for part in self.subtopologies]).encode())

    @property
    def dead_letters(self) -> str:
        """The topic for bad records."""
        return self.application + DEAD_LETTERS

    @property
    def slots_topic(self) -> str:
        """The topic in which nodes agree who works on what."""
        return self.application + SLOTS

    @property
    def description_topic(self) -> str:
        """The topic that holds what the application ran with."""
        return self.application + DESCRIPTION

    @cached_property
    def internal(self) -> frozenset[str]:
        """The topics of the application which nobody else may write."""
        stores = (spec.name for part in self.subtopologies for spec in part.stores)
        own = self.slots_topic, self.description_topic, self.ledger_topic
        return frozenset((*self.repartitions, *map(self.changelog, stores), *own))

    @property
    def ledger_topic(self) -> str:
        """The topic that says, beside the consumer group, how far each partition is processed."""
        return f"{self.application}-positions"

    def changelog(self, store: str) -> str:
        """The topic that backs a store up."""
        return f"{self.application}-{store}-changelog"


class InternalTopic(NamedTuple):
    """A topic that belongs to the application, and is created by it."""

    name: str
    partitions: int
    config: Mapping[str, str]


@dataclass(frozen=True)
class Settled:
    """What an application's description has settled for all that run it.

    Attributes:
        ledger: Topic → the ledger's partitions for each of its partitions: the one that is written,
            and those that were before.
        began: Topic → how many partitions it had when it was read for the first time.
        ids: Topic → its id.
        epoch: How often the description has changed.
        stamp: What distinguishes the description from all others; empty where there is none.
    """

    ledger: Mapping[str, tuple[tuple[int, ...], ...]]
    began: Mapping[str, int]
    ids: Mapping[str, str]
    epoch: int = 0
    stamp: str = ""


UNSETTLED = Settled({}, {}, {})


@dataclass(frozen=True)
class Layout:
    """A plan with the number of partitions of every topic it reads, and that of the slots."""

    plan: Plan
    partitions: Mapping[str, int]
    slots: int = 1
    settled: Settled = UNSETTLED

    @cached_property
    def tasks(self) -> tuple[TaskId, ...]:
        """All tasks."""
        return tuple(
            TaskId(part.number, Partition(partition))
            for part in self.plan.subtopologies
            for partition in range(self.tasks_of(part))
        )

    def tasks_of(self, part: Subtopology) -> int:
        """How many tasks a subtopology has."""
        return max(self.partitions[topic] for topic in part.topics)

    def task_of(self, source: TopicPartition) -> TaskId:
        """The task that reads a partition."""
        return TaskId(self._reader[source.topic], source.partition)

    def sources_of(self, task: TaskId) -> tuple[TopicPartition, ...]:
        """The partitions that a task reads, in order."""
        return self._sources[task]

    def writers(self, topic: str) -> tuple[TaskId, ...]:
        """The tasks that write a repartition topic."""
        return tuple(
            TaskId(part.number, Partition(number))
            for part in self.plan.writers(topic)
            for number in range(self.tasks_of(part))
        )

    @cached_property
    def _sources(self) -> Mapping[TaskId, tuple[TopicPartition, ...]]:
        return {task: tuple(self._read_by(task)) for task in self.tasks}

    def _read_by(self, task: TaskId) -> Iterator[TopicPartition]:
        for topic in sorted(self.plan.subtopologies[task.subtopology].topics):
            if task.partition < self.partitions[topic]:
                yield TopicPartition(topic, task.partition)

    @cached_property
    def _reader(self) -> Mapping[str, int]:
        parts = self.plan.subtopologies
        return {topic: part.number for part in parts for topic in part.topics}

    @cached_property
    def internal_topics(self) -> tuple[InternalTopic, ...]:
        """Repartition topics, changelogs, and those that each application has."""
        parts, plan = self.plan.subtopologies, self.plan
        repartitions = (
            InternalTopic(name, self.partitions[name], REPARTITION_CONFIG)
            for name in plan.repartitions
        )
        changelogs = (
            InternalTopic(plan.changelog(spec.name), self.tasks_of(part), CHANGELOG_CONFIG)
            for part in parts
            for spec in part.stores
        )
        dead_letters = InternalTopic(plan.dead_letters, 1, DEAD_LETTERS_CONFIG)
        slots = InternalTopic(plan.slots_topic, self.slots, SLOTS_CONFIG)
        description = InternalTopic(plan.description_topic, 1, CHANGELOG_CONFIG)
        ledger = self.settled.ledger.values()
        numbers = (number for places in ledger for numbers in places for number in numbers)
        ledger = InternalTopic(plan.ledger_topic, max(numbers, default=0) + 1, LEDGER_CONFIG)
        return (*repartitions, *changelogs, dead_letters, slots, description, ledger)


# Kafka Streams' settings for the same topics. Records of a repartition topic carry event times that
# may be long past, so time must not delete them: records are purged once they are committed.
_ANY_TIME: Mapping[str, str] = {
    "message.timestamp.before.max.ms": str(2**63 - 1),
    "message.timestamp.after.max.ms": str(2**63 - 1),
}
REPARTITION_CONFIG: Mapping[str, str] = {
    **_ANY_TIME,
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "message.timestamp.type": "CreateTime",
    "segment.bytes": str(50 * 2**20),
}
CHANGELOG_CONFIG: Mapping[str, str] = {
    **_ANY_TIME,
    "cleanup.policy": "compact",
    "message.timestamp.type": "CreateTime",
}
# Compacted soon, as it is read from its beginning; at the broker's time, which no clock can spoil.
LEDGER_CONFIG: Mapping[str, str] = {
    "cleanup.policy": "compact",
    "message.timestamp.type": "LogAppendTime",
    "segment.bytes": str(2**20),
    "min.cleanable.dirty.ratio": "0.1",
}
DEAD_LETTERS_CONFIG: Mapping[str, str] = {
    **_ANY_TIME,
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "message.timestamp.type": "CreateTime",
    "max.message.bytes": str(16 * 2**20),
}
# As many partitions as the application has slots: whoever makes the topic settles their number.
# Only the first is written, at the broker's time: all nodes see the same order, and agree how much
# time passed.
SLOTS_CONFIG: Mapping[str, str] = {
    "cleanup.policy": "delete",
    "retention.ms": str(60 * 60 * 1000),
    "message.timestamp.type": "LogAppendTime",
    "segment.ms": str(10 * 60 * 1000),
}


def plan(topology: Topology) -> Plan:
    """Divides a topology into subtopologies.

    Raises:
        TopologyError: It reads nothing, or two stores or topics would share a name.
    """
    builder = builder_of(topology)
    if not builder.nodes:
        raise TopologyError(f"topology {topology.name!r} reads no topic: begin with .stream(...)")
    parts = tuple(
        Subtopology(number, nodes) for number, nodes in enumerate(_connected(builder.nodes))
    )
    repartitions = {each.name: each for each in builder.repartitions}
    made = Plan(topology.name, parts, repartitions, tuple(builder.global_tables))
    if taken := made.internal.intersection((*made.inputs, *made.tables, *made.outputs)):
        raise TopologyError(
            f"{', '.join(sorted(taken))}: internal topics of the application are called so; read "
            "and write others, or give the store or repartition another name="
        )
    return made


def lay_out(
    plan: Plan, inputs: Mapping[str, int], there: Mapping[str, int] = NOTHING, slots: int = 1
) -> Layout:
    """Adds the partition counts: those given, and those of repartition topics that follow.

    A repartition topic that is there keeps its count, so that inputs may grow.

    Args:
        plan: The plan.
        inputs: The partition count of each of `plan.inputs`.
        there: The partition counts of topics that exist already.
        slots: Of the application.

    Raises:
        TopicMismatch: An input has no count, or topics whose records meet in a store have
            different ones.
    """
    if missing := [topic for topic in plan.inputs if topic not in inputs]:
        raise TopicMismatch(f"no partition count is given for {', '.join(missing)}")
    counts = {
        each.name: each.partitions or there.get(each.name) for each in plan.repartitions.values()
    }
    known = {**inputs, **{topic: count for topic, count in counts.items() if count is not None}}
    partitions = {
        topic: known[topic] if topic in known else _width(plan, part, known)
        for part in plan.subtopologies
        for topic in part.topics
    }
    for part in plan.subtopologies:
        for step, topics in meeting(part):
            _check_equal(step, {topic: partitions[topic] for topic in topics})
    return Layout(plan, partitions, slots)


def check_existing(layout: Layout, there: Mapping[str, int]) -> None:
    """Makes sure that keys are still where the topics that exist have them.

    Args:
        layout: What is needed now.
        there: The partition counts of topics that exist.

    Raises:
        TopicMismatch: An internal topic has another number of partitions than is needed.
    """
    plan = layout.plan
    free = (plan.dead_letters, plan.slots_topic, plan.ledger_topic)
    for topic in layout.internal_topics:
        found = there.get(topic.name, topic.partitions)
        if found != topic.partitions and topic.name not in free:
            raise TopicMismatch(
                f"{topic.name} has {several(found, 'partition')}, but the topology needs "
                f"{topic.partitions}, as many as its input: the input has grown since, or the "
                "topology has changed. Keys are where the old number put them, so nothing was "
                "started. "
                f"Put .repartition(partitions={found}) in front of the step that needs it: then "
                "the input may have any number. Or give the input its old number back, or start "
                "under another application name"
            )


def _width(plan: Plan, part: Subtopology, known: Mapping[str, int]) -> int:
    """The partitions of the repartition topics that a subtopology reads without a count given.

    They line up with what else it reads. Where nothing else has a count, it is that of the largest
    input of the subtopologies that write them, found in the same way.
    """
    found: list[int] = []
    seen = [part]
    for each in seen:
        counts = [known[topic] for topic in each.topics if topic in known]
        found += counts
        if not counts:
            writers = (
                one for one in plan.subtopologies if {*one.written}.intersection(each.topics)
            )
            seen += [writer for writer in writers if writer not in seen]
    return max(found)


def _reach(plan: Plan) -> Mapping[int, frozenset[int]]:
    """The subtopologies that what each one makes may come to, itself among them, by number."""
    readers = {topic: part.number for part in plan.subtopologies for topic in part.topics}
    after = {
        part.number: {readers[topic] for topic in part.written if topic in plan.repartitions}
        for part in plan.subtopologies
    }
    reach: dict[int, frozenset[int]] = {}
    for number in after:
        found, new = {number}, {number}
        while new := {next_ for each in new for next_ in after[each]} - found:
            found |= new
        reach[number] = frozenset(found)
    return reach


def meeting(part: Subtopology) -> Iterator[tuple[Step, list[str]]]:
    """The steps that keep or read stores, each with the topics whose records come to it."""
    behind: dict[Node, dict[str, None]] = {}
    for node in part.nodes:
        behind[node] = dict.fromkeys(node.topics) if isinstance(node, Source) else {}
        for parent in node.parents:
            behind[node] |= behind[parent.node]
        if isinstance(node, Step) and (node.stores or node.reads):
            yield node, list(behind[node])


def _check_equal(step: Step, counts: Mapping[str, int]) -> None:
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{topic} has {count}" for topic, count in counts.items())
        raise TopicMismatch(
            f"equal keys of {', '.join(counts)} must be in partitions of the same number, as they "
            f"meet in {step.name}, but {listed}: put .repartition() after one of them"
        )


def _connected(nodes: list[Node]) -> list[tuple[Node, ...]]:
    """The nodes in groups that are connected, in the order of their first node."""
    group = {node: [node] for node in nodes}
    for node in nodes:
        for parent in node.parents:
            one, other = group[parent.node], group[node]
            if one is not other:
                one.extend(other)
                group.update(dict.fromkeys(other, one))
    order = {node: number for number, node in enumerate(nodes)}
    distinct = {id(members): members for members in group.values()}
    return [tuple(sorted(members, key=order.__getitem__)) for members in distinct.values()]
