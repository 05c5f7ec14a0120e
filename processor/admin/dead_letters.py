"""Reads the topic for dead letters, and replays what it holds, exactly once.

A replay commits, in one transaction, some records and a *replay marker* in the topic of their dead
letters that says which they were. Who replays next has fenced its predecessor before it reads the
markers, so that none is missed, whenever the one before was killed.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, KafkaException, Message, Producer
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.errors import Interrupted, TopicMismatch
from processor.kafka.clients import (
    COMMON,
    PURGED,
    ClientConfig,
    admin_client,
    connect,
    take_over_transactions,
    topics_of,
    translated,
)
from processor.kafka.messages import raw_batch, source_of
from processor.kafka.progress import list_offsets
from processor.kafka.reader import Reader, reading_config
from processor.records import Offset, Partition, Record, Timestamp, TopicPartition
from processor.runtime.dead_letters import (
    DeadLetter,
    Place,
    RawRecord,
    Wanted,
    dead_letter_of,
    obstacle,
    replay_marker,
    replayed_by,
    target,
)

_CHUNK = 500
"""Dead letters in one transaction of a replay."""

_STALLED = 90.0
"""Seconds in which an open transaction ends, one way or another."""

_COMMIT_SECONDS = 60.0
_ANY = -1
"""Stands for the partition that the key belongs to."""

_WRITER: Mapping[str, Any] = {
    "enable.idempotence": True,
    "compression.type": "lz4",
    "linger.ms": 20,
    "message.max.bytes": 16 * 2**20,
    # Java's clients and kproc's own choose the same partition for a key.
    "partitioner": "murmur2_random",
    "transaction.timeout.ms": 60_000,
}


class DeadLetters:
    """An application's topic for dead letters.

    Args:
        client: librdkafka settings.
        topic: Its name.

    Raises:
        TopicMismatch: There is no such topic.
        KafkaError: No broker answers.
    """

    def __init__(self, client: ClientConfig, topic: str) -> None:
        self._client = client
        self._admin: Any = admin_client(client)
        found = topics_of(client, self._admin)
        self.topic = topic
        self.topics = {name: len(each.partitions) for name, each in found.items()}
        """The partition counts of all topics."""
        if topic not in found:
            raise TopicMismatch(
                f"there is no topic {topic}: the application has not been started here, or its "
                "name is another"
            )

    def ends(self, *, stable: bool = False) -> dict[Partition, Offset]:
        """Where each partition ends; if `stable`, before any open transaction."""
        level = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED
        partitions = [
            TopicPartition(self.topic, Partition(each)) for each in range(self.topics[self.topic])
        ]
        found = list_offsets(self._admin, partitions, OffsetSpec.latest(), level)
        return {source.partition: end for source, end in found.items() if end > 0}

    def read(self, ends: Mapping[Partition, Offset]) -> Iterator[list[tuple[Place, RawRecord]]]:
        """All committed records before the ends, in lists that may be empty while none comes.

        What comes after a transaction that is still open is read when that has ended.

        Raises:
            KafkaError: The topic can't be read, or a transaction does not end.
        """
        sources = {TopicPartition(self.topic, each): end for each, end in ends.items()}
        consumer = Consumer({**COMMON, **reading_config("kproc-dead-letters"), **self._client})
        try:
            connect(consumer, [self.topic])
            reader = Reader(consumer, dict.fromkeys(sources, 0))
            yield from map(_raw, reader.until(sources, _STALLED))
        finally:
            consumer.close()


@dataclass(slots=True)
class Survey:
    """What is in the topic of what is asked for."""

    ends: Mapping[Partition, Offset]
    is_behind: bool = False
    """Whether a transaction is open there, after which more may come."""
    chosen: set[Place] = field(default_factory=set[Place])
    """The dead letters to replay."""
    targets: Counter[str] = field(default_factory=Counter[str])
    """How many of them go to each topic."""
    replayed: set[Place] = field(default_factory=set[Place])
    """All that were replayed, asked for or not."""
    left_out: list[tuple[DeadLetter, str]] = field(default_factory=list[tuple[DeadLetter, str]])
    """Dead letters that can't be replayed, and why."""


def survey(letters: DeadLetters, wanted: Wanted, to: str | None) -> Survey:
    """What a replay would do.

    Args:
        letters: The topic.
        wanted: Which of them.
        to: The topic to send them to; None: those that they were read from.

    Raises:
        KafkaError: The topic can't be read.
    """
    # A replay that was killed may have left a transaction open: not waited for, but aborted later.
    ends = letters.ends(stable=True)
    found = Survey(ends, is_behind=ends != letters.ends())
    towards: dict[Place, str] = {}
    for batch in letters.read(found.ends):
        for place, raw in batch:
            found.replayed.update(Place(place.partition, each) for each in replayed_by(raw))
            letter = dead_letter_of(place, raw)
            if letter is None or not wanted.takes(letter):
                continue
            if why := obstacle(letter, to, letters.topics):
                found.left_out.append((letter, why))
            else:
                towards[place] = target(letter, to, letters.topics)[0]
    found.chosen = {*towards} - found.replayed
    found.targets.update(towards[place] for place in found.chosen)
    return found


