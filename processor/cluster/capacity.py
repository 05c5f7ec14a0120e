"""Capacity: what an application should do by a simple model, beside what it does as measured.

Pure functions of assumptions and figures; each says where its formula is from. Times are seconds.
"""

from math import ceil, exp, sqrt

import msgspec

from processor.cluster.load import Load
from processor.cluster.measure import Measurement
from processor.errors import UsageError

YEAR = 365.25 * 86_400


class Assumptions(msgspec.Struct, frozen=True):
    """What can't be measured, or was not."""

    slots: int
    nodes: int  # that should run
    backups: int = 0  # of each slot
    mtbf: float = 30 * 86_400.0  # mean time between failures of a node
    period: float = 86_400.0  # that availability is reported for
    recovers: float = 0.99  # probability that a slot nobody has is taken up again
    failover: float = 1.0  # silence until a node counts as dead
    checkpoint: float = 0.1  # between two
    snapshot: float = 0.0  # between two; 0: none are made
    snapshot_cost: float = 5.0  # of one: time that it takes
    rate: float = 0.0  # records per second where none was measured; 0: not known

    def __post_init__(self) -> None:
        """Refuses what can't be.

        Raises:
            UsageError: The text says what.
        """
        if not 0 <= self.recovers <= 1:
            raise UsageError(f"--recovers is a probability, from 0 to 1: {self.recovers}")
        if self.nodes < 1:
            raise UsageError(f"--nodes is 1 or more: {self.nodes}")


class Measured(msgspec.Struct, frozen=True):
    """What was measured; None is not known."""

    nodes: int | None = None
    slots: int | None = None
    rate: float | None = None  # records per second that are processed
    per_node: float | None = None  # records per second that a node's cores could process
    takeover: float | None = None  # from the claim of a slot until it works
    restore: float | None = None  # bytes per second
    state: int | None = None  # bytes


class Line(msgspec.Struct, frozen=True):
    """One quantity of the plan; None is not known."""

    quantity: str
    formula: str
    predicted: float | None
    measured: float | None
    unit: str


def measured(measurement: Measurement, load: Load) -> Measured:
    """What measurements report."""
    per_node = load.cores / load.cost if load.cost and load.cores else None
    return Measured(
        nodes=len(measurement.nodes) or None,
        slots=measurement.slots or None,
        rate=load.rate if measurement.nodes else None,
        per_node=per_node,
        takeover=measurement.pause or None,
        restore=measurement.restored or None,
        state=load.bytes or None,
    )


def throughput(most: float, nodes: int, most_nodes: int) -> float:
    """T = Tmax * n / nmax: it grows with the nodes, up to one for each slot."""
    return most * min(nodes, most_nodes) / most_nodes


def shared_throughput(per_node: float, nodes: int, slots: int) -> float:
    """The same when slots are as good as indivisible: the fullest node sets the pace of all."""
    return per_node * slots / ceil(slots / min(nodes, slots))


def failure_probability(mtbf: float, period: float) -> float:
    """That a node fails in a period, if failures do not depend on the time: 1 - e^(-t/MTBF)."""
    return 1 - exp(-period / mtbf)


def availability(fails: float, recovers: float, backups: int = 0) -> float:
    """1 - P_fail * (1 - P_recover); with k backups 1 - P_fail^(k + 1) * (1 - P_recover).

    A slot is lost if its node and those of all its backups fail in the same period, independently
    of each other, and nobody takes it up again.
    """
    return 1 - fails ** (backups + 1) * (1 - recovers)


def standstill(mtbf: float, pause: float) -> float:
    """Seconds of a year in which a slot stands still because its node failed."""
    return YEAR / mtbf * pause


def replay(rate: float, since: float) -> float:
    """L = rate * time since the last checkpoint: records that are processed again."""
    return rate * since


def best_snapshot_interval(cost: float, mtbf: float) -> float:
    """sqrt(2 * cost * MTBF), which makes the least of snapshots and of what is replayed.

    J. W. Young, "A first order approximation to the optimum checkpoint interval", Communications of
    the ACM 17 (9), 1974. It holds where the cost is small beside the time between failures.
    """
    return sqrt(2 * cost * mtbf)


def capacity(assumed: Assumptions, known: Measured) -> list[Line]:
    """The plan, line by line."""
    return [*_throughput(assumed, known), *_failures(assumed, known), *_snapshots(assumed, known)]


def _throughput(assumed: Assumptions, known: Measured) -> list[Line]:
    slots, lines = assumed.slots, list[Line]()
    most = None if known.per_node is None else known.per_node * slots
    sizes = sorted({1, known.nodes or 1, assumed.nodes, slots})
    for nodes in (each for each in sizes if each <= slots):
        at_work = known.nodes == nodes
        linear = None if most is None else throughput(most, nodes, slots)
        lines.append(
            Line(
                f"throughput, {nodes} node{'' if nodes == 1 else 's'}",
                f"Tmax · {nodes}/{slots}",
                linear,
                known.rate if at_work else None,
                "records/s",
            )
        )
        if known.per_node is not None and slots % nodes:
            shared = shared_throughput(known.per_node, nodes, slots)
            text = f"the fullest has {ceil(slots / nodes)} of {slots} slots"
            lines.append(Line("  with whole slots", text, shared, None, "records/s"))
    return lines


def _failures(assumed: Assumptions, known: Measured) -> list[Line]:
    fails = failure_probability(assumed.mtbf, assumed.period)
    formula = "1 - P_fail · (1 - P_recover)"
    lines = [
        Line("P_fail, a node in the period", "1 - e^(-period/MTBF)", fails, None, ""),
        Line("availability", formula, availability(fails, assumed.recovers), None, ""),
    ]
    for backups in sorted({1, assumed.backups} - {0}):
        value = availability(fails, assumed.recovers, backups)
        formula = f"1 - P_fail^{backups + 1} · (1 - P_recover)"
        several = f"{backups} backup{'' if backups == 1 else 's'}"
        lines.append(Line(f"availability, {several}", formula, value, None, ""))
    pause = assumed.failover + (known.takeover or 0.0)
    stands = standstill(assumed.mtbf, pause)
    rate = known.rate or assumed.rate or None
    again = None if rate is None else replay(rate, assumed.checkpoint)
    return [
        *lines,
        Line("takeover of a slot", "since its claim", None, known.takeover, "s"),
        Line("standstill in a year", "year/MTBF · (failover + takeover)", stands, None, "s"),
        Line("replay after a failure", "rate · checkpoint_interval", again, None, "records"),
    ]


def _snapshots(assumed: Assumptions, known: Measured) -> list[Line]:
    best = best_snapshot_interval(assumed.snapshot_cost, assumed.mtbf)
    rate = known.rate or assumed.rate or None
    tail = None if rate is None or not assumed.snapshot else replay(rate, assumed.snapshot)
    restore = None
    if known.state is not None and known.restore is not None:
        restore = known.state / assumed.slots / known.restore
    return [
        Line("best snapshot interval", "√(2 · cost · MTBF)", best, assumed.snapshot or None, "s"),
        Line("replay after a snapshot", "rate · snapshot_interval", tail, None, "records"),
        Line("state", "of all slots", None, known.state, "bytes"),
        Line("restore of a slot", "its state / restore rate", restore, None, "s"),
    ]
