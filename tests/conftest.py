"""What all tests share: how they are run, the brokers, names of their own, seeds."""

import contextlib
import os
import random
import sys
import uuid
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from processor.local.brokers import Brokers
from processor.native.client import missing

# So that a wait which ran out says so: pyproject.toml has it tried once more by its words.
pytest.register_assert_rewrite("tests.crashes", "tests.integration", "tests.ledger")

from tests import brokers as shared_brokers  # noqa: E402
from tests import ledger, watchdog  # noqa: E402
from tests.suites import TOGETHER  # noqa: E402

# The same examples in each run, so that what fails does so again; KPROC_LONG looks for others.
settings.register_profile("kproc", derandomize="KPROC_LONG" not in os.environ, print_blob=True)
settings.load_profile("kproc")

# Hundreds of processes are started, which need not compile all that they import each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Nor look through all packages for one that adds to pydantic: none here does.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "true")
os.environ.setdefault("JAVA_TOOL_OPTIONS", shared_brokers.JAVA_OPTIONS)

SEED = int(os.environ.get("KPROC_SEED", "1"))
RUNS = int(os.environ.get("KPROC_RUNS", "1"))
_WAITING = 3
_MOST_WORKERS = 12


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Where all tests run, as many at a time as there are cores, or three times as many.

    Those that need Kafka mostly wait. Tests that are named run in this process.
    """
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        return 0
    each = 1 if config.option.markexpr == "not kafka" else _WAITING
    return min(len(os.sched_getaffinity(0)) * each, _MOST_WORKERS)


class CaseByCase(LoadScopeScheduling):
    """Gives each process a test at a time, or the tests of files that stay together."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER.get(nodeid.partition("::")[0], nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> CaseByCase:
    """How the tests are shared out."""
    return CaseByCase(config, log)


_RUN = pytest.StashKey[contextlib.ExitStack]()
_THREE = pytest.StashKey[Brokers]()


def pytest_configure(config: pytest.Config) -> None:
    """The first process of a run owns what all share, and leaves nothing that it has started."""
    if not hasattr(config, "workerinput"):
        config.stash[_RUN] = contextlib.ExitStack()
        shared = config.stash[_RUN].enter_context(shared_brokers.SharedBrokers())
        config.stash[_RUN].enter_context(watchdog.watched(shared.mark))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends what all share."""
    if _RUN in config.stash:
        config.stash[_RUN].close()


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
def kafka() -> str:
    """The address of a Kafka that all tests of the run share: use topics of your own.

    KPROC_TEST_KAFKA=container or =embedded says which. Without it, it is a container where one can
    be had, that is where a Docker engine runs and has or gets the image KPROC_KAFKA_IMAGE.
    """
    return shared_brokers.address("any")


@pytest.fixture(scope="module")
def brokers(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Brokers:
    """Three brokers, for tests in which one of them goes; all must be there again at the end.

    Tests in a row share them.
    """
    if _THREE not in pytestconfig.stash:
        pytestconfig.stash[_THREE] = Brokers(tmp_path_factory.mktemp("brokers"))
    return pytestconfig.stash[_THREE]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """Ends the three brokers before a test that does not use them."""
    yield
    is_shared = isinstance(nextitem, pytest.Function) and "brokers" in nextitem.fixturenames
    if not is_shared and _THREE in item.config.stash:
        item.config.stash[_THREE].close()
        del item.config.stash[_THREE]


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
