"""Moves records into and out of a topic by hand: for the command line, sample data and tests.

Owns how such records are written (idempotent, or all in one transaction) and read (committed ones
only). Knows nothing of files, terminals or topologies; a topology's own records take another way.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaException,
    Message,
    Producer,
)
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.errors import UsageError
from processor.kafka.clients import (
    COMMON,
    PURGED,
    ClientConfig,
    partitions_of,
    take_over_transactions,
    translated,
    watermarks,
)
from processor.kafka.reader import Reader, reading_config
from processor.records import Headers, Offset, Partition, Timestamp, TopicPartition

OnProgress: TypeAlias = Callable[[int, int | None], None]
"""Called ten times a second and at the end with how many records of how many were handed over."""

_PRODUCER: dict[str, Any] = {
    **COMMON,
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "lz4",
    "linger.ms": 20,
    # Java's clients and kproc's own choose the same partition for a key.
    "partitioner": "murmur2_random",
    "delivery.timeout.ms": 60_000,
    "delivery.report.only.error": True,
}
# The broker aborts a longer load; 15 minutes is the most that it allows by default.
_LOAD_TIMEOUT_MS = 900_000
_PROGRESS_SECONDS = 0.1
_POLL = 0.1


class Row(NamedTuple):
    """A record to write; without a timestamp it gets the time of writing."""

    key: bytes | None
    value: bytes | None
    timestamp: Timestamp | None = None
    headers: Headers = ()


def paced(rows: Iterable[Row], rate: float) -> Iterator[Row]:
    """The same rows, each no earlier than `rate` rows a second allow."""
    start = time.monotonic()
    for number, row in enumerate(rows):
        ahead = start + number / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        yield row


def produce_rows(
    config: ClientConfig,
    topic: str,
    rows: Iterable[Row],
    total: int | None = None,
    on_progress: OnProgress | None = None,
) -> int:
    """Writes all rows and waits until all are acknowledged; returns how many they are.

    What was handed over before `rows` raises is still written.

    Raises:
        TopicMismatch: there is no such topic.
        BrokerUnreachable: no broker answers.
        KafkaError: a record could not be written; those before it may be.
    """
    return _Outlet(config, topic).write(rows, total, on_progress)


def load_once(
    config: ClientConfig,
    topic: str,
    rows: Iterable[Row],
    total: int | None = None,
    on_progress: OnProgress | None = None,
) -> int:
    """Writes all rows in one transaction if the topic holds no committed record yet.

    A load that is killed leaves nothing behind, and the next one starts at once: it has the same
    transactional id, so the broker aborts what is open. Of several loads at once the last wins.
    `rows` is not touched if the topic holds records.

    Returns:
        How many records were written: 0 if there were some already.

    Raises:
        TopicMismatch: there is no such topic.
        BrokerUnreachable: no broker answers.
        Fenced: another process has begun to load the same topic.
        KafkaError: the load failed; none of it is there.
    """
    transaction = {"transactional.id": f"{topic}-load", "transaction.timeout.ms": _LOAD_TIMEOUT_MS}
    outlet = _Outlet({**config, **transaction}, topic)
    take_over_transactions(outlet.producer)
    # Asked after the fence: nobody else can commit a load between here and the commit.
    if has_records(config, topic):
        return 0
    with outlet.transaction():
        return outlet.write(rows, total, on_progress)


def has_records(config: ClientConfig, topic: str) -> bool:
    """Whether the topic holds any committed record; aborted ones and markers are none.

    Raises:
        KprocError: the topic is missing or can't be read.
    """
    return any(read(config, topic, until_end=True, limit=1))


def read(
    config: ClientConfig,
    topic: str,
    *,
    start: Literal["beginning", "end"] = "beginning",
    until_end: bool = False,
    partitions: Sequence[Partition] | None = None,
    key: bytes | None = None,
    limit: int | None = None,
) -> Iterator[list[Message]]:
    """Committed records of a topic as they come, in lists that may be empty while none comes.

    Args:
        config: Settings of the client.
        topic: The topic.
        start: Whether it begins with the first record there is, or with the next that comes.
        until_end: Whether it ends after the last record that is committed when it begins. Records
            after a transaction that is still open do not count.
        partitions: Only these; all of the topic otherwise.
        key: Only records with this key; all otherwise.
        limit: It ends after so many records.

    Raises:
        UsageError: the topic has no such partition.
        TopicMismatch: there is no such topic.
        KprocError: it can't be read.
    """
    consumer = Consumer({**COMMON, **reading_config("kproc-consume"), **config})
    try:
        chosen = _chosen(topic, partitions_of(config, topic, consumer), partitions)
        ends = _ends(consumer, chosen) if until_end else None
        first = OFFSET_BEGINNING if start == "beginning" else OFFSET_END
        reader = Reader(consumer, dict.fromkeys(chosen, first), passing=())
        batches = _endless(reader) if ends is None else reader.until(ends)
        if key is not None:
            batches = ([each for each in batch if each.key() == key] for batch in batches)
        yield from batches if limit is None else _limited(batches, limit)
    finally:
        consumer.close()


def _chosen(topic: str, count: int, wanted: Sequence[Partition] | None) -> list[TopicPartition]:
    numbers = [Partition(each) for each in range(count)] if wanted is None else list(wanted)
    unknown = [each for each in numbers if not 0 <= each < count]
    if unknown:
        raise UsageError(f"{topic!r} has no partition {unknown[0]}: it has 0 to {count - 1}.")
    return [TopicPartition(topic, each) for each in numbers]


def _ends(consumer: Consumer, sources: Sequence[TopicPartition]) -> dict[TopicPartition, Offset]:
    """The offset after the last committed record of each partition that has any offset at all."""
    ends: dict[TopicPartition, Offset] = {}
    for source in sources:
        # For a reader of committed records the watermark is the last stable offset.
        low, high = watermarks(consumer, ClientPartition(*source))
        if low < high:
            ends[source] = Offset(high)
    return ends


def _endless(reader: Reader) -> Iterator[list[Message]]:
    while True:
        yield reader.read(_POLL)


def _limited(batches: Iterator[list[Message]], limit: int) -> Iterator[list[Message]]:
    for batch in batches:
        yield batch[:limit]
        limit -= len(batch)
        if limit <= 0:
            return


class _Outlet:
    """A producer for a topic that is there, and the errors that its records met."""

    def __init__(self, config: ClientConfig, topic: str) -> None:
        self._topic = topic
        self._errors: list[ClientError] = []
        passing = PURGED if "transactional.id" in config else set[int]()
        note = partial(_note, self._errors, passing)
        self.producer = Producer({**_PRODUCER, **config, "on_delivery": note})
        partitions_of(config, topic, self.producer)

    def write(self, rows: Iterable[Row], total: int | None, on_progress: OnProgress | None) -> int:
        """Hands over every row and waits for the acknowledgement of all."""
        report = on_progress or _silent
        done, due = 0, 0.0
        with _translating(f"write to {self._topic!r}"):
            try:
                for row in rows:
                    self._produce(row)
                    done += 1
                    if (now := time.monotonic()) >= due:
                        due = now + _PROGRESS_SECONDS
                        report(done, total)
                        self._poll(0)
            finally:
                # Not flush(): the client raises a fatal error from a callback, and flush() goes on
                # to call the next one with that error pending, which ends in a SystemError.
                while len(self.producer):
                    self._poll(0.1)
        report(done, total)
        return done

    @contextlib.contextmanager
    def transaction(self) -> Generator[None]:
        """All or nothing of what is written inside."""
        self.producer.begin_transaction()
        try:
            yield
            self._commit()
        except BaseException:
            # The error that led here is the one to report; the next load aborts what this can't.
            with contextlib.suppress(KafkaException):
                self.producer.purge()
                self.producer.abort_transaction(10)
            raise

    def _commit(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self.producer.commit_transaction(10)
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() > deadline:
                    raise translated(error, f"commit what was loaded to {self._topic!r}") from error
            else:
                return

    def _produce(self, row: Row) -> None:
        while True:
            try:
                self.producer.produce(
                    self._topic,
                    row.value,
                    row.key,
                    timestamp=row.timestamp or 0,
                    headers=list(row.headers) or None,
                )
            except BufferError:
                self._poll(0.1)
            else:
                return

    def _poll(self, timeout: float) -> None:
        self.producer.poll(timeout)
        if self._errors:
            raise KafkaException(self._errors[0])


def _silent(_done: int, _total: int | None) -> None:
    pass


def _note(
    errors: list[ClientError],
    passing: Collection[int],
    error: ClientError | None,
    _message: Message,
) -> None:
    if error is not None and error.code() not in passing:
        errors.append(error)


@contextlib.contextmanager
def _translating(doing: str) -> Generator[None]:
    try:
        yield
    except KafkaException as error:
        raise translated(error, doing) from error
