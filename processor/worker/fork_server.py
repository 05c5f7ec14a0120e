"""The fork server: `python -m processor.worker.fork_server SOCKET`, of a supervisor.

It imports once what every worker needs, and forks a worker for each request: that takes a few
milliseconds instead of half a second of processor time, and the workers share its memory. Forking
is safe as it has no threads, clients or stores; the topology, whose code may start anything, is
loaded by the worker. A worker becomes a child of the supervisor, who takes in orphans (prctl(2),
PR_SET_CHILD_SUBREAPER), so that it outlives the server.
"""

import contextlib
import gc
import os
import signal
import socket
import sys
import time
from pathlib import Path

from processor.worker import process
from processor.worker.channel import NAME, PID

_FILES = 4
"""That come with a request: the worker's standard input, reports, stack, queries."""

_LONGEST = 65_536
"""Bytes of a request, which is the topology as on the command line."""


def main() -> int:
    """Serves requests until the supervisor is gone; in a worker: works. Returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor gets it, too, and decides
    requests = socket.socket(fileno=int(sys.argv[1]))
    gc.freeze()  # no collection writes to what is shared
    while True:
        message, files, _, _ = socket.recv_fds(requests, _LONGEST, _FILES)
        if not message:
            return 0
        if _fork():
            requests.close()
            return _work(message.decode(), *files)
        for each in files:
            os.close(each)


def _fork() -> bool:
    """Forks twice, as an orphan becomes a child of the supervisor; whether this is the worker."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return False
    parent = os.getpid()
    if os.fork():
        os._exit(0)
    while os.getppid() == parent:
        time.sleep(0.0001)
    return True


def _work(topology: str, given: int, reports: int, stack: int, queries: int) -> int:
    os.dup2(given, sys.stdin.fileno())
    os.close(given)
    with contextlib.suppress(OSError):  # what `ps` and `top` show
        Path("/proc/self/comm").write_text(NAME, "ascii")
    os.write(reports, PID.pack(os.getpid()))
    return process.main(reports, stack, topology, queries=queries)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Nothing is left to do, and librdkafka's own threads need no orderly end of the interpreter.
    os._exit(code)
