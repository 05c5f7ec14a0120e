"""Several slots at work on one topology, each at its own pace, in a Kafka in memory."""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from processor import Topology
from processor.records import Partition, Record, Timestamp, TopicPartition
from processor.runtime.commands import Assigned, Command, Revoked
from processor.testing.memory import partition_of
from processor.topology.plan import Layout, lay_out, plan
from processor.topology.slots import slot_partitions
from tests.properties.one_record import Raw
from tests.properties.reference import Reference
from tests.properties.world import (
    OPTIONS,
    Kafka,
    Saved,
    When,
    World,
    letter,
)

FLEET = replace(OPTIONS, max_task_idle=0, follows_progress=True, max_lead=3)

Results = Mapping[tuple[str, bytes | None], list[Raw]]
"""What was written, by topic and key, in order."""


class Fleet:
    """Slots that share the partitions of a topology.

    Args:
        topology: The topology.
        partitions: Of each input topic.
        slots: How many there are.
        inputs: What is in the input topics.
        budget: Records that a slot may work on in a turn.
    """

    def __init__(
        self,
        topology: Topology,
        partitions: int,
        slots: int,
        inputs: Mapping[TopicPartition, list[Raw]],
        budget: int = sys.maxsize,
    ) -> None:
        self._budget = budget
        made = plan(topology)
        self.layout: Layout = lay_out(made, dict.fromkeys(made.inputs, partitions))
        self.kafka = Kafka.of(self.layout, inputs)
        self.slots = slots
        self.worlds: list[World] = []
        self.start()

    def start(self) -> None:
        """All slots begin where the last ones were."""
        shares = [slot_partitions(n, self.slots, self.layout.partitions) for n in range(self.slots)]
        self.worlds = [
            World(self.layout, {}, FLEET, kafka=self.kafka, own=own, name=f"slot-{number}")
            for number, own in enumerate(shares)
            if own
        ]
        for world in self.worlds:
            world.budget = self._budget

    def rescale(self, slots: int) -> None:
        """Others take over: what is uncommitted is gone."""
        for world in self.worlds:
            self.kafka.end_transaction(world.name, commit=False)
        self.slots = slots
        self.start()

    def drain(self) -> None:
        """Works through everything there is."""
        for _ in range(5000):
            before = self._offsets()
            for world in self.worlds:
                for source in world.sources:
                    world.deliver(source, 10**6)
                world.checkpoint()
                world.answer()
                world.checkpoint()
            if self._offsets() == before:
                return
        raise AssertionError("there is no end")

    def results(self, topics: frozenset[str]) -> Results:
        """What has been committed to these topics."""
        found: defaultdict[tuple[str, bytes | None], list[Raw]] = defaultdict(list)
        for source, log in sorted(self.kafka.logs.items()):
            if source.topic in topics:
                for record in log.committed():
                    found[source.topic, record.key].append(record)
        return found

    def letters(self) -> Counter[tuple[str, str, bytes | None]]:
        """The committed dead letters: step, reason and value."""
        dead = TopicPartition(self.layout.plan.dead_letters, Partition(0))
        letters = map(letter, self.kafka.logs[dead].committed())
        return Counter((each.step, each.reason, each.record.value) for each in letters)

    def _offsets(self) -> dict[TopicPartition, Any]:
        ends = {source: len(log.entries) for source, log in self.kafka.logs.items()}
        return {**ends, **{("at", *each): now for each, now in self.kafka.positions.items()}}


class Deliver(NamedTuple):
    """A slot reads the next records of one of its partitions."""

    slot: int
    source: int
    count: int


class CheckpointOf(NamedTuple):
    """A checkpoint becomes due in a slot."""

    slot: int


class FailOf(NamedTuple):
    """A checkpoint fails in a slot at a command, counted from its end, and is aborted."""

    slot: int
    from_end: int


class CrashOf(NamedTuple):
    """A slot crashes, and begins again with what its disk still has."""

    slot: int
    disk: int


class RebalanceOf(NamedTuple):
    """The group takes a slot's partitions and gives them again."""

    slot: int


class Answer(NamedTuple):
    """A slot hears of the ends that it has asked for."""

    slot: int


class Rescale(NamedTuple):
    """The application has another number of slots."""

    slots: int


