"""`kproc run` as a process of its own: what a machine or a container would be.

Owns the process group of a node: its supervisor and its workers. What it does is in its log.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import psutil

from processor.local.embedded import end_with_parent
from processor.worker.channel import NAME

KPROC = (sys.executable, "-c", "import sys; from processor.cli.main import main; sys.exit(main())")
_FIRST = "connecting"
_LOG_END = 2000


class NodeProcess:
    """One `kproc run`; it ends with the thread that starts it.

    Args:
        topology: The file, as on the command line.
        options: Of the command.
        log: The file that its output is added to.
        env: Its environment; by default that of this process.
        program: What is run in the place of `kproc`.
    """

    def __init__(
        self,
        topology: str,
        options: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = KPROC,
    ) -> None:
        command = [*program, "run", topology, "--log-format=json", *options]
        self.log = log
        self._log_start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            # A session of its own: Ctrl-C goes to whoever started it, who decides.
            self._process = psutil.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                start_new_session=True,
                preexec_fn=end_with_parent(),
            )

    @property
    def pid(self) -> int:
        """The supervisor's process, and the number of the group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Of the supervisor, negative for a signal; None while it has not ended."""
        return self._process.poll()

    @property
    def has_begun(self) -> bool:
        """Whether it has reported more than its start; until then a signal ends it at once."""
        return any(line.get("event") != _FIRST for line in logged(self.log, self._log_start))

    @property
    def workers(self) -> list[psutil.Process]:
        """Its worker processes, the oldest first; the last may be idle, started ahead of need."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [child for child in self._process.children() if _is_worker(child)]
        return []

    def log_end(self) -> str:
        """The last lines that it printed."""
        return self.log.read_bytes()[-_LOG_END:].decode(errors="replace")

    def terminate(self) -> None:
        """Asks it to finish, as a container's stop does; one that has ended is left alone."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process.terminate()

    def kill(self) -> None:
        """Ends all its processes at once, as the end of the machine would."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def kill_supervisor(self) -> None:
        """Ends its supervisor alone; workers notice, finish and end."""
        self._process.kill()
        self._process.wait()

    def suspend(self) -> None:
        """Suspends all its processes."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets all its processes go on."""
        self._signal(signal.SIGCONT)

    def suspend_supervisor(self) -> None:
        """Suspends its supervisor alone."""
        self._process.suspend()

    def wait(self, timeout: float) -> int | None:
        """Waits for its end; the exit code, None if it has not ended within `timeout` seconds."""
        with contextlib.suppress(psutil.TimeoutExpired):
            return self._process.wait(timeout)
        return None

    def _signal(self, number: signal.Signals) -> None:
        # Workers whose supervisor is gone are still in the group; when all are, it is.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def _is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.name() == NAME
    return False


def logged(log: Path, start: int = 0) -> Iterable[Mapping[str, Any]]:
    """What nodes logged to a file from a byte on; what else they printed is left out."""
    with log.open("rb") as lines:
        lines.seek(start)
        for line in lines:
            if line.startswith(b"{"):
                with contextlib.suppress(msgspec.DecodeError):
                    yield cast("Mapping[str, Any]", msgspec.json.decode(line))
