"""Nodes join and leave under load, by a seed: nothing is lost or doubled, and work goes on."""

import os
import random
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.crashes.application import Application
from tests.integration.node_process import NodeProcess
from tests.integration.watch import Watch

pytestmark = pytest.mark.kafka

SEED = int(os.environ.get("KPROC_SEED", "1"))
SLOTS = 4
MOST = 4


class Crowd:
    """Some nodes of one application, of which one at least stays."""

    def __init__(self, kafka: str, folder: Path, name: str, seed: int) -> None:
        self._folder = folder
        self._chance = random.Random(seed)
        self._numbers: Iterator[int] = count()
        self._free: list[Path] = []
        self._nodes: dict[Path, NodeProcess] = {}
        self.application = Application(kafka, name, folder, seed, slots=SLOTS)
        self._watch = Watch(kafka, name, SLOTS)
        self.join()

    def change(self) -> None:
        """A node joins or leaves, cleanly or not, and some time passes or not."""
        joins = len(self._nodes) < MOST and self._chance.random() < 0.5
        if len(self._nodes) == 1 or joins:
            self.join()
        else:
            self.leave(kill=self._chance.random() < 0.2)
        until = time.monotonic() + self._chance.choice([0, 0.5, 2, 5])
        while time.monotonic() < until:
            self.application.feed.write(self._chance.randint(1, 30))
            time.sleep(0.05)

    def join(self) -> None:
        """A new node, or one that was here before, with its state of then."""
        folder = self._folder / f"state-{next(self._numbers)}"
        if self._free and self._chance.random() < 0.5:
            folder = self._free.pop(self._chance.randrange(len(self._free)))
        self._nodes[folder] = NodeProcess(
            self.application.kafka,
            self.application.file,
            slots=SLOTS,
            state_dir=str(folder),
            backup_mode=self._chance.choice(["restart", "primary-backup"]),
            checkpoint_interval="50ms",
            session_timeout="6s",
        )

    def leave(self, *, kill: bool) -> None:
        """Any of them."""
        folder = self._chance.choice([*self._nodes])
        node = self._nodes.pop(folder)
        if kill:
            node.kill()
        else:
            node.terminate()
            # One that has hardly begun ends in other ways.
            assert node.wait() in (0, 130, -15), node.output
            assert "Traceback" not in node.output, node.output
        self._free.append(folder)

    def check(self) -> None:
        """Checks that all is processed, and all slots come to rest."""
        self.application.feed.write(50)
        assert self.application.is_drained(), self.logged()
        pids = {node.process.pid for node in self._nodes.values()}
        watch = self._watch
        watch.until(lambda: watch.pids == pids and watch.is_running())

    def finish(self) -> None:
        """Stops all nodes, and compares everything."""
        self.check()
        for node in self._nodes.values():
            node.terminate()
        for node in self._nodes.values():
            assert node.wait() == 0, node.output
        self.application.run_to_end()
        self.application.check()

    def logged(self) -> str:
        """What the nodes said, at the end."""
        return "\n".join(node.output[-3000:] for node in self._nodes.values())

    def end(self) -> None:
        """Kills what is left."""
        for node in self._nodes.values():
            if node.process.poll() is None:
                node.kill()


def _live(kafka: str, folder: Path, name: str, changes: int) -> None:
    print(f"KPROC_SEED={SEED}")
    crowd = Crowd(kafka, folder, name, SEED)
    try:
        crowd.check()
        for number in range(1, changes + 1):
            crowd.change()
            if number % 10 == 0:
                crowd.check()
        crowd.finish()
    finally:
        crowd.end()


def test_nodes_join_and_leave(kafka: str, topic_name: str, tmp_path: Path) -> None:
    _live(kafka, tmp_path, topic_name, changes=5)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nodes_join_and_leave_50_times(kafka: str, topic_name: str, tmp_path: Path) -> None:
    began = time.monotonic()
    _live(kafka, tmp_path, topic_name, changes=50)
    print(f"50 joins and leaves in {time.monotonic() - began:.0f} s")
