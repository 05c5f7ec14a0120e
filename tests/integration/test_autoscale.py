"""`kproc run --autoscale` and `kproc autoscale` as a user runs them, on a real Kafka."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from processor.cli.scaling import Asked, scale_here
from processor.cluster.autoscale import Policy
from processor.scaling.autoscaling import Turn
from processor.settings import load
from tests import forks, ledger
from tests.integration.conftest import App

pytestmark = pytest.mark.kafka

KPROC = [sys.executable, "-m", "processor.cli"]
SPIN = """
import time

def spin(value):
    until = time.thread_time() + 0.002
    while time.thread_time() < until:
        pass
    return value

topology.stream(IN).map_values(spin).to(OUT)
"""
COPY = "topology.stream(IN).to(OUT)"
PATIENCE = 120.0
RECORDS = 60_000


def until(holds: Callable[[], Any], what: Callable[[], Any]) -> Any:
    """Waits for something; shows what there is if it does not come."""
    deadline = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)
    return found


def history(folder: Path, application: str) -> list[dict[str, Any]]:
    file = folder / "state" / application / "autoscale.jsonl"
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_a_second_node_comes_and_all_finish(app: App) -> None:
    """A core does 500 records a second: in a minute it would not be done with this."""
    app.define(SPIN)
    app.topics("in", "out", partitions=2)
    app.write(*((n % 2, f"k{n}", str(n)) for n in range(RECORDS)))
    with app.start("--autoscale", "1..2", slots=2) as nodes:
        found = until(
            lambda: [each for each in history(app.folder, app.name) if each["live"] == 2],
            lambda: nodes.output,
        )
        assert history(app.folder, app.name)[0]["before"] == 1
        assert found[0]["nodes"] == 2
        assert nodes.stop() == 0
    assert "node 2 starts on core" in nodes.output
    done = ledger.committed(app.kafka, app.name, [app.input])
    assert 0 < sum(done.values()) < RECORDS
    # What was done was done once, as each node finished in good order.
    expected = [n for n in range(RECORDS) if n // 2 < done[app.input, n % 2]]
    assert sorted(int(row.value or b"") for row in app.read()) == expected


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--autoscale", "1..2", "--until-end"), "leave it out, or --until-end"),
        (("--autoscale", "2..1"), "such as 1..4"),
        (("--autoscale", "2"), "such as 1..4"),
        (("--autoscale", "1..999"), "processor cores"),
    ],
)
def test_what_is_refused(app: App, options: tuple[str, ...], text: str) -> None:
    app.define(COPY)
    with app.start(*options) as node:
        assert node.wait() == 2
        assert text in " ".join(node.output.split())


def kproc(*arguments: str, **more: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*KPROC, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def test_a_recommendation_and_its_metrics(app: App) -> None:
    app.define(COPY)
    app.topics("in", "out")
    app.write((0, "k", "1"))
    with app.start(slots=2):
        app.await_output(1)
        where = ("--bootstrap", app.kafka, "--set", f"state_dir={app.folder / 'elsewhere'}")
        serving = kproc(
            "autoscale", str(app.file), *where, "--json", "--interval=1s", "--metrics-port=0"
        )
        assert serving.stdout is not None
        assert serving.stderr is not None
        entry = json.loads(serving.stdout.readline())
        while entry["live"] != 1:  # its beats may come late on a busy machine
            entry = json.loads(serving.stdout.readline())
        assert entry["nodes"] == 1
        url = re.search(r"http://\S+", serving.stderr.readline())
        assert url is not None
        figure = f'kproc_recommended_nodes{{application="{app.name}"}} 1.0'
        for _ in range(60):
            with urllib.request.urlopen(url[0]) as answer:
                metrics = answer.read().decode()
            if figure in metrics:
                break
            assert serving.stdout.readline()  # the load is not known yet
        assert figure in metrics
        serving.send_signal(signal.SIGTERM)
        serving.communicate()
        assert serving.returncode == 0
    shown = forks.run("processor.cli", "autoscale", app.name, *where, "--history")
    assert entry["text"][:20] in shown.stdout


def test_an_application_that_nobody_started(app: App) -> None:
    command = ["autoscale", app.name, "--bootstrap", app.kafka]
    asked = forks.run("processor.cli", *command, cwd=app.folder)
    assert asked.returncode == 3
    assert f"No application {app.name!r} has been started" in " ".join(asked.stderr.split())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--min", "3", "--max", "2"), "can't be between 3 and 2"),
        (("--target", "1.5"), "share of the cores"),
        (("--actuator", "local"), "give the topology's file"),
        (("--actuator", "local", "--once"), "run until they are stopped"),
        (("--interval", "soon"), "--interval"),
    ],
)
def test_what_can_not_be_asked_for(tmp_path: Path, options: tuple[str, ...], text: str) -> None:
    asked = forks.run("processor.cli", "autoscale", "app", *options, cwd=tmp_path)
    assert asked.returncode == 2
    assert text in " ".join(asked.stderr.split())


def test_nodes_finish_in_good_order_when_the_autoscaler_fails(
    app: App, capsys: pytest.CaptureFixture[str]
) -> None:
    app.define(COPY)
    app.topics("in", "out")
    app.write((0, "k", "1"))
    folder = app.folder / "state"
    asked = Asked(
        app.name, load({"bootstrap": app.kafka, "state_dir": folder}).settings, str(app.file)
    )

    def fail(found: Iterable[Turn]) -> None:
        app.await_output(1)
        assert len(list((folder / app.name).glob("autoscale-*.toml"))) == 1
        next(turn for turn in found if turn.entry)
        raise OSError("the terminal is gone")

    with pytest.raises(OSError, match="the terminal is gone"):
        scale_here(asked, Policy(1, 1), 1.0, fail)
    shown = capsys.readouterr().err
    assert "The nodes finish" in shown
    assert "exit code" not in shown
    assert ledger.committed(app.kafka, app.name, [app.input])[app.input, 0] == 1
    assert not list((folder / app.name).glob("autoscale-*.toml"))
