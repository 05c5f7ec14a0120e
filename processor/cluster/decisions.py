"""What one node does now: the workers it has to have, and the slots it claims.

Pure functions of the view. A claim is only a wish until it is read back from the topic: of all
claims with one term the first counts, so that a slot has one holder a term, whoever sends what.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from processor.cluster.beats import Reason, Replica, ReplicaState, Role
from processor.cluster.placement import Placement, place
from processor.cluster.view import Member, View, is_ready


@dataclass(frozen=True, slots=True)
class Decision:
    """What a node has to do by a view."""

    claims: frozenset[int]  # slots to be claimed at once, each with the view's term + 1
    workers: Mapping[int, Role]  # slots that it has to have a worker of; no others


NOTHING = Decision(frozenset(), {})


def decide(
    view: View, node: str, boot: str, backups: int, replicas: Sequence[Replica] | None = None
) -> Decision:
    """What a node does by a view; nothing before its own first beat is in it.

    Asking again before a claim has been read back says the same again.

    Args:
        view: What the node has read so far.
        node: Its id.
        boot: The id of this start of it. If another start has followed, there is nothing to do.
        backups: How many replicas each slot is to have.
        replicas: What the node has now. By its last beat that it has read, it could start a worker,
            stop it as it seems not to be there, start it as it seems to be, and so on for ever.
    """
    me = view.members.get(node)
    if me is None or me.beat.boot != boot or view.is_contested:
        return NOTHING
    if me.state == "dead":
        return Decision(frozenset(), _present(view, me))
    placements = place(view, backups, {} if replicas is None else {node: replicas})
    claims = {
        slot
        for slot, placement in placements.items()
        if placement.primary == node and view.is_orphaned(slot)
    }
    return Decision(
        frozenset(claims | _moves(view, me, placements)), _workers(view, me, placements)
    )


def reason(view: View, slot: int) -> Reason:
    """Why a claim on the slot would be made now."""
    return view.loss(slot) or "move"


def _workers(view: View, me: Member, placements: Mapping[int, Placement]) -> dict[int, Role]:
    workers: dict[int, Role] = {}
    for slot in range(view.slots):
        if _is_primary(view, me, slot):
            workers[slot] = "primary"
        elif slot in placements:
            placement = placements[slot]
            if me.beat.node in (placement.primary, *placement.replicas):
                workers[slot] = "backup"
    return workers


def _present(view: View, me: Member) -> dict[int, Role]:
    """A node that seems dead keeps what it has until it reads that it lives: it was only late."""
    return {slot: "primary" if _is_primary(view, me, slot) else "backup" for slot in me.replicas}


def _is_primary(view: View, me: Member, slot: int) -> bool:
    """A worker that has ended needs a new claim first: another node may be taking over."""
    return _holds(view, me, slot) and view.loss(slot) not in ("crash", "leave")


def _moves(view: View, me: Member, placements: Mapping[int, Placement]) -> set[int]:
    """Slots that another node works on, belong here, and this node is ready to go on with.

    All of those whose node leaves, those that are stuck as well; of others one at a time, when
    nodes have neither come nor gone for a while, all slots of this node are at work, and it
    restores nothing: what takes all of its processor time would make the slot stand still for
    longer.
    """
    ready = {
        slot: view.members[view.holders[slot].node]
        for slot, placement in placements.items()
        if placement.primary == me.beat.node
        and is_ready(me.replicas.get(slot))
        and not view.is_orphaned(slot)
    }
    movable = {slot: member for slot, member in ready.items() if _is_running(member, slot)}
    leaving = {
        slot
        for slot, member in ready.items()
        if member.state == "leaving" and _state(member, slot) in ("running", "stuck")
    }
    if leaving or view.time - view.changed < view.failover_timeout:
        return leaving
    if any(replica.state == "restoring" for replica in me.replicas.values()):
        return set()
    held = (slot for slot in range(view.slots) if _holds(view, me, slot))
    return set(list(movable)[:1]) if all(_is_running(me, slot) for slot in held) else set()


def _holds(view: View, me: Member, slot: int) -> bool:
    holder = view.holders.get(slot)
    return holder is not None and (holder.node, holder.boot) == (me.beat.node, me.beat.boot)


def _is_running(member: Member, slot: int) -> bool:
    return _state(member, slot) == "running"


def _state(member: Member, slot: int) -> ReplicaState | None:
    replica = member.replicas.get(slot)
    return None if replica is None else replica.state
