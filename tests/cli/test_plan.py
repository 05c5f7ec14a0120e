"""`kproc plan --capacity` as a user runs it, with and without nodes to listen to."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Done, kproc
from tests.integration.node_process import NodeProcess

APP = (
    "from processor import Topology\ntopology = Topology('app')\ntopology.stream('in').to('out')\n"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "app.py"
    found.write_text(APP)
    return found


def plan(*arguments: str | Path) -> Done:
    return kproc("plan", *arguments)


def test_by_the_model_alone(file: Path) -> None:
    done = plan(file, "--capacity", "--set", "slots=4", "--mtbf", "10d", "--snapshot-cost", "20s")
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0].startswith("app: 4 slots, 0 backups of each, 1 node; assumed are a failure")
    assert "throughput, 4 nodes Tmax · 4/4 not known not measured" in lines
    assert "availability 1 - P_fail · (1 - P_recover) 0.9990484 not measured" in lines
    assert "best snapshot interval √(2 · cost · MTBF) 98 min not measured" in lines


def test_as_json(file: Path) -> None:
    done = plan(file, "--capacity", "--json", "--rate", "1000", "--nodes", "2")
    report: dict[str, Any] = json.loads(done.stdout)
    assert (report["application"], report["assumed"]["nodes"]) == ("app", 2)
    found = {line["quantity"]: line["predicted"] for line in report["lines"]}
    assert found["replay after a failure"] == 100.0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--capacity", "--recovers", "2"), "--recovers is a probability"),
        (("--capacity", "--mtbf", "often"), "--mtbf"),
    ],
)
def test_what_can_not_be_asked_for(file: Path, arguments: tuple[str, ...], text: str) -> None:
    done = plan(file, *arguments)
    assert done.returncode == 2
    assert text in " ".join(done.stderr.split())


@pytest.mark.kafka
def test_beside_what_is_measured(kafka: str, topic_name: str, tmp_path: Path) -> None:
    file = tmp_path / "app.py"
    text = APP.replace("'app'", repr(topic_name)).replace("'in'", repr(f"{topic_name}-in"))
    file.write_text(text.replace("'out'", repr(f"{topic_name}-out")))
    missing = plan(file, "--capacity", "--bootstrap", kafka)
    assert missing.returncode == 3
    assert "has been started" in " ".join(missing.stderr.split())
    with NodeProcess(kafka, file, "--create-topics", slots=2):
        report: dict[str, Any] = {}
        while report.get("measured", {}).get("nodes") != 1:
            done = plan(file, "--capacity", "--json", "--bootstrap", kafka)
            assert done.returncode == 0 or "has been started" in " ".join(done.stderr.split())
            report = json.loads(done.stdout or "{}")
    lines = {line["quantity"]: line for line in report["lines"]}
    assert lines["throughput, 1 node"]["measured"] == 0
