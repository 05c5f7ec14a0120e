"""Which node should have which slot, and which nodes a warm replica of it.

A pure function of the view: every node works it out for itself, and does its own part. It says
where things should get to; `decisions` says when a node may act on it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from processor.cluster.beats import Beat, Reason, Replica
from processor.cluster.view import View, is_ready

READY, WARMING, HELD, NEW = range(4)  # how much of a slot a node has already
FARTHEST = 2**63  # lag of a replica that doesn't know it


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a slot belongs."""

    primary: str  # node id; a replica comes first here too, while another node holds the slot
    replicas: tuple[str, ...]  # ids of the other nodes that have to keep one


def place(view: View, backups: int) -> Mapping[int, Placement]:
    """Slot → where it belongs, over the nodes that live and don't leave; empty without any.

    1. Each node gets a quota of slots by its weight.
    2. A holder keeps its slots up to the quota, those with low numbers first.
    3. Orphans go to the best of their ready replicas, beyond its quota if need be.
    4. What is left goes to nodes below their quota, where most of its state is.
    5. Each slot gets its replicas: in other zones than the primary first, then where one is.
       A ready replica that isn't wanted any more stays until those wanted are ready.
    """
    nodes = {beat.node: beat for beat in view.live()}
    if not nodes:
        return {}
    primaries = _Primaries(view, nodes)
    replicas = _Replicas(view, nodes, primaries, backups)
    return {slot: Placement(primaries.of[slot], replicas.of(slot)) for slot in range(view.slots)}


def quotas(beats: Sequence[Beat], slots: int, held: Mapping[str, int]) -> dict[str, int]:
    """Node id → how many of the slots are its share by weight, by the largest remainder.

    Args:
        beats: Of the nodes, by node id. Those without weight get slots only if all are.
        slots: How many there are to share.
        held: Node id → how many it has: of equal remainders that of the greater one goes first, so
            that nothing moves for nothing.
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

    def __init__(self, view: View, nodes: Mapping[str, Beat]) -> None:
        self.of: dict[int, str] = {}
        """Slot → node id."""
        self.load: Counter[str] = Counter()
        """Node id → how many slots."""
        self.losses: dict[int, Reason] = {}
        """Orphaned slot → why."""
        self._view = view
        for slot in range(view.slots):
            loss = view.loss(slot)
            if loss is not None:
                self.losses[slot] = loss
        self.having = _having(view, nodes)
        held = Counter(
            holder.node for slot, holder in view.holders.items() if slot not in self.losses
        )
        self._quota = quotas(list(nodes.values()), view.slots, held)
        self._keep()
        self._rescue()
        self._spread()

    def _put(self, slot: int, node: str) -> None:
        self.of[slot] = node
        self.load[node] += 1

    def _keep(self) -> None:
        for slot in range(self._view.slots):
            if slot not in self.losses:
                node = self._view.holders[slot].node
                if self.load[node] < self._quota.get(node, 0):
                    self._put(slot, node)

    def _rescue(self) -> None:
        for slot in self.losses:
            ready = {
                node: replica for node, replica in self.having[slot].items() if is_ready(replica)
            }
            if ready:
                best = min(ready, key=lambda node: (_lag(ready[node]), self.load[node], node))
                self._put(slot, best)

    def _spread(self) -> None:
        """There is always a node below its quota, as the quotas add up to all slots."""
        orphans = [slot for slot in self.losses if slot not in self.of]
        surplus = [
            slot
            for slot in range(self._view.slots)
            if slot not in self.of and slot not in self.losses
        ]
        for slot in orphans + surplus:
            room = {
                node: quota - self.load[node]
                for node, quota in self._quota.items()
                if quota > self.load[node]
            }
            best = min(room, key=lambda node: (self._worth(slot, node), -room[node], node))
            self._put(slot, best)

    def _worth(self, slot: int, node: str) -> int:
        replica = self.having[slot].get(node)
        if replica is not None and replica.state != "crashed":
            return READY if is_ready(replica) else WARMING
        holder = self._view.holders.get(slot)
        return HELD if holder is not None and holder.node == node else NEW


class _Replicas:
    """Step 5, for all slots together: new replicas go where the fewest workers are."""

    def __init__(
        self, view: View, nodes: Mapping[str, Beat], primaries: _Primaries, backups: int
    ) -> None:
        self._view = view
        self._nodes = nodes
        self._zones = {beat.zone for beat in nodes.values()}
        self._primaries = primaries
        self._backups = min(backups, len(nodes) - 1)
        self._workers = primaries.load.copy()
        self._chosen: dict[int, list[str]] = {}
        for slot in range(view.slots):
            self._choose_far(slot)
        for slot in range(view.slots):
            self._fill_up(slot)

    def of(self, slot: int) -> tuple[str, ...]:
        """Ids of the nodes that have to keep a replica of the slot."""
        chosen = self._chosen[slot]
        having = self._primaries.having[slot]
        wanting = self._backups - sum(is_ready(having.get(node)) for node in chosen)
        if wanting <= 0:
            return tuple(chosen)
        spare = [
            node
            for node in sorted(having)
            if is_ready(having[node]) and node not in chosen and node != self._primaries.of[slot]
        ]
        return (*chosen, *spare[:wanting])

    def _choose_far(self, slot: int) -> None:
        """Of the nodes that have a replica those in the best zones, before any gets a new one."""
        candidates = [
            node
            for node in self._somewhere(slot)
            if node in self._nodes and (len(self._zones) == 1 or not self._is_near(slot, node))
        ]
        candidates.sort(key=lambda node: (self._worth(slot, node), node))
        self._take(slot, candidates[: self._backups])

    def _fill_up(self, slot: int) -> None:
        missing = self._backups - len(self._chosen[slot])
        if missing <= 0:
            return
        taken = {*self._chosen[slot], self._primaries.of[slot]}
        candidates = [node for node in self._nodes if node not in taken]
        candidates.sort(
            key=lambda node: (
                self._is_near(slot, node),
                self._worth(slot, node),
                self._workers[node],
                node,
            )
        )
        self._take(slot, candidates[:missing])

    def _take(self, slot: int, nodes: Iterable[str]) -> None:
        chosen = self._chosen.setdefault(slot, [])
        for node in nodes:
            chosen.append(node)
            self._workers[node] += 1

    def _somewhere(self, slot: int) -> set[str]:
        """Nodes other than the placed primary that have something of the slot."""
        holder = self._view.holders.get(slot)
        nodes = set(self._primaries.having[slot])
        if holder is not None:
            nodes.add(holder.node)
        nodes.discard(self._primaries.of[slot])
        return nodes

    def _is_near(self, slot: int, node: str) -> bool:
        return self._nodes[node].zone == self._nodes[self._primaries.of[slot]].zone

    def _worth(self, slot: int, node: str) -> int:
        """A present holder comes after a replica, which needs no start of a new worker."""
        holder = self._view.holders.get(slot)
        if holder is not None and holder.node == node:
            return HELD
        replica = self._primaries.having[slot].get(node)
        if replica is None:
            return NEW
        return READY if is_ready(replica) else WARMING


def _having(view: View, nodes: Iterable[str]) -> dict[int, dict[str, Replica]]:
    """Slot → node id → what the node has of it."""
    having: dict[int, dict[str, Replica]] = {slot: {} for slot in range(view.slots)}
    for node in nodes:
        for slot, replica in view.members[node].replicas.items():
            if slot in having:
                having[slot][node] = replica
    return having


def _lag(replica: Replica) -> int:
    return FARTHEST if replica.lag is None else replica.lag
