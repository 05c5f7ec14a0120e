"""Outbox: the slot's producer, and the transaction it has open.

Owns the classes of a transaction's failures (KIP-98, KIP-691 and librdkafka's transactional API):
what can be tried again is tried again here, what an abort fixes is `Abortable`, and where it is not
known whether a commit took place the worker is `Interrupted`.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, Protocol, TypeAlias

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.errors import (
    Fenced,
    Interrupted,
    KprocError,
    PermissionDenied,
    RecordRefused,
    TopicMismatch,
    TransactionTimedOut,
)
from processor.kafka.clients import FENCED, UNFIT, connect, take_over_transactions, translated
from processor.records import Offset, TopicPartition
from processor.runtime.commands import Position, Produce, Refused
from processor.topology.plan import StoreId
from processor.worker.epochs import Epochs
from processor.worker.sender import NO_TOPIC, REFUSED, RowFailed, Sender, idly

_ABORT_FLUSH_TIMEOUT = 5.0
_COORDINATED = 5.0
"""Seconds after which offsets that are sent have not arrived because the client waits in vain."""

_LOST = 1.5
"""The same if a connection was lost since some last arrived: it may be the coordinator's."""

_DISCONNECTED = {
    ClientError._ALL_BROKERS_DOWN,  # noqa: SLF001 - the client's own names
    ClientError._TRANSPORT,  # noqa: SLF001
}

_SERVED = 0.05
"""Seconds to wait for what the client reports."""

_CLOSING = 2.0
"""Seconds for each step of aborting what is open when the worker ends."""

_METADATA = 4000
"""Bytes of an offset's metadata; brokers take 4096 unless they are configured otherwise."""


Witness: TypeAlias = Callable[[Mapping[TopicPartition, Position]], Iterable[Produce]]
"""The records of positions besides the group."""


def nothing(_positions: Mapping[TopicPartition, Position]) -> Iterable[Produce]:
    """No records."""
    return ()


class Abortable(Exception):
    """The transaction can't be committed; aborting it and doing its work again fixes that.

    Attributes:
        refused: What is never taken, if it is known.
    """

    def __init__(self, text: str = "", refused: Refused | None = None) -> None:
        super().__init__(text)
        self.refused = refused


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

    @property
    def is_searching(self) -> bool:
        """Whether records are sent one by one, to find which of them is refused."""
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

    def close(self) -> None:
        """Ends, whatever the reason: what is open is aborted if that can be done at once."""


