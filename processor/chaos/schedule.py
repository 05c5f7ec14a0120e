"""The faults of a chaos run: which, when and for how long, from a seed alone.

Knows nothing of processes: a fault names a node by its number, and which of the node's workers by
a number that whoever carries it out takes modulo how many there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple, TypeAlias, get_args

from processor.errors import UsageError

Action: TypeAlias = Literal[
    "kill", "suspend", "restart", "delete", "rescale", "truncate", "copy", "reset"
]
Victim: TypeAlias = Literal[
    "worker",
    "node",
    "supervisor",
    "broker",
    "transaction-coordinator",
    "group-coordinator",
    "input-leader",
    "changelog-leader",
    "slots-leader",
    "group",
    "slots",
    "changelog",
    "folder",
    "state",
    "sleeper",
]


class Kind(NamedTuple):
    """What is done to whom; printed as `kill-node`."""

    action: Action
    victim: Victim

    def __str__(self) -> str:
        return f"{self.action}-{self.victim}"

    @property
    def is_of_brokers(self) -> bool:
        """Whether it befalls a broker."""
        return self.victim == "broker" or self.is_of_role

    @property
    def is_of_role(self) -> bool:
        """Whether it befalls a broker for what it does."""
        return self.victim in ROLES

    @property
    def is_operators(self) -> bool:
        """Whether an operator does it, to the application as a whole."""
        return self in OPERATORS


ROLES: Sequence[Victim] = (
    "transaction-coordinator",
    "group-coordinator",
    "input-leader",
    "changelog-leader",
    "slots-leader",
)
"""What a broker may do for an application; one of several is harmed for what it does."""

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
    **{Kind("kill", role): 1 for role in ROLES},
    **{Kind("suspend", role): 1 for role in ROLES},
    Kind("delete", "group"): 2,
    Kind("rescale", "slots"): 2,
    Kind("rescale", "sleeper"): 2,
    Kind("truncate", "changelog"): 2,
    Kind("copy", "folder"): 2,
    Kind("reset", "state"): 1,
    Kind("reset", "sleeper"): 1,
}
KINDS: Sequence[Kind] = tuple(_WEIGHTS)
"""All there are. A worker that is killed is started again by its supervisor."""

FAILURES: Sequence[Kind] = tuple(
    kind for kind in KINDS if kind.action in {"kill", "suspend", "restart"} and not kind.is_of_role
)
"""Those that happen by themselves; they are what happens where nothing else is said."""

OF_ROLES: Sequence[Kind] = tuple(kind for kind in KINDS if kind.is_of_role)
"""Those of a broker among several, for what it does."""

OPERATORS: Sequence[Kind] = tuple(kind for kind in KINDS if kind not in {*FAILURES, *OF_ROLES})
"""Those that a person does, with the commands and tools that there are for it."""

_GROUPS: Mapping[str, Sequence[Kind]] = {
    "all": KINDS,
    "failure": FAILURES,
    "role": OF_ROLES,
    "operator": OPERATORS,
}

WORDS: Sequence[str] = (*_GROUPS, *get_args(Victim), *get_args(Action), *map(str, KINDS))
"""What kinds can be named by."""

BROKER = 0
"""The number that stands for the brokers where nodes have theirs, which begin with 1."""

ALL = -1
"""The number that stands for all nodes."""

_WARM_UP = 2_000
_BROKER_REST = 12_000
"""Milliseconds that a broker needs to come back, and those who depend on it to come to rest."""

_OPERATOR_REST = 30_000
"""Milliseconds that an operator needs, with the time in which a group forgets its members."""

_NODE_REST = 4_000
_CRASHES, _CRASH_TIME = 4, 60_000
"""A supervisor gives up when a worker crashes five times within a minute; that is its duty."""


class Fault(NamedTuple):
    """One fault; times in milliseconds."""

    at: int  # since the beginning
    kind: Kind
    node: int  # from 1; BROKER: a broker; ALL: all nodes
    choice: (
        int  # what is left open, modulo how much there is: a worker, a broker, a number of slots
    )
    lasts: int  # until it is undone: continued, or started again; 0: at once, or by others

    @property
    def ends(self) -> int:
        """When it is undone."""
        return self.at + self.lasts

    def __str__(self) -> str:
        action, victim = self.kind
        lasts = f" for {self.lasts / 1000:.1f} s" if self.lasts else ""
        if victim == "sleeper":
            what = "the slots" if action == "rescale" else "the state"
            return f"{action} {what} while node {self.node} sleeps, which wakes up{_later(lasts)}"
        if victim == "folder":
            return f"copy the state folder of node {self.node}, and start the copy"
        if self.kind.is_operators:
            return f"{action} the {victim} while all nodes are stopped"
        if self.kind.is_of_role:
            return f"{action} the {victim.replace('-', ' ')}{lasts}"
        where = "the broker" if self.node == BROKER else f"node {self.node}"
        whom = "" if victim in {"node", "broker"} else f"a {victim} of "
        return f"{action} {whom}{where}{lasts}"


def _later(lasts: str) -> str:
    return lasts.replace(" for ", " ") + " later" if lasts else ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a schedule is made for; times in milliseconds.

    Attributes:
        seed: The same seed gives the same schedule, as long as all the rest is the same.
        duration: How long the whole thing lasts; all faults are undone by then.
        nodes: How many nodes there are.
        kinds: Which faults may happen.
        every: The mean time between two faults.
        brokers: How many brokers there are.
        failover_timeout: Some suspensions are shorter than this, others longer.
    """

    seed: int
    duration: int
    nodes: int
    kinds: Sequence[Kind] = FAILURES
    every: int = 5_000
    brokers: int = 1
    failover_timeout: int = 1_000


