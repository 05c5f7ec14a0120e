"""A slot goes from one worker to the next, each on a machine of its own and warm before.

Workers are killed at each step of an adoption and at each command of the commit cycle, or live on
while they are fenced. Each time what is committed, what the stores hold and what the group has
committed must be as if nothing had happened.
"""

import os
import random
import time
import uuid
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest

from processor.errors import Fenced
from tests.crashes.application import DRAIN_TIMEOUT, Application, WorkerProcess

pytestmark = pytest.mark.kafka

SEED = int(os.environ.get("KPROC_SEED", "1"))
STEPS = (
    *("after:fenced:1", "after:joined:1", "after:caught-up:1", "after:Fetch:1"),
    *("before:Produce-output:1", "after:Produce-output:1", "after:Produce-changelog:1"),
    *("before:Commit:1", "after:Commit:1", "before:Persist:1", "after:Persist:1"),
)
"""Where one dies that adopts, in the order of time."""

CYCLE = tuple(
    f"{when}:{kind}:{{}}"
    for kind, when in product(
        (
            *("Begin", "Produce-output", "Produce-repartition", "Produce-changelog"),
            *("SendOffsets", "Commit", "Persist"),
        ),
        ("before", "after"),
    )
)
"""Where one dies that has worked for a while, at the n-th such command."""


class Machines:
    """Where the workers of an application run: each has a state folder of its own."""

    def __init__(self, kafka: str, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self.application = Application(
            kafka, f"adoption-{uuid.uuid4().hex[:8]}", folder, SEED, persist_interval="50ms"
        )

    def backup(self, at: str = "", module: str = "tests.crashes.suicidal") -> WorkerProcess:
        """A backup on a machine of its own, which ends itself at this point once it has adopted."""
        self._count += 1
        application = self.application.moved(self._folder / str(self._count))
        return application.worker(module=module, role="backup", KILL_AT=at, SLEEP_AT=at)

    def backups(self, points: Sequence[str]) -> list[WorkerProcess]:
        """Such backups, warm."""
        started = [self.backup(at) for at in points]
        for each in started:
            each.await_state("ready")
        return started

    def end(self, last: WorkerProcess) -> None:
        """Lets the last one, whose machine was added last, finish everything, and checks all."""
        self.application.drain(last)
        last.await_tasks(len(self.application.layout.tasks))
        assert last.stop() == 0, last.failure
        self.application.check()


@pytest.fixture(scope="module")
def machines(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Machines:
    return Machines(kafka, tmp_path_factory.mktemp("adoption"))


def _succession(machines: Machines, deaths: Sequence[str]) -> None:
    """Each adopts when the one before has died; the last one lives."""
    print(f"{deaths}, KPROC_SEED={SEED}")
    application = machines.application
    *mortal, last = machines.backups([*deaths, ""])
    for each in mortal:
        application.feed.write(60)
        each.adopt()
        application.feed_until_killed(each)
        assert each.wait() == -9, each.failure
    last.adopt()
    application.feed.write(60)
    machines.end(last)


def _at(point: str) -> str:
    return point.format(random.Random(f"{SEED} {point}").randint(1, 4))


def test_the_primary_dies(machines: Machines) -> None:
    _succession(machines, [_at("before:Commit:{}")])


@pytest.mark.parametrize("step", random.Random(SEED).sample(STEPS, 3))
def test_primary_and_heir_die(machines: Machines, step: str) -> None:
    _succession(machines, [_at(random.Random(f"{SEED} {step}").choice(CYCLE)), step])


@pytest.mark.long
@pytest.mark.parametrize("point", CYCLE)
def test_the_primary_dies_at_each_command(machines: Machines, point: str) -> None:
    _succession(machines, [_at(point)])


@pytest.mark.long
@pytest.mark.parametrize("step", STEPS)
def test_the_heir_dies_at_each_step(machines: Machines, step: str) -> None:
    _succession(machines, [_at("after:Produce-changelog:{}"), step, step])


def test_the_predecessor_works_on_while_it_is_fenced(machines: Machines) -> None:
    application = machines.application
    primary, backup = machines.backups(["", ""])
    primary.adopt()
    application.feed.write(100)
    primary.await_state("running")
    application.feed.write(100)
    backup.adopt()
    for _ in range(10):
        application.feed.write(20)
    assert primary.wait() == Fenced.exit_code, primary.failure
    machines.end(backup)


@pytest.mark.parametrize(
    "delay", [0.0, *(pytest.param(n / 200, marks=pytest.mark.long) for n in range(1, 31))]
)
def test_two_adopt_at_once(machines: Machines, delay: float) -> None:
    application = machines.application
    primary, one, other = machines.backups(["before:Commit:3", "", ""])
    primary.adopt()
    application.feed_until_killed(primary)
    one.adopt()
    time.sleep(delay)
    other.adopt()
    loser = _first_to_end([one, other])
    winner = other if loser is one else one
    assert loser.wait() == Fenced.exit_code, loser.failure
    assert winner.process.poll() is None, winner.failure
    application.feed.write(60)
    application.drain(winner)
    assert winner.stop() == 0, winner.failure
    last = machines.backup()
    last.adopt()
    machines.end(last)


def _first_to_end(workers: Sequence[WorkerProcess]) -> WorkerProcess:
    deadline = time.monotonic() + DRAIN_TIMEOUT
    while time.monotonic() < deadline:
        for each in workers:
            if each.process.poll() is not None:
                return each
        time.sleep(0.01)
    raise AssertionError("both go on")
