"""Overview: an application's nodes and slots as somebody sees them who only listens.

From beats to what there is to show; knows neither where beats come from nor how it is shown.
"""

from collections.abc import Iterator, Mapping

import msgspec

from processor.cluster.beats import Adoption, Beat, Replica
from processor.cluster.view import Holder, Member, View
from processor.records import Timestamp

_PRESENT = frozenset(("live", "leaving"))
_LIVE = frozenset(("adopting", "starting", "restoring", "running", "stopping"))


class Worker(msgspec.Struct, frozen=True):
    """A worker of a slot: a replica's figures, and the node that it is on."""

    node: str
    name: str
    state: str  # as a Replica's; of a primary also "adopting", "gone", or its node's if not there
    lag: int | None = None
    rate: float = 0.0
    busy: float = 0.0


class Takeover(msgspec.Struct, frozen=True):
    """The last adoption of a slot. All times are seconds."""

    reason: str
    predecessor: str
    ago: float | None  # since the claim, by the broker's clock
    took: float
    fence: float
    catch_up: float
    join: float


class SlotOverview(msgspec.Struct, frozen=True):
    """One slot."""

    slot: int
    live: bool  # whether its primary is there
    primary: Worker | None
    backups: tuple[Worker, ...]
    adoption: Takeover | None


class NodeOverview(msgspec.Struct, frozen=True):
    """One node."""

    node: str
    name: str
    zone: str
    state: str  # live, leaving, left or dead
    primaries: tuple[int, ...]  # the slots that it holds
    backups: tuple[int, ...]  # the slots that it has a backup of
    heartbeat_age: float  # seconds


class Overview(msgspec.Struct, frozen=True):
    """All of an application, slots by their numbers and nodes by their names."""

    application: str
    healthy: bool  # whether each slot has a live primary
    slots: tuple[SlotOverview, ...]
    nodes: tuple[NodeOverview, ...]
    last_heartbeat: int | None  # milliseconds since 1970, by the broker's clock

    @property
    def unattended(self) -> list[int]:
        """The slots without a live primary."""
        return [each.slot for each in self.slots if not each.live]


class Observer:
    """Listens to the beats of an application.

    Args:
        application: Its name.
        failover_timeout: Milliseconds of silence after which a node counts as dead.
    """

    def __init__(self, application: str, failover_timeout: int) -> None:
        self._application = application
        self._timeout = failover_timeout
        self._view = View(0, failover_timeout)
        self._last: Timestamp | None = None

    def hear(self, beat: Beat, at: Timestamp) -> None:
        """Takes in the topic's next beat and the broker's time of it."""
        members = self._view.members.values()
        if beat.slots != self._view.slots and all(each.state != "live" for each in members):
            self._view = View(beat.slots, self._timeout)  # started again with other slots
        self._view.apply(beat, at)
        self._last = at

    def overview(self, quiet: float) -> Overview:
        """What is known.

        Args:
            quiet: Seconds since the last beat came: if nobody beats, nobody lives.
        """
        nodes = {node: self._node(member, quiet) for node, member in self._view.members.items()}
        slots = tuple(self._slot(slot, nodes) for slot in range(self._view.slots))
        return Overview(
            self._application,
            bool(slots) and all(slot.live for slot in slots),
            slots,
            tuple(sorted(nodes.values(), key=_by_name)),
            self._last,
        )

    def _node(self, member: Member, quiet: float) -> NodeOverview:
        beat = member.beat
        age = (self._view.time - member.heard) / 1000 + quiet
        holders = self._view.holders.items()
        return NodeOverview(
            beat.node,
            beat.name or beat.node,
            beat.zone,
            _state(member, is_dead=member.state == "dead" or age * 1000 >= self._timeout),
            tuple(sorted(slot for slot, holder in holders if _has(holder, beat))),
            tuple(sorted(each.slot for each in beat.replicas if each.role == "backup")),
            age,
        )

    def _slot(self, slot: int, nodes: Mapping[str, NodeOverview]) -> SlotOverview:
        holder = self._view.holders.get(slot)
        member = self._view.members.get(holder.node) if holder else None
        backups = tuple(self._backups(slot, nodes, "" if holder is None else holder.node))
        if holder is None or member is None:
            return SlotOverview(slot, live=False, primary=None, backups=backups, adoption=None)
        primary = self._primary(slot, nodes[holder.node], member)
        adoptions = [each for each in member.beat.adoptions if each.slot == slot]
        last = adoptions[-1] if adoptions and _has(holder, member.beat) else None
        takeover = last and self._takeover(last)
        return SlotOverview(slot, primary.state in _LIVE, primary, backups, takeover)

    def _backups(
        self, slot: int, nodes: Mapping[str, NodeOverview], holder: str
    ) -> Iterator[Worker]:
        """Those who could take over, in the order of the nodes' names."""
        for node in sorted(nodes.values(), key=_by_name):
            replica = self._view.members[node.node].replicas.get(slot)
            if replica is None or replica.role != "backup" or node.node == holder:
                continue
            if node.state in _PRESENT:
                yield _worker(node, replica)

    def _primary(self, slot: int, node: NodeOverview, member: Member) -> Worker:
        """The worker of the slot's holder, as it is or as it was last."""
        replica = member.replicas.get(slot) or Replica(slot, "backup", "starting")
        state = "adopting" if replica.role == "backup" else replica.state
        if node.state not in _PRESENT:
            state = node.state
        elif self._view.is_orphaned(slot) and state in _LIVE:
            state = "gone"
        return msgspec.structs.replace(_worker(node, replica), state=state)

    def _takeover(self, adoption: Adoption) -> Takeover:
        steps = (adoption.fence, adoption.catch_up, adoption.join)
        ago = None
        if adoption.at and self._last is not None:
            ago = max(0, self._last - adoption.at) / 1000
        return Takeover(adoption.reason, adoption.predecessor, ago, sum(steps), *steps)


def _state(member: Member, *, is_dead: bool) -> str:
    if is_dead:
        return "left" if member.beat.leaving else "dead"
    return member.state


def _by_name(node: NodeOverview) -> tuple[str, str]:
    return node.name, node.node


def _has(holder: Holder, beat: Beat) -> bool:
    return (holder.node, holder.boot) == (beat.node, beat.boot)


def _worker(node: NodeOverview, replica: Replica) -> Worker:
    figures = (replica.lag, replica.rate, replica.busy)
    return Worker(node.node, node.name, replica.state, *figures)
