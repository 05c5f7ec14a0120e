"""Measurement: what an autoscaler has to know of an application at one moment.

From an overview to figures of slots and nodes, and which of them are missing. Knows no clock.
"""

from collections.abc import Iterable

import msgspec

from processor.cluster.overview import NodeOverview, Overview, SlotOverview, Worker

_STALE = 5.0
"""Seconds after which a node's last heartbeat says nothing about now."""


class SlotFigures(msgspec.Struct, frozen=True):
    """One slot whose primary is at work."""

    slot: int
    node: str
    lag: int  # records
    rate: float  # records per second
    busy: float  # share of the time in which it doesn't wait for records
    cpu: float  # cores in use
    starved: float = 0.0  # share of the time in which it waits for a processor
    bytes: int = 0  # of its stores


class NodeFigures(msgspec.Struct, frozen=True):
    """One node that lives and does not leave."""

    node: str
    cores: float
    backups_cpu: float = 0.0  # cores that its warm backups use


class Measurement(msgspec.Struct, frozen=True):
    """All figures of one moment.

    Attributes:
        at: Seconds, of a clock that only goes forward.
        slots: How many slots the application has.
        figures: Of those whose figures are known.
        missing: What is not known, in words, for each slot of which nothing is known.
        nodes: Those that live.
        settled: Whether each slot is at work, and each node has its share of them.
        restored: Bytes per second that a restore takes in, as measured last; 0 if none was.
        pause: Seconds that a slot stood still for its move, as measured last; 0 if none was.
    """

    at: float
    slots: int
    figures: tuple[SlotFigures, ...]
    nodes: tuple[NodeFigures, ...]
    missing: dict[int, str] = {}
    settled: bool = True
    restored: float = 0.0
    pause: float = 0.0


def measure(overview: Overview, at: float) -> Measurement:
    """The figures that an overview has; `at` in seconds."""
    live = {each.node: each for each in overview.nodes if each.state == "live"}
    nodes = {each.node: each for each in overview.nodes}
    missing: dict[int, str] = {}
    figures: list[SlotFigures] = []
    for slot in overview.slots:
        found = _figures(slot, nodes)
        if isinstance(found, str):
            missing[slot.slot] = found
        else:
            figures.append(found)
    return Measurement(
        at,
        len(overview.slots),
        tuple(figures),
        tuple(NodeFigures(each, live[each].cores, _backups(overview, each)) for each in live),
        missing,
        settled=not missing and _is_even(overview.slots, live),
        restored=_mean(worker.restored for worker in _workers(overview)),
        pause=_mean(
            slot.adoption.took
            for slot in overview.slots
            if slot.adoption is not None and slot.adoption.reason in {"move", "leave"}
        ),
    )


def _figures(slot: SlotOverview, nodes: dict[str, NodeOverview]) -> SlotFigures | str:
    """What is known of a slot, or why nothing is."""
    primary = slot.primary
    if primary is None or not slot.live:
        return "has no live primary"
    if primary.state != "running":
        return f"is {primary.state}"
    node = nodes[primary.node]
    if node.heartbeat_age > _STALE:
        return f"sent its last heartbeat {node.heartbeat_age:.0f} s ago"
    if primary.lag is None:
        return "doesn't know its lag"
    if primary.cpu is None or not node.cores:
        return f"runs on {primary.name}, an older kproc that doesn't report its processor time"
    return SlotFigures(
        slot.slot,
        primary.node,
        primary.lag,
        primary.rate,
        primary.busy,
        primary.cpu,
        primary.starved,
        primary.bytes,
    )


def _is_even(slots: Iterable[SlotOverview], live: Iterable[str]) -> bool:
    held = dict.fromkeys(live, 0)
    for slot in slots:
        if slot.primary is None or slot.primary.node not in held:
            return False
        held[slot.primary.node] += 1
    return max(held.values(), default=0) - min(held.values(), default=0) <= 1


def _backups(overview: Overview, node: str) -> float:
    """Cores that a node's warm backups use; one that restores does so only for a while."""
    return sum(
        backup.cpu or 0.0
        for slot in overview.slots
        for backup in slot.backups
        if backup.node == node and backup.state == "ready"
    )


def _workers(overview: Overview) -> Iterable[Worker]:
    for slot in overview.slots:
        yield from slot.backups
        if slot.primary is not None:
            yield slot.primary


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if value]
    return sum(known) / len(known) if known else 0.0
