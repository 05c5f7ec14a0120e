"""Whether the brokers, and an application's own topics, keep what they are given as long as needed.

Owns questions and advice only: what is reported here is no reason not to start.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from processor.kafka.clients import ClientConfig, admin_client, topics_of
from processor.kafka.limits import fitted, lacking, settings_of
from processor.topology.plan import InternalTopic, Layout

_SINCE_3_6 = "message.timestamp.after.max.ms"
"""A topic's setting which says that the broker knows it: no broker reports its version."""

_MIN_ISR = "min.insync.replicas"


def shortcomings(
    client: ClientConfig, layout: Layout, max_record_bytes: int = 1_000_000
) -> list[str]:
    """What could lose state or hold the application up, with what to do about it.

    Args:
        client: librdkafka settings.
        layout: Of the application.
        max_record_bytes: That its own topics should take.

    Raises:
        KprocError: No broker answers.
    """
    admin: Any = admin_client(client)
    found = topics_of(client, admin)
    own = [topic.name for topic in layout.internal_topics if topic.name in found]
    inputs = [topic for topic in layout.plan.inputs if topic in found]
    replicas = {topic: _replicas(found[topic]) for topic in (*own, *inputs)}
    configs = settings_of(admin, (*own, *inputs))
    settled = {
        topic: int(values[_MIN_ISR]) for topic, values in configs.items() if _MIN_ISR in values
    }
    return [
        *_lower(replicas, own, inputs, "replicas", "kafka-reassign-partitions.sh adds some"),
        *_lower(settled, own, inputs, _MIN_ISR, "kafka-configs.sh --alter sets it"),
        *_narrow(configs, [fitted(each, max_record_bytes) for each in layout.internal_topics]),
        *_old([configs[topic] for topic in own if topic in configs]),
    ]


def _replicas(topic: Any) -> int:
    return min((len(each.replicas) for each in topic.partitions.values()), default=0)


def _lower(
    figures: Mapping[str, int], own: list[str], inputs: list[str], what: str, how: str
) -> Iterator[str]:
    """Own topics that are worse off than the input that is best off."""
    known = [topic for topic in inputs if topic in figures]
    best = max(known, key=lambda topic: figures[topic], default=None)
    if best is None:
        return
    low = [topic for topic in own if topic in figures and figures[topic] < figures[best]]
    if low:
        reported = ", ".join(f"{topic} ({figures[topic]})" for topic in low)
        yield (
            f"fewer brokers keep the application's own topics than its input: {what} of {best} is "
            f"{figures[best]}, but of {reported}. {how}; topics that are created later take the "
            "setting replication_factor and the brokers' defaults"
        )


def _narrow(configs: Mapping[str, Mapping[str, str]], topics: list[InternalTopic]) -> Iterator[str]:
    """Own topics that refuse some of what they should take, or might lose it."""
    for topic in topics:
        if short := lacking(topic, configs.get(topic.name, {})):
            values = ",".join(f"{name}={value}" for name, value in short.items())
            yield (
                f"{topic.name} refuses or may lose records that the application writes, and it may "
                f"not alter the topic: kafka-configs.sh --alter --entity-type topics --entity-name "
                f"{topic.name} --add-config {values}"
            )


def _old(configs: list[Mapping[str, str]]) -> Iterator[str]:
    if configs and not any(_SINCE_3_6 in each for each in configs):
        yield (
            "the brokers are older than Kafka 3.6, and can be left with a transaction that nobody "
            "ends. If output stops, `kafka-transactions.sh find-hanging --broker-id N` finds it, "
            "and `kafka-transactions.sh abort` ends it; brokers from 3.6 on prevent it"
        )
