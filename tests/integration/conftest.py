"""A small application of a test's own, run by `kproc run`; and what tests of containers share."""

import contextlib
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from docker.errors import DockerException, ImageNotFound
from testcontainers.core.network import Network

import docker
from tests import forks, ledger
from tests.brokers import IMAGE, KIND, KafkaContainer, address
from tests.integration.node_process import NodeProcess

PATIENCE = 120.0
LOOK = 0.1
"""Seconds between two looks at a broker or a log: each takes processor time from all tests."""

"""Seconds for what must come, on a machine that does much else at the same time."""

PYTHON = os.environ.get("KPROC_PYTHON_IMAGE", "python:3.11-slim-bookworm")


def _has_engine() -> bool:
    try:
        docker.from_env().ping()
    except DockerException:
        return False
    return KIND != "embedded"


@contextlib.contextmanager
def _images_to_be_had() -> Generator[None]:
    """What needs images is skipped where they can't be had, unless containers were asked for."""
    try:
        yield
    except DockerException as error:
        if KIND == "container":
            raise
        pytest.skip(f"an image can't be had: {error}")


needs_engine = pytest.mark.skipif(not _has_engine(), reason="needs a Docker engine")


class App:
    """A topology file, its topics and its folder.

    Attributes:
        name: Of the application.
        input: A topic of its own; `output` and others are called `{name}-...` by the topology.
    """

    def __init__(self, kafka: str, name: str, folder: Path) -> None:
        self.kafka, self.name, self.folder = kafka, name, folder
        self.input, self.output = f"{name}-in", f"{name}-out"
        self.file = folder / "topology.py"
        self.settings: dict[str, Any] = {"checkpoint_interval": "20ms", "slots": 1}

    def define(self, body: str) -> None:
        """Writes the topology file; the body finds `topology`, `source` (JSON values) and `OUT`."""
        self.file.write_text(
            "from typing import Any\n"
            "from processor import Record, Topology, every, key_value\n\n"
            f"APP, IN, OUT = {self.name!r}, {self.input!r}, {self.output!r}\n"
            f"topology = Topology(APP)\n{body}\n"
        )

    def topics(self, *names: str, partitions: int = 2, **config: str) -> None:
        """Makes topics with the application's name before theirs."""
        made = {f"{self.name}-{each}": partitions for each in names}
        ledger.create(self.kafka, made, **config)

    def write(self, *rows: tuple[Any, ...], topic: str | None = None) -> None:
        """Writes (partition, key, value, timestamp, headers), the last two if given."""
        ledger.write(self.kafka, topic or self.input, rows)

    def start(
        self, *options: str, kind: type[NodeProcess] = NodeProcess, **settings: Any
    ) -> NodeProcess:
        """Starts `kproc run`."""
        return kind(self.kafka, self.file, *options, **{**self.settings, **settings})

    def run(self, *options: str, expect: int = 0, **settings: Any) -> NodeProcess:
        """Runs it until the end of the input; the exit code must be as expected."""
        with self.start("--until-end", "--no-show", *options, **settings) as node:
            code = node.wait(240)
            assert code == expect, f"exit code {code}: {node.output[-3000:]}"
            return node

    def kproc(self, name: str, *options: str, expect: int = 0) -> str:
        """Runs another command on it; what it printed. The exit code must be as expected."""
        sets = {"state_dir": self.folder / "state", **self.settings}
        given = [f"--set={key}={value}" for key, value in sets.items() if key != "slots"]
        command = [name, str(self.file), "--bootstrap", self.kafka, *given, *options]
        done = forks.run("processor.cli", *command)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    def read(self, name: str = "out") -> list[ledger.Row]:
        """The committed records of a topic with the application's name before it."""
        return ledger.read(self.kafka, f"{self.name}-{name}")

    def latest(self, name: str = "out") -> dict[str, bytes | None]:
        """The last value of each key of a topic."""
        return {key: values[-1] for key, values in ledger.by_key(self.read(name)).items()}

    def await_first_checkpoint(self, timeout: float = PATIENCE) -> None:
        """Waits until it is committed where it begins: the next checkpoint is an interval away."""
        deadline = time.monotonic() + timeout
        while min(ledger.committed(self.kafka, self.name, [self.input]).values()) < 0:
            assert time.monotonic() < deadline, "no checkpoint"
            time.sleep(LOOK)

    def await_output(self, count: int, name: str = "out", timeout: float = PATIENCE) -> None:
        """Waits until so many records are committed."""
        deadline = time.monotonic() + timeout
        topic, found = f"{self.name}-{name}", list[ledger.Row]()
        while len(found := ledger.read_on(self.kafka, topic, found)) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} records"
            time.sleep(LOOK)

    def await_written(self, name: str, count: int, timeout: float = PATIENCE) -> None:
        """Waits until so many records are written, committed or not."""
        deadline = time.monotonic() + timeout
        while (found := sum(ledger.offsets(self.kafka, f"{self.name}-{name}").values())) < count:
            assert time.monotonic() < deadline, f"{found} of {count} records"
            time.sleep(LOOK)

    def await_log(
        self, node: NodeProcess, *events: str, timeout: float = PATIENCE
    ) -> dict[str, Any]:
        """Waits for a line of its log: the first with one of these events."""
        deadline = time.monotonic() + timeout
        while True:
            found = [each for each in node.logged if each.get("event") in events]
            if found:
                return found[0]
            assert time.monotonic() < deadline, node.output
            assert node.process.poll() is None, node.output
            time.sleep(LOOK)


@pytest.fixture(scope="session")
def strict_kafka() -> str:
    """A broker that compacts, and aborts what was left open, at once; with access control.

    What has no rule is allowed.
    """
    return address("strict")


@pytest.fixture
def make_app(topic_name: str, tmp_path: Path) -> Callable[[str], App]:
    """Makes an application on a broker: `make_app(address)`."""
    return lambda kafka: App(kafka, topic_name, tmp_path)


@pytest.fixture
def app(kafka: str, make_app: Callable[[str], App]) -> App:
    """An application on the broker of the session."""
    return make_app(kafka)


@pytest.fixture(scope="session")
def network() -> Generator[Network]:
    """A network for containers."""
    with contextlib.ExitStack() as stack:
        with _images_to_be_had():
            made = stack.enter_context(Network())
        yield made


@pytest.fixture(scope="session")
def broker(network: Network) -> Generator[str]:
    """A Kafka on that network, as kafka:9092 there; its address on this machine."""
    container = KafkaContainer(IMAGE, inside="kafka").with_network(network)
    container.with_network_aliases("kafka")
    with contextlib.ExitStack() as stack:
        with _images_to_be_had():
            stack.enter_context(container)
        container.await_answer()
        yield container.address


@pytest.fixture(scope="session")
def python_image() -> str:
    """The image that others are made of."""
    images = docker.from_env().images
    with _images_to_be_had():
        try:
            images.get(PYTHON)
        except ImageNotFound:
            images.pull(PYTHON)
    return PYTHON


@pytest.fixture(scope="session")
def image(python_image: str) -> str:
    """Of docker/Dockerfile and what is here; layers of dependencies are kept from run to run."""
    images = docker.from_env().images
    images.build(
        path=str(Path(__file__).parents[2]),
        dockerfile="docker/Dockerfile",
        tag="kproc:test",
        buildargs={"PYTHON_IMAGE": python_image},
        network_mode="host",
        rm=True,
    )
    return "kproc:test"
