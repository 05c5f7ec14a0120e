"""Whatever the topology, the input, the batches and the crashes: as if one record at a time."""

import os

from hypothesis import HealthCheck, given, settings

from processor.records import Timestamp
from processor.runtime.commands import Assigned, Command, Commit, Revoked, Tick
from tests.properties.reference import Letter, Reference
from tests.properties.topologies import (
    Action,
    Case,
    Checkpoint,
    CrashNow,
    Deliver,
    FailingCheckpoint,
    Rebalance,
    TickOn,
    cases,
    histories,
)
from tests.properties.world import Saved, When, World, partition_of

LONG = "KPROC_LONG" in os.environ
COMMON = settings(
    deadline=None,
    derandomize=not LONG,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Twins:
    """The worker in its world and the reference, taken through the same history."""

    def __init__(self, case: Case) -> None:
        self.world = World(case.layout, case.inputs)
        self.reference = Reference(case.layout, case.inputs, partition_of)
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
                reference.deliver(source, count)
            case TickOn(by):
                world.tick(world.clock + by)
                reference.tick(world.clock)
            case Checkpoint():
                world.checkpoint()
                reference.tick(world.clock)
                reference.checkpoint()
            case FailingCheckpoint(from_end):
                reference.tick(world.clock)
                if self.checkpoint_fails(from_end):
                    reference.go_back()
            case CrashNow(disk):
                world.start(pick=lambda saved: pick(saved, disk))
                reference.go_back(crash=True)
            case Rebalance():
                world.tell(Revoked())
                world.tell(Assigned(world.own))

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


@settings(COMMON, max_examples=20_000 if LONG else 1000)
@given(cases(), histories())
def test_as_the_reference_does(case: Case, history: list[Action]) -> None:
    Twins(case).run(history)
