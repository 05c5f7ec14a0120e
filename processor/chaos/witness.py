"""What of a chaos run has to be seen while it lasts.

That is how far the application is with its input, and the records of repartition topics, which are
deleted once they are committed. Both are seen from the broker, by threads that outlast its absence.
"""

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

from confluent_kafka import Consumer
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.chaos.log_reader import LogReader
from processor.chaos.standstill import Standstill, Standstills
from processor.errors import KafkaError, KprocError
from processor.kafka.clients import COMMON, ClientConfig, admin_client, asking_config, committed
from processor.kafka.progress import list_offsets, partitions
from processor.records import Offset, TopicPartition
from processor.topology.plan import Layout

_LOOK = 0.1
_JOIN = 60.0


class Witness:
    """Watches an application from the moment its topics are there.

    Args:
        client: librdkafka settings.
        layout: The plan and the partition counts.
        outputs: The partition counts of the output topics.
        clock: Milliseconds since the beginning.
    """

    def __init__(
        self,
        client: ClientConfig,
        layout: Layout,
        outputs: dict[str, int],
        clock: Callable[[], int],
    ) -> None:
        self.looks = 0
        """How often it has seen what is committed and where the ends are."""
        self.drained = False
        """Whether everything was committed at the last look."""
        self.committed: dict[TopicPartition, Offset] = {}
        self._clock = clock
        self._standstills = Standstills()
        self._sources = partitions(layout.partitions)
        self._admin: Any = admin_client(client)
        self._member = Consumer({**COMMON, **client, **asking_config(layout.plan.application)})
        repartitions = {topic: layout.partitions[topic] for topic in layout.plan.repartitions}
        recorded = partitions({**repartitions, **outputs})
        self.reader = LogReader(client, recorded, frozenset(outputs))
        self._stop = Event()
        self._error: KprocError | None = None
        self._threads = [
            Thread(target=self._work, args=(work,), name=work.__name__, daemon=True)
            for work in (self._look, self._record)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def longest(self) -> Standstill | None:
        """The longest time without progress of a partition that had input waiting."""
        return self._standstills.longest

    def begin(self) -> None:
        """Forgets how long the start took."""
        self._standstills = Standstills()

    def check(self) -> None:
        """Raises what has ended it.

        Raises:
            KprocError: Records can't be read.
        """
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Looks no more; afterwards `reader` can be read on."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_JOIN)

    def _work(self, work: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                work()
            except KprocError as error:
                self._error = error
                return

    def _look(self) -> None:
        began = time.monotonic()
        try:
            found = committed(self._member, self._sources)
            # Asked afterwards: what is committed by then has all that follows from it before this.
            ends = list_offsets(self._admin, self._sources, OffsetSpec.latest())
        except KafkaError:
            self._stop.wait(_LOOK)  # the broker is away; the standstill goes on
            return
        self.committed = {source: Offset(each.offset) for source, each in found.items()}
        self._standstills.look(self._clock(), self.committed, ends)
        none = Offset(0)
        self.drained = all(self.committed.get(each, none) >= end for each, end in ends.items())
        self.looks += 1
        self._stop.wait(max(0.0, began + _LOOK - time.monotonic()))

    def _record(self) -> None:
        self.reader.read(_LOOK)
