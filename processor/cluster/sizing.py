"""Sizing: how many nodes a load needs, and what it costs to get there.

    cores that the fullest node needs = records per second of its slots * core-seconds per record

where the records are those that arrive and, spread over some time, those that are behind. Slots are
shared out by their number: with 8 slots the fullest of 5, 6 or 7 nodes has two, as with 4, so that
these would not help. The fullest node is taken to have the slot with the most to do and a fair
share of the others.

A slot is one process: it needs no more of a node than it could use. Where even more arrives than it
could process with a core for itself, no number of nodes helps it, and none are asked for its sake.
"""

from itertools import compress
from math import ceil, inf

import msgspec

from processor.cluster.load import Load, SlotLoad
from processor.cluster.measure import Measurement

ASSUMED_RESTORE = 50e6
"""Bytes per second that a restore takes in, until one has been measured."""
ASSUMED_PAUSE = 0.5
"""Seconds that a slot stands still for its move, until a move has been measured."""

_EXACT = 1.01
"""What is over by less than this is not over: measurements are no better."""

_UNEVEN = 1.2
"""A slot that has more to do than the others by less than this has as much."""


class Moves(msgspec.Struct, frozen=True):
    """What another number of nodes costs."""

    slots: int  # that move
    bytes: int  # that have to be copied
    seconds: float  # until all is done
    pause: float  # seconds that each of them stands still
    is_measured: bool  # whether a restore and a move have been seen


class Sizing:
    """The number of nodes for a load.

    Args:
        load: Its cost has to be known.
        catch_up: Seconds in which a backlog should be gone.
    """

    def __init__(self, load: Load, catch_up: float) -> None:
        assert load.cost is not None
        self._load = load
        self._cost = load.cost
        self._catch_up = catch_up

    def nodes_for(self, target: float, ready: float | None = 0.0) -> int:
        """The smallest number of nodes that is enough; as many as slots if none is.

        Args:
            target: Share of its cores that the fullest node may need.
            ready: Seconds until they work, in which the backlog grows on; None: leave it out.
        """
        slots = max(len(self._load.slots), 1)
        return next((n for n in range(1, slots) if self.fits(n, target, ready)), slots)

    def fits(self, nodes: int, target: float, ready: float | None = 0.0) -> bool:
        """Whether so many nodes are enough."""
        slots, room = self._load.slots, self.room(target)
        needs = [self._need(each, target, ready) for each in slots]
        helped = [each.limit is None for each in slots]
        free = sorted(compress(needs, helped), reverse=True)
        share = min(ceil(len(slots) / max(nodes, 1)), len(free))
        mean = sum(free[1:]) / max(len(free) - 1, 1)
        hottest = max(free, default=0.0)
        hottest = hottest if hottest > _UNEVEN * mean else sum(free) / max(len(free), 1)
        fullest = hottest + (share - 1) * mean
        return max(fullest, sum(needs) / max(nodes, 1)) <= room * _EXACT

    def room(self, target: float) -> float:
        """Records per second of one node."""
        return target * self._load.cores / self._cost

    def demand(self, slot: SlotLoad, ready: float | None = 0.0) -> float:
        """Records per second that a slot should process, as far as it can."""
        if slot.limit == "reads":
            return slot.rate
        wanted = slot.arrival
        if ready is not None:
            growth = max(0.0, slot.arrival - slot.rate)
            wanted += (slot.lag + growth * ready) / self._catch_up
        return min(wanted, slot.most) if slot.most else wanted

    def _need(self, slot: SlotLoad, target: float, ready: float | None) -> float:
        """Records per second that a node should have room for; its headroom is the node's."""
        most = target * slot.most if slot.most else inf
        return min(self.demand(slot, ready), most)

    @property
    def total(self) -> float:
        """Records per second that all slots should process."""
        return sum(map(self.demand, self._load.slots))


def moves_to(load: Load, measurement: Measurement, nodes: int, wish: int) -> Moves:
    """What it costs to go from one number of nodes to another.

    A node warms one slot at a time, and those that gain slots do so at once.
    """
    low, high = sorted((max(nodes, 1), max(wish, 1)))
    slots = measurement.slots
    moved = 0 if low == high else slots - ceil(slots * low / high)
    each = load.bytes / slots if slots else 0.0
    rate = measurement.restored or ASSUMED_RESTORE
    pause = measurement.pause or ASSUMED_PAUSE
    gaining = high - low if wish > nodes else low
    seconds = ceil(moved / gaining) * (each / rate + pause) if moved else 0.0
    is_measured = bool(measurement.pause and (measurement.restored or not load.bytes))
    return Moves(moved, round(moved * each), seconds, pause, is_measured)
