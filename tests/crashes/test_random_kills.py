"""`kproc run` under load; workers, or all of it, are killed at seeded random moments."""

import os
import random
import time
from pathlib import Path

import pytest

from tests.crashes.application import Application
from tests.integration.node_process import NodeProcess

pytestmark = pytest.mark.kafka

SEED = int(os.environ.get("KPROC_SEED", time.time_ns() % 1_000_000))
KEEPS_CRASHING = 7


class Chaos:
    """A node that is killed now and then, and its input."""

    def __init__(self, application: Application, seed: int) -> None:
        self._application = application
        self._random = random.Random(seed)
        self._node = self._start()

    def _start(self) -> NodeProcess:
        settings = {"slots": 2, "checkpoint_interval": "50ms", "session_timeout": "6s"}
        application = self._application
        return NodeProcess(application.kafka, application.file, **settings)

    def kill_once(self) -> None:
        """Lets it work for a random while, then kills something."""
        until = time.monotonic() + self._random.uniform(0.1, 1.5)
        while time.monotonic() < until:
            self._application.feed.write(self._random.randint(1, 30))
            time.sleep(0.02)
        choice = self._random.random()
        if self._node.process.poll() is not None:
            self._start_again()
        elif choice < 0.7:
            workers = self._node.workers
            for worker in self._random.sample(workers, k=min(len(workers), 2)):
                worker.kill()
        else:
            self._node.kill(with_workers=choice < 0.85)
            self._node = self._start()

    def finish(self) -> None:
        """Lets all be processed, and stops it cleanly."""
        while not self._application.is_drained(5):
            if self._node.process.poll() is not None:
                self._start_again()
        assert self._node.stop() == 0, self._node.output
        self._application.run_to_end()

    def _start_again(self) -> None:
        # The supervisor gives up on a worker that crashes so often: that is its duty.
        assert self._node.wait() == KEEPS_CRASHING, self._node.output
        assert "Traceback" not in self._node.output, self._node.output
        self._node = self._start()

    def end(self) -> None:
        """Kills what is left after a failure."""
        if self._node.process.poll() is None:
            print(self._node.output[-5000:])
            self._node.kill()


def _survive(application: Application, seed: int, kills: int) -> None:
    chaos = Chaos(application, seed)
    try:
        for _ in range(kills):
            chaos.kill_once()
        chaos.finish()
    finally:
        chaos.end()
    application.check()


def test_killed_at_random_moments(kafka: str, topic_name: str, tmp_path: Path) -> None:
    print(f"KPROC_SEED={SEED}")
    _survive(Application(kafka, topic_name, tmp_path, SEED), SEED, kills=8)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_killed_200_times(kafka: str, topic_name: str, tmp_path: Path) -> None:
    application = Application(kafka, topic_name, tmp_path, SEED)
    for number in range(10):
        print(f"KPROC_SEED={SEED}, round {number}")
        _survive(application, SEED + number, kills=20)
