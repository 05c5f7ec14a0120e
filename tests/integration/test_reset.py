"""`kproc plan` and `kproc reset` between two runs of a real application."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import forks, ledger
from tests.integration.conftest import App

pytestmark = pytest.mark.kafka

COUNTS = "topology.stream(IN).group_by_key().count(name='counts').to(OUT)"
BY = """
def first(value):
    return str(value)

by = topology.stream(IN).group_by(first, name='by')
by.count(name='counts').to(OUT)
"""
Kproc = Callable[..., subprocess.CompletedProcess[str]]
# The group forgets its static members after this time.
SHORT = {"session_timeout": "6s"}


@pytest.fixture
def kproc(app: App) -> Kproc:
    """Runs a command on the application; the exit code must be as expected."""

    def run(name: str, *options: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        state = f"--set=state_dir={app.folder / 'state'}"
        command = [name, str(app.file), "--bootstrap", app.kafka, state, *options]
        done = forks.run("processor.cli", *command)
        assert done.returncode == expect, done.stdout + done.stderr
        return done

    return run


def planned(kproc: Kproc, expect: int = 0) -> dict[str, tuple[str, str]]:
    shown = json.loads(kproc("plan", "--json", expect=expect).stdout)
    return {each["name"]: (each["action"], each["why"]) for each in shown["changes"]}


def fill(app: App) -> None:
    app.write((0, "a", "1"), (0, "a", "2"), (1, "b", "3"))


@pytest.fixture
def counted(app: App) -> App:
    app.define(COUNTS)
    app.settings |= SHORT
    app.topics("in", "out")
    fill(app)
    app.run()
    return app


def test_a_plan_shows_what_a_start_would_do(counted: App, kproc: Kproc) -> None:
    assert planned(kproc)["counts"][0] == "keep"
    shutil.move(counted.folder / "state", counted.folder / "elsewhere")
    assert planned(kproc)["counts"][0] == "rebuild"
    counted.define(COUNTS.replace("'counts'", "'totals'"))
    found = planned(kproc, expect=5)
    assert found["counts"][0] == "refuse"
    assert found["totals"] == ("new", "it begins empty")
    table = kproc("plan", expect=5).stdout
    assert "refuse" in table
    advice = f"kproc reset {counted.file} --store counts"
    assert advice in found["counts"][1]
    assert advice in " ".join(table.split())
    counted.define(COUNTS.replace("IN", "IN + '-missing'"))
    assert "-missing" in kproc("plan", expect=3).stderr


def test_a_store_starts_over_on_every_machine(counted: App, kproc: Kproc) -> None:
    elsewhere = counted.folder / "elsewhere"
    shutil.copytree(counted.folder / "state", elsewhere)
    shown = kproc("reset", "--store", "counts", "--dry-run").stderr
    assert "store counts: what it holds is dropped" in shown
    assert "read from" not in shown
    assert planned(kproc)["counts"][0] == "keep"
    kproc("reset", "--store", "counts", "--yes", "--set=session_timeout=6s")
    assert planned(kproc)["counts"] == ("keep", "it is empty")
    fill(counted)
    node = counted.run(state_dir=str(elsewhere))
    rebuilt = [line for line in node.logged if line["event"] == "store is rebuilt"]
    assert {(line["level"], line["reason"]) for line in rebuilt} == {
        ("info", "its changelog was emptied since by kproc reset, or made whole again")
    }
    assert counted.latest() == {"a": b"2", "b": b"1"}
    changelog = f"{counted.name}-counts-changelog"
    fill(counted)
    counted.run()
    assert counted.latest() == {"a": b"4", "b": b"2"}
    assert ledger.exists(counted.kafka, changelog)


@pytest.mark.long
def test_a_store_that_was_given_up(counted: App, kproc: Kproc) -> None:
    counted.define("topology.stream(IN).to(OUT)")
    counted.run(expect=5)
    kproc("reset", "--store", "counts", "--yes", "--set=session_timeout=6s")
    counted.run()
    assert not ledger.exists(counted.kafka, f"{counted.name}-counts-changelog")
    assert not list(Path(counted.folder / "state").glob("**/counts/*/data"))


@pytest.mark.long
@pytest.mark.parametrize("step", ["destroy", "_write_tombstones", "_delete_before", "_commit"])
def test_a_reset_that_is_killed_is_given_again(counted: App, kproc: Kproc, step: str) -> None:
    killing = (
        "import os, sys\n"
        "from processor.cli.main import main\n"
        "from processor.admin import resetting\n"
        f"resetting.{step} = lambda *_: os.kill(os.getpid(), 9)\n"
        "main()"
    )
    state = f"--set=state_dir={counted.folder / 'state'}"
    options = ["reset", str(counted.file), "--bootstrap", counted.kafka, state, "--yes"]
    command = [sys.executable, "-c", killing, *options, "--set=session_timeout=6s"]
    assert subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == -9
    assert "give the same kproc reset again" in counted.run(expect=5).output
    assert "give the same kproc reset again" in kproc("plan", expect=5).stderr
    kproc("reset", "--yes", "--set=session_timeout=6s")
    counted.run()
    assert counted.latest() == {"a": b"2", "b": b"1"}


@pytest.mark.long
def test_all_of_it(app: App, kproc: Kproc) -> None:
    app.define(BY)
    app.settings |= SHORT
    app.topics("in", "out")
    fill(app)
    app.run()
    assert app.latest() == {"1": b"1", "2": b"1", "3": b"1"}
    shown = kproc("reset", "--dry-run").stderr
    assert f"topic {app.name}-by-repartition: emptied" in shown
    assert f"{app.input}[0]: read from offset 0" in shown
    short = "--set=session_timeout=6s"
    assert "--yes" in kproc("reset", expect=2).stderr
    kproc("reset", "--yes", short)
    app.run()
    assert app.latest() == {"1": b"1", "2": b"1", "3": b"1"}
    assert len(app.read()) == 6
    kproc("reset", "--to", "end", "--yes", short)
    app.write((0, "a", "1"))
    app.run()
    assert app.read()[-1].value == b"1"
    assert len(app.read()) == 7


@pytest.mark.long
def test_nothing_is_reset_while_a_node_runs(counted: App, kproc: Kproc) -> None:
    with counted.start() as node:
        counted.await_log(node, "worker running")
        assert "still run" in kproc("reset", "--yes", expect=2).stderr
        assert node.stop() == 0
    assert planned(kproc)["counts"][0] == "keep"


def test_what_is_wrong(counted: App, kproc: Kproc) -> None:
    assert "has no store other; there are: counts" in (
        kproc("reset", "--store", "other", expect=2).stderr
    )
    assert "--to" in kproc("reset", "--store", "counts", "--to", "end", expect=2).stderr
    assert "is no time" in kproc("reset", "--to", "noon", expect=2).stderr
    counted.define(COUNTS.replace("", ""))
    counted.file.write_text(counted.file.read_text().replace(counted.name, f"{counted.name}-new"))
    assert "has not been started here" in kproc("reset", "--yes", expect=3).stderr
