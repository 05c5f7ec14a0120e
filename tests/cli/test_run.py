"""`kproc run` as a user runs it: processes, exit codes, signals, what is to be seen."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from processor.kafka import transfer
from processor.kafka.clients import create_topic
from processor.kafka.transfer import Row, produce_rows
from processor.local.embedded import running
from tests import forks
from tests.suites import long

pytestmark = pytest.mark.kafka
CANARY = "canary-7f3a"
FLIGHTS = Path("topologies/flights.py").absolute()
KPROC = [sys.executable, "-c", "from processor.cli.main import main; main()"]
TOPOLOGY = """
from processor import Record, Timestamp, Topology

def sample():
    return [Record(str(n), {{"n": n}}, Timestamp(1)) for n in range(20)]

topology = Topology("{name}", settings={{"slots": 1, "partitions": 2}})
topology.sample_data("{name}-in", sample)
numbers = topology.stream("{name}-in")
numbers.map_values(lambda value: {{"twice": 2 * value["n"]}}).print("out").to("{name}-out")
"""


class Project:
    """A folder with a topology, and input for it on the tests' Kafka."""

    def __init__(self, folder: Path, bootstrap: str, name: str) -> None:
        self.folder, self.bootstrap, self.name = folder, bootstrap, name
        (folder / "twice.py").write_text(TOPOLOGY.format(name=name))

    def write(self, *values: bytes) -> None:
        config = {"bootstrap.servers": self.bootstrap}
        create_topic(config, f"{self.name}-in", 2)
        rows = [Row(str(n).encode(), value) for n, value in enumerate(values)]
        produce_rows(config, f"{self.name}-in", rows)

    def run(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        env = {**os.environ, "KPROC_BOOTSTRAP": self.bootstrap, **variables}
        return forks.run("processor.cli", "run", *arguments, cwd=self.folder, env=env)

    def values(self, topic: str) -> list[bytes | None]:
        config = {"bootstrap.servers": self.bootstrap}
        batches = transfer.read(config, topic, until_end=True)
        return [message.value() for batch in batches for message in batch]


@pytest.fixture
def project(tmp_path: Path, kafka: str, topic_name: str) -> Project:
    return Project(tmp_path, kafka, topic_name)


def numbers(count: int) -> list[bytes]:
    return [b'{"n": %d}' % number for number in range(count)]


def test_until_the_end_with_results_and_a_summary(project: Project) -> None:
    project.write(*numbers(30))
    done = project.run("twice.py", "--until-end", "--create-topics")
    assert done.returncode == 0, done.stderr
    assert sum(line.startswith("out: ") for line in done.stdout.splitlines()) == 30
    assert f"{project.name}-out · 30 keys" in done.stdout
    assert "… and 10 more: kproc consume" in done.stdout
    assert "finished" in done.stderr
    assert "records=30" in done.stderr
    assert len(project.values(f"{project.name}-out")) == 30
    again = project.run("twice.py", "--until-end", "--no-show", "-q")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert len(project.values(f"{project.name}-out")) == 30


def test_bad_records_are_reported_and_kept(project: Project) -> None:
    project.write(*numbers(2), b"nonsense", b'{"x": 1}', b"[")
    done = project.run("twice.py", "--until-end", "--create-topics", "--log-format", "json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    counts = {line["step"]: line["count"] for line in lines if line["event"] == "bad records"}
    assert sorted(counts.values()) == [1, 2]
    letters = f"{project.name}-dead-letters"
    assert {line.get("dead_letters") for line in lines} == {None, letters}
    assert len(project.values(letters)) == 3
    assert len(project.values(f"{project.name}-out")) == 2


def test_a_bad_record_stops_it_by_policy(project: Project) -> None:
    project.write(b"nonsense")
    done = project.run(
        "twice.py", "--until-end", "--create-topics", "--set", "on_bad_record=fail", "-q"
    )
    assert done.returncode == 4
    *_, last = done.stderr.splitlines()
    assert last.startswith(f"kproc: {project.name}-in[")
    assert "JSON is malformed" in last


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_a_last_checkpoint(number: int, project: Project) -> None:
    project.write(*numbers(10))
    with subprocess.Popen(
        [*KPROC, "run", "twice.py", "--create-topics"],
        cwd=project.folder,
        env={**os.environ, "KPROC_BOOTSTRAP": project.bootstrap},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = [process.stdout.readline() for _ in range(10)]
        assert all(line.startswith("out: ") for line in seen)
        process.send_signal(number)
        assert process.wait(120) == 0
        assert "finished" in process.stderr.read()
    assert len(project.values(f"{project.name}-out")) == 10


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.py"], 2, "there is no file missing.py; there is twice.py"),
        (["twice.py", "--set", "slot=3"], 2, "slot (command line): no such setting; did you mean"),
        (
            ["twice.py", "--set", "kafka.nonsense=1"],
            2,
            'No such configuration property: "nonsense"',
        ),
        (["twice.py"], 3, "topics are missing"),
        (["twice.py", "--bootstrap", "127.0.0.1:1", "--set", "startup_timeout=2s"], 3, "kproc dev"),
        *long(
            (["twice.py:other"], 2, "has no topology 'other'"),
            (["twice.py", "--slots", "many"], 2, "--slots"),
            (["twice.py", "--config", "other.toml"], 2, "there is no file other.toml"),
            (["twice.py", "--dev", "--bootstrap", "x:1"], 2, "leave out --bootstrap"),
        ),
    ],
)
def test_what_is_wrong_is_reported_with_its_exit_code(
    arguments: list[str], code: int, message: str, project: Project
) -> None:
    done = project.run(*arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_no_secret_is_in_any_output(project: Project) -> None:
    project.write(*numbers(3), b"nonsense")
    (project.folder / "kproc.toml").write_text(f'[kafka]\nsasl.password = "{CANARY}1"\n')
    given = ["--set", f"consumer.ssl.key.password={CANARY}2", "--create-topics", "--until-end"]
    variables = {"KPROC_PRODUCER__SASL_PASSWORD": f"{CANARY}3"}
    for wrong, code in (
        ([], 0),
        (["--set", "kafka.nonsense=1"], 2),
        (["--set", f"kafka.sasl.password:{CANARY}"], 2),
        (["--bootstrap", "127.0.0.1:1", "--set", "startup_timeout=1s"], 3),
    ):
        done = project.run("twice.py", *given, *wrong, **variables)
        assert done.returncode == code, done.stderr
        assert CANARY not in done.stdout + done.stderr


def test_on_a_terminal_prints_and_the_live_area_keep_apart(project: Project) -> None:
    project.write(*numbers(50))
    output = on_a_terminal(project, "twice.py", "--until-end", "--create-topics")
    without_controls = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    lines = without_controls.replace("\r", "\n").split("\n")
    printed = [line for line in lines if line.startswith("out: ")]
    assert sorted(printed) == sorted(f"out: {n} → {{'twice': {2 * n}}}" for n in range(50))
    assert any("checkpoints/s" in line for line in lines)
    assert any(line.startswith(f"{project.name}: 50 records in ") for line in lines)
    assert any(line.startswith(f"{project.name}-out · 50 keys") for line in lines)


def on_a_terminal(project: Project, *arguments: str) -> str:
    """What a run writes to a terminal; it has to succeed."""
    master, slave = pty.openpty()
    variables = {"KPROC_BOOTSTRAP": project.bootstrap, "TERM": "xterm", "COLUMNS": "200"}
    process = subprocess.Popen(
        [*KPROC, "run", *arguments],
        cwd=project.folder,
        env={**os.environ, **variables},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    data = b""
    while True:
        try:
            data += os.read(master, 65536)
        except OSError:  # the other end is closed
            break
    os.close(master)
    assert process.wait(120) == 0, data.decode()
    return data.decode()


def test_dev_brings_its_kafka_and_loads_the_sample_once(project: Project) -> None:
    first = project.run("twice.py", "--dev", "--until-end")
    assert first.returncode == 0, first.stderr
    assert f"Loaded 20 records into {project.name}-in" in first.stderr
    assert "records=20" in first.stderr
    assert f"{project.name}-out · 20 keys" in first.stdout
    data = project.folder / ".kproc" / "kafka"
    assert running(data) is None
    second = project.run("twice.py", "--dev", "--until-end")
    assert second.returncode == 0, second.stderr
    assert "Loaded" not in second.stderr
    assert "records=0" in second.stderr
    assert f"{project.name}-out · 20 keys" in second.stdout


@pytest.mark.long
def test_the_main_job_of_the_readme(tmp_path: Path) -> None:
    done = subprocess.run(
        [*KPROC, "run", str(FLIGHTS), "--dev", "--until-end"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["9E", "18,460", "1044", "16.73", "7.38"] in rows
    assert ["JFK", "111,279", "1863", "12.11", "5.55"] in rows


def test_completion_offers_topologies(tmp_path: Path) -> None:
    for name in ("orders.py", "other.txt", "folder/inner.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def completed(words: str) -> list[str]:
        variables = {"COMP_WORDS": words, "COMP_CWORD": "2", "_KPROC_COMPLETE": "complete_bash"}
        script = "import sys; sys.argv[0] = 'kproc'; from processor.cli.main import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split()

    assert completed("kproc run o") == ["orders.py"]
    assert completed("kproc run folder/") == ["folder/inner.py"]


def test_version_and_help() -> None:
    for arguments, expected in (
        (["--version"], "kproc 0."),
        (["--help"], "kproc run topologies/flights.py --dev --until-end"),
        (["run", "--help"], "Exit codes"),
    ):
        done = forks.run("processor.cli", *arguments)
        assert done.returncode == 0
        assert expected in done.stdout