Move = Deliver | CheckpointOf | FailOf | CrashOf | RebalanceOf | Answer | Rescale


def act(fleet: Fleet, move: Move) -> None:
    """Does it."""
    if isinstance(move, Rescale):
        fleet.rescale(move.slots)
        return
    world = fleet.worlds[move.slot % len(fleet.worlds)]
    match move:
        case Deliver(_, source, count):
            world.deliver(world.sources[source % len(world.sources)], count)
        case CheckpointOf():
            world.checkpoint()
        case FailOf(_, from_end):
            failing_checkpoint(world, from_end)
        case CrashOf(_, disk):
            world.start(pick=lambda saved: picked(saved, disk))
        case RebalanceOf():
            world.handle(Revoked())
            world.handle(Assigned(world.own))
        case Answer():
            world.answer()


def failing_checkpoint(world: World, from_end: int) -> None:
    """A command of the checkpoint is refused."""
    countdown = [from_end + 1]

    def interrupt(_number: int, command: Command) -> When | None:
        del command
        countdown[0] -= 1
        return "fails" if countdown[0] == 0 and world.host.producer.begun else None

    world.interrupt = interrupt
    world.checkpoint()
    world.interrupt = lambda _number, _command: None


def picked(saved: list[Saved], number: int) -> Saved | None:
    return None if number == 0 else saved[-min(number, len(saved))]


def by_the_book(
    make: Callable[[], Topology], inputs: Mapping[TopicPartition, list[Raw]], *, in_order: bool
) -> tuple[Results, Counter[tuple[str, str, bytes | None]]]:
    """What all input gives in one partition, in the order of its times, one record at a time.

    Each subtopology begins when those before it are done, and what they have written is in order,
    too, if the input is.
    """
    made = plan(make())
    layout = lay_out(made, dict.fromkeys(made.inputs, 1))
    logs: dict[TopicPartition, list[Raw]] = {
        TopicPartition(topic, Partition(0)): [] for topic in made.inputs
    }
    reference = Reference(layout, logs, partition_of, uncommitted=True)
    for source, record in in_the_order_of_time(inputs):
        logs[TopicPartition(source.topic, Partition(0))].append(record)
        reference.deliver(TopicPartition(source.topic, Partition(0)), 1)
    for part in made.subtopologies[1:]:
        sources = [TopicPartition(topic, Partition(0)) for topic in sorted(part.topics)]
        written = {each: reference.world.written.get(each, []) for each in sources}
        if in_order:
            for log in written.values():
                log.sort(key=lambda record: record.timestamp)
        for source, _ in in_the_order_of_time(written):
            reference.deliver(source, 1)
    reference.checkpoint()
    found: defaultdict[tuple[str, bytes | None], list[Raw]] = defaultdict(list)
    for source, log in reference.outputs().items():
        if source.topic not in made.repartitions:
            for record in log:
                found[source.topic, record.key].append(record)
    letters = reference.letters()
    return found, Counter((each.step, each.reason, each.record.value) for each in letters)


def in_one_partition(
    make: Callable[[], Topology], inputs: Mapping[TopicPartition, list[Raw]]
) -> tuple[Results, Counter[tuple[str, str, bytes | None]]]:
    """The same by the core itself, for what the reference does not know."""
    logs: defaultdict[TopicPartition, list[Raw]] = defaultdict(list)
    for source, record in in_the_order_of_time(inputs):
        logs[TopicPartition(source.topic, Partition(0))].append(record)
    fleet = Fleet(make(), 1, 1, logs)
    fleet.drain()
    return fleet.results(frozenset({"out"})), fleet.letters()


def in_the_order_of_time(
    inputs: Mapping[TopicPartition, list[Raw]],
) -> list[tuple[TopicPartition, Raw]]:
    ordered = sorted(
        (top, source, row, record)
        for source, log in inputs.items()
        for row, (top, record) in enumerate(zip(tops(log), log, strict=True))
    )
    return [(source, record) for _, source, _, record in ordered]


def tops(log: list[Raw]) -> list[Timestamp]:
    """The stream time of a partition at each of its records."""
    return [max(record.timestamp for record in log[: row + 1]) for row in range(len(log))]


def record(key: str, value: str, time: int) -> Raw:
    return Record(key.encode(), value.encode(), Timestamp(time))
