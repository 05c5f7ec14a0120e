"""Load: what an application has to do, and what that takes, from measurements one after the other.

The idea is that of DS2 (Kalavri et al., "Three steps is all you need", OSDI 2018): the *true* rate
of a worker is what it processes in the time that it works, not in all the time; what arrives is
what is processed plus what the lag grows by. Beyond it, work is counted in processor time, as
several slots share the cores of a node: a slot that waits for a core looks busy and is not.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Literal

import msgspec

from processor.cluster.measure import Measurement, NodeFigures, SlotFigures

Limit = Literal["processor", "waits", "reads"]
"""Why more arrives for a slot than it could process with a core for itself: its process uses that
fully; or it waits for something outside, such as acknowledgements or a call in a step. `reads`: it
is behind, and yet its input comes slowly."""

SPAN = 15.0
"""Seconds that measurements are averaged over."""

BEHIND = 5.0
"""Seconds of work that a slot may lag without being behind."""

_SURE = 10.0
"""Seconds of measurements on one node until its input can be said to come slowly."""

_WARM = 5.0
"""Seconds that a slot has to be at work on its node until what it takes means anything."""

_MEANINGFUL = 0.5
"""Share of the time that a slot has to be busy for its rate to say what it could do."""

_FULL = 0.9
"""Share of a node's cores in use from which on its slots wait for each other."""


class SlotLoad(msgspec.Struct, frozen=True):
    """What one slot has to do; all rates are records per second."""

    slot: int
    node: str
    rate: float  # processed
    arrival: float
    lag: int  # records
    most: float = 0.0  # that it could process with a core for itself; 0 if not known
    limit: Limit | None = None  # why that is too little for what arrives, if it is
    bytes: int = 0

    @property
    def is_behind(self) -> bool:
        """Whether its lag is more than some seconds of work."""
        return self.lag > BEHIND * max(1.0, self.rate, self.arrival)


class Load(msgspec.Struct, frozen=True):
    """What the application has to do.

    Attributes:
        slots: Of those known now or earlier.
        cost: Core-seconds that a record takes on all its way, backups included; None if no record
            has been processed yet.
        cores: That a node has, in the mean: less than the machine's where neighbours take some.
        missing: Slots of which nothing is known now, and why.
    """

    slots: tuple[SlotLoad, ...]
    cost: float | None
    cores: float
    missing: dict[int, str] = {}

    @property
    def rate(self) -> float:
        """Records per second that are processed."""
        return sum(each.rate for each in self.slots)

    @property
    def arrival(self) -> float:
        """Records per second that arrive."""
        return sum(each.arrival for each in self.slots)

    @property
    def lag(self) -> int:
        """Records that are behind."""
        return sum(each.lag for each in self.slots)

    @property
    def bytes(self) -> int:
        """Of state."""
        return sum(each.bytes for each in self.slots)