def kinds_of(words: Sequence[str]) -> tuple[Kind, ...]:
    """The kinds that words name: an action, a victim, both (`kill-node`), or a group of kinds.

    Raises:
        UsageError: A word names none.
    """
    for word in words:
        if word not in WORDS:
            raise UsageError(f"--faults knows no {word!r}; it knows {', '.join(WORDS)}")
    named = {kind for word in words for kind in _GROUPS.get(word, ())}
    return tuple(kind for kind in KINDS if kind in named or {*kind, str(kind)}.intersection(words))


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
        which, whom, choice, long, share = draws
        kind = _weighed(kinds, which)
        victims = self._victims(kind, at)
        node = victims[int(whom * len(victims))]
        fault = Fault(at, kind, node, int(choice * 1000), self._lasting(kind, long, share))
        if fault.ends < self.terms.duration:
            self.faults.append(fault)
            for each in self._everyone if kind.is_operators else (node,):
                self.free_at[each] = fault.ends + self._rest(kind)

    @property
    def _everyone(self) -> Sequence[int]:
        return range(BROKER, self.terms.nodes + 1)

    def _rest(self, kind: Kind) -> int:
        if kind.is_operators:
            return _OPERATOR_REST
        if kind.is_of_brokers:
            return _BROKER_REST
        return 0 if kind.victim == "worker" else _NODE_REST

    def _victims(self, kind: Kind, at: int) -> Sequence[int]:
        """Whom it may happen to: one that suffers nothing else, and is not the last one left."""
        free = [each for each in self._everyone if self.free_at.get(each, 0) <= at]
        nodes = [each for each in free if each != BROKER]
        if kind.is_operators:
            if len(free) < len(self._everyone):
                return ()
            return nodes if kind.victim in {"sleeper", "folder"} else (ALL,)
        if kind.is_of_brokers:
            return free[: free.count(BROKER)]
        if kind.victim == "worker":
            return [node for node in nodes if self._crashes(node, at) < _CRASHES]
        return nodes if len(nodes) > 1 or self.terms.nodes == 1 else ()

    def _crashes(self, node: int, at: int) -> int:
        return sum(
            fault.node == node and fault.kind.victim == "worker" and at - fault.at < _CRASH_TIME
            for fault in self.faults
        )

    def _lasting(self, kind: Kind, long: float, share: float) -> int:
        """How long it lasts: of suspensions every other one outlasts the failover timeout."""
        timeout, is_long = self.terms.failover_timeout, long < 0.5  # noqa: PLR2004 - a coin
        if kind.is_operators:
            return round(500 + 5_000 * share) if kind.victim == "sleeper" else 0
        if kind.is_of_brokers and self.terms.brokers > 1 and kind.action != "restart":
            # Every other time long enough for other brokers to lead what it has led.
            return round(6_000 + 14_000 * share if is_long else 200 + 3_000 * share)
        if kind.action == "suspend":
            shortest, longest = (1.5, 4.0) if is_long else (0.05, 0.8)
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
