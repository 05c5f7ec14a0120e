"""Reads what is committed in topics, whole: for the ledger of a chaos run.

Owns a consumer outside of any group. What was deleted before it could be read is reported, never
passed over.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.errors import KafkaError
from processor.kafka.clients import PASSING, QUIET, ClientConfig, translated
from processor.kafka.messages import raw_batch, runs, source_of, split_errors
from processor.records import Batch, Offset, RawBatch, TopicPartition

_STALLED = 60.0
_CHUNK = 5_000
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
        self.unread: set[str] = set()
        """Topics of which records were deleted before they were read."""
        self.records: dict[str, int] = {}
        """How many records were read, by topic."""
        self._counted = counted
        self._pieces: dict[TopicPartition, list[RawBatch]] = {each: [] for each in sources}
        self._reached: dict[TopicPartition, Offset] = {}
        own = {
            "group.id": "kproc-chaos",  # never joined
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 50,
        }
        self._consumer = Consumer({**QUIET, **client, **own})
        self._consumer.list_topics(timeout=30)  # or the client asks for them a second later
        self._consumer.assign(
            [ClientPartition(*each, begins.get(each, Offset(0))) for each in self._pieces]
        )

    def read(self, timeout: float) -> None:
        """Reads what comes within `timeout` seconds.

        Raises:
            KprocError: The records can't be read.
        """
        if not self._pieces:
            time.sleep(timeout)
            return
        records, others = split_errors(self._consumer.consume(_CHUNK, timeout))
        for source, messages in runs(records):
            self.records[source.topic] = self.records.get(source.topic, 0) + len(messages)
            self._reached[source] = Offset((messages[-1].offset() or 0) + 1)
            if source.topic not in self._counted:
                self._pieces[source].append(raw_batch(messages))
        for message in others:
            self._note(message)

    def read_until(self, ends: Mapping[TopicPartition, Offset]) -> None:
        """Reads on until each partition has come to its end.

        Raises:
            KafkaError: Nothing more comes though there should.
        """
        left = {each for each, end in ends.items() if each in self._pieces and end > 0}
        deadline = time.monotonic() + _STALLED
        while left := {each for each in left if self._is_before(each, ends[each])}:
            before = dict(self._reached)
            self.read(0.1)
            if self._reached != before:
                deadline = time.monotonic() + _STALLED
            if time.monotonic() > deadline:
                named = ", ".join(sorted(map(str, left)))
                raise KafkaError(
                    f"{named}: nothing more came for {_STALLED:.0f} s before the end; see whether "
                    "the broker works, and whether a transaction is still open there"
                )

    def logs(self) -> dict[TopicPartition, RawBatch]:
        """What was read of each partition that is not only counted."""
        return {
            source: _joined(pieces)
            for source, pieces in self._pieces.items()
            if source.topic not in self._counted
        }

    def close(self) -> None:
        """Gives the consumer back."""
        self._consumer.close()

    def _is_before(self, source: TopicPartition, end: Offset) -> bool:
        return source.topic not in self.unread and self._reached.get(source, Offset(0)) < end

    def _note(self, message: Message) -> None:
        error: Any = message.error()
        source = source_of(message)
        if error.code() == ClientError._PARTITION_EOF:  # noqa: SLF001 - its public name
            self._reached[source] = Offset(message.offset() or 0)
        elif error.code() == ClientError._AUTO_OFFSET_RESET:  # noqa: SLF001 - its public name
            self.unread.add(source.topic)
        elif error.code() not in PASSING:
            raise translated(KafkaException(error), f"read {source}")


def _joined(pieces: list[RawBatch]) -> RawBatch:
    headers = [piece.headers or ((),) * len(piece) for piece in pieces]
    return Batch(
        [key for piece in pieces for key in piece.keys],
        [value for piece in pieces for value in piece.values],
        [time for piece in pieces for time in piece.timestamps],
        [offset for piece in pieces for offset in piece.offsets],
        [one for each in headers for one in each] if any(p.headers for p in pieces) else None,
    )
