"""What nodes use of the machine: processor time and memory of all their processes."""

import contextlib
import time
from collections.abc import Sequence

import psutil

_APART = 1.0
"""Seconds between two looks at the memory, each of which costs the kernel milliseconds."""


class Usage:
    """The processes of nodes, with all that they have started.

    Args:
        pids: Of the nodes' own processes.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._roots = [psutil.Process(pid) for pid in pids]
        self._spent: dict[psutil.Process, float] = {}
        self._memory = 0
        self._memory_at = 0.0

    def cpu(self) -> float:
        """Seconds of processor time so far, also of processes that have ended."""
        for process in self._processes():
            with contextlib.suppress(psutil.Error):
                used = process.cpu_times()
                self._spent[process] = used.user + used.system
        return sum(self._spent.values())

    def memory(self) -> int:
        """Bytes in memory, at most a second old; what processes share counts once."""
        if time.monotonic() >= self._memory_at:
            self._memory_at = time.monotonic() + _APART
            self._memory = sum(map(_share, self._processes()))
        return self._memory

    def _processes(self) -> list[psutil.Process]:
        found = list(self._roots)
        for root in self._roots:
            with contextlib.suppress(psutil.Error):
                found += root.children(recursive=True)
        return found


def _share(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.memory_full_info().pss)
    return 0
