"""Processes of Python that need not load what all of them load: forked from one that has.

`start` runs a module as `python -m` does, for a tenth of the processor time. Forking is safe as the
one that is forked, `python -m tests.forks FILE`, has no threads, clients or stores. What each is
given, and what it does from then on, is its own.
"""

import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psutil

_LONGEST = 1 << 17
_FILES = 16
_FORK_SERVER = "processor.worker.fork_server"
_LOADED = (
    *("processor.cli.main", "processor.cli.run", "processor.cli.display", "processor.node.node"),
    *("processor.health.server", "processor.worker.process"),
)


class Forked(psutil.Process):
    """A process that `start` has started; its end is known as that of a child is."""

    def __init__(self, pid: int, status: int) -> None:
        super().__init__(pid)
        self._status = os.fdopen(status, "rb", 0)
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None: it runs."""
        return self._await_end(0)

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end; the exit code, negative for a signal."""
        code = self._await_end(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.name(), timeout or 0)
        return code

    def _await_end(self, timeout: float | None) -> int | None:
        if self._code is None and select.select([self._status], [], [], timeout)[0]:
            self._code = int(self._status.read(16))
            self._status.close()
        return self._code


def start(
    module: str,
    *arguments: str,
    files: Sequence[int],
    passed: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Forked:
    """Starts a module in a session of its own.

    Args:
        module: Its name.
        arguments: What it finds in `sys.argv`, and then the numbers of `passed`.
        files: Its standard input, output and error.
        passed: Other files that it gets.
        env: Its environment; by default that of this process.
        cwd: Its folder; by default that of this process.
    """
    status, theirs = os.pipe()
    request = [module, arguments, str(cwd or Path.cwd()), {**(os.environ if env is None else env)}]
    socket.send_fds(_server(), [json.dumps(request).encode()], [theirs, *files, *passed])
    os.close(theirs)
    return Forked(int(os.read(status, 16)), status)


def run(
    module: str,
    *arguments: str,
    timeout: float = 120,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Runs a module to its end, as `subprocess.run` does with its output captured as text."""
    with (
        Path(os.devnull).open() as nothing,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        files = [each.fileno() for each in (nothing, out, err)]
        process = start(module, *arguments, files=files, env=env, cwd=cwd)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        said: list[str] = []
        for each in (out, err):
            each.seek(0)
            said.append(each.read())
        return subprocess.CompletedProcess([module, *arguments], code, *said)


@cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", "tests.forks", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            cwd=Path(__file__).parents[1],
        )
    return ours


def _serve(requests: socket.socket) -> str:
    """Forks for each request; in what is forked, prepares everything and returns the module."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel forgets those that have ended
    while True:
        message, files, _, _ = socket.recv_fds(requests, _LONGEST, _FILES)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            return _begin(message, *files)
        for each in files:
            os.close(each)


def _begin(message: bytes, status: int, *files: int) -> str:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if child := os.fork():
        for each in files:
            os.close(each)
        _report(child, status)
        os._exit(0)
    os.close(status)
    os.setsid()
    standard, passed = files[:3], files[3:]
    for number, each in enumerate(standard):
        os.dup2(each, number)
        os.close(each)
    module, arguments, folder, env = json.loads(message)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(folder)
    sys.path[0] = folder
    sys.argv = [module, *arguments, *map(str, passed)]
    return _fork_server(module) if arguments[:1] == ["run"] else module


def _fork_server(node: str) -> str:
    """Forks what a node forks its workers from before it has threads, and has it use that.

    Returns the module that this process is to run. Another one that a node needs, it starts.
    """
    requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if child := os.fork():
        theirs.close()
        _give(_Child(child), requests)
        return node
    requests.close()
    if not (files := socket.recv_fds(theirs, 1, 1)[1]):
        os._exit(0)  # the node has ended before
    theirs.close()
    sys.argv = [_FORK_SERVER, str(files[0])]
    return _FORK_SERVER


class _Child:
    """What of `subprocess.Popen` a fork server is ended by."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # the node takes in all that end
            os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _give(process: _Child, requests: socket.socket) -> None:
    """Has this process's first fork server be one that is there, and waits for a socket."""
    from processor.node import pool  # noqa: PLC0415 - the tests' own process need not load it

    start = pool.ForkServer._start

    def use(server: Any) -> None:
        pool.ForkServer._start = start
        server._process = process
        server._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with requests, theirs:
            socket.send_fds(requests, [b"."], [theirs.fileno()])

    pool.ForkServer._start = use


def _report(child: int, status: int) -> None:
    """Writes its number and how it ends, and lets it be forgotten when that was read."""
    os.write(status, b"%-16d" % child)
    end = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert end is not None
    code = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
    with contextlib.suppress(BrokenPipeError):
        os.write(status, b"%d" % code)
        read = select.poll()
        read.register(status, 0)
        read.poll()
    os.waitpid(child, 0)


if __name__ == "__main__":
    for each in _LOADED:
        __import__(each)
    gc.freeze()  # no collection writes to what is shared
    runpy.run_module(
        _serve(socket.socket(fileno=int(sys.argv[1]))), run_name="__main__", alter_sys=True
    )
