"""Worker processes, started ahead of need: an idle one has loaded everything but its slot.

A topology may take long to load; that is thus done while topics are checked, or before a worker
crashes.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Sequence
from typing import IO

import msgspec

from processor.worker.channel import ADOPT, ENDED, PID, WHERE
from processor.worker.spec import WorkerSpec
from processor.worker.standstill import Standstill, dumped

_PR_SET_CHILD_SUBREAPER = 36
_NEVER_BEGAN = 1


class ForkServer:
    """The process that forks workers; it ends with this one, whose children they are.

    This process becomes the parent of all its orphaned descendants.
    """

    def __init__(self) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._start()

    def fork(self, topology: str, files: Sequence[int]) -> None:
        """Has a worker forked, which gets copies of these files."""
        request = topology.encode()
        try:
            socket.send_fds(self._requests, [request], files)
        except ConnectionError:  # the server has ended, as out of memory
            self.close()
            self._start()
            socket.send_fds(self._requests, [request], files)

    def close(self) -> None:
        """Ends it; its workers live on."""
        self._requests.close()
        self._process.kill()
        self._process.wait()

    def _start(self) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        file = theirs.fileno()
        command = [sys.executable, "-m", "processor.worker.fork_server", str(file)]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                command, stdin=subprocess.DEVNULL, pass_fds=[file]
            )


class WorkerProcess:
    """A process that waits for its slot, or works on it.

    Args:
        server: Forks it.
        topology: To be loaded at once.
    """

    def __init__(self, server: ForkServer, topology: str) -> None:
        given, write = os.pipe()
        self._input = os.fdopen(write, "wb")
        read, reports = os.pipe()
        self._reports = os.fdopen(read, "rb", 0)
        self._stack = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        self.queries, asked = socket.socketpair()
        """On which its stores are asked; it ends with the process."""
        self._pid: int | None = None
        self._code: int | None = None
        try:
            server.fork(topology, (given, reports, self._stack.fileno(), asked.fileno()))
        finally:
            os.close(given)
            os.close(reports)
            asked.close()

    @property
    def pid(self) -> int:
        """Its number; 0: it never began."""
        return self._await_begin()

    @property
    def reports(self) -> IO[bytes]:
        """What the process reports, line by line; it ends with the process."""
        self._await_begin()
        return self._reports

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._ended(os.WNOHANG) is None

    def give(self, spec: WorkerSpec) -> None:
        """Says what to work on; if it has ended already, the end of its reports shows that."""
        self._send(msgspec.json.encode(spec))

    def adopt(self) -> None:
        """Has a backup take over its slot; if it has ended, the end of its reports shows that."""
        self._send(ADOPT)

    def end_input(self, topics: Iterable[str]) -> None:
        """Says that nothing more will come in these topics."""
        self._send(ENDED + msgspec.json.encode(list(topics)))

    def ask_to_finish(self) -> None:
        """Ends its standard input, which it takes for the wish that it should end."""
        with contextlib.suppress(BrokenPipeError):
            self._input.close()

    def ask_where(self) -> None:
        """Has it write down what it is at, whatever that is."""
        self._stack.truncate(0)
        self._signal(WHERE)

    def answer(self) -> Standstill | None:
        """What it has written down; None: nothing, as when it is suspended."""
        self._stack.seek(0)
        return dumped(self._stack.read().decode(errors="replace"))

    def kill(self) -> None:
        """Ends it at once."""
        self._signal(signal.SIGKILL)

    def wait(self) -> int:
        """Waits for its end; returns the exit code, negative for a signal."""
        code = self._ended()
        assert code is not None
        self._reports.close()
        self._stack.close()
        self.queries.close()
        self.ask_to_finish()
        return code

    def _await_begin(self) -> int:
        """Reads the process id, which comes before all reports."""
        if self._pid is None:
            answer = self._reports.read(PID.size)
            self._pid = int(PID.unpack(answer)[0]) if answer else 0
            self._code = None if answer else _NEVER_BEGAN
        return self._pid

    def _ended(self, options: int = 0) -> int | None:
        pid = self.pid
        if self._code is None:
            ended, status = os.waitpid(pid, options)
            self._code = os.waitstatus_to_exitcode(status) if ended else None
        return self._code

    def _signal(self, number: signal.Signals) -> None:
        if self.is_alive:
            os.kill(self.pid, number)

    def _send(self, line: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._input.write(line + b"\n")
            self._input.flush()


class WorkerPool:
    """Idle worker processes.

    Args:
        topology: What they load.
    """

    def __init__(self, topology: str) -> None:
        self._topology = topology
        self._server = ForkServer()
        self._idle: deque[WorkerProcess] = deque()

    def warm(self, count: int) -> list[WorkerProcess]:
        """Sees to it that so many idle processes are there; those that are new."""
        self._idle = deque(process for process in self._idle if process.is_alive)
        new = [self._made() for _ in range(count - len(self._idle))]
        self._idle.extend(new)
        return new

    def keep(self, count: int) -> list[int]:
        """Sees to it that so many idle processes are there, and no more; the ids of new ones."""
        new = self.warm(count)
        while len(self._idle) > count:
            self._end(self._idle.pop())
        return [process.pid for process in new]

    def take(self, spec: WorkerSpec) -> WorkerProcess:
        """A process that works on the slot from now on."""
        while self._idle:
            process = self._idle.popleft()
            if process.is_alive:
                break
            process.wait()
        else:
            process = self._made()
        process.give(spec)
        return process

    def close(self) -> None:
        """Ends the fork server, then the idle processes; one that is not forked never begins."""
        self._server.close()
        while self._idle:
            self._end(self._idle.popleft())

    def _made(self) -> WorkerProcess:
        return WorkerProcess(self._server, self._topology)

    def _end(self, process: WorkerProcess) -> None:
        process.kill()
        process.wait()
