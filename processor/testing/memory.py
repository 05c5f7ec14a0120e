"""What would be in Kafka and on disk, in memory: logs with one open transaction, offsets, stores.

Knows nothing of a topology; what is read from a log and when is the driver's business.
"""

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from processor.records import Batch, Offset, Partition, RawBatch, Record, TopicPartition
from processor.runtime.commands import Position, Produce
from processor.state.shared import SharedStore
from processor.state.store import MemoryStore
from processor.topology.plan import StoreId

Raw = Record[bytes | None, bytes | None]


@dataclass(slots=True)
class MemoryKafka:
    """It outlives the worker.

    Args:
        partitions: How many a topic has; one, where it is not in there.
        tables: The global tables by their topics.
    """

    partitions: Mapping[str, int]
    tables: Mapping[str, SharedStore]
    logs: defaultdict[TopicPartition, list[Raw]] = field(
        default_factory=lambda: defaultdict[TopicPartition, list[Raw]](list)
    )
    positions: dict[TopicPartition, Position] = field(
        default_factory=dict[TopicPartition, Position]
    )
    stores: defaultdict[StoreId, MemoryStore] = field(
        default_factory=lambda: defaultdict[StoreId, MemoryStore](MemoryStore)
    )
    _uncommitted: defaultdict[TopicPartition, list[int]] = field(
        default_factory=lambda: defaultdict[TopicPartition, list[int]](list)
    )
    _read: Counter[TopicPartition] = field(default_factory=Counter[TopicPartition])

    def append(self, topic: str, partition: int | None, record: Raw) -> TopicPartition:
        """Adds a record that is there for good; without a partition where its key belongs."""
        if partition is None:
            partition = zlib.crc32(record.key or b"") % self.partitions.get(topic, 1)
        log = TopicPartition(topic, Partition(partition))
        self.logs[log].append(record)
        return log

    def produce(self, command: Produce) -> dict[StoreId, Offset]:
        """Adds records that an abort takes back; the offset of the last, if they are a store's."""
        batch, last = command.records, Offset(-1)
        headers = batch.headers or ((),) * len(batch)
        for row in zip(batch.keys, batch.values, batch.timestamps, headers, strict=True):
            log = self.append(command.topic, command.partition, Record(*row))
            last = Offset(len(self.logs[log]) - 1)
            self._uncommitted[log].append(last)
        return {} if command.store is None else {command.store: last}

    def commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Ends the transaction: what was produced stays, and these offsets are committed."""
        self.positions |= positions
        self._uncommitted.clear()

    def abort(self) -> None:
        """Takes back what was produced since the last commit, whether it was read or not."""
        for log, rows in self._uncommitted.items():
            self._read[log] -= sum(row < self._read[log] for row in rows)
            for row in reversed(rows):
                del self.logs[log][row]
        self._uncommitted.clear()

    def batch(self, source: TopicPartition, first: Offset) -> RawBatch:
        """All records of a partition from an offset on."""
        records = self.logs[source][first:]
        headers = [record.headers for record in records]
        return Batch(
            [record.key for record in records],
            [record.value for record in records],
            [record.timestamp for record in records],
            [Offset(first + row) for row in range(len(records))],
            headers if any(headers) else None,
        )

    def everything(self, topic: str) -> Iterator[Raw]:
        """All that a topic has, partition by partition."""
        for log in sorted(log for log in self.logs if log.topic == topic):
            yield from self.logs[log]

    def fresh(self, topic: str) -> Iterator[Raw]:
        """What was written to a topic since the last call, partition by partition."""
        for log in sorted(log for log in self.logs if log.topic == topic):
            fresh = self.logs[log][self._read[log] :]
            self._read[log] += len(fresh)
            yield from fresh
