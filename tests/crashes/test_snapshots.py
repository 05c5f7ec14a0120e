"""A worker is killed at each step of a snapshot, and of a restore from one, then another goes on.

In the end, and after a last restore on an empty disk, what is committed, what the stores hold and
what the group has committed must be as if nothing had happened.
"""

import os
import random
import time
from pathlib import Path

import pytest

from tests.crashes.snapshotted import NUMBER, Snapshotted

pytestmark = pytest.mark.kafka

SEED = int(os.environ.get("KPROC_SEED", "1"))
SAVING = ("Checkpoint", "Upload", "Publish", "Remove", "Prune")
LOADING = ("List", "Read", "Fetch", "Piece", "Verify", "Rename", "Install", "Open")
WHEN = ["after", pytest.param("before", marks=pytest.mark.long)]


@pytest.fixture
def application(kafka: str, topic_name: str, tmp_path: Path) -> Snapshotted:
    return Snapshotted(kafka, topic_name[-30:], tmp_path, seed=SEED, kept=1)


@pytest.mark.parametrize("when", WHEN)
def test_killed_while_it_takes_a_snapshot(application: Snapshotted, when: str) -> None:
    for kind in SAVING:
        number = random.Random(f"{SEED} {when} {kind}").randint(1, 2 * NUMBER)
        print(f"{when}:{kind}:{number}, KPROC_SEED={SEED}")
        worker = application.suicidal_worker(f"{when}:{kind}:{number}")
        application.feed_until_killed(worker)
        assert worker.wait() == -9, worker.failure
    application.run_to_end()
    application.check()
    assert application.restored().logged("snapshot restored")


@pytest.mark.parametrize("when", WHEN)
def test_killed_while_it_restores_from_a_snapshot(application: Snapshotted, when: str) -> None:
    worker = application.worker()
    application.feed.write(100)
    application.await_snapshots(worker)
    assert worker.stop() == 0, worker.failure
    for kind in LOADING:
        number = random.Random(f"{SEED} {when} {kind}").randint(1, NUMBER)
        print(f"{when}:{kind}:{number}, KPROC_SEED={SEED}")
        application.lose_disk()
        application.feed.write(20)
        worker = application.suicidal_worker(f"{when}:{kind}:{number}")
        assert worker.wait() == -9, worker.failure
        application.run_to_end()
    application.check()
    assert application.restored().logged("snapshot restored")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_killed_at_any_moment(application: Snapshotted) -> None:
    """Kills at seeded moments of runs that restore and take snapshots all the time."""
    chance = random.Random(SEED)
    for _ in range(60):
        if chance.random() < 0.5:
            application.lose_disk()
        worker = application.suicidal_worker("")
        application.feed.write(30)
        time.sleep(chance.uniform(0.2, 2.5))
        worker.process.kill()
        worker.wait()
    application.run_to_end()
    application.check()
    application.restored()
