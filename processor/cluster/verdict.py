"""Whether all is well with an application, in words, and else what to do. Pure functions."""

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby

from processor.cluster.overview import Overview


def verdict(overview: Overview) -> str:
    """Whether all is well, and else what to do."""
    if overview.healthy:
        return "Each slot has a live primary."
    if not any(node.state in {"live", "leaving"} for node in overview.nodes):
        last = overview.last_heartbeat
        ages = [each.heartbeat_age for each in overview.nodes]
        ago = f", {span(min(ages))} ago" if ages else ""
        when = "" if last is None else f"; the last heartbeat came at {_date(last)}{ago}"
        return f"No node of {overview.application} is live{when}: start one with `kproc run`."
    withheld = [each.primary.withheld for each in overview.slots if each.primary]
    if reported := sorted({text for text in withheld if text}):
        return (
            "Nobody works on partitions that the group has given to others. "
            f"{'. '.join(reported)}. End these members, or give them a group of their own."
        )
    primaries = [(each.slot, each.primary) for each in overview.slots if each.primary]
    if stuck := [
        f"Slot {slot} is stuck for {span(each.turn_age)} in {each.stuck}."
        for slot, each in primaries
        if each.stuck
    ]:
        return " ".join([*stuck, "It goes on when that returns, or when its worker is ended."])
    slots, several = numbers(overview.unattended), len(overview.unattended) > 1
    return (
        f"Slot{'s' * several} {slots} {'have' if several else 'has'} no live primary: if that "
        "lasts, see what the nodes log."
    )


def numbers(slots: Iterable[int]) -> str:
    """Numbers of slots, several in a row as a range: `0-3, 7`."""
    ordered = enumerate(sorted(slots))
    runs = [
        [slot for _, slot in run] for _, run in groupby(ordered, lambda each: each[1] - each[0])
    ]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def span(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s"


def _date(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().isoformat(" ", "seconds")
