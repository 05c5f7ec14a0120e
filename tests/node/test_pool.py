"""Worker processes as the supervisor has them: forked by a server that may end at any time."""

import ctypes
import signal
import time
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest

from processor import Topology
from processor.node.node import worker_spec
from processor.node.pool import WorkerPool, WorkerProcess
from processor.settings import Settings
from processor.topology.plan import Layout, plan
from processor.worker.channel import NAME, Failure, parse
from processor.worker.spec import WorkerSpec

PATIENCE = 120.0


@pytest.fixture
def pool(tmp_path: Path) -> Generator[WorkerPool]:
    pool = WorkerPool(str(tmp_path / "topology.py"))
    yield pool
    pool.close()
    ctypes.CDLL(None).prctl(36, 0)  # other tests need not be the parent of orphans


@pytest.fixture
def spec() -> WorkerSpec:
    topology = Topology("app")
    topology.stream("in").to("out")
    settings = Settings(bootstrap="127.0.0.1:1")
    return worker_spec("missing.py", Layout(plan(topology), {"in": 1}), settings, 0)


def server() -> psutil.Process:
    """The fork server, among what else this process has started: a Kafka of earlier tests."""
    (found,) = (
        each
        for each in psutil.Process().children()
        if each.name() != NAME and "processor.worker.fork_server" in each.cmdline()
    )
    return found


def await_end(worker: WorkerProcess) -> None:
    deadline = time.monotonic() + PATIENCE
    while worker.is_alive:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_worker_is_a_child_of_its_own(pool: WorkerPool) -> None:
    (worker,) = pool.warm(1)
    process = psutil.Process(worker.pid)
    assert process.ppid() == psutil.Process().pid
    assert process.name() == NAME
    assert worker.is_alive


def test_what_it_reports_and_its_exit_code_are_known(pool: WorkerPool, spec: WorkerSpec) -> None:
    worker = pool.take(spec)
    lines = worker.reports.read().splitlines()
    failure = parse(lines[-1])
    assert isinstance(failure, Failure)
    assert "missing.py" in failure.text
    assert worker.wait() == 2


def test_one_that_is_killed_says_by_what(pool: WorkerPool) -> None:
    (worker,) = pool.warm(1)
    worker.kill()
    assert worker.wait() == -signal.SIGKILL


def test_an_idle_one_that_has_ended_is_not_taken(pool: WorkerPool, spec: WorkerSpec) -> None:
    (idle,) = pool.warm(1)
    idle.kill()
    await_end(idle)
    taken = pool.take(spec)
    assert taken.pid != idle.pid
    taken.kill()
    taken.wait()


def test_workers_outlive_the_server_and_another_one_follows(pool: WorkerPool) -> None:
    (first,) = pool.warm(1)
    assert first.is_alive
    former = server()
    former.kill()
    former.wait(PATIENCE)
    (second,) = pool.warm(2)
    assert first.is_alive
    assert second.is_alive
    assert server() != former


def test_one_that_never_began_has_ended(pool: WorkerPool) -> None:
    pool.warm(1)[0].is_alive  # noqa: B018 - the server is ready
    server().suspend()
    (lost,) = pool.warm(2)
    server().kill()
    assert not lost.is_alive
    assert (lost.pid, lost.wait()) == (0, 1)


def test_to_close_waits_for_none_that_has_not_begun(pool: WorkerPool) -> None:
    pool.warm(1)[0].is_alive  # noqa: B018 - the server is ready
    server().suspend()
    (lost,) = pool.warm(2)
    pool.close()
    assert lost.pid == 0
