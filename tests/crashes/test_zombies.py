"""A worker that was taken for dead, and wakes up when another has its slot."""

import random
import signal
import time
from pathlib import Path

import pytest

from processor.errors import Fenced, StateError
from tests.crashes.application import Application, WorkerProcess
from tests.integration.node_process import NodeProcess

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("commits", [1, 3])
def test_who_wakes_up_behind_another_is_fenced(
    kafka: str, topic_name: str, tmp_path: Path, chance: random.Random, commits: int
) -> None:
    application = Application(kafka, topic_name, tmp_path, seed=chance.randrange(1000))
    application.feed.write(chance.randint(1, 200))
    # Both have a disk of their own, as on two machines: only Kafka stands between them.
    zombie = application.worker(module="tests.crashes.sleepy", SLEEP_AT=f"Commit:{commits}")
    _feed_until_asleep(application, zombie)
    successor = application.moved(tmp_path / "other").worker()
    application.feed.write(chance.randint(1, 200))
    application.drain(successor)
    time.sleep(chance.choice([0, 0.5]))
    zombie.process.send_signal(signal.SIGCONT)
    assert zombie.wait() == Fenced.exit_code, zombie.failure
    assert zombie.failure is not None
    assert zombie.failure.error == "Fenced"
    application.feed.write(100)
    application.drain(successor)
    assert successor.stop() == 0, successor.failure
    application.check()


@pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.long)])
@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
def test_who_wakes_up_behind_its_backup_is_fenced(
    kafka: str, topic_name: str, tmp_path: Path, guarantee: str, rounds: int
) -> None:
    """Again and again: each backup that has adopted falls asleep, and the next one adopts."""
    application = Application(kafka, topic_name, tmp_path, seed=6, guarantee=guarantee)
    for number in range(rounds):
        points = [f"Commit:{2 + number % 4}", ""]
        zombie, heir = (_backup(application, tmp_path / str(number), at) for at in points)
        zombie.adopt()
        application.feed.write(60)
        _feed_until_asleep(application, zombie)
        heir.adopt()
        application.feed.write(60)
        application.drain(heir)
        zombie.process.send_signal(signal.SIGCONT)
        # One that no transaction fences may see first that others purged what it was to read.
        ends = {Fenced.exit_code} | (
            {StateError.exit_code} if guarantee == "at-least-once" else set()
        )
        assert zombie.wait() in ends, zombie.failure
        application.feed.write(20)
        application.drain(heir)
        heir.await_tasks(len(application.layout.tasks))
        assert heir.stop() == 0, heir.failure
    if guarantee == "exactly-once":
        application.check()


def _backup(application: Application, folder: Path, at: str) -> WorkerProcess:
    application = application.moved(folder.with_name(f"{folder.name}-{at or 'heir'}"))
    worker = application.worker(module="tests.crashes.sleepy", role="backup", SLEEP_AT=at)
    worker.await_state("ready")
    return worker


def _feed_until_asleep(application: Application, worker: WorkerProcess) -> None:
    deadline = time.monotonic() + 120
    while Path(f"/proc/{worker.process.pid}/stat").read_text().split()[2] != "T":
        assert time.monotonic() < deadline
        application.feed.write(20)
        time.sleep(0.02)


def test_who_wakes_up_after_all_timeouts_goes_on(
    kafka: str, topic_name: str, tmp_path: Path
) -> None:
    """Nobody took its place, but the broker has aborted its transaction and ended its session."""
    application = Application(kafka, topic_name, tmp_path, seed=4)
    settings = {"slots": 2, "session_timeout": "6s", "transaction_timeout": "6s"}
    with NodeProcess(kafka, application.file, **settings) as node:
        application.feed.write(100)
        assert application.is_drained(), node.output
        sleeper = node.worker_of(0)
        application.feed.write(100)
        sleeper.suspend()
        application.feed.write(100)
        # Longer than both timeouts.
        time.sleep(8)
        sleeper.resume()
        assert application.is_drained(), node.output
        assert node.stop() == 0, node.output
    application.run_to_end()
    application.check()
