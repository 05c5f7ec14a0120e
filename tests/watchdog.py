"""What ends all that a test run has started and left, when it is over: `watchdog.py MARK`.

It is over when this process's input ends, be it that the run was killed. Its processes are those
that have MARK, a variable and its value, in their environment.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path


@contextlib.contextmanager
def watched(mark: str) -> Generator[None]:
    """Has a process wait for the end of the block, or of this process, which must have the mark."""
    with subprocess.Popen([sys.executable, __file__, mark], stdin=subprocess.PIPE) as watchdog:
        yield
        watchdog.communicate()


def left(mark: bytes) -> list[int]:
    """The processes that have it in their environment, but for this one."""
    found: list[int] = []
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if mark in (each / "environ").read_bytes().split(b"\0"):
                found.append(int(each.name))
    return [each for each in found if each != os.getpid()]


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are meant for the run
    sys.stdin.read()
    while found := left(sys.argv[1].encode()):
        for each in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
