"""What a start of a topology would find: the same questions as at a start, and nothing changed.

Knows besides what this machine's disk has; what a change means is worked out by
`topology.changes`.
"""

from pathlib import Path

from processor.kafka.clients import ClientConfig, topics_of
from processor.kafka.description import changes, last_description
from processor.node.setup import counts_of
from processor.settings import Settings
from processor.storage.state_dir import has_store
from processor.topology.changes import EMPTY, Change
from processor.topology.plan import Plan, lay_out


def planned(plan: Plan, client: ClientConfig, settings: Settings) -> list[Change]:
    """What happens to the application's stores and topics.

    Raises:
        TopicMismatch: An input is missing.
        StateError: A newer version has run it, or a reset was not finished.
        KafkaError: Kafka does not answer.
    """
    there = {name: len(topic.partitions) for name, topic in topics_of(client).items()}
    create = settings.partitions if settings.create_topics else None
    layout = lay_out(plan, counts_of(plan, there, create), there)
    found = changes(client, layout, there, last_description(client, plan, there))
    is_kept = settings.state_store == "rocksdb"
    return [_here(each, plan, settings.state_dir) if is_kept else each for each in found]


def _here(change: Change, plan: Plan, state_dir: Path) -> Change:
    """A store that is kept, but not on this machine, is restored here."""
    if change.what != "store" or change.action != "keep" or change.why == EMPTY:
        return change
    nodes = [state_dir, *state_dir.glob("node-*")]
    folders = (node / plan.application / change.name for node in nodes)
    if any(has_store(each) for store in folders for each in store.glob("*")):
        return change
    why = f"{change.why}; none of it is on this machine, it is restored from there"
    return change._replace(action="rebuild", why=why)
