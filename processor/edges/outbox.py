"""Outbox: the slot's producer, and the transaction it has open.

Owns the classes of a transaction's failures (KIP-98, KIP-691 and librdkafka's transactional API):
what can be tried again is tried again here, what an abort mends is `Abortable`, and where it is not
known whether a commit took place the worker is `Interrupted`.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from itertools import islice, repeat, starmap
from typing import Any, Protocol, TypeAlias

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.edges.clients import QUIET, connect, take_over_transactions, translated
from processor.edges.epochs import Epochs
from processor.errors import (
    Fenced,
    Interrupted,
    KprocError,
    PermissionDenied,
    RecordRefused,
    TopicMismatch,
)
from processor.records import Offset, TopicPartition
from processor.runtime.commands import Position, Produce
from processor.topology.plan import StoreId

_FLUSH_TIMEOUT = 60.0
_ABORT_FLUSH_TIMEOUT = 5.0
_COORDINATED = 5.0
"""Seconds after which offsets that are sent have not arrived because the client waits in vain."""

_ANY_PARTITION = -1

_METADATA = 4000
"""Bytes of an offset's metadata; brokers take 4096 unless they are told otherwise."""


_UNTOLD = (ClientError._STATE, ClientError._FATAL)  # noqa: SLF001 - the client's own names
"""That a transaction, or the client, has failed before; not why."""


Witness: TypeAlias = Callable[[Mapping[TopicPartition, Position]], Iterable[Produce]]
"""The records that tell of positions besides the group."""


def nothing(_positions: Mapping[TopicPartition, Position]) -> Iterable[Produce]:
    """No records."""
    return ()


class Abortable(Exception):
    """The transaction can't be committed; aborting it and doing its work again mends that."""


