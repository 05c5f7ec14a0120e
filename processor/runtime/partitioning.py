"""Whether the records of topics that meet others are where their keys belong.

Owns the rule of Kafka's default partitioner, which kproc and the Java clients write by. Looks at
samples: a hash of each key would cost more than what is done with most records.
"""

from collections import Counter
from typing import Final

from processor.records import RawBatch, TopicPartition
from processor.topology.plan import Layout, meeting

_FIRST: Final = 50
"""Keys of a partition that are looked at before it is one of each batch."""

_M, _SEED, _MASK = 0x5BD1E995, 0x9747B28C, 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The hash by which Kafka's clients in Java choose a partition, 32 bits."""
    state = _SEED ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        state = state * _M & _MASK ^ (word ^ word >> 24) * _M & _MASK
    if whole < len(data):
        state = (state ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    state = (state ^ state >> 13) * _M & _MASK
    return state ^ state >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


class Partitioning:
    """Looks at the keys of a slot's input.

    Attributes:
        misplaced: Topic → keys among those looked at that belong to another partition.
    """

    def __init__(self, layout: Layout) -> None:
        plan = layout.plan
        met = {
            topic
            for part in plan.subtopologies
            for _, topics in meeting(part)
            for topic in topics
            if len(topics) > 1 and topic not in plan.repartitions
        }
        self._counts = {topic: layout.partitions[topic] for topic in met}
        self._looked: Counter[TopicPartition] = Counter()
        self.misplaced: Counter[str] = Counter()

    def look(self, source: TopicPartition, records: RawBatch) -> str | None:
        """What to say when the first key of a topic is found to be elsewhere than it belongs."""
        count = self._counts.get(source.topic, 1)
        if count == 1:
            return None
        most = max(1, _FIRST - self._looked[source])
        keys = [key for key in records.keys[:most] if key is not None]
        self._looked[source] += len(keys)
        elsewhere = [key for key in keys if partition_of(key, count) != source.partition]
        if not elsewhere:
            return None
        is_first = not self.misplaced[source.topic]
        self.misplaced[source.topic] += len(elsewhere)
        return self._reported(source, elsewhere[0], count) if is_first else None

    def _reported(self, source: TopicPartition, key: bytes, count: int) -> str:
        return (
            f"{source.topic}: a key in partition {source.partition} belongs to partition "
            f"{partition_of(key, count)} by Kafka's default partitioner (murmur2), so it does not "
            "meet the same key of other topics. Have its producer use that partitioner "
            "(partitioner=murmur2_random in clients made of librdkafka), or put .repartition() "
            "behind the stream"
        )
