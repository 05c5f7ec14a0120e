"""Inbox: the slot's consumer in the group; turns what the client gives into events of the core.

Rebalance callbacks only note what happened: the client is given partitions, with explicit offsets,
by `fetch` alone. (A logical offset would be looked up while a later seek is under way, and the
answer could undo the seek: records would be passed over.)
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.errors import Fenced, Interrupted, KprocError, StateError, TopicMismatch
from processor.kafka.clients import PASSING, connect, translated
from processor.kafka.fetching import Fetcher
from processor.kafka.messages import UNKNOWN, Run, source_of
from processor.records import Offset, Partition, TopicPartition
from processor.runtime.commands import Assigned, Event, Fetched, Lost, ReachedEnd, Revoked
from processor.worker.epochs import Epochs

_PASSING = PASSING | {ClientError._MAX_POLL_EXCEEDED}  # noqa: SLF001 - the client's own name

_TRUNCATED = "log truncation"
"""What the client says where a partition no longer has the records before a position; the error
code is that of any position which is not there."""

_SHARED = 3.0
"""Seconds in which the group gives a slot its partitions, once all slots have joined."""

ADMITTED = 5.0
"""Seconds in which the group admits a member. A request to join has no time-out of its own: sent to
a broker that hangs, it is waited for though another broker coordinates the group by now. Joining
again while the group is only slow does no harm, as a static member takes its own place."""

_HEARTBEATS = 10.0
"""Seconds in which a heartbeat is answered, however busy the broker is."""


class Inbox:
    """The consumer of a slot.

    Args:
        fetcher: The consumer, by which records are fetched.
        topics: What the topology reads.
        own: The slot's partitions of them.
        aside: Another topic, of which nothing is read.
        epochs: The leader epochs of what was read.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        topics: Sequence[str],
        own: frozenset[TopicPartition],
        aside: str,
        epochs: Epochs,
    ) -> None:
        self._fetcher = fetcher
        self.consumer = fetcher.consumer
        self._topics = list(topics)
        self._own = own
        self._aside = aside
        self._epochs = epochs
        self._compared: dict[TopicPartition, tuple[Offset, int]] = {}
        self._lacking: tuple[frozenset[TopicPartition], float] | None = None
        self._joins_since: float | None = None
        self._rebalanced: list[Event] = []
        self._assigned: frozenset[TopicPartition] = frozenset()
        self._flowing: frozenset[TopicPartition] = frozenset()
        self._paused: frozenset[TopicPartition] = frozenset()
        self.passing: list[str] = []
        """Errors that the client resolves by itself, to be reported."""

    def connect(self) -> None:
        """Connects to the brokers and asks for their topics, so that it need not be done later.

        Raises:
            KprocError: No broker answers.
        """
        connect(self.consumer, self._topics)

    def subscribe(self) -> None:
        """Joins the group; `poll` says what it gives."""
        self._joins_since = time.monotonic()
        self._subscribe(self._topics)

    @property
    def is_kept_out(self) -> bool:
        """Whether the group has not admitted it for so long that only a new client may help."""
        since = self._joins_since
        return since is not None and time.monotonic() > since + ADMITTED

    def _subscribe(self, topics: list[str]) -> None:
        self.consumer.subscribe(
            topics,
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def poll(self, limit: int, timeout: float) -> list[Event]:
        """What has happened, waiting `timeout` seconds for it at most; up to `limit` records.

        Raises:
            Fenced: Another worker has the slot.
            KprocError: Something that only an operator can fix.
        """
        try:
            return self._poll(limit, timeout)
        except StateError:
            # Another may have processed, and had deleted, what this worker was too late for: if it
            # has the slot, the answer to a heartbeat says, and counts.
            until = time.monotonic() + _HEARTBEATS
            while time.monotonic() < until:
                with suppress(StateError):
                    self._poll(1, timeout)
            raise

    def _poll(self, limit: int, timeout: float) -> list[Event]:
        runs, others = self._fetcher.fetch(limit, timeout, self._flowing & self._assigned)
        if not self._own <= self._assigned:
            self._ask_for_own()
        rebalanced, self._rebalanced = self._rebalanced, []
        ends = list(self._ends(others))
        fetched: list[Event] = []
        for run in map(self._behind_compared, runs):
            self._epochs.read(run.source, run.spans)
            if len(run.records):
                fetched.append(Fetched(run.source, run.records))
        # The end of a partition comes last: it comes after all of its records.
        return [*rebalanced, *fetched, *ends]

    def fetch(self, offsets: Mapping[TopicPartition, Offset]) -> None:
        """Lets the records of these partitions flow, and of no others, from these offsets on."""
        self.pause(frozenset())  # or it would last
        self._flowing = frozenset(offsets)
        given = {source: at for source, at in offsets.items() if source in self._assigned}
        self._compared = {
            source: (Offset(at - 1), epoch)
            for source, at in given.items()
            if (epoch := self._epochs.to_compare(source, at)) is not None
        }
        partitions = [
            ClientPartition(*source, self._compared.get(source, (at, UNKNOWN))[0])
            for source, at in given.items()
        ]
        try:
            self.consumer.assign(partitions)
        except KafkaException as error:
            # Why, the next poll says.
            if error.args[0].code() != ClientError._FATAL:  # noqa: SLF001
                raise

    def pause(self, sources: frozenset[TopicPartition]) -> None:
        """Has nothing more fetched of these partitions, but of all others again."""
        given = {source for source in self._flowing if source in self._assigned}
        paused = [ClientPartition(*each) for each in given & sources]
        resumed = [ClientPartition(*each) for each in given & (self._paused - sources)]
        self._paused = sources & given
        if paused:
            self.consumer.pause(paused)
        if resumed:
            self.consumer.resume(resumed)

    def lag(self, position: TopicPartition, offset: Offset) -> int | None:
        """Records behind the end, as of the last fetch; None where nothing is known yet."""
        try:
            _, high = self.consumer.get_watermark_offsets(ClientPartition(*position), cached=True)
        except KafkaException:
            return None
        return max(0, high - offset) if high >= 0 else None

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """What the group has given last, of what the topology reads."""
        return self._assigned

    def close(self) -> None:
        """Ends the consumer; a static member keeps its place in the group."""
        self._fetcher.close()

    def _on_assign(self, consumer: Consumer, partitions: list[ClientPartition]) -> None:
        consumer.assign([])
        self._joins_since = None
        given = frozenset(_source(partition) for partition in partitions)
        self._assigned = frozenset(each for each in given if each.topic != self._aside)
        self._rebalanced.append(Assigned(self._assigned))

    def _on_revoke(self, consumer: Consumer, _partitions: list[ClientPartition]) -> None:
        self._forget(consumer, Revoked())

    def _on_lost(self, consumer: Consumer, _partitions: list[ClientPartition]) -> None:
        self._forget(consumer, Lost())

    def _ask_for_own(self) -> None:
        """Makes the group share out again if it has not given the slot its partitions.

        It hands a static member that comes back what it had, though topics have grown since. Only
        another subscription makes it rebalance; once, as slots that are missing have that effect,
        too, and the next one to join ends it.
        """
        if not self._assigned:
            return  # it is just sharing out
        now = time.monotonic()
        if self._lacking is None or self._lacking[0] != self._assigned:
            self._lacking = (self._assigned, now + _SHARED)
        elif now > self._lacking[1]:
            self._lacking = (self._assigned, math.inf)
            self.passing.append("the group has kept partitions back: it is asked to rebalance")
            self._subscribe([*self._topics, self._aside])

    def _forget(self, consumer: Consumer, event: Event) -> None:
        consumer.unassign()
        self._joins_since = time.monotonic()
        self._assigned = self._flowing = self._paused = frozenset()
        self._compared = {}
        self._rebalanced.append(event)

    def _behind_compared(self, run: Run) -> Run:
        """The records without the one that was read again to be compared.

        Raises:
            StateError: Another one is in its place.
        """
        source, records, spans = run
        if source not in self._compared:
            return run
        offset, epoch = self._compared.pop(source)
        self._epochs.compared(source)
        if records.offsets[0] != offset:
            return run  # it was compacted away
        if (found := spans[0].epoch) != epoch:
            raise _truncated(source, f"record {offset} is of leader epoch {found}, not {epoch}")
        return Run(source, records.between(1, len(records)), spans)

    def _ends(self, messages: Sequence[Message]) -> Iterator[Event]:
        """Events for messages that are no records; raises the errors that count."""
        # Why the client is of no use any more comes first: other errors may follow from that.
        for message in sorted(messages, key=lambda each: not _error(each).fatal()):
            error = _error(message)
            if error.code() == ClientError._PARTITION_EOF:  # noqa: SLF001
                yield ReachedEnd(source_of(message), Offset(message.offset() or 0))
            elif error.code() in _PASSING and not error.fatal():
                self.passing.append(f"{error.name()}: {error.str()}")
            else:
                raise self._serious(error, message)

    def _serious(self, error: Any, message: Message) -> KprocError:
        if not (error.fatal() or error.code() == ClientError._FATAL):  # noqa: SLF001
            if source_of(message) in self._compared:
                return Interrupted("what had been processed was deleted just now: it begins again")
            return _lasting(error, message)
        # A client that hears of no broker for a session's time forgets its member id, but still
        # sends heartbeats, for which the broker fences it as if it were another member.
        if not self.consumer.memberid():
            return Interrupted("no broker answered for longer than the session lasts")
        return Fenced(f"another worker has taken over the slot ({error.str()})")


def _error(message: Message) -> Any:
    return message.error()


def _lasting(error: Any, message: Message) -> KprocError:
    if error.code() == ClientError._AUTO_OFFSET_RESET:  # noqa: SLF001
        if _TRUNCATED in error.str():
            return _truncated(source_of(message), error.str())
        return StateError(
            f"the records that {message.topic()} partition {message.partition()} should be read on "
            f"from are gone ({error.str()}): retention deleted them before they were processed. "
            "Nothing is skipped silently; commit an offset for the group that is there, such as "
            "with kafka-consumer-groups --reset-offsets, to go on from it"
        )
    topic = message.topic()
    return translated(error, f"read {topic}" if topic else "work in the application's group")


def _truncated(source: TopicPartition, why: str) -> StateError:
    return StateError(
        f"{source} has lost records that were processed already, and others may be in their places "
        f"({why}): its brokers elected a leader that lacked them, as the topic's setting "
        "unclean.leader.election.enable allows. What the lost records led to is in the outputs and "
        "in the state, and nothing is skipped silently: `kproc reset FILE.py --to` begins state "
        "and positions together"
    )


def _source(partition: ClientPartition) -> TopicPartition:
    return TopicPartition(partition.topic, Partition(partition.partition))


def check_partitions(assigned: frozenset[TopicPartition], counts: Mapping[str, int]) -> None:
    """Makes sure that the topics are as they were when the node started.

    Raises:
        TopicMismatch: They have more partitions, which belong to no slot.
    """
    if more := sorted({each.topic for each in assigned if each.partition >= counts[each.topic]}):
        raise TopicMismatch(
            f"{', '.join(more)} has got more partitions, of which no slot knows: start again; "
            "the start checks whether the application's state can follow"
        )