class LoadMeter:
    """Makes the load out of measurements."""

    def __init__(self) -> None:
        self._recent: deque[Measurement] = deque()
        self._costs: deque[tuple[float, float, float]] = deque()  # at, cores, records per second
        self._places: dict[int, tuple[str, float]] = {}  # slot → its node, and since when
        self._known: dict[int, SlotLoad] = {}
        self._cost: float | None = None
        self._cores = 0.0

    def note(self, measurement: Measurement) -> Load:
        """Takes in the next measurement; the load as of then."""
        recent = self._recent
        recent.append(measurement)
        while measurement.at - recent[0].at > SPAN:
            recent.popleft()
        self._known = {n: each for n, each in self._known.items() if n < measurement.slots}
        self._note_cost(measurement)
        full = {node.node for node in measurement.nodes if _is_full(node, measurement)}
        for figures in measurement.figures:
            before = self._known.get(figures.slot)
            self._known[figures.slot] = _slot_load(self._run(figures.slot), full, before)
        cores = [_cores(node, measurement, self._known) for node in measurement.nodes]
        self._cores = fmean(cores) if cores and all(cores) else self._cores
        slots = tuple(self._known[slot] for slot in sorted(self._known))
        return Load(slots, self._cost, self._cores, measurement.missing)

    def _note_cost(self, measurement: Measurement) -> None:
        """Only of slots that have been at work for a while: a start has costs of its own."""
        before, now = self._places, measurement.at
        self._places = {
            each.slot: (each.node, now)
            if each.slot not in before or before[each.slot][0] != each.node
            else before[each.slot]
            for each in measurement.figures
        }
        warm = all(now - since >= _WARM for _, since in self._places.values())
        if warm and not measurement.missing:
            cpu = sum(each.cpu for each in measurement.figures)
            cpu += sum(node.backups_cpu for node in measurement.nodes)
            self._costs.append((now, cpu, sum(each.rate for each in measurement.figures)))
        while self._costs and now - self._costs[0][0] > SPAN:
            self._costs.popleft()
        records = sum(each for _, _, each in self._costs)
        cpu = sum(each for _, each, _ in self._costs)
        self._cost = cpu / records if records and cpu else self._cost

    def _run(self, slot: int) -> Sequence[tuple[float, SlotFigures]]:
        """The slot's recent figures without a gap, the oldest first."""
        run: deque[tuple[float, SlotFigures]] = deque()
        for measurement in reversed(self._recent):
            found = [each for each in measurement.figures if each.slot == slot]
            if not found:
                break
            run.appendleft((measurement.at, found[0]))
        return run


def _slot_load(
    run: Sequence[tuple[float, SlotFigures]], full: Iterable[str], before: SlotLoad | None
) -> SlotLoad:
    """A slot's load by its recent figures; what they don't report is as it was before."""
    (began, first), (ended, last) = run[0], run[-1]
    span = ended - began
    rate = fmean(each.rate for _, each in run)
    growth = (last.lag - first.lag) / span if span > 0 else 0.0
    here = [each for _, each in run if each.node == last.node]
    alone, busy = fmean(_alone(each, full) for each in here), fmean(each.busy for each in here)
    meaningful = alone > 0 and busy >= _MEANINGFUL
    done = fmean(each.rate for each in here)
    load = SlotLoad(
        last.slot,
        last.node,
        rate=rate,
        arrival=max(0.0, rate + growth),
        lag=last.lag,
        most=done / alone if meaningful else before.most if before else 0.0,
        bytes=last.bytes,
    )
    known = before.limit if before else None
    limit: Limit | None = None
    if load.most and load.arrival > load.most:
        limit = known if known in {"processor", "waits"} else "processor"
        if meaningful:
            limit = "waits" if fmean(each.cpu for each in here) < alone / 2 else "processor"
    elif load.is_behind and not meaningful:
        limit = "reads" if (here[0] is first and span >= _SURE) or known == "reads" else None
    return msgspec.structs.replace(load, limit=limit)


def _alone(figures: SlotFigures, full: Iterable[str]) -> float:
    """Share of the time that the slot would be busy if it had a core for itself."""
    starved = figures.starved
    if figures.node in full:  # a container's limit makes it wait without showing
        starved = max(starved, figures.busy - figures.cpu)
    return max(0.0, figures.busy - starved)


def _used(node: NodeFigures, measurement: Measurement) -> float:
    mine = (each.cpu for each in measurement.figures if each.node == node.node)
    return node.backups_cpu + sum(mine)


def _is_full(node: NodeFigures, measurement: Measurement) -> bool:
    return _used(node, measurement) >= _FULL * node.cores


def _cores(node: NodeFigures, measurement: Measurement, loads: Mapping[int, SlotLoad]) -> float:
    """Cores that the node gets: all it may use, unless neighbours starve it while it is behind."""
    mine = [each for each in measurement.figures if each.node == node.node]
    used, starved = _used(node, measurement), sum(each.starved for each in mine)
    stuck = any(each.busy >= _FULL and loads[each.slot].is_behind for each in mine)
    usable = min(node.cores, len(mine) + node.backups_cpu)  # a worker uses no more than a core
    crowded = stuck and used < _FULL * usable <= used + starved
    return used if crowded else node.cores
