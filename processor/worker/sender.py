"""Sender: the producer of a slot. It sends batches, or records one by one.

Kafka refuses a whole batch for one record, and does not say which. So after a refusal records are
sent alone, until the culprit is known, or all that there is has been committed that way.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, repeat, starmap
from typing import Any, TypeVar

from confluent_kafka import KafkaException, Producer
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.errors import Interrupted
from processor.kafka.clients import COMMON, UNFIT
from processor.native.client import Handle, made
from processor.records import Offset
from processor.runtime.commands import Produce
from processor.topology.plan import StoreId

T = TypeVar("T")

_FLUSH_TIMEOUT = 60.0
_LOOK = 0.2
"""Seconds after which it is asked why records do not arrive."""

_FULL = 0.05
"""Seconds to wait for room in the queue."""

_ASK_TIMEOUT = 10.0
_ANY_PARTITION = -1

NO_TOPIC = frozenset(
    {
        ClientError._UNKNOWN_PARTITION,  # noqa: SLF001 - the client's own names
        ClientError._UNKNOWN_TOPIC,  # noqa: SLF001
        ClientError.TOPIC_AUTHORIZATION_FAILED,
        ClientError.TOPIC_EXCEPTION,
        ClientError.UNKNOWN_TOPIC_OR_PART,
    }
)
"""That a topic takes no record of this application."""

REFUSED = NO_TOPIC | UNFIT.keys()
"""What is no better however often it is tried."""


def idly() -> None:
    """Does nothing meanwhile."""


class RowFailed(Exception):
    """A record that was sent alone did not arrive.

    Attributes:
        row: Its number in the command; None: it would be the same for all of its topic.
        error: Why.
    """

    def __init__(self, row: int | None, error: ClientError) -> None:
        super().__init__(str(error))
        self.row = row
        self.error = error


class Sender:
    """Sends records and keeps the offset of each store's last changelog record.

    Args:
        config: librdkafka settings.
        topics: That are known to be there; of others it is asked before.
        native: Whether records go by the native plane, but for those that are sent alone, and the
            last one of a changelog.
        meanwhile: Called again and again while records wait; what it raises ends the waiting.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        topics: Iterable[str] = (),
        *,
        native: bool = False,
        meanwhile: Callable[[], None] = idly,
    ) -> None:
        self._meanwhile = meanwhile
        self._handle = None
        if native:
            self.producer, self._handle = made(Producer, {**COMMON, **config})
        else:
            self.producer = Producer({**COMMON, **config})
        self.one_by_one = False
        """Whether records that commands write, but for changelogs, are sent alone."""
        self.named = frozenset(topics)
        self._topics = set(topics)
        self._written: dict[StoreId, Offset | None] = {}

    def produce(self, command: Produce) -> None:
        """Sends what a command writes, waiting where the queue is full.

        Raises:
            RowFailed: It is known of a record that it is refused.
            KafkaException: The client takes no records.
        """
        self._check(command.topic)
        if self.one_by_one and command.store is None:
            self._find(command)
            return
        if self._handle is not None:
            command = self._send_batch(self._handle, command)
        rows = _rows(command)
        if command.store is not None:
            rows[-1] = self._noting(rows[-1], command.store)
        self._send_all(rows)

    def take_written(self) -> Mapping[StoreId, Offset]:
        """The last changelog offset of each store, once all of it is committed.

        Raises:
            Interrupted: One is not known, as of records that arrived twice: who opens the store
                again finds it out.
        """
        written, self._written = self._written, {}
        known = {store: offset for store, offset in written.items() if offset is not None}
        if missing := sorted(map(str, written.keys() - known.keys())):
            raise Interrupted(
                f"all is committed, but Kafka did not say where the changelog of {missing[0]} ends"
            )
        return known

    def forget_written(self) -> None:
        """What was written is not committed."""
        self._written = {}

    def flush(self) -> None:
        """Waits until all has arrived, or the transaction has failed: then nothing more is sent.

        Raises:
            Interrupted: Neither came to pass.
            KprocError: What came up meanwhile.
        """
        deadline = time.monotonic() + _FLUSH_TIMEOUT
        while (left := self.producer.flush(_LOOK)) and self.reason() is None:
            self._meanwhile()
            if time.monotonic() > deadline:
                raise Interrupted(f"{left} records could not be sent in {_FLUSH_TIMEOUT:.0f} s")

    def failure(self) -> tuple[ClientError, str] | None:
        """Why the first record did not arrive of those by the native plane, and its topic.

        It is reported once. What is sent otherwise has its delivery report.
        """
        found = None if self._handle is None else self._handle.failure()
        return None if found is None else (ClientError(found[0]), found[1])

    def reason(self) -> ClientError | None:
        """Why the open transaction has failed, if it has.

        The client says that to calls that are about the transaction only. One that was begun can't
        be begun again, so that the question changes nothing.
        """
        try:
            self.producer.begin_transaction()
        except KafkaException as reported:
            cause: Any = reported.args[0]
            return cause if cause.txn_requires_abort() or cause.fatal() else None
        return None

    def _check(self, topic: str) -> None:
        """Asks about a topic that is new: what waits for one that is not there spoils all else."""
        if topic in self._topics:
            return
        try:
            error: Any = self.producer.list_topics(topic, _ASK_TIMEOUT).topics[topic].error
        except KafkaException:
            return  # no broker answers; sending finds out more
        if error is not None and error.code() in NO_TOPIC:
            raise RowFailed(None, error)
        self._topics.add(topic)

    def _find(self, command: Produce) -> None:
        failed: list[ClientError] = []

        def noted(error: ClientError | None, _message: Any) -> None:
            if error is not None:
                failed.append(error)

        for number, row in enumerate(_rows(command, noted)):
            self._send_alone(row)
            # Where the transaction has failed, the record alone shows that and not why.
            why: Any = self.reason() or (failed[0] if failed else None)
            if why is not None:
                raise RowFailed(None if why.code() in NO_TOPIC else number, why)

    def _send_alone(self, row: Any) -> None:
        self._send_all([row])
        self.flush()

    def _noting(self, row: Any, store: StoreId) -> Any:
        """The row with a delivery report that has its offset, the only one asked for."""
        self._written[store] = None

        def noted(error: ClientError | None, message: Any) -> None:
            if error is None:
                self._written[store] = message.offset()

        return (*row[:4], noted, *row[5:])

    def _send_batch(self, handle: Handle, command: Produce) -> Produce:
        """Sends the records by the native plane; returns the command with those that are left.

        They are the last of a changelog's, as its offset is asked for.
        """
        records = command.records
        whole = len(records) - (command.store is not None)
        batch = records if whole == len(records) else records.between(0, whole)
        columns = (
            _list(batch.keys),
            _list(batch.values),
            _list(batch.timestamps),
            None if batch.headers is None else _list(batch.headers),
        )
        sent, code = handle.produce(command.topic, _partition(command), *columns, 0)
        while code == ClientError._QUEUE_FULL:  # noqa: SLF001
            self._wait_for_room()
            sent, code = handle.produce(command.topic, _partition(command), *columns, sent)
        if code:
            raise KafkaException(ClientError(code))
        return replace(command, records=records.between(whole, len(records)))

    def _send_all(self, rows: list[Any]) -> None:
        sent: list[None] = []
        while len(sent) < len(rows):
            try:
                # As in `attempt`: what was sent before the queue was full stays counted.
                sent.extend(starmap(self.producer.produce, islice(rows, len(sent), None)))
            except BufferError:
                self._wait_for_room()
        self.producer.poll(0)

    def _wait_for_room(self) -> None:
        self.producer.poll(_FULL)
        self._meanwhile()


def _partition(command: Produce) -> int:
    return _ANY_PARTITION if command.partition is None else command.partition


def _list(column: Sequence[T]) -> list[T]:
    return column if isinstance(column, list) else list(column)


def _rows(command: Produce, on_delivery: Callable[..., None] | None = None) -> list[Any]:
    """What the client is given for each record."""
    records = command.records
    columns = (
        repeat(command.topic),
        records.values,
        records.keys,
        repeat(_partition(command)),
        repeat(on_delivery),
        repeat(None),  # by position on_delivery comes twice, under its old name, too
        # librdkafka takes the timestamp 0 for "now".
        [timestamp or 1 for timestamp in records.timestamps],
    )
    if records.headers is not None:
        columns = (*columns, [list(headers) for headers in records.headers])
    # The repeated columns have no end of their own.
    return list(zip(*columns, strict=False))
