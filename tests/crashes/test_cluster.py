"""Several nodes under load; workers, nodes, the broker are killed, suspended, stopped, by a seed.

After each fault everything written has to be processed and committed, exactly once; at the end the
stores, too, have to be what they should be.
"""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Generator
from pathlib import Path

import psutil
import pytest

from processor.local.embedded import EmbeddedKafka
from tests import ledger
from tests.crashes.application import Application
from tests.crashes.expected import OUTPUTS, Expected
from tests.integration.node_process import NodeProcess
from tests.integration.watch import Watch

pytestmark = pytest.mark.kafka

SEED = int(os.environ.get("KPROC_SEED", "1"))
NAMES = ("a", "b", "c")
SLOTS = 3


@pytest.fixture
def own_kafka(tmp_path: Path) -> Generator[EmbeddedKafka]:
    broker = EmbeddedKafka.start(tmp_path / "kafka", port=0)
    yield broker
    broker.kill()


class Cluster:
    """Three nodes, and what can happen to them."""

    def __init__(self, broker: EmbeddedKafka, folder: Path, name: str, seed: int) -> None:
        self._broker = broker
        self._folder = folder
        self._chance = random.Random(seed)
        self.application = Application(broker.bootstrap, name, folder, seed, slots=SLOTS)
        self._watch = Watch(broker.bootstrap, name, SLOTS)
        self._nodes = {name: self._start(name) for name in NAMES}
        self._frozen: list[psutil.Process] = []

    @property
    def faults(self) -> dict[str, Callable[[], None]]:
        """By their names."""
        return {
            "a worker is killed": self._kill_worker,
            "a worker is suspended": self._freeze_worker,
            "a node is killed": self._kill_node,
            "a supervisor is killed": self._kill_supervisor,
            "a node is suspended": self._freeze_node,
            "a node leaves": self._leave,
            "who adopts is killed": self._kill_adopter,
            "two nodes fail at once": self._fail_twice,
            "a primary and a backup die": self._kill_both,
            "all nodes are killed": self._kill_all,
        }

    def suffer(self, fault: str) -> None:
        """Lets it happen under load, and checks that nothing came of it."""
        self._feed()
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended by itself just before
            (self._restart_broker if fault == "the broker is killed" else self.faults[fault])()
        self._feed()
        for process in self._frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
        self._frozen.clear()
        for name, node in self._nodes.items():
            if node.process.poll() is not None:
                self._nodes[name] = self._start(name)
        self.check(fault)

    def check(self, fault: str) -> None:
        """Checks that all is processed, and the output right."""
        application = self.application
        assert application.is_drained(), self.logged(fault)
        ledger.await_stable(application.kafka, application.topics)
        ledger.check_processed(application.kafka, application.name, application.layout.partitions)
        outputs = [f"{application.name}-{each}" for each in OUTPUTS]
        rows = ledger.read_all(application.kafka, outputs)
        expected = Expected(application.feed.events)
        expected.check_outputs({each: rows[f"{application.name}-{each}"] for each in OUTPUTS})

    def settle(self) -> None:
        """Waits until all nodes are there, and all slots run and are backed up."""
        watch = self._watch
        pids = {node.process.pid for node in self._nodes.values()}
        watch.until(lambda: watch.pids == pids and watch.is_backed_up())

    def finish(self) -> None:
        """Stops all nodes; checks the stores as well."""
        for node in self._nodes.values():
            node.terminate()
        for node in self._nodes.values():
            assert node.wait() == 0, node.output
            assert "Traceback" not in node.output, node.output
        self.application.run_to_end()
        self.application.check()

    def end(self) -> None:
        """Kills what is left."""
        for node in self._nodes.values():
            if node.process.poll() is None:
                node.kill()

    def logged(self, fault: str) -> str:
        """What the nodes said of it, at the end."""
        logs = [f"{name}: {node.output[-3000:]}" for name, node in self._nodes.items()]
        return "\n".join([fault, *logs])

    def _start(self, name: str) -> NodeProcess:
        return NodeProcess(
            self._broker.bootstrap,
            self.application.file,
            slots=SLOTS,
            state_dir=str(self._folder / f"state-{name}"),
            backup_mode="primary-backup",
            checkpoint_interval="50ms",
            session_timeout="6s",
        )

    def _feed(self) -> None:
        for _ in range(self._chance.randint(2, 6)):
            self.application.feed.write(self._chance.randint(1, 30))
            time.sleep(self._chance.uniform(0, 0.05))

    def _any_node(self) -> NodeProcess:
        return self._chance.choice([*self._nodes.values()])

    def _any_worker(self) -> psutil.Process | None:
        workers = self._any_node().workers
        return self._chance.choice(workers) if workers else None

    def _kill_worker(self) -> None:
        if (worker := self._any_worker()) is not None:
            worker.kill()

    def _freeze_worker(self) -> None:
        if (worker := self._any_worker()) is not None:
            worker.suspend()
            self._frozen.append(worker)
            self._pause()

    def _kill_node(self) -> None:
        self._any_node().kill()
        self._pause()

    def _kill_supervisor(self) -> None:
        self._any_node().kill(with_workers=False)
        self._pause()

    def _freeze_node(self) -> None:
        node = self._any_node()
        for process in [node.process, *node.process.children()]:
            process.suspend()
            self._frozen.append(process)
        self._pause()

    def _leave(self) -> None:
        node = self._any_node()
        node.terminate()
        self._pause()
        # One that has hardly begun ends in other ways.
        assert node.wait() in (0, 130, -signal.SIGTERM), node.output

    def _kill_adopter(self) -> None:
        """About a second after a node has died, another dies: it was just taking over."""
        victim, adopter = self._chance.sample([*self._nodes.values()], k=2)
        victim.kill()
        time.sleep(self._chance.uniform(0.9, 1.5))
        self._feed()
        if self._chance.random() < 0.5:
            adopter.kill()
        else:
            for worker in adopter.workers:
                worker.kill()

    def _fail_twice(self) -> None:
        """One is suspended while the other dies; the third has to do all."""
        frozen, killed = self._chance.sample([*self._nodes.values()], k=2)
        os.killpg(frozen.process.pid, signal.SIGSTOP)
        killed.kill()
        self._pause()
        os.killpg(frozen.process.pid, signal.SIGCONT)

    def _kill_both(self) -> None:
        """Wherever a slot's two workers are: all workers of two nodes."""
        for node in self._chance.sample([*self._nodes.values()], k=2):
            for worker in node.workers:
                worker.kill()

    def _kill_all(self) -> None:
        for node in self._nodes.values():
            node.kill()

    def _restart_broker(self) -> None:
        self._broker.kill()
        time.sleep(self._chance.uniform(0, 2))
        self._broker = EmbeddedKafka.start(self._broker.data_dir, port=self._broker.port)

    def _pause(self) -> None:
        """Sometimes shorter than any timeout, sometimes longer than that of the failover."""
        until = time.monotonic() + self._chance.uniform(0.1, 3.5)
        while time.monotonic() < until:
            self.application.feed.write(self._chance.randint(1, 10))
            time.sleep(0.1)

    @property
    def broker(self) -> EmbeddedKafka:
        """The one that runs now."""
        return self._broker


