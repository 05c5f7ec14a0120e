"""The faults of a chaos run: which, when and for how long, from a seed alone.

Knows nothing of processes: a fault names a node by its number, and which of the node's workers by
a number that whoever carries it out takes modulo how many there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple, TypeAlias, get_args

from processor.errors import UsageError

Action: TypeAlias = Literal["kill", "suspend", "restart"]
Victim: TypeAlias = Literal["worker", "node", "supervisor", "broker"]


class Kind(NamedTuple):
    """What is done to whom; printed as `kill-node`."""

    action: Action
    victim: Victim

    def __str__(self) -> str:
        return f"{self.action}-{self.victim}"


_WEIGHTS: Mapping[Kind, int] = {
    Kind("kill", "worker"): 5,
    Kind("suspend", "worker"): 4,
    Kind("kill", "node"): 4,
    Kind("suspend", "node"): 3,
    Kind("restart", "node"): 2,
    Kind("kill", "supervisor"): 2,
    Kind("suspend", "supervisor"): 2,
    Kind("kill", "broker"): 1,
    Kind("suspend", "broker"): 1,
    Kind("restart", "broker"): 1,
}
KINDS: Sequence[Kind] = tuple(_WEIGHTS)
"""All there are. A worker that is killed is started again by its supervisor."""

BROKER = 0
"""The number that stands for the broker where nodes have theirs, which begin with 1."""

_WARM_UP = 2_000
_BROKER_REST = 12_000
"""Milliseconds that a broker needs to come back, and those who depend on it to come to rest."""

_NODE_REST = 4_000
_CRASHES, _CRASH_TIME = 4, 60_000
"""A supervisor gives up when a worker crashes five times within a minute; that is its duty."""


class Fault(NamedTuple):
    """One fault; times in milliseconds."""

    at: int  # since the beginning
    kind: Kind
    node: int  # from 1; BROKER: the broker
    worker: int  # which of the node's, modulo how many there are
    lasts: int  # until it is undone: continued, or started again; 0: at once, or by others

    @property
    def ends(self) -> int:
        """When it is undone."""
        return self.at + self.lasts

    def __str__(self) -> str:
        where = "the broker" if self.node == BROKER else f"node {self.node}"
        victim = "" if self.kind.victim in {"node", "broker"} else f"a {self.kind.victim} of "
        lasts = f" for {self.lasts / 1000:.1f} s" if self.lasts else ""
        return f"{self.kind.action} {victim}{where}{lasts}"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a schedule is made for; times in milliseconds.

    Attributes:
        seed: The same seed gives the same schedule, as long as all the rest is the same.
        duration: How long the whole thing lasts; all faults are undone by then.
        nodes: How many nodes there are.
        kinds: Which faults may happen.
        every: The mean time between two faults.
        failover_timeout: Some suspensions are shorter than this, others longer.
    """

    seed: int
    duration: int
    nodes: int
    kinds: Sequence[Kind] = KINDS
    every: int = 5_000
    failover_timeout: int = 1_000


def kinds_of(words: Sequence[str]) -> tuple[Kind, ...]:
    """The kinds that words name: an action (`kill`), a victim (`node`) or both (`kill-node`).

    Raises:
        UsageError: A word names none.
    """
    for word in words:
        if not any(word in (*kind, str(kind)) for kind in KINDS):
            known = ", ".join((*get_args(Victim), *get_args(Action), *map(str, KINDS)))
            raise UsageError(f"--faults knows no {word!r}; it knows {known}")
    return tuple(kind for kind in KINDS if {*kind, str(kind)}.intersection(words))


def schedule(terms: Terms) -> list[Fault]:
    """The faults in the order of their times."""
    random = Random(terms.seed)  # noqa: S311 - it has to be the same again, not a secret
    making = _Making(terms)
    at = _WARM_UP
    while True:
        at += round(terms.every * random.uniform(0.4, 1.6))
        # As many numbers are drawn each time, so that one choice does not change all later ones.
        draws = [random.random() for _ in range(5)]
        if at >= terms.duration:
            return making.faults
        making.add(at, draws)


@dataclass(slots=True)
class _Making:
    """The faults so far, and who is not to be disturbed until when."""

    terms: Terms
    faults: list[Fault] = field(default_factory=list[Fault])
    free_at: dict[int, int] = field(default_factory=dict[int, int])

    def add(self, at: int, draws: Sequence[float]) -> None:
        """Adds a fault if there is one that fits."""
        kinds = [kind for kind in self.terms.kinds if self._victims(kind, at)]
        if not kinds:
            return
        which, whom, worker, long, share = draws
        kind = _weighed(kinds, which)
        victims = self._victims(kind, at)
        node = victims[int(whom * len(victims))]
        lasts = self._lasting(kind, long, share)
        fault = Fault(at, kind, node, int(worker * 1000), lasts)
        if fault.ends < self.terms.duration:
            self.faults.append(fault)
            self.free_at[node] = fault.ends + (0 if kind.victim == "worker" else self._rest(kind))

    def _rest(self, kind: Kind) -> int:
        return _BROKER_REST if kind.victim == "broker" else _NODE_REST

    def _victims(self, kind: Kind, at: int) -> list[int]:
        """Whom it may happen to: one that suffers nothing else, and is not the last one left."""
        if kind.victim == "broker":
            return [BROKER] if self.free_at.get(BROKER, 0) <= at else []
        nodes = range(1, self.terms.nodes + 1)
        free = [node for node in nodes if self.free_at.get(node, 0) <= at]
        if kind.victim == "worker":
            return [node for node in free if self._crashes(node, at) < _CRASHES]
        return free if len(free) > 1 or self.terms.nodes == 1 else []

    def _crashes(self, node: int, at: int) -> int:
        return sum(
            fault.node == node and fault.kind.victim == "worker" and at - fault.at < _CRASH_TIME
            for fault in self.faults
        )

    def _lasting(self, kind: Kind, long: float, share: float) -> int:
        """How long it lasts: of suspensions every other one outlasts the failover timeout."""
        timeout = self.terms.failover_timeout
        if kind.action == "suspend":
            shortest, longest = (1.5, 4.0) if long < 0.5 else (0.05, 0.8)  # noqa: PLR2004 - a coin
            return round(timeout * (shortest + share * (longest - shortest)))
        if kind.action == "restart" or kind.victim == "worker":
            return 0
        return round(200 + 4_000 * share * share)


def _weighed(kinds: Sequence[Kind], draw: float) -> Kind:
    left = draw * sum(_WEIGHTS[kind] for kind in kinds)
    for kind in kinds:
        left -= _WEIGHTS[kind]
        if left < 0:
            return kind
    return kinds[-1]
