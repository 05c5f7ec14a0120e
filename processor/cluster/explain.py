"""The words for a recommendation of the autoscaler. Pure: from figures to sentences."""

from collections.abc import Iterable, Iterator

from processor.cluster.autoscale import Policy, Recommendation
from processor.cluster.load import Limit
from processor.cluster.sizing import Sizing
from processor.wording import several

_LIMITS: dict[Limit, str] = {
    "processor": "at the limit of what one process can do, which nodes don't raise. If the work is "
    "one hot key's or one partition's, spread it over more of them; else have more slots (`kproc "
    "rescale`)",
    "waits": "busy without using the processor, waiting for something outside, such as Kafka's "
    "acknowledgements or a call in a step, which nodes don't speed up. See to that, or have more "
    "slots (`kproc rescale`)",
    "reads": "behind and yet idle: records come slowly from Kafka, or an open transaction of who "
    "writes them holds them back. Nodes don't help; see to the brokers, the network and the "
    "writers",
}


def explain(advice: Recommendation, policy: Policy) -> str:
    """What is recommended, why, and what else there is to know."""
    return " ".join([_decision(advice, policy), *_notes(advice)])


def _decision(advice: Recommendation, policy: Policy) -> str:
    before, nodes = advice.before, several(advice.nodes, "node")
    if advice.why == "bounds":
        wanted = "any number" if advice.needed is None else several(advice.needed, "node")
        return f"{before} → {nodes}, though {wanted} would do: {_bounds(advice, policy)}."
    if not advice.is_change:
        return f"{nodes}: {_staying(advice, policy)}."
    text = f"{before} → {nodes} because {_load(advice, policy)}; {_moves(advice)}."
    if advice.needed is None or advice.needed <= advice.nodes:
        return text
    capped = advice.nodes in {policy.most, advice.slots}
    rest = _bounds(advice, policy) if capped else "the rest comes in further steps"
    return f"{text} {advice.needed} are needed: {rest}."


def _staying(advice: Recommendation, policy: Policy) -> str:
    match advice.why:
        case "window":
            return (
                f"{_load(advice, policy)}, for which {advice.needed} would do; fewer when that has "
                f"held for long enough, in {span(max(1.0, advice.window))} at the earliest"
            )
        case "settling":
            live = f"{advice.live} of {advice.nodes} live"
            return f"{_load(advice, policy)}; the last step still settles, {live}"
        case "missing":
            return "figures are missing, and without them none is stopped"
        case "unknown":
            return "nothing is known yet of what a record takes"
        case _:
            text = _load(advice, policy)
            if advice.needed is not None and advice.needed > advice.nodes:
                text += f"; {advice.needed} are needed, but {_bounds(advice, policy)}"
            return text


def _bounds(advice: Recommendation, policy: Policy) -> str:
    if advice.nodes >= advice.slots > 0 and policy.most > advice.slots:
        slots = several(advice.slots, "slot")
        return f"there are {slots}, and a node without one is of no use (`kproc rescale`)"
    return f"{policy.least} to {policy.most} are allowed"


def _load(advice: Recommendation, policy: Policy) -> str:
    load = advice.load
    text = f"{rate(load.arrival)} arrive"
    if load.cost is None or not load.cores:
        return text
    sizing = Sizing(load, policy.catch_up)
    if load.lag > load.arrival:
        text += f" and {count(load.lag)} records are behind, to be gone in "
        text += f"{span(policy.catch_up)}: {rate(sizing.total)} are to be processed"
    room = f"a node does {rate(sizing.room(policy.target))} at {policy.target:.0%} of its "
    return f"{text}, and {room}{load.cores:.2g} core{'' if load.cores == 1 else 's'}"


def _moves(advice: Recommendation) -> str:
    moves = advice.moves
    if not moves.slots:
        return "no slot moves"
    known = "" if moves.is_measured else " (assumed)"
    size = f" with {amount(moves.bytes)} of state" if moves.bytes else ""
    verb = "moves" if moves.slots == 1 else "move"
    return (
        f"{several(moves.slots, 'slot')}{size} {verb}, which takes {span(moves.seconds)} and a "
        f"pause of {moves.pause:.2g} s each{known}"
    )


def _notes(advice: Recommendation) -> Iterator[str]:
    load = advice.load
    for limit, text in _LIMITS.items():
        stuck = [each for each in load.slots if each.limit == limit and each.is_behind]
        if stuck:
            slots = _slots(each.slot for each in stuck)
            yield f"{slots} {'is' if len(stuck) == 1 else 'are'} {text}."
    reasons: dict[str, list[int]] = {}
    for slot, reason in load.missing.items():
        reasons.setdefault(reason, []).append(slot)
    for reason, slots in reasons.items():
        yield f"{_slots(slots)}{': each' if len(slots) > 1 else ''} {reason}."


def _slots(slots: Iterable[int]) -> str:
    numbers = list(map(str, slots))
    return f"Slot{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"


def rate(records: float) -> str:
    """Records per second."""
    return f"{records:,.0f}/s" if records >= 10 or not records else f"{records:.1f}/s"  # noqa: PLR2004


def count(records: int) -> str:
    """Many records in few words."""
    return f"{records / 1e6:.1f} M" if records >= 1_000_000 else f"{records:,}"  # noqa: PLR2004


def span(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 or not seconds else f"{seconds:.1f} s"


def amount(size: float) -> str:
    """Bytes in the unit that suits them."""
    for unit, length in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size:.0f} bytes"
