"""Overview: an application's nodes and slots as somebody sees them who only listens.

From beats to an overview; knows neither where beats come from nor how it is shown.
"""

from collections.abc import Iterator, Mapping

import msgspec

from processor.cluster.beats import Adoption, Beat, Replica, WorkerFigures
from processor.cluster.view import Holder, Member, View
from processor.records import Timestamp

_PRESENT = frozenset(("live", "leaving"))
_LIVE = frozenset(("adopting", "starting", "restoring", "waiting", "running", "stopping"))


class Worker(WorkerFigures, frozen=True, omit_defaults=False):
    """A worker of a slot: a replica's figures, and the node that it is on."""

    node: str
    name: str
    state: str  # as a Replica's; of a primary also "adopting", "gone", or its node's if not there


class Takeover(msgspec.Struct, frozen=True):
    """The last adoption of a slot. All times are seconds.

    The group is joined while the slot fences and catches up.
    """

    reason: str
    predecessor: str
    at: int | None  # the broker's time of the claim, milliseconds since 1970
    ago: float | None  # by the broker's clock
    took: float
    fence: float
    catch_up: float
    join: float


class SlotOverview(msgspec.Struct, frozen=True):
    """One slot."""

    slot: int
    live: bool  # whether its primary is there, with its partitions
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
    cores: float = 0.0  # 0 if not known
    http: str = ""  # where its stores are asked; empty: nowhere


class Overview(msgspec.Struct, frozen=True):
    """All of an application, slots by their numbers and nodes by their names."""

    application: str
    healthy: bool  # whether each slot has a live primary
    slots: tuple[SlotOverview, ...]
    nodes: tuple[NodeOverview, ...]
    last_heartbeat: int | None  # milliseconds since 1970, by the broker's clock

    @property
    def unattended(self) -> list[int]:
        """The slots without a primary that works on all of their partitions."""
        return [each.slot for each in self.slots if not each.live]


class Observer:
    """Listens to the beats of an application.

    Args:
        application: Its name.
        failover_timeout: Milliseconds of silence after which a node counts as dead.
        epoch: Of the application's description, if it is known: nodes with an earlier one have been
            retired, and count for nothing.
    """

    def __init__(self, application: str, failover_timeout: int, epoch: int = 0) -> None:
        self._application = application
        self._view = View(0, failover_timeout, epoch)
        self._last: Timestamp | None = None

    def hear(self, beat: Beat, at: Timestamp) -> None:
        """Takes in the topic's next beat and the broker's time of it."""
        members = self._view.members.values()
        idle = all(each.state != "live" for each in members)
        other = beat.slots != self._view.slots and beat.epoch == self._view.epoch
        if beat.epoch > self._view.epoch or (idle and other):
            # Started again with other slots, or by another description.
            self._view = View(beat.slots, self._view.failover_timeout, beat.epoch)
        self._view.apply(beat, at)
        self._last = at

    def overview(self, quiet: float, now: Timestamp | None = None) -> Overview:
        """What is known.

        Args:
            quiet: Seconds since the last beat came: if nobody beats, nobody lives.
            now: The time on the wall, milliseconds since 1970: if nobody lives, the age of what is
                known goes by it, as the last beat may have come long before anybody listened.
        """
        found = overview(self._application, self._view, self._last, quiet)
        if self._last is None or now is None or any(each.state in _PRESENT for each in found.nodes):
            return found
        return _aged(found, max(0.0, (now - self._last) / 1000 - quiet))


def overview(
    application: str, view: View, last: Timestamp | None = None, quiet: float = 0.0
) -> Overview:
    """What a view shows.

    Args:
        application: Its name.
        view: The view.
        last: The brokers' time of the last beat; None: how long ago an adoption was is unknown.
        quiet: Seconds since the last beat came: if nobody beats, nobody lives.
    """
    nodes = {node: _node(view, member, quiet) for node, member in view.members.items()}
    now = None if last is None else last + quiet * 1000
    slots = tuple(_slot(view, slot, nodes, now) for slot in range(view.slots))
    return Overview(
        application,
        healthy=bool(slots) and all(slot.live for slot in slots),
        slots=slots,
        nodes=tuple(sorted(nodes.values(), key=_by_name)),
        last_heartbeat=last,
    )


