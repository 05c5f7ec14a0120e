"""Nodes as processes with cores of their own; here they are no `kproc`, but end as asked."""

import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from processor.errors import UsageError, WorkerFailed
from processor.local.node_process import NodeProcess
from processor.scaling.local_nodes import LocalNodes

CORES = len(os.sched_getaffinity(0))
PATIENT = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print('{"event": "running"}', flush=True)
while True:  # one long sleep would not end where the signal comes just before it
    time.sleep(0.05)
"""
STUBBORN = PATIENT.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN")


@pytest.fixture
def make(tmp_path: Path) -> Generator[Callable[..., LocalNodes]]:
    made: list[LocalNodes] = []

    def begin(code: str = PATIENT, most: int = 1, patience: float = 60) -> LocalNodes:
        def launch(number: int) -> NodeProcess:
            log = tmp_path / f"node-{number}.log"
            return NodeProcess("", (), log, program=(sys.executable, "-c", code))

        made.append(LocalNodes(launch, most, patience))
        return made[-1]

    yield begin
    for nodes in made:
        nodes.kill()


def news(nodes: LocalNodes, expected: str) -> list[str]:
    """What happens until something that is expected does."""
    found: list[str] = []
    until = time.monotonic() + 120
    while not any(expected in text for text in found):
        assert time.monotonic() < until, found
        found += nodes.turn()
        time.sleep(0.01)
    return found


def await_begun(tmp_path: Path, number: int = 1) -> None:
    until = time.monotonic() + 120
    while b"running" not in (tmp_path / f"node-{number}.log").read_bytes():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_node_has_a_core_and_finishes(make: Callable[..., LocalNodes], tmp_path: Path) -> None:
    nodes = make()
    nodes.scale_to(1)
    assert len(os.sched_getaffinity(nodes.pids[0])) == 1
    assert len(os.sched_getaffinity(0)) == CORES
    assert "node 1 starts on core" in news(nodes, "starts")[0]
    await_begun(tmp_path)
    nodes.scale_to(0)
    assert nodes.count() == 0
    assert "node 1 has finished with exit code 0" in news(nodes, "has finished")


@pytest.mark.skipif(CORES < 2, reason="needs two cores")
def test_nodes_have_different_cores_and_the_newest_goes(
    make: Callable[..., LocalNodes], tmp_path: Path
) -> None:
    nodes = make(most=2)
    nodes.scale_to(2)
    first, second = nodes.pids
    assert os.sched_getaffinity(first) != os.sched_getaffinity(second)
    await_begun(tmp_path, 2)
    nodes.scale_to(1)
    news(nodes, "node 2 has finished")
    assert nodes.pids == [first]


def test_a_node_waits_for_its_core(make: Callable[..., LocalNodes], tmp_path: Path) -> None:
    nodes = make(most=CORES)
    nodes.scale_to(CORES)
    for number in range(1, CORES + 1):
        await_begun(tmp_path, number)
    nodes.scale_to(CORES - 1)
    nodes.scale_to(CORES)
    assert nodes.count() == CORES
    news(nodes, f"node {CORES} has finished")
    assert len(nodes.pids) == CORES  # it was started in the same turn


def test_a_node_that_ends_by_itself_is_started_again(
    make: Callable[..., LocalNodes], tmp_path: Path
) -> None:
    nodes = make()
    nodes.scale_to(1)
    await_begun(tmp_path)
    first = nodes.pids[0]
    os.kill(first, signal.SIGKILL)
    found = news(nodes, "ended by itself")
    assert any("exit code -9, and is started again; see" in text for text in found)
    news(nodes, "node 1 starts")
    assert nodes.pids != [first]


def test_a_node_that_is_wrongly_set_up_ends_all(make: Callable[..., LocalNodes]) -> None:
    nodes = make("print('kproc: no such topic', flush=True); raise SystemExit(2)")
    nodes.scale_to(1)
    with pytest.raises(UsageError, match=r"node 1 could not start:\n.*no such topic"):
        news(nodes, "never")


def test_who_does_not_finish_in_time_is_killed_and_reported(
    make: Callable[..., LocalNodes], tmp_path: Path
) -> None:
    nodes = make(STUBBORN, patience=0.2)
    nodes.scale_to(1)
    await_begun(tmp_path)
    with pytest.raises(WorkerFailed, match=r"node 1 did not finish in 0 s; see the nodes' logs"):
        nodes.close()


def test_all_finish(make: Callable[..., LocalNodes], tmp_path: Path) -> None:
    nodes = make()
    nodes.scale_to(1)
    await_begun(tmp_path)
    nodes.close()
    assert nodes.pids == []


def test_no_more_nodes_than_cores(make: Callable[..., LocalNodes]) -> None:
    with pytest.raises(UsageError, match=f"and it has {CORES}: let the most be {CORES}"):
        make(most=CORES + 1)
