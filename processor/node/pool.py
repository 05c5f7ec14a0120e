"""Worker processes, started ahead of need: an idle one has loaded everything but its slot.

Half a second of imports is thus spent while topics are checked, or before a worker crashes.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable
from typing import IO

import msgspec

from processor.worker.channel import ADOPT, ENDED, WHERE
from processor.worker.spec import WorkerSpec
from processor.worker.standstill import Standstill, dumped


class WorkerProcess:
    """A process that waits for its slot, or works on it.

    Args:
        topology: To be loaded at once.
    """

    def __init__(self, topology: str) -> None:
        read, write = os.pipe()
        self._stack = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        files = [write, self._stack.fileno()]
        command = [sys.executable, "-m", "processor.worker.process", *map(str, files), topology]
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, pass_fds=files
        )
        os.close(write)
        self.reports: IO[bytes] = os.fdopen(read, "rb", 0)
        """What the process tells, line by line; it ends with the process."""

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def give(self, spec: WorkerSpec) -> None:
        """Tells it what to work on; if it has ended already, the end of its reports tells."""
        self._tell(msgspec.json.encode(spec))

    def adopt(self) -> None:
        """Tells a backup to take over its slot; if it has ended, the end of its reports tells."""
        self._tell(ADOPT)

    def end_input(self, topics: Iterable[str]) -> None:
        """Tells it that nothing more will come in these topics."""
        self._tell(ENDED + msgspec.json.encode(list(topics)))

    def ask_to_finish(self) -> None:
        """Ends its standard input, which it takes for the wish that it should end."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def ask_where(self) -> None:
        """Has it write down what it is at, whatever that is."""
        self._stack.truncate(0)
        self._process.send_signal(WHERE)

    def answer(self) -> Standstill | None:
        """What it has written down; None: nothing, as when it is suspended."""
        self._stack.seek(0)
        return dumped(self._stack.read().decode(errors="replace"))

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()

    def wait(self) -> int:
        """Waits for its end; returns the exit code, negative for a signal."""
        self.reports.close()
        self._stack.close()
        code = self._process.wait()
        self.ask_to_finish()
        return code

    def _tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()


class WorkerPool:
    """Idle worker processes.

    Args:
        topology: What they load.
    """

    def __init__(self, topology: str) -> None:
        self._topology = topology
        self._idle: deque[WorkerProcess] = deque()

    def warm(self, count: int) -> list[int]:
        """Sees to it that so many idle processes are there; the ids of those that are new."""
        self._idle = deque(process for process in self._idle if process.is_alive)
        new = [WorkerProcess(self._topology) for _ in range(count - len(self._idle))]
        self._idle.extend(new)
        return [process.pid for process in new]

    def keep(self, count: int) -> list[int]:
        """Sees to it that so many idle processes are there, and no more; the ids of new ones."""
        new = self.warm(count)
        while len(self._idle) > count:
            self._end(self._idle.pop())
        return new

    def take(self, spec: WorkerSpec) -> WorkerProcess:
        """A process that works on the slot from now on."""
        while self._idle:
            process = self._idle.popleft()
            if process.is_alive:
                break
            process.wait()
        else:
            process = WorkerProcess(self._topology)
        process.give(spec)
        return process

    def close(self) -> None:
        """Ends the idle processes."""
        while self._idle:
            self._end(self._idle.popleft())

    def _end(self, process: WorkerProcess) -> None:
        process.kill()
        process.wait()
