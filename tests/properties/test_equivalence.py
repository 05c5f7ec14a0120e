"""Whatever the topology, the input, the batches and the crashes: as if one record at a time."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor import Topology
from processor.operators.joins import pages as joins_pages
from processor.records import Offset, Partition, Timestamp, TopicPartition
from processor.runtime.commands import Assigned, Command, Commit, Revoked, Tick
from processor.testing import TopologyDriver
from processor.testing.memory import partition_of
from tests.properties import global_tables, joined, tabled, windows
from tests.properties.one_record import Raw
from tests.properties.ordered import Ordered
from tests.properties.reference import Letter, Reference
from tests.properties.topologies import (
    STEPS,
    Action,
    Case,
    Checkpoint,
    CrashNow,
    Deliver,
    FailingCheckpoint,
    Pipe,
    Rebalance,
    Restart,
    TickOn,
    cases,
    histories,
    scripts,
    topologies,
)
from tests.properties.world import (
    OPTIONS,
    Saved,
    When,
    World,
    letter,
)
from tests.suites import LONG, examples

COMMON = settings(
    deadline=None,
    derandomize=not LONG,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


STEPS.extend([*joined.STEPS, *tabled.STEPS, *windows.STEPS])


@pytest.fixture(autouse=True, scope="module")
def small_pages() -> Iterator[None]:
    """Several rows make a page of a join full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joins_pages, "PAGE_BYTES", 40)
        yield


class Twins:
    """The worker in its world and the reference, taken through the same history."""

    def __init__(self, case: Case, *, ordered: bool = False) -> None:
        idle = 0 if ordered else None
        options = replace(OPTIONS, max_task_idle=idle)
        self.world = World(case.layout, case.inputs, options)
        self.reference = Reference(case.layout, case.inputs, partition_of)
        self.ordered = Ordered(self.reference, case.layout) if ordered else None
        self.dead = case.layout.plan.dead_letters
        self.internal = frozenset(case.layout.plan.repartitions)

    def run(self, history: list[Action]) -> None:
        for action in history:
            self.act(action)
            self.compare()
        self.drain()
        self.compare()

    def act(self, action: Action) -> None:
        world, reference = self.world, self.reference
        match action:
            case Deliver(number, count):
                source = world.sources[number % len(world.sources)]
                world.deliver(source, count)
                (self.ordered or reference).deliver(source, count)
            case TickOn(by):
                checkpoints = world.worker.checkpoints
                world.tick(world.clock + by)
                reference.tick(world.clock)
                if world.worker.checkpoints > checkpoints:  # where the last one had nothing to do
                    reference.checkpoint()
            case Checkpoint():
                world.checkpoint()
                reference.tick(world.clock)
                reference.checkpoint()
            case FailingCheckpoint(from_end):
                reference.tick(world.clock)
                if self.checkpoint_fails(from_end):
                    reference.go_back()
                    self.fetch_again()
            case CrashNow(disk):
                world.start(pick=lambda saved: pick(saved, disk))
                reference.go_back(crash=True)
                self.fetch_again()
            case Rebalance():
                world.handle(Revoked())
                world.handle(Assigned(world.own))
                self.fetch_again()

    def fetch_again(self) -> None:
        if self.ordered is not None:
            self.ordered.restart()

    def checkpoint_fails(self, from_end: int) -> bool:
        """Whether there was anything to commit."""
        world = self.world
        world.elapsed += world.options.checkpoint_interval
        commands = self.commands_of_checkpoint()
        failing = len(world.trace) + max(0, len(commands) - 1 - from_end)

        def interrupt(number: int, command: Command) -> When | None:
            return "fails" if number == failing else None

        world.interrupt = interrupt
        world.carry_out(commands)
        world.interrupt = lambda _number, _command: None
        return bool(commands)

    def commands_of_checkpoint(self) -> list[Command]:
        world = self.world
        commands = world.worker.handle(Tick(Timestamp(world.clock), world.elapsed))
        return commands if any(isinstance(each, Commit) for each in commands) else []

    def drain(self) -> None:
        while any(self.reference.unread(source) for source in self.reference.sources):
            for source in self.reference.sources:
                self.act(Deliver(self.world.sources.index(source), 10**6))
            self.act(Checkpoint())
        self.act(Checkpoint())

    def compare(self) -> None:
        world, reference = self.world, self.reference
        assert world.outputs() == reference.outputs()
        assert world.stores() == reference.stores()
        assert world.replayed() == reference.stores()
        assert self.plain(world.letters()) == self.plain(reference.letters())

    def plain(self, letters: list[Letter]) -> list[Letter]:
        """Without the offsets in internal topics: aborted records and markers leave gaps there."""
        return [
            each._replace(offset=-1) if each.origin.topic in self.internal else each
            for each in letters
        ]


