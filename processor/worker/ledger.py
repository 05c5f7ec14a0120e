"""The ledger's records: how a worker's positions are written there.

`runtime.ledger` has what an entry is and what it is for.
"""

from collections.abc import Iterator, Mapping

from processor.kafka.compacted import last_value
from processor.operators.base import NO_TIME
from processor.records import NO_OFFSET, Batch, Offset, Partition, Timestamp, TopicPartition
from processor.runtime.commands import Position, Produce
from processor.runtime.ledger import Entry, decoded, encoded, key_of
from processor.worker.spec import WorkerSpec


class Ledger:
    """Where a worker writes its positions besides the group.

    Args:
        spec: The slot's work.
        topic: Where they are written.
    """

    def __init__(self, spec: WorkerSpec, topic: str) -> None:
        self._spec, self._topic = spec, topic

    def places_of(self, source: TopicPartition) -> tuple[TopicPartition, ...]:
        """The ledger's partitions for one that is read: the one that is written, and former ones.

        The first that has an entry has the last one; there are none if nothing is written.
        """
        places = self._spec.settled.ledger.get(source.topic, ())
        numbers = places[source.partition] if source.partition < len(places) else ()
        return tuple(TopicPartition(self._topic, Partition(number)) for number in numbers)

    def begin_of(self, changelog: TopicPartition) -> Offset:
        """From where on a changelog's partition is whole: it was emptied, or refilled, on purpose.

        Raises:
            KafkaError: The ledger can't be read.
        """
        spec = self._spec
        for place in self.places_of(changelog):
            value = last_value(spec.clients.kafka, spec.application, place, key_of(changelog))
            if value is not None:
                return decoded(changelog, value).offset
        return Offset(0)

    def whole_from(self, changelog: TopicPartition, first: Offset) -> Iterator[Produce]:
        """What is to be written when a changelog has become whole again."""
        yield from self.records({changelog: Position(first, NO_TIME)})

    def records(self, positions: Mapping[TopicPartition, Position]) -> Iterator[Produce]:
        """What is to be written for these positions."""
        exact, ids = self._spec.exactly_once, self._spec.settled.ids
        written: dict[TopicPartition, list[tuple[bytes, bytes]]] = {}
        for source, position in positions.items():
            for place in self.places_of(source)[:1]:
                topic = ids.get(source.topic, "")
                entry = Entry(position.offset, position.metadata, topic, exact)
                written.setdefault(place, []).append((key_of(source), encoded(entry)))
        for place, rows in written.items():
            keys, values = ([*column] for column in zip(*rows, strict=True))
            count = len(rows)
            records = Batch(keys, values, [Timestamp(0)] * count, [NO_OFFSET] * count)
            yield Produce(place.topic, records, place.partition)
