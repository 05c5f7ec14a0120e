"""Several nodes: slots are shared, backed up, and adopted when a node dies, crashes or leaves."""

import os
import signal
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.crashes.application import Application
from tests.integration.node_process import NodeProcess
from tests.integration.watch import Watch

pytestmark = pytest.mark.kafka

SLOTS = 2


@pytest.fixture
def application(kafka: str, topic_name: str, tmp_path: Path) -> Application:
    return Application(kafka, topic_name, tmp_path, seed=7)


@pytest.fixture
def start(application: Application, tmp_path: Path) -> Generator[Callable[..., NodeProcess]]:
    with ExitStack() as stack:

        def one(name: str, **settings: Any) -> NodeProcess:
            given = {
                "slots": SLOTS,
                "backup_mode": "primary-backup",
                "checkpoint_interval": "50ms",
                "state_dir": tmp_path / name,
                **settings,
            }
            return stack.enter_context(NodeProcess(application.kafka, application.file, **given))

        yield one


@pytest.fixture
def watch(application: Application) -> Watch:
    return Watch(application.kafka, application.name, SLOTS)


def finish(application: Application, *nodes: NodeProcess) -> None:
    assert application.is_drained(), nodes[0].output
    for node in nodes:
        node.terminate()
    for node in nodes:
        assert node.wait() == 0, node.output
    application.run_to_end()
    application.check()


def test_a_second_node_takes_its_share_and_backs_up_the_other(
    application: Application, start: Callable[..., NodeProcess], watch: Watch
) -> None:
    first = start("a")
    watch.until(lambda: watch.held_by(first.process.pid) == {0, 1})
    application.feed.write(200)
    second = start("b")
    watch.until(watch.is_backed_up)
    watch.until(lambda: len(watch.held_by(second.process.pid)) == 1 and watch.is_backed_up())
    application.feed.write(200)
    finish(application, first, second)


def test_a_node_is_killed_and_its_backup_goes_on(
    application: Application, start: Callable[..., NodeProcess], watch: Watch
) -> None:
    nodes = [start("a"), start("b")]
    watch.until(watch.is_backed_up)
    application.feed.write(300)
    nodes[0].kill()
    application.feed.write(300)
    watch.until(lambda: watch.held_by(nodes[1].process.pid) == {0, 1})
    assert application.is_drained()
    nodes[0] = start("a")
    watch.until(watch.is_backed_up)
    application.feed.write(300)
    nodes[1].kill()
    application.feed.write(100)
    finish(application, nodes[0])


def test_a_node_that_leaves_is_followed_at_once(
    application: Application, start: Callable[..., NodeProcess], watch: Watch
) -> None:
    # Nobody may have to wait for a silence: it would be noticed after a minute only.
    nodes = [start("a", failover_timeout="60s"), start("b", failover_timeout="60s")]
    watch.until(watch.is_backed_up)
    application.feed.write(300)
    assert nodes[0].stop() == 0
    application.feed.write(300)
    finish(application, nodes[1])


def test_a_node_that_is_stopped_works_on_until_another_is_warm(
    application: Application, start: Callable[..., NodeProcess], watch: Watch
) -> None:
    # What moves here moves because somebody leaves, and not because somebody is silent.
    settings = {"backup_mode": "restart", "drain_timeout": "120s", "failover_timeout": "8s"}
    nodes = [start("a", **settings), start("b", **settings)]
    watch.until(lambda: all(len(watch.held_by(node.process.pid)) == 1 for node in nodes))
    application.feed.write(300)
    assert nodes[0].stop() == 0
    adopted = [line for line in nodes[1].logged if line.get("event") == "adopted"]
    assert [line["reason"] for line in adopted if "predecessor" in line][-1] == "move"
    application.feed.write(300)
    finish(application, nodes[1])


def test_a_node_gives_up_waiting_for_others_to_warm_up(
    application: Application, start: Callable[..., NodeProcess], watch: Watch
) -> None:
    first = start("a", drain_timeout="1ms")
    application.feed.write(300)
    second = start("b")
    watch.until(lambda: len(watch.beats) == 2)
    assert first.stop() == 0
    application.feed.write(300)
    finish(application, second)


def test_a_suspended_node_comes_back_and_writes_nothing(
    application: Application, start: Callable[..., NodeProcess], watch: Watch
) -> None:
    nodes = [start("a"), start("b")]
    watch.until(watch.is_backed_up)
    application.feed.write(300)
    os.killpg(nodes[0].process.pid, signal.SIGSTOP)
    watch.until(lambda: watch.held_by(nodes[1].process.pid) == {0, 1})
    application.feed.write(300)
    os.killpg(nodes[0].process.pid, signal.SIGCONT)
    watch.until(watch.is_backed_up)
    application.feed.write(300)
    finish(application, *nodes)


def test_a_worker_crashes_and_its_slot_goes_on(
    application: Application, start: Callable[..., NodeProcess], watch: Watch
) -> None:
    nodes = [start("a"), start("b")]
    watch.until(watch.is_backed_up)
    application.feed.write(300)
    nodes[0].workers[0].kill()
    application.feed.write(300)
    assert application.is_drained()
    watch.until(watch.is_backed_up)
    finish(application, *nodes)


def test_nodes_must_agree_about_the_slots(
    application: Application, start: Callable[..., NodeProcess], watch: Watch
) -> None:
    first = start("a")
    watch.until(watch.is_running)
    other = start("b", slots=3)
    assert other.wait() == 2
    assert f"kproc rescale {application.file} --slots 3" in other.output
    finish(application, first)