def pick(saved: list[Saved], number: int) -> Saved | None:
    return None if number == 0 else saved[-min(number, len(saved))]


@settings(COMMON, max_examples=examples(80, 20_000))
@given(cases(), histories())
def test_as_the_reference_does(case: Case, history: list[Action]) -> None:
    Twins(case).run(history)


@settings(COMMON, max_examples=examples(50, 20_000))
@given(cases(), histories())
def test_as_the_reference_does_in_the_order_of_time(case: Case, history: list[Action]) -> None:
    Twins(case, ordered=True).run(history)


class DriverTwins:
    """The driver and the reference, taken through the same test."""

    def __init__(self, topology: Topology, partitions: int) -> None:
        self.driver = TopologyDriver(topology, partitions=partitions, auto_checkpoint=False)
        for table in self.driver._disk.tables.values():
            table.write(Partition(0), global_tables.CONTENTS, Offset(1))
        self.layout = self.driver._layout
        self.inputs: dict[TopicPartition, list[Raw]] = {
            TopicPartition(topic, Partition(number)): []
            for topic in self.layout.plan.inputs
            for number in range(partitions)
        }
        self.reference = Reference(self.layout, self.inputs, partition_of, uncommitted=True)
        self.reference.tick(0)
        self.restarted = False

    def act(self, action: Pipe | TickOn | Checkpoint | Restart) -> None:
        driver, reference = self.driver, self.reference
        match action:
            case Pipe(number, records):
                self.pipe(self.layout.plan.inputs[number % len(self.layout.plan.inputs)], records)
            case TickOn(by):
                driver.advance(by / 1000)
                reference.tick(driver.now)
                self.deliver()
            case Checkpoint():
                driver.checkpoint()
                self.deliver()
                reference.checkpoint()
                while self.deliver():
                    reference.checkpoint()
            case Restart():
                driver.restart()
                self.restarted = True
                reference.go_back(crash=True)
                reference.tick(driver.now)

    def pipe(self, topic: str, records: list[Raw]) -> None:
        for record in records:
            number = partition_of(record.key, self.layout.partitions[topic])
            self.inputs[TopicPartition(topic, Partition(number))].append(record)
            self.driver._kafka.append(topic, None, record)
        self.driver._settle()
        self.deliver()

    def deliver(self) -> bool:
        """Whether there was anything."""
        reference, any_at_all = self.reference, False
        while sources := [each for each in reference.sources if reference.unread(each)]:
            any_at_all = True
            for source in sources:
                reference.deliver(source, 10**6)
        return any_at_all

    def compare(self) -> None:
        logs = {
            source: [entry for entry in log.entries if entry is not None]
            for source, log in self.driver._kafka.logs.items()
        }
        plan = self.layout.plan
        dead = TopicPartition(plan.dead_letters, Partition(0))
        written = self.reference.world.written
        assert {name: logs.get(name, []) for name in written} == written
        assert [letter(each) for each in logs.get(dead, [])] == self.reference.world.letters
        stores = {name: dict(each.scan()) for name, each in self.driver._disk.stores.items()}
        assert stores == self.reference.stores()
        if not self.restarted:  # which counts again
            assert self.driver.bad_records == self.reference.world.bad


@settings(COMMON, max_examples=examples(40, 10_000))
@given(topologies(), st.integers(1, 3), scripts())
def test_the_driver_does_as_the_reference(
    topology: Topology, partitions: int, script: list[Pipe | TickOn | Checkpoint | Restart]
) -> None:
    twins = DriverTwins(topology, partitions)
    for action in [*script, Checkpoint()]:
        twins.act(action)
        twins.compare()