class TransactionalOutbox:
    """Exactly-once: outputs, changelog and offsets become visible together, or not at all.

    Args:
        config: librdkafka settings with the slot's transactional id; for as long as a transaction
            lasts, what may be tried again is tried again.
        consumer: In whose group the offsets are committed.
        epochs: The leader epochs of what was read: they are committed with the offsets.
        on_retry: Called with a text when something is tried again.
        also: The records of positions besides the group.
        topics: That are known to be there.
        native: Whether records go by the native plane.
        meanwhile: Called again and again while records wait; what it raises ends the waiting.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        consumer: Consumer,
        epochs: Epochs,
        on_retry: Callable[[str], None],
        also: Witness = nothing,
        topics: Iterable[str] = (),
        *,
        native: bool = False,
        meanwhile: Callable[[], None] = idly,
    ) -> None:
        reported = {**config, "error_cb": self._note_error}
        self._sender = Sender(reported, topics, native=native, meanwhile=meanwhile)
        self._lost_one = False
        self._longest = int(config.get("transaction.timeout.ms", 60_000)) / 1000
        self._began = 0.0
        self._consumer = consumer
        self._epochs = epochs
        self._also = also
        self._on_retry = on_retry
        self._begun = False
        self._topics: set[str] = set()
        self._caller = ThreadPoolExecutor(1, "send-offsets")

    def connect(self) -> None:
        """Connects to the brokers."""
        connect(self._sender.producer, self._sender.named)

    def take_over(self) -> None:
        """Aborts what a predecessor of this slot left open, and fences it.

        Raises:
            KprocError: It did not succeed in time.
        """
        take_over_transactions(self._sender.producer, self._longest)

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

    @property
    def is_searching(self) -> bool:
        """Whether records are sent one by one, to find which of them is refused."""
        return self._sender.one_by_one

    def begin(self) -> None:
        """Begins a transaction."""
        self._began = time.monotonic()
        self._try("begin a transaction", self._sender.producer.begin_transaction)
        self._begun = True

    def produce(self, command: Produce) -> None:
        """Sends records, waiting where the queue is full.

        Raises:
            Abortable: The transaction has failed meanwhile.
        """
        self._topics.add(command.topic)
        try:
            self._sender.produce(command)
        except RowFailed as failure:
            error = KafkaException(failure.error)
            if failure.error.code() in REFUSED:
                raise _found(self._sender, command, failure) from failure
            raise self._failed(self._reason(error), "send records") from failure
        except KafkaException as error:
            raise self._failed(self._reason(error), "send records") from error

    def send_offsets(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Makes the positions part of the transaction, under the group's present generation."""
        for each in self._also(positions):
            self.produce(each)
        self._send_offsets(positions)

    def _send_offsets(self, positions: Mapping[TopicPartition, Position]) -> None:
        offsets = client_positions(positions, self._epochs)

        def send() -> None:
            metadata = self._consumer.consumer_group_metadata()
            self._sender.producer.send_offsets_to_transaction(offsets, metadata, self._longest)

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
        self._try("commit", lambda: producer.commit_transaction(self._longest))
        self._topics.clear()
        self._begun = self._sender.one_by_one = False
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
        self._try("abort a transaction", lambda: producer.abort_transaction(self._longest))
        producer.poll(0)
        self._topics.clear()
        self._begun = False
        self._sender.forget_written()

    def close(self) -> None:
        """Aborts what is open, if that can be done at once: readers need not wait for a time-out.

        Where it can't be, whoever takes the transactional id over does it.
        """
        if not self._begun:
            return
        producer = self._sender.producer
        with suppress(KafkaException):
            producer.flush(_CLOSING)
            producer.abort_transaction(_CLOSING)

    def _in_time(self, send: Callable[[], None]) -> None:
        """Sends offsets in another thread: without their coordinator the client may never return.

        It waits for the broker that was the group's coordinator until any broker comes or goes, and
        forgets the timeout: https://github.com/confluentinc/librdkafka/issues/5511 and 5456.
        Another worker goes on at once, and finds the coordinator that there is now.
        """
        began = time.monotonic()
        sending = self._caller.submit(send)
        # Meanwhile what waits for more records to come is on its way, too.
        self._sender.producer.flush(_SERVED)
        while not wait([sending], _SERVED).done:
            self._sender.producer.poll(0)  # reports errors
            waited = time.monotonic() - began
            if waited > (_LOST if self._lost_one else _COORDINATED):
                raise Interrupted(
                    f"the coordinator of the group did not take offsets in {waited:.1f} s"
                )
        sending.result()
        self._lost_one = False

    def _note_error(self, error: ClientError) -> None:
        self._lost_one |= error.code() in _DISCONNECTED

    def _reason(self, error: KafkaException) -> KafkaException:
        """Why the client takes no records, or did not send one.

        That a transaction has failed is seen here first, as records arrive or not at any time.
        """
        reason = self._sender.reason()
        return error if reason is None else KafkaException(reason)

    def _failed(self, error: KafkaException, doing: str) -> Exception:
        """What a failure means; one of a record's, of which it is not known which, is searched."""
        doing = self._doing(doing)
        cause: Any = error.args[0]
        if cause.code() in FENCED and self._begun and self._age() > self._longest:
            return TransactionTimedOut(
                f"a transaction was open for more than transaction_timeout ({self._longest:g} s), "
                f"so that Kafka has aborted it ({cause.str()})"
            )
        known = failed(error, doing)
        is_chosen = not self._topics <= self._sender.named
        if cause.txn_requires_abort() and _may_be_one(cause, is_chosen=is_chosen):
            return _search(self._sender, known)
        return known

    def _age(self) -> float:
        return time.monotonic() - self._began

    def _doing(self, doing: str) -> str:
        """What is tried, with all topics it may fail for: any call may be the first to fail."""
        topics = ", ".join(sorted(self._topics))
        return f"{doing} in a transaction with records for {topics}" if topics else doing

    def _try(self, doing: str, call: Callable[[], None]) -> None:
        deadline = time.monotonic() + self._longest
        while True:
            try:
                return call()
            except KafkaException as error:
                cause: Any = error.args[0]
                if not (cause.retriable() and time.monotonic() < deadline):
                    raise self._failed(error, doing) from error
                self._on_retry(f"trying again to {doing}: {cause.str()}")


