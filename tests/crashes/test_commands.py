"""A worker is killed before and after every kind of command, then another goes on.

Each time what is committed, what the stores hold and what the group has committed must be as if
nothing had happened.
"""

import os
import random
import uuid
from pathlib import Path

import pytest

from tests.crashes.application import Application

pytestmark = pytest.mark.kafka

SEED = int(os.environ.get("KPROC_SEED", "1"))
KINDS = (
    *("OpenTask", "Fetch", "Begin", "Produce-output", "Produce-repartition", "Produce-changelog"),
    *("SendOffsets", "Commit", "Persist", "CloseTask", "Finish"),
)
POINTS = [f"{when}:{kind}" for kind in KINDS for when in ("before", "after")]


class Shared:
    """The application of these tests: each goes on where the one before has ended well."""

    def __init__(self, kafka: str, folder: Path) -> None:
        self._kafka, self._folder = kafka, folder
        self._kept: Application | None = None

    def take(self) -> Application:
        """The application; one that is not given back is not used again."""
        taken, self._kept = self._kept, None
        name = f"crashes-{uuid.uuid4().hex[:8]}"
        return taken or Application(self._kafka, name, self._folder, SEED)

    def give_back(self, application: Application) -> None:
        self._kept = application


@pytest.fixture(scope="module")
def shared(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    return Shared(kafka, tmp_path_factory.mktemp("crashes"))


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_command(shared: Shared, point: str) -> None:
    application = shared.take()
    number = 1 if "Finish" in point else random.Random(f"{SEED} {point}").randint(1, 3)
    print(f"{point}:{number}, KPROC_SEED={SEED}")
    application.feed.write(60)
    worker = application.suicidal_worker(f"{point}:{number}")
    if "CloseTask" in point or "Finish" in point:
        application.drain(worker)
        worker.ask_to_stop()
    else:
        application.feed.write(60)
    assert worker.wait() == -9, worker.failure
    application.run_to_end()
    application.check()
    shared.give_back(application)


@pytest.mark.parametrize("point", ["before:Abort:1", "after:Abort:1"])
@pytest.mark.parametrize("failing", ["Produce-output", "SendOffsets", "Commit"])
def test_killed_at_an_abort(shared: Shared, failing: str, point: str) -> None:
    application = shared.take()
    application.feed.write(60)
    worker = application.suicidal_worker(f"abort:{failing}:2,{point}")
    assert worker.wait() == -9, worker.failure
    application.run_to_end()
    application.check()
    shared.give_back(application)


@pytest.mark.parametrize("failing", ["Produce-repartition", "Produce-changelog", "Commit"])
def test_aborted_transactions_leave_no_trace(shared: Shared, failing: str) -> None:
    application = shared.take()
    application.feed.write(60)
    worker = application.suicidal_worker(f"abort:{failing}:1,abort:{failing}:3")
    application.feed.write(60)
    application.drain(worker)
    assert len(worker.logged("transaction aborted")) >= 2
    assert worker.stop() == 0, worker.failure
    application.check()
    shared.give_back(application)


@pytest.mark.long
@pytest.mark.skipif(not os.environ.get("KPROC_LONG"), reason="KPROC_LONG=1 runs it")
@pytest.mark.timeout(1800)
def test_killed_after_every_single_command(shared: Shared) -> None:
    """One kill after each command, counted through the start and several checkpoints."""
    application = shared.take()
    for number in range(1, 121):
        application.feed.write(30)
        assert application.suicidal_worker(f"after:*:{number}").wait() == -9, number
        if number % 10 == 0:
            application.run_to_end()
            application.check()
