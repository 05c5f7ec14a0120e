"""Which node should have which slot, and which nodes a warm replica of it.

A pure function of the view: every node works it out for itself, and does its own part. It says
where things should get to; `decisions` says when a node may act on it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import TypeAlias

from processor.cluster.beats import Beat, Reason, Replica
from processor.cluster.view import View, is_ready

READY, WARMING, HELD, NEW = range(4)  # how much of a slot a node has already
FARTHEST = 2**63  # lag of a replica that doesn't know it

Having: TypeAlias = dict[int, dict[str, Replica]]
"""Slot → node id → what the node has of it."""

NO_NEWS: Mapping[str, Sequence[Replica]] = {}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a slot belongs."""

    primary: str  # node id; a replica comes first here too, while another node holds the slot
    replicas: tuple[str, ...]  # ids of the other nodes that have to keep one


def place(
    view: View, backups: int, latest: Mapping[str, Sequence[Replica]] = NO_NEWS
) -> Mapping[int, Placement]:
    """Slot → where it belongs, over the nodes that live and don't leave; empty without any.

    1. Each node gets a quota of slots by its weight.
    2. A holder keeps its slots up to the quota, those that it has had longest first.
    3. Orphans go to the best of their ready replicas, beyond its quota if need be.
    4. What is left goes to nodes below their quota, where most of its state is.
    5. Each slot gets its replicas: in other zones than the primary first, then where one is.
       Those that aren't wanted any more stay until all that are wanted are ready.

    Args:
        view: What is known.
        backups: How many replicas each slot is to have.
        latest: Node id → what it has now, where that is known better than by its last beat.
    """
    nodes = {beat.node: beat for beat in view.live()}
    if not nodes:
        return {}
    primaries = _Primaries(view, nodes, _having(view, nodes, latest))
    replicas = _Replicas(view, nodes, primaries, backups)
    return {slot: Placement(primaries.of[slot], replicas.of(slot)) for slot in range(view.slots)}


def quotas(beats: Sequence[Beat], slots: int, held: Mapping[str, int]) -> dict[str, int]:
    """Node id → how many of the slots are its share by weight, by the largest remainder.

    Args:
        beats: Of the nodes, by node id. Those without weight get slots only if all are.
        slots: How many there are to share.
        held: Node id → how many it has, or had last: of equal remainders that of the greater one
            goes first, so that nothing moves for nothing.
    """
    weights = {beat.node: max(0.0, beat.weight) for beat in beats}
    total = sum(weights.values())
    exact = {
        node: slots * weight / total if total else slots / len(weights)
        for node, weight in weights.items()
    }
    quota = {node: int(share) for node, share in exact.items()}
    missing = slots - sum(quota.values())
    order = sorted(exact, key=lambda node: (quota[node] - exact[node], -held.get(node, 0), node))
    for node in order[:missing]:
        quota[node] += 1
    return quota


class _Primaries:
    """Steps 1 to 4."""

    def __init__(self, view: View, nodes: Mapping[str, Beat], having: Having) -> None:
        self.of: dict[int, str] = {}
        """Slot → node id."""
        self.load = dict.fromkeys(nodes, 0)
        """Node id → how many slots."""
        self.losses: dict[int, Reason] = {}
        """Orphaned slot → why."""
        self._view = view
        self._nodes = nodes
        for slot in range(view.slots):
            loss = view.loss(slot)
            if loss is not None:
                self.losses[slot] = loss
        self.having = having
        held = Counter(holder.node for holder in view.holders.values())
        self._room = quotas(list(nodes.values()), view.slots, held)
        self._keep()
        self._rescue()
        self._spread()

    def holds(self, node: str, slot: int) -> bool:
        """Whether the node has the slot already."""
        return slot not in self.losses and self._view.holders[slot].node == node

    def _put(self, slot: int, node: str) -> None:
        self.of[slot] = node
        self.load[node] += 1
        self._room[node] -= 1

    def _keep(self) -> None:
        """In the order of the claims: what was taken last moves first, not what ran all along."""
        for beat in self._nodes.values():
            for slot in (claim.slot for claim in beat.claims):
                mine = slot not in self.of and self.holds(beat.node, slot)
                if mine and self._room[beat.node] > 0:
                    self._put(slot, beat.node)

    def _rescue(self) -> None:
        for slot in self.losses:
            ready = {
                node: replica for node, replica in self.having[slot].items() if is_ready(replica)
            }
            if ready:
                best = min(ready, key=lambda node: (_lag(ready[node]), self.load[node], node))
                self._put(slot, best)

    def _spread(self) -> None:
        """There is always a node with room, as the quotas add up to all slots."""
        orphans = [slot for slot in self.losses if slot not in self.of]
        surplus = [
            slot
            for slot in range(self._view.slots)
            if slot not in self.of and slot not in self.losses
        ]
        for slot in orphans + surplus:
            self._put(slot, self._best_below_quota(slot))

    def _best_below_quota(self, slot: int) -> str:
        room = self._room
        worths = {node: worth for node, worth in self._worths(slot).items() if room[node] > 0}
        if worths:
            return min(worths, key=lambda node: (worths[node], -room[node], node))
        return max(room, key=room.__getitem__)

    def _worths(self, slot: int) -> dict[str, int]:
        """Node id → how much of the slot it has, for those that have something."""
        worths: dict[str, int] = {}
        holder = self._view.holders.get(slot)
        if holder is not None and holder.node in self._room:
            worths[holder.node] = HELD
        for node, replica in self.having[slot].items():
            if replica.state != "crashed":
                worths[node] = READY if is_ready(replica) else WARMING
        return worths


