"""How far an application is with its input, seen from the broker: what its group has committed."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from typing import Any

from confluent_kafka import OFFSET_INVALID, Consumer, IsolationLevel, KafkaException
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.errors import TopicMismatch
from processor.kafka.clients import (
    COMMON,
    OUTDATED,
    ClientConfig,
    admin_client,
    asking_config,
    committed,
    patiently,
)
from processor.records import Offset, Partition, TopicPartition
from processor.topology.plan import Layout

_TIMEOUT = 30.0
_TRIES = (0.4, 1.0, 2.0, 4.0, 8.0)
"""Seconds for the first answers: a client that waits for a leader which is gone waits in vain."""

_LOOKS = 3
"""Looks in a row in which a topic is not there, until it is gone: a broker may not know it yet."""


class Backlog:
    """What an application has still to do of the input that is there when this is made.

    Stage by stage: when the input is committed, all that was made of it is in the repartition
    topics, whose ends are taken then; when that is committed, the next ones.

    Args:
        client: librdkafka settings.
        layout: The plan and partition counts.

    Raises:
        KafkaError: The broker does not answer.
    """

    def __init__(self, client: ClientConfig, layout: Layout) -> None:
        self._admin: Any = admin_client(client)
        # Not the admin client: the library crashes if it asks while the coordinator still loads.
        self._member = Consumer({**COMMON, **client, **asking_config(layout.plan.application)})
        self._layout = layout
        self._stages = _stages(layout)
        self._first = self._offsets(self._partitions(self._stages[0]), OffsetSpec.earliest())
        self._ends = self._offsets(self._partitions(self._stages[0]), OffsetSpec.latest())
        self._input = sum(self._ends[each] - self._first[each] for each in self._ends)
        self._committed: Mapping[TopicPartition, Offset] = {}
        self._left = self._stages[1:]

    @property
    def input_records(self) -> int:
        """How many records the input has; gaps in its offsets count as well."""
        return self._input

    @property
    def done_records(self) -> int:
        """How many of them are committed, as of the last look."""
        inputs = self._partitions(self._stages[0])
        done = (min(self._done(each), self._ends[each]) - self._first[each] for each in inputs)
        return sum(max(0, each) for each in done)

    def look(self) -> bool:
        """Asks what is committed; whether everything is.

        Raises:
            KafkaError: The broker does not answer.
        """
        self._committed = self._ask()
        while all(self._done(each) >= end for each, end in self._ends.items()):
            if not self._left:
                return True
            sources = self._partitions(self._left[0])
            self._left = self._left[1:]
            self._first |= self._offsets(sources, OffsetSpec.earliest())
            self._ends |= self._offsets(sources, OffsetSpec.latest())
        return False

    @property
    def stages(self) -> Sequence[Sequence[str]]:
        """The topics read: the input first, then those that follow from it, and so on."""
        return self._stages

    def again(self, stage: int) -> None:
        """More may have come into the topics of this stage, and so into those downstream."""
        self._left = self._stages[stage:]

    def _done(self, source: TopicPartition) -> Offset:
        return max(self._committed.get(source, Offset(0)), self._first[source])

    def _partitions(self, topics: Iterable[str]) -> list[TopicPartition]:
        return partitions({topic: self._layout.partitions[topic] for topic in topics})

    def _ask(self) -> Mapping[TopicPartition, Offset]:
        found = committed(self._member, partitions(self._layout.partitions))
        return {source: Offset(each.offset) for source, each in found.items()}

    def _offsets(self, sources: list[TopicPartition], which: Any) -> dict[TopicPartition, Offset]:
        return list_offsets(self._admin, sources, which)


def partitions(counts: Mapping[str, int]) -> list[TopicPartition]:
    """All partitions of topics that have so many each."""
    return [
        TopicPartition(topic, Partition(number))
        for topic, count in counts.items()
        for number in range(count)
    ]


def list_offsets(
    admin: Any,
    sources: Iterable[TopicPartition],
    which: Any,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> dict[TopicPartition, Offset]:
    """The first or last offsets of partitions; by default open transactions' records count.

    Where `which` is a time and no record is as late, the offset is -1.

    Raises:
        TopicMismatch: A topic is not there, however often it is looked.
        KafkaError: The broker does not answer.
    """
    asked = {ClientPartition(*each): which for each in sources}
    if not asked:
        return {}
    waits = chain(_TRIES, repeat(_TIMEOUT))
    absent = Counter[str]()

    def ask() -> dict[TopicPartition, Offset]:
        nonlocal absent
        wait = next(waits)
        futures = admin.list_offsets(asked, isolation_level=isolation, request_timeout=wait)
        try:
            return {_source(each): _offset(future.result()) for each, future in futures.items()}
        except KafkaException as error:
            if error.args[0].code() in OUTDATED:
                # The client would ask in the same way for ever: it learns of new leaders by this.
                missing = _absent(admin, {each.topic for each in asked}, wait)
                absent = Counter({topic: absent[topic] + 1 for topic in missing})
                if gone := sorted(topic for topic in absent if absent[topic] == _LOOKS):
                    raise TopicMismatch(
                        f"Kafka has no topic {', '.join(gone)}: create the topic first."
                    ) from error
            raise

    return patiently(ask, "list offsets")


def _absent(admin: Any, topics: set[str], timeout: float) -> frozenset[str]:
    """Those of the topics that a broker does not know; none if no broker answers."""
    try:
        return frozenset(topics - admin.list_topics(timeout=timeout).topics.keys())
    except KafkaException:
        return frozenset()


def _source(partition: ClientPartition) -> TopicPartition:
    return TopicPartition(partition.topic, Partition(partition.partition))


def _offset(found: Any) -> Offset:
    """The offset found; without an answer of the partition's leader the client gives -1001."""
    if found.offset == OFFSET_INVALID:
        raise KafkaException(ClientError(ClientError.LEADER_NOT_AVAILABLE))
    return Offset(found.offset)


def _stages(layout: Layout) -> list[list[str]]:
    """The topics read, in stages: those of the first are input, later ones follow from earlier."""
    level: dict[str, int] = {}

    def level_of(topic: str, above: frozenset[str]) -> int:
        if topic not in level:
            writers = [part for part in layout.plan.subtopologies if topic in part.written]
            read = {source for part in writers for source in part.topics} - above - {topic}
            behind = above | {topic}
            level[topic] = 1 + max((level_of(each, behind) for each in read), default=-1)
        return level[topic]

    for topic in layout.partitions:
        level_of(topic, frozenset())
    return [
        [topic for topic in level if level[topic] == stage]
        for stage in range(max(level.values()) + 1)
    ]
