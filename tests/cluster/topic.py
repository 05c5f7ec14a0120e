"""A slots topic to write by hand: who says what, and when."""

from processor.cluster.beats import Beat, Claim, Replica, ReplicaState
from processor.cluster.decisions import Decision, decide
from processor.cluster.placement import Placement, place
from processor.cluster.view import View
from processor.records import Timestamp

TIMEOUT = 1000
INTERVAL = 100
NOON = 1_700_000_000_000


class Topic:
    """Beats as they come; the view of whoever has read all of them."""

    def __init__(self, slots: int = 1, backups: int = 1) -> None:
        self.view = View(slots, TIMEOUT)
        self.backups = backups
        self.now = NOON
        self.said: dict[str, Beat] = {}

    def says(
        self,
        node: str,
        *replicas: Replica,
        claims: dict[int, int] | None = None,
        boot: str = "1",
        slots: int | None = None,
        leaving: bool = False,
        weight: float = 1.0,
        zone: str = "",
        after: int = 0,
    ) -> "Topic":
        """A beat of the node, `after` ms later."""
        self.now += after
        beat = Beat(
            node=node,
            boot=boot,
            slots=self.view.slots if slots is None else slots,
            name=f"{node}.host",
            zone=zone,
            weight=weight,
            leaving=leaving,
            claims=tuple(Claim(slot, term) for slot, term in (claims or {}).items()),
            replicas=replicas,
        )
        self.said[node] = beat
        self.view.apply(beat, Timestamp(self.now))
        return self

    def passes(self, time: int, *nodes: str) -> "Topic":
        """For so many ms the nodes say again what they said last; all others are silent."""
        for _ in range(time // INTERVAL):
            self.now += INTERVAL
            for node in nodes:
                self.view.apply(self.said[node], Timestamp(self.now))
        return self

    def place(self, slot: int = 0) -> Placement:
        return place(self.view, self.backups)[slot]

    def primaries(self) -> list[str]:
        placements = place(self.view, self.backups)
        return [placements[slot].primary for slot in range(self.view.slots)]

    def decide(self, node: str, boot: str = "1") -> Decision:
        return decide(self.view, node, boot, self.backups)

    def claims(self, node: str) -> set[int]:
        return set(self.decide(node).claims)


def primary(slot: int = 0, state: ReplicaState = "running") -> Replica:
    return Replica(slot, "primary", state)


def backup(slot: int = 0, state: ReplicaState = "ready", lag: int | None = 0) -> Replica:
    return Replica(slot, "backup", state, lag=lag)
