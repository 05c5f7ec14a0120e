"""Three brokers, of which one goes: output goes on while it is away, whatever it did."""

import os
import random
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from processor.local.brokers import Brokers
from tests.integration.conftest import App
from tests.integration.node_process import NodeProcess
from tests.integration.steady import PARTITIONS, TOPOLOGY, Steady
from tests.integration.watch import Watch
from tests.suites import long

pytestmark = pytest.mark.kafka

SLOTS = 1
HANGS = 30.0
"""Seconds, at most, for which a broker hangs that others have already replaced."""

SETTINGS = {"slots": SLOTS, "backup_mode": "primary-backup", "checkpoint_interval": "50ms"}
PATIENCE = 120.0
"""Seconds in which output has to go on, on a machine that does much else at the same time."""


class Application:
    """An application on two nodes that works without pause, and the brokers that it needs."""

    def __init__(self, brokers: Brokers, folder: Path, stack: ExitStack) -> None:
        self.brokers = brokers
        self.app = App(brokers.bootstrap, "steady", folder)
        clock = {"message.timestamp.type": "LogAppendTime"}
        self.app.topics("in", "out", partitions=PARTITIONS, **clock)
        self.app.define(TOPOLOGY)
        self.nodes = [
            stack.enter_context(self._node("a", folder)),
            stack.enter_context(self._node("b", folder)),
        ]
        self.app.await_log(self.nodes[0], "worker process")
        watch = Watch(brokers.bootstrap, self.app.name, SLOTS)
        watch.until(lambda: self._nodes_run() and watch.is_backed_up())
        self.steady = Steady(self.app)
        self.steady.await_results(60)

    def find(self, role: str) -> int:
        """The broker that does this for the first slot."""
        name, brokers = self.app.name, self.brokers
        roles: dict[str, Callable[[], int]] = {
            "transactions": lambda: brokers.transaction_coordinator(f"{name}-00"),
            "group": lambda: brokers.group_coordinator(name),
            "input": lambda: brokers.leader(f"{name}-in"),
            "changelog": lambda: brokers.leader(f"{name}-counts-changelog"),
            "slots": lambda: brokers.leader(f"{name}-slots"),
        }
        return roles[role]()

    def _nodes_run(self) -> bool:
        for node in self.nodes:
            code = node.process.poll()
            assert code is None, f"a node ended with {code}: {node.output[-3000:]}"
        return True

    def _node(self, name: str, folder: Path) -> NodeProcess:
        return self.app.start("--no-show", **SETTINGS, state_dir=folder / name)


@pytest.fixture(scope="module")
def application(
    brokers: Brokers, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Application]:
    with ExitStack() as stack:
        yield Application(brokers, tmp_path_factory.mktemp("steady"), stack)


@pytest.mark.parametrize("role", ["transactions", *long("group", "input", "changelog", "slots")])
def test_output_goes_on_without_a_broker(
    application: Application, role: str, chance: random.Random
) -> None:
    brokers, steady = application.brokers, application.steady
    time.sleep(chance.random())
    with brokers.without(application.find(role)):
        led = time.time()
        steady.await_results(PATIENCE)
        until = time.time()
    steady.await_results(PATIENCE)
    waited = steady.longest_wait(led, until)
    print(f"{role}: {waited:.1f} s after the new leaders")
    bound = 5 if os.environ.get("KPROC_LONG") else PATIENCE
    assert waited < bound, "\n".join(node.output[-5000:] for node in application.nodes)


@pytest.mark.parametrize("role", ["group", *long("transactions", "input", "changelog", "slots")])
def test_output_goes_on_beside_a_broker_that_hangs(
    application: Application, role: str, chance: random.Random
) -> None:
    brokers, steady = application.brokers, application.steady
    time.sleep(chance.random())
    with brokers.suspended(application.find(role)):
        led = time.time()
        steady.await_results(PATIENCE)
        until = time.time()
        time.sleep(max(0.0, led + HANGS * chance.random() - until))
    steady.await_results(PATIENCE)
    waited = steady.longest_wait(led, until)
    print(f"{role}: {waited:.1f} s after the new leaders")


def test_nothing_is_lost_or_doubled(application: Application) -> None:
    application.steady.stop()
    application.steady.await_all()
    application.steady.check()
    for node in application.nodes:
        node.terminate()
    assert [node.wait() for node in application.nodes] == [0, 0]