def _aged(seen: Overview, seconds: float) -> Overview:
    """The same, so many seconds later."""
    replace = msgspec.structs.replace
    nodes = [replace(each, heartbeat_age=each.heartbeat_age + seconds) for each in seen.nodes]
    slots = [
        replace(each, adoption=replace(each.adoption, ago=each.adoption.ago + seconds))
        if each.adoption and each.adoption.ago is not None
        else each
        for each in seen.slots
    ]
    return replace(seen, slots=tuple(slots), nodes=tuple(nodes))


def _node(view: View, member: Member, quiet: float) -> NodeOverview:
    beat = member.beat
    age = (view.time - member.heard) / 1000 + quiet
    state = member.state
    if state == "dead" or age * 1000 >= view.failover_timeout:
        state = member.end
    holders = view.holders.items()
    backups = (each.slot for each in beat.replicas if each.role == "backup")
    return NodeOverview(
        node=beat.node,
        name=beat.name or beat.node,
        zone=beat.zone,
        state=state,
        primaries=tuple(sorted(slot for slot, holder in holders if _has(holder, beat))),
        backups=tuple(sorted(backups)) if state in _PRESENT else (),
        heartbeat_age=age,
        cores=beat.cores,
        http=beat.http,
    )


def _slot(
    view: View, slot: int, nodes: Mapping[str, NodeOverview], now: float | None
) -> SlotOverview:
    holder = view.holders.get(slot)
    member = view.members.get(holder.node) if holder else None
    backups = tuple(_backups(view, slot, nodes))
    if holder is None or member is None:
        return SlotOverview(slot, live=False, primary=None, backups=backups, adoption=None)
    primary = _primary(view, slot, nodes[holder.node])
    adoptions = [each for each in member.beat.adoptions if each.slot == slot]
    known = adoptions[-1] if adoptions and _has(holder, member.beat) else None
    return SlotOverview(
        slot,
        live=primary.state in _LIVE,
        primary=primary,
        backups=backups,
        adoption=known and _takeover(known, now),
    )


def _backups(view: View, slot: int, nodes: Mapping[str, NodeOverview]) -> Iterator[Worker]:
    """Those who could take over, in the order of the nodes' names."""
    holder = view.holders.get(slot)
    for node in sorted(nodes.values(), key=_by_name):
        replica = view.members[node.node].replicas.get(slot)
        is_holder = holder is not None and holder.node == node.node
        if replica and replica.role == "backup" and not is_holder and node.state in _PRESENT:
            yield _worker(node, replica)


def _primary(view: View, slot: int, node: NodeOverview) -> Worker:
    """The worker of the slot's holder, as it is or as it was last."""
    replica = view.members[node.node].replicas.get(slot) or Replica(slot, "backup", "starting")
    state = "adopting" if replica.role == "backup" else replica.state
    if node.state not in _PRESENT:
        state = node.state
    elif view.is_orphaned(slot) and state in _LIVE:
        state = "gone"
    return msgspec.structs.replace(_worker(node, replica), state=state)


def _takeover(adoption: Adoption, now: float | None) -> Takeover:
    took = max(adoption.fence + adoption.catch_up, adoption.join)  # it is joined meanwhile
    ago = max(0, now - adoption.at) / 1000 if adoption.at and now is not None else None
    at = adoption.at or None
    return Takeover(
        reason=adoption.reason,
        predecessor=adoption.predecessor,
        at=at,
        ago=ago,
        took=took,
        fence=adoption.fence,
        catch_up=adoption.catch_up,
        join=adoption.join,
    )


def _by_name(node: NodeOverview) -> tuple[str, str]:
    return node.name, node.node


def _has(holder: Holder, beat: Beat) -> bool:
    return (holder.node, holder.boot) == (beat.node, beat.boot)


def _worker(node: NodeOverview, replica: Replica) -> Worker:
    figures = {name: getattr(replica, name) for name in WorkerFigures.__struct_fields__}
    return Worker(node.node, node.name, replica.state, **figures)
