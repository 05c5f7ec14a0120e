"""A function that does not return: it is seen, named, and, unless set otherwise, ended."""

import http.client
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import forks
from tests.integration.conftest import App
from tests.integration.node_process import NodeProcess
from tests.integration.watch import Watch

pytestmark = pytest.mark.kafka


TOPOLOGY = """
import itertools
import os
import time
from pathlib import Path

FLAG = Path(__file__).with_name("go-on")

def wait():
    while not FLAG.exists():
        time.sleep(0.05)

def hold():
    "As a function in C that does not let other threads run."
    if not FLAG.exists():
        FLAG.touch()
        all(itertools.repeat(True))

def slow(value: Any) -> Any:
    if value.get("hangs"):
        {body}
    return value

topology.stream(IN, key=str, value=dict[str, Any]).map_values(slow).to(OUT)
"""


def defined(app: App, body: str = "wait()") -> None:
    app.define(TOPOLOGY.replace("{body}", body))
    app.topics("in", "out", partitions=1)


def release(app: App) -> None:
    (app.folder / "go-on").touch()


def fine(app: App, count: int) -> None:
    app.write(*((0, "k", b"{}") for _ in range(count)))


def hanging(app: App) -> None:
    app.write((0, "k", b'{"hangs": true}'))


def status(app: App, *options: str) -> tuple[int, str]:
    given = ["--application", app.name, "--bootstrap", app.kafka, *options]
    done = forks.run("processor.cli", "status", *given, env={**os.environ, "COLUMNS": "300"})
    return done.returncode, done.stdout


def ready(app: App, node: NodeProcess) -> tuple[int, str]:
    address = str(app.await_log(node, "http")["address"])
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("GET", "/readyz")
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def in_state(watch: Watch, state: str) -> Callable[[], bool]:
    return lambda: any(
        each.role == "primary" and each.state == state
        for beat in watch.beats
        for each in beat.replicas
    )


def test_a_function_that_does_not_return_is_seen(app: App) -> None:
    defined(app)
    fine(app, 5)
    with app.start("--no-show", stuck_after="2s", on_stuck="report", http="127.0.0.1:0") as node:
        app.await_output(5)
        watch = Watch(app.kafka, app.name, 1)
        watch.until(watch.is_running)
        assert status(app)[0] == 0
        hanging(app)
        fine(app, 100)
        watch.until(in_state(watch, "stuck"))
        culprit = f"slow ({app.file}, line "
        at = f", at {app.input}[0] offset 5"
        code, shown = status(app, "--json")
        primary = json.loads(shown)["slots"][0]["primary"]
        assert (code, json.loads(shown)["healthy"]) == (9, False)
        assert (primary["state"], primary["lag"]) == ("stuck", None)
        assert primary["turn_age"] >= 2
        assert primary["stuck"].startswith(culprit)
        assert primary["stuck"].endswith(at)
        code, shown = status(app)
        assert code == 9
        flat = " ".join(shown.split())
        assert "Slot 0 is stuck for " in flat
        assert culprit in flat
        assert f"{app.input}[0] offset 5" in flat
        code, text = ready(app, node)
        assert (code, text.startswith("its primary of slot 0 is stuck in slow (")) == (503, True)
        assert culprit in app.await_log(node, "stuck")["text"]
        release(app)
        app.await_output(106)
        watch.until(watch.is_running)
        assert status(app)[0] == 0
        assert node.stop() == 0
        assert "worker ended" not in node.output
    assert len(app.read()) == 106


def test_a_function_that_is_slow_is_not_stuck(app: App) -> None:
    defined(app, "time.sleep(1)")
    app.write(*((0, "k", b'{"hangs": true}') for _ in range(8)))
    with app.start("--no-show", stuck_after="4s") as node:
        app.await_output(8)
        assert node.stop() == 0
        assert "stuck" not in {each["event"] for each in node.logged}
    assert len(app.read()) == 8


def test_a_backup_goes_on_with_the_slot_of_a_worker_that_is_stuck(app: App, tmp_path: Path) -> None:
    defined(app)
    settings: dict[str, Any] = {"backup_mode": "primary-backup", "stuck_after": "2s"}
    with app.start("--no-show", **settings, state_dir=tmp_path / "a") as first:
        fine(app, 5)
        app.await_output(5)
        watch = Watch(app.kafka, app.name, 1)
        with app.start("--no-show", **settings, state_dir=tmp_path / "b") as second:
            watch.until(watch.is_backed_up)
            hanging(app)
            fine(app, 20)
            cause = app.await_log(first, "worker ended")["cause"]
            assert f"s in slow ({app.file}, line " in cause
            assert cause.endswith(f", at {app.input}[0] offset 5")
            assert app.await_log(second, "adopted")["reason"] == "crash"
            release(app)
            app.await_output(26)
            assert second.stop() == 0
            assert first.stop() == 0
    assert len(app.read()) == 26


def test_the_record_that_hangs_again_and_again_ends_the_node(app: App) -> None:
    defined(app)
    fine(app, 3)
    hanging(app)
    with app.start("--no-show", stuck_after="1s") as node:
        assert node.wait(180) == 7
        ended = [each for each in node.logged if each["event"] == "worker ended"]
        assert len(ended) == 4
        assert all(each["cause"].endswith(f"{app.input}[0] offset 3") for each in ended)
        text = " ".join(node.output.split())
        assert "slot 0 has been stuck 5 times at the same place" in text
        assert "raise stuck_after" in text


def test_a_function_that_lets_no_other_thread_run_is_ended_and_named(app: App) -> None:
    defined(app, "hold()")
    fine(app, 3)
    with app.start("--no-show") as node:
        app.await_output(3)
        watch = Watch(app.kafka, app.name, 1)
        hanging(app)
        watch.until(in_state(watch, "silent"))
        (replica,) = watch.beats[0].replicas
        assert replica.lag is None
        cause = app.await_log(node, "worker ended", timeout=120)["cause"]
        assert f"s in slow ({app.file}, line " in cause
        assert f"in hold ({app.file}, line " in cause
        app.await_output(4)
        assert node.stop() == 0
    assert len(app.read()) == 4
