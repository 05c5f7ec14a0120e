"""Follower: replays changelogs into stores, up to an end or on and on.

Owns the consumers that read changelogs. Knows nothing of tasks, or of why a store is followed.
Records are read as read_committed; one thread uses it, its figures aside.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias, cast

from confluent_kafka import Consumer, KafkaException, Message
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.errors import RestoreStalled
from processor.kafka.broker_clock import since_start
from processor.kafka.clients import PASSING, connect, translated
from processor.kafka.fetching import Fetcher, fetcher
from processor.kafka.hanging import ending
from processor.kafka.messages import source_of
from processor.records import Offset, RawBatch, TopicPartition
from processor.state.store import Store
from processor.worker.channel import Channel, RestoreStatus
from processor.worker.spec import WorkerSpec

_BATCH = 50_000
_FULL, _SHORT = 0.1, 0.005
"""Seconds to wait for a full batch: with much to do, and when every moment counts."""

_AWAY = 60.0
"""Seconds without contact after which stores are looked at again: so long keep all changelogs
their tombstones."""

_ASK = 10.0
"""Seconds between two questions whether a broker answers again."""

_STALL = 180.0
"""Seconds without a record after which a restore has stalled: longer than any transaction lasts."""


Changes: TypeAlias = Callable[
    [Sequence[bytes | None], Sequence[bytes | None]], Mapping[bytes, bytes | None]
]
"""What records, by their keys and values, change in a store."""


def changes(
    keys: Sequence[bytes | None], values: Sequence[bytes | None]
) -> Mapping[bytes, bytes | None]:
    """What a changelog's records change: each key's last one counts."""
    return dict(zip(cast("Sequence[bytes]", keys), values, strict=True))


@dataclass(slots=True)
class _Followed:
    """A store, and how far its replay has to go."""

    store: Store
    end: Offset
    changes: Changes
    done: bool = False

    def until(self, end: Offset) -> None:
        """Has the replay go up to there."""
        self.end = end
        self.done = False
        self.store.begin_restore(max(0, end - self.store.position))
        self.check()

    def check(self) -> None:
        """Notes when the end is reached."""
        if not self.done and self.store.position >= self.end:
            self.store.end_restore()
            self.done = True  # only now: other threads look, and adopt what is done


class _Contact:
    """When a broker was last heard, by a clock that goes on while one is suspended."""

    def __init__(self) -> None:
        self._sure = self._asked = since_start()
        self._cut_off = False

    def away(
        self, others: Sequence[Message], answers: Callable[[], bool], *, records: bool
    ) -> float:
        """For how many seconds there was none, if there is now, else 0.

        Without errors there was contact up to now, or since the process was suspended.

        Args:
            others: Errors and ends that have come.
            answers: Whether a broker answers a question.
            records: Whether records have come.
        """
        now = since_start()
        errors = [cast("Any", each.error()) for each in others]
        heard = records or any(error.code() not in PASSING for error in errors)
        self._cut_off = not heard and (self._cut_off or bool(errors))
        if self._cut_off and now - self._asked > _ASK:
            self._asked = now
            self._cut_off = not answers()
        if self._cut_off:
            return 0.0
        away, self._sure = now - self._sure, now
        return away


class Follower:
    """Stores that follow their changelogs.

    Args:
        eager: What restores; it is closed with the follower.
        make_calm: Makes what asks the broker less often, once nothing has to be reached.
        bootstrap: The brokers' addresses, as commands that are advised have to name them.
        channel: To report what passes.
    """

    def __init__(
        self, eager: Fetcher, make_calm: Callable[[], Fetcher], bootstrap: str, channel: Channel
    ) -> None:
        self._bootstrap = bootstrap
        self._channel = channel
        self._followed: dict[TopicPartition, _Followed] = {}
        self._eager = self._fetcher = eager
        self._make_calm = make_calm
        self._calm: Fetcher | None = None
        self._assigned = True
        self._contact = _Contact()
        self._records = self._bytes = 0
        self._began = self._heard = time.monotonic()
        self.lag = 0
        """Records behind the ends of the changelogs, as of the last fetch, or of `until` before."""

    @property
    def consumer(self) -> Consumer:
        """The consumer that restores; connected before it is needed."""
        return self._eager.consumer

    @property
    def is_empty(self) -> bool:
        """Whether nothing is followed."""
        return not self._followed

    def is_done(self, source: TopicPartition) -> bool:
        """Whether the replay has reached the end it was to reach."""
        return self._followed[source].done

    def add(
        self, source: TopicPartition, store: Store, end: Offset, changes: Changes = changes
    ) -> None:
        """Follows a changelog from the store's position on; up to `end` it is a restore."""
        if not self._followed:
            self._contact = _Contact()
        self._followed[source] = _Followed(store, end, changes)
        self._assigned = False
        self.until(source, end)

    def until(self, source: TopicPartition, end: Offset) -> None:
        """Restores up to another end."""
        if all(each.done for each in self._followed.values()):
            self._records = self._bytes = 0
            self._began = self._heard = time.monotonic()
        self._followed[source].until(end)

    def release(self, source: TopicPartition) -> None:
        """Leaves the store alone from now on."""
        del self._followed[source]
        if not self._followed:
            self._fetcher.consumer.unassign()

    def status(self) -> RestoreStatus | None:
        """How far the restore is, None when there is nothing to restore."""
        left = [each.end - each.store.position for each in self._pending()]
        if not left:
            return None
        seconds = time.monotonic() - self._began
        return RestoreStatus(
            len(left), self._records, self._records + sum(left), self._bytes, seconds
        )

    def poll(self, *, hurry: bool) -> list[TopicPartition]:
        """Reads for a moment; returns the changelogs whose stores have to be looked at again.

        They no longer have the store's position, or may have forgotten deletions meanwhile: the
        process was suspended, or cut off from the brokers.

        Args:
            hurry: Whether somebody waits for the ends to be reached.

        Raises:
            KprocError: A changelog can't be read, or yields nothing more before its end.
        """
        self._choose(calm=not hurry and not self._pending())
        if not self._assigned:
            self._assign()
        runs, others = self._fetcher.fetch(_BATCH, self._patience(hurry=hurry), self._followed)
        if self._contact.away(others, self._answers, records=bool(runs)) > _AWAY:
            # What came is not written: a store's age is that of its last record.
            self._assigned = False
            return list(self._followed)
        began = time.monotonic()
        for source, records, _ in runs:
            if source in self._followed:
                self._write(self._followed[source], records)
        wrote = time.monotonic() - began
        if not hurry and self._pending():
            time.sleep(min(wrote, _FULL))  # slots at work on this machine need it, too
        gone = [source for message in others if (source := self._note(message)) is not None]
        for each in self._followed.values():
            each.check()
        self._look(bool(runs or others))
        return gone

    def close(self) -> None:
        """Ends the consumers; the stores stay open."""
        self._eager.close()
        if self._calm is not None:
            self._calm.close()

    def _pending(self) -> list[_Followed]:
        return [each for each in list(self._followed.values()) if not each.done]

    def _patience(self, *, hurry: bool) -> float:
        left = sum(each.end - each.store.position for each in self._pending())
        if left > _BATCH:
            return _FULL
        return _SHORT if hurry or left else _FULL / 2

    def _choose(self, *, calm: bool) -> None:
        """Takes the consumer that asks the broker less often when nothing has to be reached."""
        if calm and self._calm is None:
            self._calm = self._make_calm()
        chosen = self._calm if calm and self._calm is not None else self._eager
        if chosen is not self._fetcher:
            self._fetcher.consumer.unassign()
            self._fetcher, self._assigned = chosen, False

    def _assign(self) -> None:
        consumer = self._fetcher.consumer
        connect(consumer, {source.topic for source in self._followed})
        consumer.assign(
            [
                ClientPartition(source.topic, source.partition, each.store.position)
                for source, each in self._followed.items()
            ]
        )
        self._assigned = True

    def _write(self, followed: _Followed, records: RawBatch) -> None:
        changed = followed.changes(records.keys, records.values)
        followed.store.write(changed, Offset(records.offsets[-1] + 1))
        self._records += len(records)
        self._bytes += sum(map(len, filter(None, chain(records.keys, records.values))))

    def _note(self, message: Message) -> TopicPartition | None:
        """Takes the position past what is no record, such as transaction markers.

        Returns the changelog if it no longer has that position.
        """
        error: Any = message.error()
        source = source_of(message)
        if error.code() in PASSING:
            self._channel.log_seldom("kafka", f"{error.name()}: {error.str()}")
            return None
        if error.code() == ClientError._AUTO_OFFSET_RESET:  # noqa: SLF001
            return source if source in self._followed else None
        if error.code() != ClientError._PARTITION_EOF:  # noqa: SLF001
            raise translated(error, f"restore from {source}")
        followed = self._followed.get(source)
        position = Offset(message.offset() or 0)
        if followed is not None and followed.store.position < position:
            followed.store.write({}, position)
        return None

    def _look(self, heard: bool) -> None:  # noqa: FBT001 - called once
        self.lag = sum(
            max(0, self._end(source, each) - each.store.position)
            for source, each in self._followed.items()
        )
        if heard or not self._pending():
            self._heard = time.monotonic()
        else:
            self._check_progress()

    def _answers(self) -> bool:
        """Whether a broker does."""
        try:
            self._fetcher.consumer.list_topics(next(iter(self._followed)).topic, 1.0)
        except KafkaException:
            return False
        return True

    def _end(self, source: TopicPartition, followed: _Followed) -> int:
        """Where a changelog ends, as far as is known: by the last fetch, or as it was added."""
        high = self._high(source)
        return followed.end if high is None else high

    def _high(self, source: TopicPartition) -> int | None:
        try:
            consumer = self._fetcher.consumer
            found = consumer.get_watermark_offsets(ClientPartition(*source), cached=True)
        except KafkaException:
            return None
        # Before the first fetch the client knows none, and says so by a negative one.
        return found[1] if found and found[1] >= 0 else None

    def _check_progress(self) -> None:
        silent = time.monotonic() - self._heard
        if silent < 2:  # noqa: PLR2004 - seconds that need no report
            return
        pending = (str(source) for source, each in self._followed.items() if not each.done)
        sources = ", ".join(pending)
        text = f"waiting for {sources}: a transaction may still be open there ({silent:.0f} s)"
        self._channel.log_seldom("restore waits", text)
        if silent > _STALL:
            raise RestoreStalled(
                f"nothing more comes from {sources} although the end is not reached: see whether "
                "the brokers that lead these partitions are up. Else a transaction is open in "
                f"them that nobody ends. To end it: {'; '.join(self._endings())}"
            )

    def _endings(self) -> Iterator[str]:
        """What would end the transactions that may hold up what is not read to its end."""
        for source, each in self._followed.items():
            # To who reads committed records, the first open transaction is the end.
            stable = self._high(source)
            if not each.done and stable is not None:
                yield ending(self._bootstrap, source, Offset(stable))


def follower(spec: WorkerSpec, channel: Channel) -> Follower:
    """A follower with consumers as the slot's settings want them."""

    def made(config: Mapping[str, Any]) -> Fetcher:
        return fetcher(config, native=spec.native, bare=True)

    return Follower(
        made(spec.restore_config()),
        lambda: made(spec.following_config()),
        str(spec.clients.kafka["bootstrap.servers"]),
        channel,
    )
