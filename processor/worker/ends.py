"""Asks for the ends of partitions beside the running loop, as the core wants them."""

from collections.abc import Mapping
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, KafkaException
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.errors import KprocError
from processor.kafka.clients import COMMON, ClientConfig, admin_client, asking_config, committed
from processor.kafka.progress import list_offsets
from processor.records import Offset, TopicPartition
from processor.runtime.commands import EndsSeen, LookAtEnds, LookAtOthers, OthersSeen, Position
from processor.worker.channel import Channel


class EndsReader:
    """Answers `LookAtEnds` and `LookAtOthers`, in a thread.

    Args:
        client: librdkafka settings.
        application: Whose group commits.
        channel: To report failures.
    """

    def __init__(self, client: ClientConfig, application: str, channel: Channel) -> None:
        self._client = client
        self._application = application
        self._channel = channel
        self._wanted: SimpleQueue[LookAtEnds | LookAtOthers | None] = SimpleQueue()
        self._answers: SimpleQueue[EndsSeen | OthersSeen] = SimpleQueue()
        self._thread: Thread | None = None

    def ask(self, command: LookAtEnds | LookAtOthers) -> None:
        """Has the ends looked up; `answer` gives them later."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="ends-reader", daemon=True)
            self._thread.start()
        self._wanted.put(command)

    def answer(self) -> EndsSeen | OthersSeen | None:
        """The next answer, if there is one."""
        try:
            return self._answers.get_nowait()
        except Empty:
            return None

    def close(self) -> None:
        """Ends the thread."""
        self._wanted.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        admin: Any = admin_client(self._client)
        member = Consumer({**COMMON, **self._client, **asking_config(self._application)})
        while (wanted := self._wanted.get()) is not None:
            ends = self._look_at(admin, wanted.sources)
            if isinstance(wanted, LookAtEnds):
                self._answers.put(EndsSeen(ends, wanted.asked_at))
            elif ends:
                self._answers.put(OthersSeen(self._positions(member, wanted.sources), ends))

    def _look_at(
        self, admin: Any, sources: frozenset[TopicPartition]
    ) -> Mapping[TopicPartition, Offset]:
        """The ends, or none where the broker does not answer: it is asked again then."""
        try:
            return list_offsets(
                admin, sorted(sources), OffsetSpec.latest(), IsolationLevel.READ_COMMITTED
            )
        except (KafkaException, KprocError) as error:
            self._channel.log_seldom("upstream", f"the ends of topics can't be read: {error}")
            return {}

    def _positions(
        self, member: Consumer, sources: frozenset[TopicPartition]
    ) -> Mapping[TopicPartition, Position]:
        try:
            found = committed(member, sorted(sources))
        except (KafkaException, KprocError) as error:
            self._channel.log_seldom("upstream", f"committed offsets can't be read: {error}")
            return {}
        return {
            source: Position.of(Offset(each.offset), each.metadata)
            for source, each in found.items()
            if each.offset >= 0
        }
