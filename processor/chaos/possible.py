"""Which faults an application and its Kafka allow, and what stands in the way of others."""

from collections.abc import Sequence
from dataclasses import dataclass

from processor.chaos.schedule import Kind
from processor.topology.plan import Plan


@dataclass(frozen=True, slots=True)
class Scene:
    """What a run is made in.

    Attributes:
        plan: The application's.
        brokers: How many brokers of its own there are; 0: they are somebody else's.
        on_disk: Whether stores are on disk.
    """

    plan: Plan
    brokers: int
    on_disk: bool

    def obstacle(self, kind: Kind) -> str | None:
        """Why a fault can't be; None if it can."""
        has_stores = any(part.stores for part in self.plan.subtopologies)
        if kind.is_of_brokers and not self.brokers:
            return "a Kafka that --bootstrap names is left alone"
        if kind.is_of_role and self.brokers == 1:
            return "it takes several brokers to do without one: add --brokers 3"
        if "changelog" in kind.victim and not has_stores:
            return "the topology has no store, and so no changelog"
        if kind == ("truncate", "changelog") and not self.on_disk:
            return "stores are in memory alone, so that their state would be lost for good"
        if kind.action == "reset" and self.plan.followed:
            # What is held back until its time has come is not worked on in the order of offsets.
            return "one offset does not say what the topology had processed at a reset"
        return None

    def possible(self, kinds: Sequence[Kind]) -> tuple[Kind, ...]:
        """Those of the kinds that can be."""
        return tuple(kind for kind in kinds if self.obstacle(kind) is None)
