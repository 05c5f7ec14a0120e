"""Asks for the ends of partitions beside the running loop, as the core wants them."""

from collections.abc import Mapping
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from confluent_kafka import IsolationLevel, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.edges.channel import Channel
from processor.edges.clients import QUIET
from processor.edges.progress import list_offsets
from processor.errors import KprocError
from processor.runtime.commands import EndsSeen, LookAtEnds


class EndsReader:
    """Answers `LookAtEnds`, in a thread.

    Args:
        client: librdkafka settings.
        channel: To tell of failures.
    """

    def __init__(self, client: Mapping[str, Any], channel: Channel) -> None:
        self._client = client
        self._channel = channel
        self._wanted: SimpleQueue[LookAtEnds | None] = SimpleQueue()
        self._answers: SimpleQueue[EndsSeen] = SimpleQueue()
        self._thread: Thread | None = None

    def ask(self, command: LookAtEnds) -> None:
        """Has the ends looked up; `answer` gives them later."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="ends-reader", daemon=True)
            self._thread.start()
        self._wanted.put(command)

    def answer(self) -> EndsSeen | None:
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
        admin: Any = AdminClient({**QUIET, **self._client})
        while (wanted := self._wanted.get()) is not None:
            self._answers.put(EndsSeen(self._look_at(admin, wanted), wanted.asked_at))

    def _look_at(self, admin: Any, wanted: LookAtEnds) -> Mapping[Any, Any]:
        """The ends, or none where the broker does not tell: it is asked again then."""
        try:
            return list_offsets(
                admin, sorted(wanted.sources), OffsetSpec.latest(), IsolationLevel.READ_COMMITTED
            )
        except (KafkaException, KprocError) as error:
            self._channel.log_seldom("upstream", f"the ends of topics can't be read: {error}")
            return {}
