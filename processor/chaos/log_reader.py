"""Reads what is committed in topics, whole, while it is written: for the verdict of a chaos run.

What was deleted before it could be read is reported, never passed over.
"""

import time
from collections.abc import Iterable, Mapping, Sequence

from confluent_kafka import Consumer, Message

from processor.kafka.clients import COMMON, ClientConfig, connect
from processor.kafka.messages import raw_batch, runs
from processor.kafka.reader import Reader, reading_config
from processor.records import Batch, Offset, RawBatch, TopicPartition

_STALLED = 60.0
_NOWHERE: Mapping[TopicPartition, Offset] = {}


class LogReader:
    """The committed records of partitions from their beginning, as far as they were read.

    Args:
        client: librdkafka settings.
        sources: The partitions.
        counted: Topics whose records are only counted.
        begins: Where to begin with partitions that may have lost their beginning.
    """

    def __init__(
        self,
        client: ClientConfig,
        sources: Iterable[TopicPartition],
        counted: frozenset[str] = frozenset(),
        begins: Mapping[TopicPartition, Offset] = _NOWHERE,
    ) -> None:
        self.records: dict[str, int] = {}
        """How many records were read, by topic."""
        self._counted = counted
        self._batches: dict[TopicPartition, list[RawBatch]] = {each: [] for each in sources}
        own = {**reading_config("kproc-chaos"), "auto.offset.reset": "error"}
        self._consumer = Consumer({**COMMON, **client, **own})
        connect(self._consumer, {each.topic for each in self._batches})
        starts = {each: begins.get(each, Offset(0)) for each in self._batches}
        self._reader = Reader(self._consumer, starts)

    @property
    def unread(self) -> frozenset[str]:
        """Topics of which records were deleted before they were read."""
        return frozenset(source.topic for source in self._reader.gone)

    def read(self, timeout: float) -> None:
        """Reads what comes within `timeout` seconds.

        Raises:
            KprocError: The records can't be read.
        """
        if not self._batches:
            time.sleep(timeout)
            return
        self._keep(self._reader.read(timeout))

    def read_until(self, ends: Mapping[TopicPartition, Offset]) -> None:
        """Reads on until each partition has come to its end.

        Raises:
            KafkaError: Nothing more comes though there should.
        """
        known = {each: end for each, end in ends.items() if each in self._batches}
        for records in self._reader.until(known, _STALLED):
            self._keep(records)

    def logs(self) -> dict[TopicPartition, RawBatch]:
        """What was read of each partition that is not only counted."""
        return {
            source: _joined(batches)
            for source, batches in self._batches.items()
            if source.topic not in self._counted
        }

    def close(self) -> None:
        """Gives the consumer back."""
        self._consumer.close()

    def _keep(self, records: Sequence[Message]) -> None:
        for source, messages in runs(records):
            self.records[source.topic] = self.records.get(source.topic, 0) + len(messages)
            if source.topic not in self._counted:
                self._batches[source].append(raw_batch(messages))


def _joined(batches: list[RawBatch]) -> RawBatch:
    headers = [batch.headers or ((),) * len(batch) for batch in batches]
    return Batch(
        [key for batch in batches for key in batch.keys],
        [value for batch in batches for value in batch.values],
        [time for batch in batches for time in batch.timestamps],
        [offset for batch in batches for offset in batch.offsets],
        [one for each in headers for one in each] if any(p.headers for p in batches) else None,
    )