def _survive(broker: EmbeddedKafka, folder: Path, name: str, seed: int, faults: list[str]) -> None:
    print(f"KPROC_SEED={seed}")
    cluster = Cluster(broker, folder, name, seed)
    try:
        cluster.settle()
        for number, fault in enumerate(faults):
            print(f"{number}: {fault}")
            cluster.suffer(fault)
        cluster.settle()
        cluster.finish()
    finally:
        cluster.end()
        cluster.broker.kill()


FAULTS = (
    *("a worker is killed", "a worker is suspended", "a node is killed", "a supervisor is killed"),
    *("a node is suspended", "a node leaves", "who adopts is killed", "two nodes fail at once"),
    *("a primary and a backup die", "all nodes are killed", "the broker is killed"),
)


def test_faults_leave_no_trace(own_kafka: EmbeddedKafka, topic_name: str, tmp_path: Path) -> None:
    faults = random.Random(SEED).sample(FAULTS, k=4)
    _survive(own_kafka, tmp_path, topic_name, SEED, faults)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(10))
def test_30_faults_leave_no_trace(
    own_kafka: EmbeddedKafka, topic_name: str, tmp_path: Path, number: int
) -> None:
    seed = SEED + number
    faults = random.Random(seed).choices(FAULTS, k=30)
    _survive(own_kafka, tmp_path, topic_name, seed, faults)
