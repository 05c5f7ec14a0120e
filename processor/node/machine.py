"""The machine, or the part of it that this process may use."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


def cores(groups: Path = _GROUPS) -> float:
    """How many processor cores this process may use: by its affinity and its container's limit.

    Args:
        groups: Where Linux shows the control group that the process is in.
    """
    allowed = float(len(os.sched_getaffinity(0)))
    for limit in (_new_limit, _old_limit):
        with suppress(OSError, ValueError):
            allowed = min(allowed, limit(lambda name: (groups / name).read_text()))
    return round(allowed, 2)


def _new_limit(read: Callable[[str], str]) -> float:
    """Of control groups version 2: `max 100000`, or how much of the period may be used."""
    quota, period = read("cpu.max").split()
    return int(quota) / int(period)


def _old_limit(read: Callable[[str], str]) -> float:
    """Of version 1, where -1 is no limit."""
    quota = int(read("cpu/cpu.cfs_quota_us"))
    if quota <= 0:
        raise ValueError("no limit")
    return quota / int(read("cpu/cpu.cfs_period_us"))
