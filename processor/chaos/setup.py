"""What a chaos run needs before it begins: brokers with roles, nodes with equal settings.

Knows nothing of faults.
"""

from functools import partial
from pathlib import Path

from processor.chaos.schedule import Victim
from processor.chaos.victims import ChaosBrokers, ChaosNode
from processor.local.brokers import Brokers
from processor.settings import Settings
from processor.topology.plan import Plan
from processor.topology.slots import slot_name
from processor.trial.setup import start_brokers
from processor.trial.site import Site


def start_victims(
    folder: Path, plan: Plan, settings: Settings, count: int, *, leave: bool
) -> tuple[ChaosBrokers, Settings]:
    """A Kafka of its own that can be harmed by what its brokers do, and the settings for it.

    Raises:
        KprocError: As `Brokers`.
    """
    brokers, own = start_brokers(folder, plan, settings, count, leave=leave)
    find = partial(_who_does, brokers, plan, settings.slots)
    return ChaosBrokers(brokers, find), own


def _who_does(brokers: Brokers, plan: Plan, slots: int, role: Victim, choice: int) -> int:
    """The broker with a role; for which slot or topic it has that, is left to a number."""
    changelogs = [plan.changelog(spec.name) for part in plan.subtopologies for spec in part.stores]
    led = {"input-leader": plan.inputs, "changelog-leader": changelogs}
    match role:
        case "transaction-coordinator":
            slot = slot_name(plan.application, choice % slots, slots)
            return brokers.transaction_coordinator(slot)
        case "group-coordinator":
            return brokers.group_coordinator(plan.application)
        case _:
            topics = led.get(role, [plan.slots_topic])
            return brokers.leader(topics[choice % len(topics)])


def make_nodes(site: Site, count: int) -> list[ChaosNode]:
    """Starts nodes, each on a folder of its own."""
    launches = [partial(site.start_node, number) for number in range(1, count + 1)]
    return [ChaosNode(number, launch, launch()) for number, launch in enumerate(launches, 1)]
