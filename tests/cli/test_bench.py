"""`kproc bench` as a user runs it: real nodes on a real Kafka, and figures that add up."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import forks
from tests.suites import long

KPROC = [sys.executable, "-c", "from processor.cli.main import main; main()"]
TOPOLOGY = """
from collections.abc import Iterator

from processor import Record, Timestamp, Topology


def sample() -> Iterator[Record[str, dict[str, int]]]:
    for number in range(500):
        yield Record(f"k{number % 50}", {"n": number}, Timestamp(1_600_000_000_000 + number))


topology = Topology(NAME, settings={"partitions": 2})
topology.sample_data(NAME + "-in", sample, count=500)
rows = topology.stream(NAME + "-in")
"""
COUNTS = "rows.group_by('n', name='by-n').count(name='counts', emit={emit!r}).to(NAME + '-out')\n"
MISSING = "rows.map_values(lambda v: v['missing']).to(NAME + '-out')\n"


@pytest.fixture
def shared(kafka: str) -> list[str]:
    """Options that have it run on the broker that all tests share."""
    return ["--bootstrap", kafka, "--set", "create_topics=true"]


def bench(
    folder: Path, body: str, *options: str, name: str = "measured"
) -> "subprocess.CompletedProcess[str]":
    file = folder / "job.py"
    file.write_text(f"NAME = {name!r}\n{TOPOLOGY}{body}")
    command = ["bench", str(file), "--records", "3000", *options]
    env = {**os.environ, "TMPDIR": str(folder)}
    return forks.run("processor.cli", *command, cwd=folder, env=env, timeout=280)


@pytest.mark.kafka
@pytest.mark.parametrize("emit", ["change", *long("checkpoint")])
def test_a_topology_is_measured(emit: str, tmp_path: Path) -> None:
    options = ["--seconds", "6", "--rate", "500", "--json", "--html", "report.html"]
    done = bench(tmp_path, COUNTS.format(emit=emit), *options)
    assert done.returncode == 0, done.stderr + done.stdout
    found: Any = json.loads(done.stdout)
    assert (found["application"], found["nodes"], found["slots"]) == ("measured", 1, 2)
    backlog = found["backlog"]
    assert backlog["records"] == backlog["samples"][-1]["records"] == 3000
    assert backlog["peak_memory"] > 10_000_000
    assert backlog["samples"][-1]["cpu"] > 0
    latency = found["latency"]
    assert latency["results"] > 0
    assert 0 < latency["p50"] <= latency["p99"] <= latency["most"]
    assert found["state"] > 0
    page = (tmp_path / "report.html").read_text()
    assert "Benchmark of measured" in page
    assert "<script src" not in page
    assert not list(tmp_path.glob("kproc-bench-*")), "nothing is left behind"


@pytest.mark.kafka
def test_bad_records_are_counted(shared: list[str], topic_name: str, tmp_path: Path) -> None:
    done = bench(tmp_path, MISSING, *shared, "--seconds", "0", "--json", name=topic_name)
    assert done.returncode == 0, done.stderr + done.stdout
    assert json.loads(done.stdout)["bad"] == 3000


@pytest.mark.kafka
def test_a_topology_without_results_says_so(
    shared: list[str], topic_name: str, tmp_path: Path
) -> None:
    body = "rows.to_table(name='latest')\n"
    done = bench(tmp_path, body, *shared, "--seconds", "1", name=topic_name)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "not measured: the topology writes to no topic" in " ".join(done.stdout.split())


@pytest.mark.kafka
def test_a_topology_that_fails_shows_why(
    shared: list[str], topic_name: str, tmp_path: Path
) -> None:
    done = bench(tmp_path, MISSING, *shared, "--set", "on_bad_record=fail", name=topic_name)
    assert done.returncode == 7, done.stderr + done.stdout
    assert "node 1 ended with exit code 4" in done.stderr
    assert "KeyError" in done.stderr


@pytest.mark.kafka
def test_sigterm_leaves_nothing_behind(tmp_path: Path) -> None:
    body = COUNTS.format(emit="change")
    (tmp_path / "job.py").write_text(f"NAME = 'measured'\n{TOPOLOGY}{body}")
    command = [*KPROC, "bench", "job.py", "--records", "1000000000"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with psutil.Popen(command, cwd=tmp_path, env=env) as process:
        while not list(tmp_path.glob("kproc-bench-*/kafka/*/kafka.json")):
            assert process.poll() is None
            time.sleep(0.1)
        started = process.children(recursive=True)
        process.terminate()
        assert process.wait(60) == 143
    assert not list(tmp_path.glob("kproc-bench-*"))
    assert not psutil.wait_procs(started, 30)[1]


def test_a_report_that_can_not_be_written_is_refused_at_once(tmp_path: Path) -> None:
    done = bench(tmp_path, "rows.to(NAME + '-out')\n", "--html", "nowhere/report.html")
    assert done.returncode == 2
    assert "there is no folder nowhere" in done.stderr