class _Replicas:
    """Step 5, for all slots together: new replicas go where the fewest workers are."""

    def __init__(
        self, view: View, nodes: Mapping[str, Beat], primaries: _Primaries, backups: int
    ) -> None:
        self._view = view
        self._zones = {node: beat.zone for node, beat in nodes.items()}
        self._one_zone = len(set(self._zones.values())) == 1
        self._primaries = primaries
        self._backups = min(backups, len(nodes) - 1)
        self._workers = dict(primaries.load)
        self._chosen: dict[int, list[str]] = {slot: [] for slot in range(view.slots)}
        worths = {slot: self._worths(slot) for slot in range(view.slots)}
        for slot in range(view.slots):
            self._take_known(slot, worths[slot])
        for slot in range(view.slots):
            self._fill_up(slot, worths[slot])

    def of(self, slot: int) -> tuple[str, ...]:
        """Ids of the nodes that have to keep a replica of the slot.

        Nobody gives one up until all that are wanted are ready: the slot stays warm, and nodes that
        don't yet know of each other's replicas don't stop them for each other's sake.
        """
        primary, chosen = self._primaries.of[slot], self._chosen[slot]
        having = self._primaries.having[slot]
        wanted = chosen if self._primaries.holds(primary, slot) else [primary, *chosen]
        if all(is_ready(having.get(node)) for node in wanted):
            return tuple(chosen)
        spare = sorted(node for node in having if node != primary and node not in chosen)
        return (*chosen, *spare)

    def _take_known(self, slot: int, worths: Mapping[str, int]) -> None:
        """Those in the best zones that have something of the slot, before any gets a new one."""
        zone = self._zones[self._primaries.of[slot]]
        far = [node for node in worths if self._one_zone or self._zones[node] != zone]
        far.sort(key=lambda node: (worths[node], node))
        self._take(slot, far[: self._backups])

    def _fill_up(self, slot: int, worths: Mapping[str, int]) -> None:
        missing = self._backups - len(self._chosen[slot])
        if missing == 0:
            return
        zones, workers = self._zones, self._workers
        zone = zones[self._primaries.of[slot]]
        taken = {*self._chosen[slot], self._primaries.of[slot]}
        others = [node for node in zones if node not in taken]
        far = [node for node in others if self._one_zone or zones[node] != zone]
        if len(far) >= missing:  # all of them new, as those known are taken
            self._take(slot, nsmallest(missing, far, key=workers.__getitem__))
        else:
            others.sort(
                key=lambda node: (zones[node] == zone, worths.get(node, NEW), workers[node])
            )
            self._take(slot, others[:missing])

    def _take(self, slot: int, nodes: Iterable[str]) -> None:
        for node in nodes:
            self._chosen[slot].append(node)
            self._workers[node] += 1

    def _worths(self, slot: int) -> dict[str, int]:
        """Node id → how much it has of the slot, for those but the primary that have something.

        A present holder comes after a replica, which needs no start of a new worker.
        """
        worths = {
            node: READY if is_ready(replica) else WARMING
            for node, replica in self._primaries.having[slot].items()
        }
        holder = self._view.holders.get(slot)
        if holder is not None and holder.node in self._zones:
            worths[holder.node] = HELD
        worths.pop(self._primaries.of[slot], None)
        return worths


def _having(view: View, nodes: Iterable[str], latest: Mapping[str, Sequence[Replica]]) -> Having:
    having: Having = {slot: {} for slot in range(view.slots)}
    for node in nodes:
        for replica in latest.get(node, view.members[node].beat.replicas):
            if replica.slot in having:
                having[replica.slot][node] = replica
    return having


def _lag(replica: Replica) -> int:
    return FARTHEST if replica.lag is None else replica.lag
