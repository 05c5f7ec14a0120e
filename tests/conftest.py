"""A real Kafka for the tests that need one: a container where there are some, else the embedded."""

import contextlib
import os
import random
import sys
import uuid
from collections.abc import Callable, Generator

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from docker.errors import DockerException
from hypothesis import settings
from testcontainers.core.container import DockerContainer

from processor.local.brokers import Brokers
from processor.local.embedded import BROKER_DEFAULTS, EmbeddedKafka, free_port
from processor.native.client import missing

# So that a wait which ran out says so: pyproject.toml has it tried once more by its words.
pytest.register_assert_rewrite("tests.crashes", "tests.integration", "tests.ledger")

from tests import ledger  # noqa: E402

# The same examples in each run, so that what fails does so again; KPROC_LONG looks for others.
settings.register_profile("kproc", derandomize="KPROC_LONG" not in os.environ, print_blob=True)
settings.load_profile("kproc")

# Hundreds of processes are started, which need not compile all that they import each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Brokers live for minutes: what Java's second compiler takes never comes back.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")

IMAGE = os.environ.get("KPROC_KAFKA_IMAGE", "apache/kafka:4.1.0")
KIND = os.environ.get("KPROC_TEST_KAFKA", "")


_PROMPT = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "500"}
"""Brokers look for transactions that take too long more often than every ten seconds."""

SEED = int(os.environ.get("KPROC_SEED", "1"))
RUNS = int(os.environ.get("KPROC_RUNS", "1"))
_MOST_WORKERS = 4


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Where all tests run, as many files at a time as there are cores, up to four.

    Each worker has a broker of its own. Tests that are named run in this process.
    """
    is_all = config.args_source is not pytest.Config.ArgsSource.ARGS
    return min(len(os.sched_getaffinity(0)), _MOST_WORKERS) if is_all else 0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs each test that takes `chance` with KPROC_RUNS seeds, from KPROC_SEED on."""
    if "chance" in metafunc.fixturenames:
        seeds = [
            pytest.param(seed, marks=pytest.mark.scenario, id=f"seed-{seed}")
            for seed in range(SEED, SEED + RUNS)
        ]
        metafunc.parametrize("chance", seeds, indirect=True)


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """What a scenario leaves open: moments, order, sizes; by the seed, and other for each test."""
    print(f"KPROC_SEED={request.param}")
    return random.Random(request.node.name)  # the seed is part of it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has the mark `long` be all there is to it: `KPROC_LONG=1 pytest -m long` runs what has it.

    Files that need Kafka take longest: they come first, so that all workers end at the same time.
    """
    slow = {item.path for item in items if item.get_closest_marker("kafka")}
    items.sort(key=lambda item: item.path not in slow)
    if "KPROC_LONG" in os.environ:
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="KPROC_LONG=1 runs it"))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The address of a Kafka that all tests of the session share: use topics of your own.

    KPROC_TEST_KAFKA=container or =embedded says which. Without it, it is a container where one can
    be had, that is where a Docker engine runs and has or gets the image KPROC_KAFKA_IMAGE.
    """
    container = None if KIND == "embedded" else _start_container()
    if container:
        yield container.address
        container.stop()
    else:
        folder = tmp_path_factory.mktemp("kafka")
        with EmbeddedKafka.start(folder, port=0, config=_PROMPT) as embedded:
            yield embedded.bootstrap


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Generator[Brokers]:
    """Three brokers, for tests in which one of them goes; all must be there again at the end."""
    with Brokers(tmp_path_factory.mktemp("brokers")) as three:
        yield three


@pytest.fixture(params=["plain", "native"])
def native(request: pytest.FixtureRequest) -> bool:
    """Whether batches go by the native plane: a test that takes it runs on both ways."""
    is_native = request.param == "native"
    if is_native and missing():
        pytest.skip(missing())
    return is_native


@pytest.fixture
def topic_name(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses, for topics, groups and applications."""
    test = "".join(each if each.isalnum() else "-" for each in request.node.name)
    return f"{test[:80]}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def make_topic(kafka: str, topic_name: str) -> Callable[..., str]:
    """Makes a topic of a name of its own: `make_topic(partitions=1, **{"retention.ms": "1"})`."""
    made: list[str] = []

    def make(partitions: int = 1, **settings: str) -> str:
        name = f"{topic_name}-{len(made)}"
        ledger.create(kafka, {name: partitions}, **settings)
        made.append(name)
        return name

    return make


class KafkaContainer(DockerContainer):
    """The official image, or one with its interface; on a port of the host that is known before.

    Other containers on its network reach it as `inside`, on port 9092.
    """

    def __init__(self, image: str, inside: str = "localhost") -> None:
        super().__init__(image)
        port = free_port()
        self.address = f"{self.get_docker_client().host()}:{port}"
        self.with_bind_ports(port, port)
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": "1@localhost:9093",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://:{port},INSIDE://:9092,CONTROLLER://localhost:9093",
            "advertised.listeners": f"PLAINTEXT://{self.address},INSIDE://{inside}:9092",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,"
            "CONTROLLER:PLAINTEXT",
            "log.dirs": "/tmp/kafka",
            **BROKER_DEFAULTS,
            **_PROMPT,
        }
        for key, value in settings.items():
            self.with_env("KAFKA_" + key.upper().replace(".", "_"), value)

    def await_answer(self) -> None:
        """Waits until it answers; ends the container if it doesn't."""
        client = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        for _ in range(60):
            with contextlib.suppress(KafkaException):
                client.list_topics(timeout=1)
                return
        stdout, stderr = self.get_logs()
        self.stop()
        pytest.fail(f"Kafka in a container did not answer:\n{stdout!r}\n{stderr!r}")


def _start_container() -> KafkaContainer | None:
    try:
        container = KafkaContainer(IMAGE).start()
    except DockerException:
        if KIND == "container":
            raise
        return None
    container.await_answer()
    return container