class PlainOutbox:
    """At-least-once: the same steps, each visible at once.

    Args:
        config: librdkafka settings without a transactional id.
        consumer: In whose group the offsets are committed.
        epochs: The leader epochs of what was read: they are committed with the offsets.
        also: The records of positions besides the group.
        topics: That are known to be there.
        native: Whether records go by the native plane.
        meanwhile: Called again and again while records wait; what it raises ends the waiting.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        consumer: Consumer,
        epochs: Epochs,
        also: Witness = nothing,
        topics: Iterable[str] = (),
        *,
        native: bool = False,
        meanwhile: Callable[[], None] = idly,
    ) -> None:
        reported = {**config, "on_delivery": self._delivered}
        self._sender = Sender(reported, topics, native=native, meanwhile=meanwhile)
        self._consumer = consumer
        self._epochs = epochs
        self._also = also
        self._positions: Mapping[TopicPartition, Position] = {}
        self._failures: list[Exception] = []

    def connect(self) -> None:
        """Connects to the brokers."""
        connect(self._sender.producer, self._sender.named)

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

    @property
    def is_searching(self) -> bool:
        """Whether records are sent one by one, to find which of them is refused."""
        return self._sender.one_by_one

    def begin(self) -> None:
        """There is no transaction to begin."""

    def produce(self, command: Produce) -> None:
        """Sends records, waiting where the queue is full."""
        doing = f"send records to {command.topic}"
        try:
            self._sender.produce(command)
        except RowFailed as failure:
            if failure.error.code() in REFUSED:
                raise _found(self._sender, command, failure) from failure
            raise _to_be_repeated(KafkaException(failure.error), doing) from failure
        except KafkaException as error:
            raise failed(error, doing) from error

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
            self._await_all()
            if offsets and not self._failures:
                self._consumer.commit(offsets=offsets, asynchronous=False)
                for each in self._also(self._positions):
                    self._sender.produce(each)
                self._await_all()
        except KafkaException as error:
            raise _to_be_repeated(error, "commit offsets") from error
        if self._failures:
            raise self._failures[0]
        self._sender.one_by_one = False
        self._positions = {}
        return self._sender.take_written()

    def abort(self) -> None:
        """Forgets what failed; what has arrived stays, and comes again."""
        self._sender.failure()
        self._failures.clear()
        self._sender.forget_written()

    def close(self) -> None:
        """There is no transaction to abort."""

    def _await_all(self) -> None:
        self._sender.flush()
        if (failure := self._sender.failure()) is not None:
            self._note(*failure)

    def _delivered(self, error: ClientError | None, message: Any) -> None:
        if error is not None:
            self._note(error, message.topic())

    def _note(self, error: ClientError, topic: str) -> None:
        known = _to_be_repeated(KafkaException(error), f"send records to {topic}")
        if _may_be_one(error, is_chosen=topic not in self._sender.named):
            known = _search(self._sender, known)
        self._failures.append(known)


def _may_be_one(error: ClientError, *, is_chosen: bool) -> bool:
    """Whether one record may be the cause; a topic that is named in the topology takes all."""
    return error.code() in UNFIT or (is_chosen and error.code() in NO_TOPIC)


def _found(sender: Sender, command: Produce, failure: RowFailed) -> Abortable:
    """It is known what is refused: from now on all is sent in batches again."""
    sender.one_by_one = False
    error = translated(failure.error, f"send a record to {command.topic}")
    return Abortable(str(error), Refused(command, failure.row, error))


def _search(sender: Sender, known: Exception) -> Exception:
    """A record is refused, and not known yet: what is done again is sent one by one.

    What is refused even so can't be traced to one command.
    """
    if sender.one_by_one:
        return known
    sender.one_by_one = True
    return Abortable(f"{known} It is found out which record that is")


def failed(error: KafkaException, doing: str) -> Exception:
    """What a failure means; aborting fixes nothing where the broker refuses for good."""
    cause: Any = error.args[0]
    known = translated(error, doing)
    if cause.code() == ClientError.FENCED_INSTANCE_ID and cause.txn_requires_abort():
        # The transactional id decides, and was looked at first; the consumer is fenced as well.
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
