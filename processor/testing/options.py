"""What a TopologyDriver is given, checked: its own arguments, and the topology's settings.

Knows nothing of files and the environment: a test must not depend on them.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

from processor.errors import UsageError
from processor.options import WorkerOptions
from processor.records import Policy
from processor.settings import of_topology
from processor.topology.plan import Plan
from processor.topology.topology import Topology


def worker_options(
    topology: Topology, on_bad_record: Policy | None, *, checkpoint_interval: int, idle_timeout: int
) -> WorkerOptions:
    """The options of the topology's settings, but the driver's own times, milliseconds.

    Raises:
        SettingsError: The topology's settings are refused by `kproc run`, too.
        UsageError: There is no such policy.
    """
    own = of_topology(topology.settings)
    if on_bad_record not in (None, *get_args(Policy)):
        possible = ", ".join(map(repr, get_args(Policy)))
        raise UsageError(f"on_bad_record={on_bad_record!r}: possible are {possible}")
    return replace(
        own.options.alone(),
        checkpoint_interval=checkpoint_interval,
        idle_timeout=idle_timeout,
        on_bad_record=on_bad_record or own.on_bad_record,
    )


def partition_counts(plan: Plan, given: int | Mapping[str, int]) -> Mapping[str, int]:
    """The number of partitions of each input topic.

    Raises:
        UsageError: A topic is missing, or a number is none of at least 1.
    """
    counts = given if isinstance(given, Mapping) else dict.fromkeys(plan.inputs, given)
    if missing := set(plan.inputs).difference(counts):
        raise UsageError(f"partitions= lacks {', '.join(sorted(missing))}")
    for count in counts.values():
        _check_whole("partitions", count, 1)
    return counts


def checked_start(start: int) -> int:
    """The start as it is.

    Raises:
        UsageError: It is no number of milliseconds.
    """
    _check_whole("start", start, 0)
    return start


def _check_whole(what: str, given: object, least: int) -> None:
    if not isinstance(given, int) or isinstance(given, bool) or given < least:
        unit = " (milliseconds since 1970)" if what == "start" else ""
        raise UsageError(f"{what}={given!r}: give a whole number from {least} on{unit}")
