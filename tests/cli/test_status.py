"""`kproc status` as a user runs it, over real heartbeats: what it shows, and its exit codes."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer

from processor.cluster.beats import Adoption, Beat, Claim, Replica
from processor.kafka.clients import create_topic
from tests import forks

pytestmark = pytest.mark.kafka
KPROC = [sys.executable, "-c", "from processor.cli.main import main; main()"]
PATIENT = ("--set", "failover_timeout=4s")  # beats of a busy machine may come late
ALPHA = Beat(
    "a",
    "boot-1",
    2,
    "alpha:412",
    claims=(Claim(0, 1), Claim(1, 2)),
    replicas=(
        Replica(0, "primary", "running", lag=12, rate=48200.0, busy=0.8),
        Replica(1, "primary", "running"),
    ),
    adoptions=(Adoption(1, 2, "failure", "gamma:80", 0.05, 0.02, 0.21),),
)
BETA = Beat("b", "boot-2", 2, "beta:977", replicas=(Replica(0, "backup", "ready", lag=3),))
GAMMA = Beat(
    "c",
    "boot-3",
    2,
    "gamma:80",
    claims=(Claim(1, 1),),
    replicas=(Replica(1, "primary", "running"),),
)


class Cluster:
    """Beats in an application's slots topic."""

    def __init__(self, bootstrap: str, application: str) -> None:
        self.bootstrap, self.application = bootstrap, application
        client = {"bootstrap.servers": bootstrap}
        create_topic(client, f"{application}-slots", 1, {"message.timestamp.type": "LogAppendTime"})
        self._producer = Producer({**client, "linger.ms": 0})
        self._stop = Event()

    def beat(self, *beats: Beat) -> None:
        for beat in beats:
            self._producer.produce(
                f"{self.application}-slots", msgspec.json.encode(beat), beat.node
            )
        self._producer.flush()

    def keep_beating(self, *beats: Beat) -> None:
        def work() -> None:
            while not self._stop.wait(0.1):
                self.beat(*beats)

        self._thread = Thread(target=work)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def start(kafka: str, topic_name: str) -> Generator[Callable[..., Cluster]]:
    """Starts an application of which some nodes beat once, and others until the end of the test."""
    started: list[Cluster] = []

    def begin(once: tuple[Beat, ...] = (), always: tuple[Beat, ...] = ()) -> Cluster:
        cluster = Cluster(kafka, topic_name)
        cluster.beat(*once, *always)
        if always:
            cluster.keep_beating(*always)
            started.append(cluster)
        return cluster

    yield begin
    for cluster in started:
        cluster.close()


def status(*arguments: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    return forks.run("processor.cli", "status", *arguments, **more)


def test_a_healthy_application(start: Callable[..., Cluster]) -> None:
    cluster = start(once=(GAMMA,), always=(ALPHA, BETA))
    done = status("-a", cluster.application, "--bootstrap", cluster.bootstrap, *PATIENT)
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == f"{cluster.application} · 2 slots · 2 live nodes"
    assert "0 alpha:412 running 12 48,200 80% beta:977 ready, lag 3" in lines
    assert "1 alpha:412 running - 0 0% -" in lines
    assert "1 failure gamma:80 - 0.21 s 0.05 s 0.02 s 0.21 s" in lines
    assert any(line.startswith("alpha:412 live - 0-1 - ") for line in lines)
    assert any(line.startswith("gamma:80 dead - - - ") for line in lines)
    assert lines[-1] == "Each slot has a live primary."


def test_an_unattended_slot_sets_the_exit_code_and_json_reports_it(
    start: Callable[..., Cluster], tmp_path: Path
) -> None:
    one = msgspec.structs.replace(ALPHA, claims=ALPHA.claims[:1], replicas=ALPHA.replicas[:1])
    cluster = start(always=(one,))
    (tmp_path / "app.py").write_text(
        f"from processor import Topology\ntopology = Topology({cluster.application!r})\n"
        "topology.stream('in').to('out')\n"
    )
    environment = {**os.environ, "KPROC_BOOTSTRAP": cluster.bootstrap}
    done = status("app.py", "--json", *PATIENT, cwd=tmp_path, env=environment)
    assert done.returncode == 9, done.stderr
    found = json.loads(done.stdout)
    assert found["application"] == cluster.application
    assert not found["healthy"]
    assert [slot["live"] for slot in found["slots"]] == [True, False]
    assert found["slots"][0]["primary"]["name"] == "alpha:412"
    assert found["nodes"][0]["state"] == "live"


def test_nobody_lives(start: Callable[..., Cluster]) -> None:
    cluster = start(once=(ALPHA, BETA))
    done = status("-a", cluster.application, "--bootstrap", cluster.bootstrap)
    assert done.returncode == 9, done.stderr
    assert f"No node of {cluster.application} is live; the last heartbeat came at" in done.stdout
    assert "alpha:412  dead" in done.stdout


def test_no_beat_at_all(start: Callable[..., Cluster]) -> None:
    cluster = start()
    done = status("-a", cluster.application, "--bootstrap", cluster.bootstrap)
    assert done.returncode == 9, done.stderr
    assert f"No node of {cluster.application} is live: start one with" in done.stdout


def test_no_such_application(start: Callable[..., Cluster]) -> None:
    cluster = start()
    done = status("-a", "nonesuch", "--bootstrap", cluster.bootstrap)
    assert done.returncode == 3
    assert "No application 'nonesuch' has been started at" in done.stderr
    assert cluster.application in done.stderr


@pytest.mark.parametrize("arguments", [(), ("app.py", "-a", "app")])
def test_a_file_or_a_name(arguments: tuple[str, ...]) -> None:
    done = status(*arguments)
    assert done.returncode == 2
    assert "Give the topology's file, or --application and its name." in done.stderr


def test_watching_goes_on_until_ctrl_c(start: Callable[..., Cluster]) -> None:
    cluster = start(always=(ALPHA,))
    command = [*KPROC, "status", "-a", cluster.application, "--bootstrap", cluster.bootstrap]
    with subprocess.Popen([*command, "--watch", "--json"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        healthy = 0
        while healthy < 3:
            healthy += json.loads(process.stdout.readline())["healthy"]
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0


def test_watching_on_a_terminal(start: Callable[..., Cluster]) -> None:
    cluster = start(always=(ALPHA,))
    command = [*KPROC, "status", "-a", cluster.application, "--bootstrap", cluster.bootstrap]
    master, slave = pty.openpty()
    with subprocess.Popen([*command, "--watch"], stdout=slave) as process:
        os.close(slave)
        seen = b""
        while seen.count(b"Each slot has a live primary.") < 2:
            seen += os.read(master, 65536)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
    os.close(master)


def test_completion_offers_applications(start: Callable[..., Cluster]) -> None:
    cluster = start()
    script = "import sys; sys.argv[0] = 'kproc'; from processor.cli.main import main; main()"
    variables = {
        "COMP_WORDS": f"kproc status -a {cluster.application[:-3]}",
        "COMP_CWORD": "3",
        "_KPROC_COMPLETE": "complete_bash",
        "KPROC_BOOTSTRAP": cluster.bootstrap,
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [cluster.application]
