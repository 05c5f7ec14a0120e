"""A worker is killed before and after every kind of command, then another goes on.

Each time what is committed, what the stores hold and what the group has committed must be as if
nothing had happened.
"""

import os
import random
import uuid
from itertools import product
from pathlib import Path

import pytest

from tests.crashes.application import Application

pytestmark = pytest.mark.kafka

SEED = int(os.environ.get("KPROC_SEED", "1"))
KINDS = {
    "start": ("OpenTask", "Fetch", "Begin"),
    "work": ("Produce-output", "Produce-repartition", "Produce-changelog"),
    "checkpoint": ("SendOffsets", "Commit", "Persist"),
    "end": ("CloseTask", "Finish"),
}
"""The commands, by the phase of a worker's life in which they come."""


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


@pytest.mark.parametrize("phase", KINDS)
def test_killed_before_and_after_each_command(shared: Shared, phase: str) -> None:
    application = shared.take()
    # What one way has left behind the other goes on from.
    ways = (("before", "auto"), ("after", "off"))
    for kind, (when, native) in product(KINDS[phase], ways):
        application.settings = application.settings.model_copy(update={"native": native})
        # Finish comes once, the others at least once a task or checkpoint.
        number = 1 if kind == "Finish" else random.Random(f"{SEED} {when} {kind}").randint(1, 3)
        print(f"{when}:{kind}:{number}, KPROC_SEED={SEED}")
        application.feed.write(60)
        worker = application.suicidal_worker(f"{when}:{kind}:{number}")
        if kind in ("CloseTask", "Finish"):
            application.drain(worker)
            worker.ask_to_stop()
        else:
            application.feed_until_killed(worker)
        assert worker.wait() == -9, worker.failure
    application.run_to_end()
    application.check()
    shared.give_back(application)


@pytest.mark.parametrize("failing", ["Produce-output", "SendOffsets", "Commit"])
def test_killed_before_and_after_an_abort(shared: Shared, failing: str) -> None:
    application = shared.take()
    for when, native in (("before", "off"), ("after", "auto")):
        application.settings = application.settings.model_copy(update={"native": native})
        application.feed.write(60)
        worker = application.suicidal_worker(f"abort:{failing}:2,{when}:Abort:1")
        application.feed_until_killed(worker)
        assert worker.wait() == -9, worker.failure
    application.run_to_end()
    application.check()
    shared.give_back(application)


def test_aborted_transactions_leave_no_trace(shared: Shared) -> None:
    application = shared.take()
    aborted = [f"abort:{kind}:2" for kind in KINDS["work"]]
    worker = application.suicidal_worker(",".join([*aborted, "abort:SendOffsets:4"]))
    for _ in range(6):
        application.feed.write(40)
        application.drain(worker)
    assert worker.stop() == 0, worker.failure
    assert len(worker.logged("transaction aborted")) >= len(aborted)
    application.check()
    shared.give_back(application)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_killed_after_every_single_command(shared: Shared) -> None:
    """One kill after each command, counted through the start and several checkpoints."""
    application = shared.take()
    for number in range(1, 121):
        application.feed.write(30)
        worker = application.suicidal_worker(f"after:*:{number}")
        application.feed_until_killed(worker)
        assert worker.wait() == -9, (number, worker.failure)
        if number % 10 == 0:
            application.run_to_end()
            application.check()
