"""What would be in Kafka, in memory: logs, transactions of several producers, committed offsets.

Knows nothing of a topology; what is read from a log and when is its reader's business.
"""

import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from processor.records import Batch, Offset, Partition, RawBatch, Record, TopicPartition
from processor.runtime.commands import Aborted, Committed, Position, Produce
from processor.topology.plan import StoreId

Raw = Record[bytes | None, bytes | None]


@dataclass(slots=True)
class MemoryLog:
    """A partition; None stands for what a reader never sees: aborted records and markers."""

    entries: list[Raw | None] = field(default_factory=list["Raw | None"])
    open: dict[int, str] = field(default_factory=dict[int, str])
    """The offsets of open transactions, and whose they are."""

    @property
    def stable(self) -> int:
        """The last stable offset."""
        return min(self.open, default=len(self.entries))

    @property
    def end(self) -> int:
        """The offset after the last record, whether it is committed or not."""
        last = len(self.entries)
        while last and self.entries[last - 1] is None:
            last -= 1
        return last

    def committed(self) -> list[Raw]:
        """The records that a reader of committed ones sees."""
        return [entry for entry in self.entries[: self.stable] if entry is not None]

    def rows(self, first: int, end: int) -> list[tuple[int, Raw]]:
        """The records from an offset up to another one, with theirs."""
        some = enumerate(self.entries[first:end], first)
        return [(offset, entry) for offset, entry in some if entry is not None]


@dataclass(slots=True)
class MemoryKafka:
    """It outlives the workers.

    Args:
        partitions: How many a topic has; one, where it is not in there.
        markers: Whether a transaction's end takes an offset in each of its logs, as in a real one.
    """

    partitions: Mapping[str, int]
    markers: bool = True
    logs: defaultdict[TopicPartition, MemoryLog] = field(
        default_factory=lambda: defaultdict[TopicPartition, MemoryLog](MemoryLog)
    )
    positions: dict[TopicPartition, Position] = field(
        default_factory=dict[TopicPartition, Position]
    )

    def append(self, topic: str, partition: int | None, record: Raw) -> TopicPartition:
        """Adds a record that is there for good; without a partition where its key belongs."""
        if partition is None:
            partition = partition_of(record.key, self.partitions.get(topic, 1))
        source = TopicPartition(topic, Partition(partition))
        self.logs[source].entries.append(record)
        return source

    def end_transaction(self, producer: str, *, commit: bool) -> None:
        """What a producer has written since it began stays, or no reader ever sees it."""
        for log in self.logs.values():
            ended = [offset for offset, whose in log.open.items() if whose == producer]
            for offset in ended:
                del log.open[offset]
                if not commit:
                    log.entries[offset] = None
            if ended and self.markers:
                log.entries.append(None)

    def of_topic(self, topic: str) -> list[TopicPartition]:
        """The partitions of a topic that have been written to."""
        return sorted(source for source in self.logs if source.topic == topic)


@dataclass(slots=True)
class MemoryProducer:
    """A slot's producer.

    Args:
        kafka: Where it writes.
        name: Its transactional id; what an earlier one with it has left open is aborted.
        transactional: Whether it writes in transactions.
    """

    kafka: MemoryKafka
    name: str
    transactional: bool = True
    begun: bool = False
    _pending: dict[TopicPartition, Position] = field(
        default_factory=dict[TopicPartition, Position], init=False
    )
    _written: dict[StoreId, Offset] = field(default_factory=dict[StoreId, Offset], init=False)

    def __post_init__(self) -> None:
        self.abort()

    def begin(self) -> None:
        """Begins a transaction."""
        assert not self.begun
        self.begun = True

    def produce(self, command: Produce) -> None:
        """Writes records."""
        assert self.begun or not self.transactional
        batch = command.records
        headers = batch.headers or ((),) * len(batch)
        for row in zip(batch.keys, batch.values, batch.timestamps, headers, strict=True):
            source = self.kafka.append(command.topic, command.partition, Record(*row))
            log = self.kafka.logs[source]
            offset = len(log.entries) - 1
            if self.transactional:
                log.open[offset] = self.name
            if command.store is not None:
                self._written[command.store] = Offset(offset)

    def send_offsets(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Makes positions part of the transaction."""
        self._pending = dict(positions)

    def commit(self) -> Committed:
        """Commits what was written, and the positions."""
        assert self.begun or not self.transactional
        self.kafka.end_transaction(self.name, commit=True)
        self.kafka.positions |= self._pending
        written = self._written
        self._forget()
        return Committed(written)

    def abort(self) -> Aborted:
        """Takes back what was written since the last commit."""
        self.kafka.end_transaction(self.name, commit=False)
        self._forget()
        return Aborted()

    def _forget(self) -> None:
        self.begun = False
        self._pending, self._written = {}, {}


def partition_of(key: bytes | None, count: int) -> int:
    """Where a key belongs among so many partitions."""
    return zlib.crc32(key or b"") % count


def batch_of(rows: Iterable[tuple[int, Raw]]) -> RawBatch:
    """Records with their offsets as a batch."""
    offsets, records = zip(*rows, strict=True) if (rows := list(rows)) else ((), ())
    headers = [record.headers for record in records]
    return Batch(
        [record.key for record in records],
        [record.value for record in records],
        [record.timestamp for record in records],
        list(map(Offset, offsets)),
        headers if any(headers) else None,
    )
