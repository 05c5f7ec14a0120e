"""Reads the committed records of partitions from some offsets to others, outside of any group.

The client is handed in. What comes while a partition's leader moves passes by itself; what was
deleted before it could be read is noted, and is an error only where the client is set to end there.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.errors import KafkaError
from processor.kafka.clients import PASSING, ClientConfig, translated
from processor.kafka.messages import runs, source_of, split_errors
from processor.records import TopicPartition

_CHUNK = 5_000
_POLL = 0.1


def reading_config(group: str) -> ClientConfig:
    """Of a consumer that reads what is committed, as fast as it comes.

    Args:
        group: Never joined, but the client wants a name.
    """
    return {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 50,
    }


class Reader:
    """Partitions that are read from some offsets on.

    Args:
        consumer: A client with `reading_config`.
        starts: Where to begin in each partition; an offset or one of the client's logical ones.
        passing: What the client may report and resolves by itself.
    """

    def __init__(
        self,
        consumer: Consumer,
        starts: Mapping[TopicPartition, int],
        passing: Collection[int] = PASSING,
    ) -> None:
        self._consumer = consumer
        self._passing = passing
        self.reached = dict(starts)
        """The next offset of each partition that has not been read, markers included."""
        self.gone: set[TopicPartition] = set()
        """Partitions whose records were deleted before they were read."""
        consumer.assign([ClientPartition(*source, start) for source, start in starts.items()])

    def read(self, timeout: float) -> list[Message]:
        """The records that come within so many seconds.

        Raises:
            KprocError: They can't be read.
        """
        records, others = split_errors(self._consumer.consume(_CHUNK, timeout))
        for source, run in runs(records):
            self.reached[source] = (run[-1].offset() or 0) + 1
        for message in others:
            self._note(message)
        return records

    def left(self, ends: Mapping[TopicPartition, int]) -> list[TopicPartition]:
        """The partitions that have not been read up to these ends, and can be."""
        return sorted(
            each for each, end in ends.items() if self.reached[each] < end and each not in self.gone
        )

    def until(
        self, ends: Mapping[TopicPartition, int], patience: float | None = None
    ) -> Iterator[list[Message]]:
        """The records before these ends, in lists that may be empty while none comes.

        Those after a transaction that is still open come when it has ended.

        Args:
            ends: Where to stop in each partition.
            patience: Seconds in which something has to come; None: any.

        Raises:
            KprocError: They can't be read, or nothing comes.
        """
        deadline, before = time.monotonic(), dict[TopicPartition, int]()
        while left := self.left(ends):
            if self.reached != before:
                deadline, before = time.monotonic() + (patience or 0), dict(self.reached)
            elif patience is not None and time.monotonic() > deadline:
                raise KafkaError(
                    f"{', '.join(map(str, left))}: nothing more came for {patience:.0f} s before "
                    "the end; see whether the broker works, and whether a transaction is still "
                    "open there"
                )
            records = self.read(_POLL)
            # Of a partition that had none yet, some may have been committed meanwhile.
            yield [each for each in records if (each.offset() or 0) < ends.get(source_of(each), 0)]

    def _note(self, message: Message) -> None:
        error: Any = message.error()
        source = source_of(message)
        if error.code() == ClientError._PARTITION_EOF:  # noqa: SLF001 - its public name
            self.reached[source] = message.offset() or 0
        elif error.code() == ClientError._AUTO_OFFSET_RESET:  # noqa: SLF001 - its public name
            self.gone.add(source)
        elif error.code() not in self._passing:
            raise translated(KafkaException(error), f"read {source}")