def replay(
    letters: DeadLetters,
    asked: Survey,
    to: str | None,
    config: ClientConfig,
    on_progress: Callable[[int, int | None], None],
) -> int:
    """Writes the dead letters of a survey as the records that they were; returns how many.

    Killed at any moment and started again, it goes on with those that are not committed.

    Args:
        letters: The topic.
        asked: Which of them.
        to: As for the survey.
        config: librdkafka settings of the producer.
        on_progress: Called with how many of how many are done.

    Raises:
        Fenced: Another replay has begun meanwhile.
        Interrupted: It is not known whether the last records are committed; the next replay sees.
        KafkaError: The records can't be written.
    """
    replayer = _Replayer(letters, to, config)
    chosen, done = asked.chosen - _replayed(letters), 0
    on_progress(0, len(chosen))
    for batch in letters.read(asked.ends):
        for place, raw in batch:
            letter = dead_letter_of(place, raw) if place in chosen else None
            if letter is not None:
                replayer.write(letter)
                done += 1
                if done % _CHUNK == 0:
                    replayer.commit()
                    on_progress(done, len(chosen))
    replayer.commit()
    on_progress(done, len(chosen))
    return done


def _replayed(letters: DeadLetters) -> set[Place]:
    return {
        Place(place.partition, each)
        for batch in letters.read(letters.ends())
        for place, raw in batch
        for each in replayed_by(raw)
    }


class _Replayer:
    """A producer that names what it has replayed in the same transaction."""

    def __init__(self, letters: DeadLetters, to: str | None, config: ClientConfig) -> None:
        self._letters = letters
        self._to = to
        self._written: dict[Partition, list[Offset]] = {}
        self._errors: list[ClientError] = []
        identity = {"transactional.id": f"{letters.topic}-replay"}
        note = {"on_delivery": self._note}
        self._producer = Producer({**COMMON, **_WRITER, **config, **identity, **note})
        connect(self._producer, [letters.topic])
        take_over_transactions(self._producer)

    def write(self, letter: DeadLetter) -> None:
        if not self._written:
            self._producer.begin_transaction()
        key, value, timestamp, headers = letter.record
        topic, partition = target(letter, self._to, self._letters.topics)
        raw = Record(key, value, Timestamp(max(0, timestamp)), headers)
        self._produce(topic, _ANY if partition is None else partition, raw)
        self._written.setdefault(letter.place.partition, []).append(letter.place.offset)

    def commit(self) -> None:
        if not self._written:
            return
        for partition, offsets in self._written.items():
            raw: RawRecord = Record(None, None, Timestamp(0), replay_marker(offsets))
            self._produce(self._letters.topic, partition, raw)
        deadline = time.monotonic() + _COMMIT_SECONDS
        while True:
            try:
                self._producer.commit_transaction(1)
            except KafkaException as error:
                cause: Any = error.args[0]
                if self._errors or not cause.retriable():
                    raise self._failed(error) from error
                if time.monotonic() > deadline:
                    raise Interrupted(
                        "Kafka does not say whether the last dead letters are replayed: run the "
                        "command again, it goes on with those that are not"
                    ) from error
            else:
                self._written = {}
                return

    def _produce(self, topic: str, partition: int, raw: RawRecord) -> None:
        key, value, timestamp, headers = raw
        own: Any = list(headers)
        while True:
            try:
                self._producer.produce(
                    topic, value, key, partition, timestamp=timestamp, headers=own
                )
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise self._failed(error) from error
            else:
                self._producer.poll(0)
                return

    def _failed(self, error: KafkaException) -> Exception:
        """What to raise; what is open is aborted, here or by the next replay."""
        with contextlib.suppress(KafkaException):
            self._producer.abort_transaction(10)
        cause = KafkaException(self._errors[0]) if self._errors else error
        return translated(cause, f"replay dead letters of {self._letters.topic}")

    def _note(self, error: ClientError | None, _message: Message) -> None:
        if error is not None and error.code() not in PURGED:
            self._errors.append(error)


def _raw(messages: list[Message]) -> list[tuple[Place, RawRecord]]:
    batch = raw_batch(messages)
    places = (
        Place(source_of(message).partition, offset)
        for message, offset in zip(messages, batch.offsets, strict=True)
    )
    return list(zip(places, batch.records(), strict=True))
