"""`kproc run` as a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from processor.local.embedded import end_with_parent
from processor.worker.channel import NAME
from tests import forks

_NUMBERS = count()


class NodeProcess:
    """One `kproc run`; killed at the end of the `with` block if it still runs.

    Args:
        kafka: The broker's address.
        topology: The file.
        options: Of the command.
        settings: By their names; nested ones as dicts.
    """

    def __init__(
        self, kafka: str, topology: Path | str, *options: str, **settings: str | int | bool
    ) -> None:
        folder = Path(topology).parent
        self._log = (folder / f"kproc-{next(_NUMBERS)}.log").open("wb")
        defaults = {"state_dir": str(folder / "state"), "startup_timeout": "120s"}
        given = {**defaults, "bootstrap": kafka, **settings}
        sets = [f"--set={name}={_written(value)}" for name, value in given.items()]
        self.process = self._started("run", str(topology), "--log-format=json", *sets, *options)

    def _started(self, *command: str) -> forks.Forked | psutil.Popen:
        out = self._log.fileno()
        with Path(os.devnull).open() as nothing:
            return forks.start("processor.cli", *command, files=[nothing.fileno(), out, out])

    @property
    def workers(self) -> list[psutil.Process]:
        """Its worker processes; the last one may be idle, started ahead of need."""
        return [child for child in self.process.children() if _is_worker(child)]

    def worker_of(self, slot: int) -> psutil.Process:
        """The process that works on a slot, or keeps its backup."""
        started = [
            line["pid"]
            for line in self.logged
            if line["event"] == "worker process" and line["slot"] == slot
        ]
        return psutil.Process(started[-1])

    @property
    def output(self) -> str:
        """All that it has printed."""
        return Path(self._log.name).read_bytes().decode(errors="replace")

    @property
    def logged(self) -> list[dict[str, Any]]:
        """Its log, line by line."""
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]

    def terminate(self) -> None:
        """Asks it to finish, as a container's stop does."""
        self.process.terminate()

    def wait(self, timeout: float = 120) -> int:
        """Waits for its end; the exit code."""
        return self.process.wait(timeout)

    def stop(self) -> int:
        """Asks it to finish and waits for that; the exit code."""
        self.terminate()
        return self.wait()

    def kill(self, *, with_workers: bool = True) -> None:
        """Kills it as a crash of the machine would, or of its supervisor alone."""
        if with_workers:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            print(self.output[-5000:])
        if self.process.poll() is None:
            self.kill()
        self._log.close()


class StartedNode(NodeProcess):
    """One that is started as a user does, so that it and its workers have own command lines."""

    def _started(self, *command: str) -> psutil.Popen:
        return psutil.Popen(
            [sys.executable, "-m", "processor.cli", *command],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent(),
        )


def _is_worker(process: psutil.Process) -> bool:
    try:
        return process.name() == NAME
    except psutil.NoSuchProcess:  # it has just ended
        return False


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def run(
    kafka: str, topology: Path | str, options: Sequence[str] = (), **settings: str | int | bool
) -> tuple[int, str]:
    """Runs it to its own end; exit code and output."""
    with NodeProcess(kafka, topology, *options, **settings) as node:
        return node.wait(), node.output
