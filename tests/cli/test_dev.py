"""`kproc dev` as a user runs it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

from processor.cli.dev import dev
from processor.errors import UsageError
from processor.local.embedded import EmbeddedKafka, running
from tests.suites import long

pytestmark = pytest.mark.kafka
app = typer.Typer()
app.command()(dev)


def run(folder: Path, *options: str, answer: str | None = None) -> Result:
    result = CliRunner().invoke(app, ["--data", str(folder), *options], input=answer)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_detached_it_runs_until_it_is_stopped(tmp_path: Path) -> None:
    assert run(tmp_path, "--status").exit_code == 1
    assert "No Kafka runs" in run(tmp_path, "--stop").stdout
    started = run(tmp_path, "--detach", "--port", "0")
    kafka = running(tmp_path)
    assert kafka is not None
    try:
        assert f"Kafka 4.1.0 runs at {kafka.bootstrap}" in started.stdout
        assert started.stdout.endswith(
            f"\nFor kproc to find it: export KPROC_BOOTSTRAP={kafka.bootstrap}\n"
        )
        assert run(tmp_path, "--status").stdout == started.stdout
        assert run(tmp_path, "--detach", "--port", "0").stdout == started.stdout
        with pytest.raises(UsageError, match="already runs"):
            run(tmp_path, "--port", "0")
    finally:
        assert "Stopped Kafka" in run(tmp_path, "--stop").stdout
    assert not kafka.is_alive()
    assert run(tmp_path, "--status").exit_code == 1


def test_reset_asks_and_deletes_only_what_is_kafkas(tmp_path: Path) -> None:
    with EmbeddedKafka.start(tmp_path, port=0) as kafka:
        cluster = AdminClient({"bootstrap.servers": kafka.bootstrap}).cluster_id(timeout=60)
    (tmp_path / "mine.txt").touch()
    assert run(tmp_path, "--reset", answer="n\n").exit_code == 1
    assert (tmp_path / "data").exists()
    assert run(tmp_path, "--reset", answer="y\n").exit_code == 0
    assert run(tmp_path, "--reset", "--yes").exit_code == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mine.txt", "start.lock"]
    with EmbeddedKafka.start(tmp_path, port=0) as kafka:
        fresh = AdminClient({"bootstrap.servers": kafka.bootstrap}).cluster_id(timeout=60)
    assert fresh != cluster


@pytest.mark.parametrize("number", [signal.SIGINT, *long(signal.SIGTERM)])
def test_in_the_foreground_it_ends_cleanly_on_a_signal(number: int, tmp_path: Path) -> None:
    script = "import typer; from processor.cli.dev import dev; typer.run(dev)"
    command = [sys.executable, "-c", script, "--data", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "runs at 127.0.0.1:" in process.stdout.readline()
        kafka = running(tmp_path)
        assert kafka is not None
        os.kill(process.pid, number)
        assert process.wait(120) == 0
    assert not kafka.is_alive()


def test_contradicting_options_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only one of"):
        run(tmp_path, "--stop", "--reset")
