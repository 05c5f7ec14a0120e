"""Nodes in containers, each with a network, a file system and a host name of its own.

They run where a Docker engine is at hand: on the official Python image, or on KPROC_PYTHON_IMAGE.
"""

import contextlib
import sysconfig
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError
from docker.models.containers import Container
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

import docker
from tests.crashes.application import Application
from tests.integration.conftest import PYTHON, needs_engine
from tests.integration.watch import Watch

PROJECT = Path(__file__).parents[2]
SLOTS = 2


pytestmark = [pytest.mark.kafka, needs_engine, pytest.mark.usefixtures("python_image")]


class Nodes:
    """Containers with nodes of one application, and the network between them and the broker."""

    def __init__(self, application: Application, network: Network, stack: ExitStack) -> None:
        self.application = application
        self._network = network
        self._stack = stack
        self.watch = Watch(application.kafka, application.name, SLOTS)

    def start(self, name: str) -> Container:
        """Starts a node in a container of that name."""
        application = self.application
        settings = {
            "bootstrap": "kafka:9092",
            "slots": SLOTS,
            "backup_mode": "primary-backup",
            "checkpoint_interval": "50ms",
            "state_dir": "/tmp/state",
        }
        sets = " ".join(f"--set={name}={value}" for name, value in settings.items())
        main = "import sys; from processor.cli.main import main; sys.exit(main())"
        packages = sysconfig.get_paths()["purelib"]
        container = (
            DockerContainer(PYTHON)
            .with_network(self._network)
            .with_kwargs(hostname=name)
            .with_volume_mapping(str(PROJECT / "processor"), "/app/processor", "ro")
            .with_volume_mapping(packages, "/packages", "ro")
            .with_volume_mapping(str(application.folder), str(application.folder), "ro")
            .with_env("PYTHONPATH", "/app:/packages")
            .with_command(f'python3 -c "{main}" run {application.file} --log-format=json {sets}')
        )
        started = self._stack.enter_context(container).get_wrapped_container()
        self._stack.callback(lambda: print(name, started.logs().decode()[-5000:]))
        return started

    def holding(self, host: str) -> set[int]:
        """The slots that the node on this host runs."""
        primaries = {slot: self.watch.primary(slot) for slot in range(SLOTS)}
        return {slot for slot, beat in primaries.items() if beat and beat.name.startswith(host)}

    def settle(self) -> None:
        """Waits until both nodes have a slot, and a backup of the other's."""
        watch = self.watch
        watch.until(
            lambda: watch.is_backed_up() and all(len(self.holding(each)) == 1 for each in "ab"), 120
        )

    def finish(self, *running: Container) -> None:
        """Everything is processed; all stops cleanly; the ledger is right."""
        assert self.application.is_drained(), [each.logs()[-3000:] for each in running]
        for container in running:
            container.stop(timeout=30)
            assert container.wait()["StatusCode"] == 0, container.logs()[-3000:]
        self.application.run_to_end()
        self.application.check()


@pytest.fixture
def nodes(broker: str, network: Network, topic_name: str, tmp_path: Path) -> Generator[Nodes]:
    with ExitStack() as stack:
        yield Nodes(Application(broker, topic_name, tmp_path, seed=3), network, stack)


def _cut(network: Any, container: Container) -> Callable[[], None]:
    client = docker.from_env()
    found = client.networks.get(network.id)
    found.disconnect(container)
    return lambda: found.connect(container)


def _pause(container: Container) -> None:
    """A busy machine may need more than one try to freeze all its processes."""
    for _ in range(10):
        with contextlib.suppress(APIError):
            container.pause()
            return
        time.sleep(0.5)
    pytest.fail("the container can't be suspended")


def test_a_container_is_killed(nodes: Nodes) -> None:
    first, second = nodes.start("a"), nodes.start("b")
    nodes.settle()
    nodes.application.feed.write(300)
    first.kill()
    nodes.application.feed.write(300)
    nodes.watch.until(lambda: nodes.holding("b") == {0, 1})
    nodes.finish(second)


def test_containers_come_and_go_under_load(nodes: Nodes) -> None:
    """One node, two, another one: what is stopped hands its slots over, and ends in good order."""
    feed = nodes.application.feed
    first = nodes.start("a")
    feed.write(300)
    nodes.watch.until(lambda: nodes.holding("a") == {0, 1}, 120)
    second = nodes.start("b")
    feed.write(300)
    nodes.settle()
    feed.write(300)
    first.stop(timeout=60)
    assert first.wait()["StatusCode"] == 0, first.logs()[-3000:]
    feed.write(300)
    nodes.watch.until(lambda: nodes.holding("b") == {0, 1}, 120)
    nodes.finish(second)


def test_a_container_is_cut_off_and_comes_back(nodes: Nodes, network: Network) -> None:
    """It does not know that others have gone on, and may write nothing when it is back."""
    first, second = nodes.start("a"), nodes.start("b")
    nodes.settle()
    nodes.application.feed.write(300)
    connect = _cut(network, first)
    nodes.application.feed.write(300)
    nodes.watch.until(lambda: nodes.holding("b") == {0, 1})
    time.sleep(2)
    connect()
    nodes.application.feed.write(300)
    nodes.settle()
    nodes.finish(first, second)


def test_a_container_is_suspended_beyond_all_timeouts(nodes: Nodes) -> None:
    first, second = nodes.start("a"), nodes.start("b")
    nodes.settle()
    nodes.application.feed.write(300)
    _pause(first)
    nodes.application.feed.write(300)
    nodes.watch.until(lambda: nodes.holding("b") == {0, 1})
    assert nodes.application.is_drained()
    time.sleep(11)  # longer than the session's timeout
    first.unpause()
    nodes.application.feed.write(300)
    nodes.settle()
    nodes.finish(first, second)