class Outbox(Protocol):
    """Where a slot's output goes."""

    def connect(self) -> None:
        """Connects to the brokers, so that it need not be done later.

        Raises:
            KprocError: No broker answers.
        """

    def use(self, consumer: Consumer) -> None:
        """Commits offsets as this member of the group from now on."""

    def check_ours(self, positions: Mapping[TopicPartition, Position], lost: KprocError) -> None:
        """Makes sure that the slot is still this worker's although it is no member of the group.

        Args:
            positions: What is committed: it may be sent again in a transaction that is aborted.
            lost: What the group says.

        Raises:
            KprocError: It is not.
        """

    @property
    def is_open(self) -> bool:
        """Whether a transaction is open."""
        ...

    def begin(self) -> None:
        """Begins a transaction."""

    def produce(self, command: Produce) -> None:
        """Sends records, waiting where the queue is full."""

    def send_offsets(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Makes the positions part of the commit."""

    def commit(self) -> Mapping[StoreId, Offset]:
        """Commits; returns the last changelog offset of each store."""
        ...

    def abort(self) -> None:
        """Aborts the transaction."""


class _Sender:
    """Sends records and keeps the offset of each store's last changelog record."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.producer = Producer({**QUIET, **config})
        self._written: dict[StoreId, Offset | None] = {}

    def produce(self, command: Produce, on_delivery: Callable[..., None] | None) -> None:
        records = command.records
        columns = (
            repeat(command.topic),
            records.values,
            records.keys,
            repeat(_ANY_PARTITION if command.partition is None else command.partition),
            repeat(on_delivery),
            repeat(None),  # by position on_delivery comes twice, under its old name, too
            # librdkafka takes the timestamp 0 for "now".
            [timestamp or 1 for timestamp in records.timestamps],
        )
        if records.headers is not None:
            columns = (*columns, [list(headers) for headers in records.headers])
        # The repeated columns have no end of their own.
        rows = list(zip(*columns, strict=False))
        if command.store is not None:
            rows[-1] = self._noting(rows[-1], command.store)
        self._send_all(rows)

    def _noting(self, row: Any, store: StoreId) -> Any:
        """The row with a delivery report that tells its offset, the only one asked for."""
        self._written[store] = None

        def noted(error: ClientError | None, message: Any) -> None:
            if error is None:
                self._written[store] = message.offset()

        return (*row[:4], noted, *row[5:])

    def _send_all(self, rows: list[Any]) -> None:
        sent: list[None] = []
        while len(sent) < len(rows):
            try:
                # As in `attempt`: what was sent before the queue was full stays counted.
                sent.extend(starmap(self.producer.produce, islice(rows, len(sent), None)))
            except BufferError:
                self.producer.poll(0.05)
        self.producer.poll(0)

    def take_written(self) -> Mapping[StoreId, Offset]:
        """The last changelog offset of each store, once all of it is committed.

        Raises:
            Interrupted: One is not known, as of records that arrived twice: who opens the store
                anew finds it out.
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
        left = self.producer.flush(_FLUSH_TIMEOUT)
        if left:
            raise Interrupted(f"{left} records could not be sent in {_FLUSH_TIMEOUT:.0f} s")


class TransactionalOutbox:
    """Exactly-once: outputs, changelog and offsets become visible together, or not at all.

    Args:
        config: librdkafka settings with the slot's transactional id.
        consumer: In whose group the offsets are committed.
        epochs: The leader epochs of what was read: they are committed with the offsets.
        patience: Seconds to try again what may be tried again.
        on_retry: Called with a text when something is tried again.
        also: The records that tell of positions besides the group.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        consumer: Consumer,
        epochs: Epochs,
        patience: float,
        on_retry: Callable[[str], None],
        also: Witness = nothing,
    ) -> None:
        self._sender = _Sender(config)
        self._consumer = consumer
        self._epochs = epochs
        self._also = also
        self._patience = patience
        self._on_retry = on_retry
        self._begun = False
        self._topics: set[str] = set()
        self._caller = ThreadPoolExecutor(1, "send-offsets")

    def connect(self) -> None:
        """Connects to the brokers."""
        connect(self._sender.producer)

    def take_over(self) -> None:
        """Aborts what a predecessor of this slot left open, and fences it.

        Raises:
            KprocError: It did not succeed in time.
        """
        take_over_transactions(self._sender.producer, self._patience)

    def use(self, consumer: Consumer) -> None:
        """Commits offsets as this member of the group from now on."""
        self._consumer = consumer

    def check_ours(self, positions: Mapping[TopicPartition, Position], lost: KprocError) -> None:
        """Makes sure that nobody has taken over the transactional id since.

        The broker looks at that before it asks the group, whose refusal only aborts.
        """
        if not positions:
            raise lost
        begun = self._begun
        if not begun:
            self.begin()
        with suppress(Abortable):
            self._send_offsets(positions)
        if not begun:
            self.abort()

    @property
    def is_open(self) -> bool:
        """Whether a transaction is open."""
        return self._begun

    def begin(self) -> None:
        """Begins a transaction."""
        self._try("begin a transaction", self._sender.producer.begin_transaction)
        self._begun = True

    def produce(self, command: Produce) -> None:
        """Sends records, waiting where the queue is full.

        Raises:
            Abortable: The transaction has failed meanwhile.
        """
        self._topics.add(command.topic)
        try:
            self._sender.produce(command, None)
        except KafkaException as error:
            raise failed(self._reason(error), self._doing("send records")) from error

    def send_offsets(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Makes the positions part of the transaction, under the group's present generation."""
        for each in self._also(positions):
            self.produce(each)
        self._send_offsets(positions)

    def _send_offsets(self, positions: Mapping[TopicPartition, Position]) -> None:
        offsets = client_positions(positions, self._epochs)

        def send() -> None:
            metadata = self._consumer.consumer_group_metadata()
            self._sender.producer.send_offsets_to_transaction(offsets, metadata, self._patience)

        if offsets:
            self._try("send offsets", lambda: self._in_time(send))

    def commit(self) -> Mapping[StoreId, Offset]:
        """Commits the transaction.

        Raises:
            Abortable: It can't be committed.
            Interrupted: It is not known whether it was.
        """
        self._try("send records", self._sender.flush)
        producer = self._sender.producer
        self._try("commit", lambda: producer.commit_transaction(self._patience))
        self._topics.clear()
        self._begun = False
        return self._sender.take_written()

    def abort(self) -> None:
        """Aborts the transaction.

        What is on its way arrives first, if it can: librdkafka drops requests that are not sent,
        then misses their sequence numbers, and may end a transaction that no partition is part of
        yet, which the broker refuses for good.
        """
        if not self._begun:  # what was to begin it failed before
            return
        producer = self._sender.producer
        producer.flush(_ABORT_FLUSH_TIMEOUT)
        self._try("abort a transaction", lambda: producer.abort_transaction(self._patience))
        producer.poll(0)
        self._topics.clear()
        self._begun = False
        self._sender.forget_written()

    def _in_time(self, send: Callable[[], None]) -> None:
        """Sends offsets in another thread: without their coordinator the client may never return.

        It waits for the broker that was the group's coordinator until any broker comes or goes, and
        forgets the timeout: https://github.com/confluentinc/librdkafka/issues/5511 and 5456.
        Another worker goes on at once, and finds the coordinator that there is now.
        """
        sending = self._caller.submit(send)
        if not wait([sending], _COORDINATED).done:
            raise Interrupted(
                f"the coordinator of the group did not take offsets in {_COORDINATED:.0f} s"
            )
        sending.result()

    def _reason(self, error: KafkaException) -> KafkaException:
        """Why the client takes no records: it is told to calls that are about the transaction only.

        That a transaction has failed is seen here first, as records arrive or not at any time. One
        that was begun can't be begun again, so that the question changes nothing.
        """
        if error.args[0].code() in _UNTOLD:
            try:
                self._sender.producer.begin_transaction()
            except KafkaException as told:
                return told
        return error

    def _doing(self, doing: str) -> str:
        """What is tried, with all topics it may fail for: any call may be the first to tell."""
        topics = ", ".join(sorted(self._topics))
        return f"{doing} in a transaction with records for {topics}" if topics else doing

    def _try(self, doing: str, call: Callable[[], None]) -> None:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return call()
            except KafkaException as error:
                cause: Any = error.args[0]
                if not (cause.retriable() and time.monotonic() < deadline):
                    raise failed(error, self._doing(doing)) from error
                self._on_retry(f"trying again to {doing}: {cause.str()}")


class PlainOutbox:
    """At-least-once: the same steps, each visible at once.

    Args:
        config: librdkafka settings without a transactional id.
        consumer: In whose group the offsets are committed.
        epochs: The leader epochs of what was read: they are committed with the offsets.
        also: The records that tell of positions besides the group.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        consumer: Consumer,
        epochs: Epochs,
        also: Witness = nothing,
    ) -> None:
        self._sender = _Sender({**config, "on_delivery": self._delivered})
        self._consumer = consumer
        self._epochs = epochs
        self._also = also
        self._positions: Mapping[TopicPartition, Position] = {}
        self._failures: list[Exception] = []

    def connect(self) -> None:
        """Connects to the brokers."""
        connect(self._sender.producer)

    def use(self, consumer: Consumer) -> None:
        """Commits offsets as this member of the group from now on."""
        self._consumer = consumer

    def check_ours(self, positions: Mapping[TopicPartition, Position], lost: KprocError) -> None:
        """Without transactions the group alone decides."""
        del positions
        raise lost

    @property
    def is_open(self) -> bool:
        """None ever is."""
        return False

    def begin(self) -> None:
        """There is no transaction to begin."""

    def produce(self, command: Produce) -> None:
        """Sends records, waiting where the queue is full."""
        try:
            self._sender.produce(command, self._delivered)
        except KafkaException as error:
            raise failed(error, f"send records to {command.topic}") from error

    def send_offsets(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Notes the positions for the commit."""
        self._positions = positions

    def commit(self) -> Mapping[StoreId, Offset]:
        """Commits the offsets, after all records have arrived.

        Only then the other witness: a crash in between must not look as if the group had been set
        back.

        Raises:
            Abortable: A record was refused, or the group has a new generation.
        """
        offsets = client_positions(self._positions, self._epochs)
        try:
            self._sender.flush()
            if offsets and not self._failures:
                self._consumer.commit(offsets=offsets, asynchronous=False)
                for each in self._also(self._positions):
                    self._sender.produce(each, self._delivered)
                self._sender.flush()
        except KafkaException as error:
            raise _to_be_repeated(error, "commit offsets") from error
        if self._failures:
            raise self._failures[0]
        self._positions = {}
        return self._sender.take_written()

    def abort(self) -> None:
        """Forgets what failed; what has arrived stays, and comes again."""
        self._failures.clear()
        self._sender.forget_written()

    def _delivered(self, error: ClientError | None, message: Any) -> None:
        if error is not None:
            doing = f"send records to {message.topic()}"
            self._failures.append(_to_be_repeated(KafkaException(error), doing))


def failed(error: KafkaException, doing: str) -> Exception:
    """What a failure means; aborting mends nothing where the broker refuses for good."""
    cause: Any = error.args[0]
    known = translated(error, doing)
    if cause.code() == ClientError.FENCED_INSTANCE_ID and cause.txn_requires_abort():
        # The transactional id decides, and was looked at first; the consumer is told as well.
        return Abortable(str(known))
    if isinstance(known, Fenced | TopicMismatch | PermissionDenied | RecordRefused):
        return known
    if cause.txn_requires_abort():
        return Abortable(f"{cause.name()}: {cause.str()}")
    return Interrupted(f"it is not known what was written ({cause.name()}: {cause.str()})")


def _to_be_repeated(error: KafkaException, doing: str) -> Exception:
    """The same without transactions, where all can be done again that was not refused for good."""
    known = failed(error, doing)
    return Abortable(str(error)) if isinstance(known, Interrupted) else known


def client_positions(
    positions: Mapping[TopicPartition, Position], epochs: Epochs
) -> list[ClientPartition]:
    """Positions as the client takes them: what else there is goes along as metadata.

    Brokers refuse long metadata (`offset.metadata.max.bytes`); the ledger has them whole.
    """
    return [
        ClientPartition(
            source.topic,
            source.partition,
            position.offset,
            position.metadata if len(position.metadata) <= _METADATA else str(position.stream_time),
            epochs.of(source, position.offset),
        )
        for source, position in positions.items()
    ]
