"""Readiness: whether a node has settled, so that another may be stopped. A pure function."""

from processor.cluster.view import View


def unsettled(view: View, node: str) -> str | None:
    """What the node still has to do; None if nothing, and it could lose another node now.

    It is settled when it has joined, its slots run and its backups have caught up. A rollout that
    waits for that never stops the only node with a slot's state at hand.

    Args:
        view: What the nodes say.
        node: Its id.
    """
    member = view.members.get(node)
    if member is None:
        return "it has not joined the other nodes yet"
    if member.state != "live":
        return f"it is {member.state}"
    if vacant := [slot for slot in range(view.slots) if slot not in view.holders]:
        return f"nobody has taken {_named(vacant)} yet"
    held = view.holders.items()
    own = {slot for slot, each in held if (each.node, each.boot) == (node, member.beat.boot)}
    for slot in sorted(own | set(member.replicas)):
        replica = member.replicas.get(slot)
        role, done = ("primary", "running") if slot in own else ("backup", "ready")
        if replica is None or (replica.role, replica.state) != (role, done):
            why = f" in {replica.stuck}" if replica and replica.stuck else ""
            return f"its {role} of slot {slot} is {replica.state if replica else 'starting'}{why}"
    return None


def _named(slots: list[int]) -> str:
    return f"slot{'s' if len(slots) > 1 else ''} {', '.join(map(str, slots))}"
