"""The load of a trial: a topic's records again and again, at a steady rate, until stopped.

Knows nothing of where the records come from. Writing is idempotent and outlasts a broker's absence,
so that each record is in its topic once.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TypeAlias

from processor.errors import KprocError, UsageError
from processor.kafka.clients import ClientConfig
from processor.kafka.transfer import Row, paced, produce_rows
from processor.records import Timestamp

RowsMaker: TypeAlias = Callable[[], Iterable[Row]]
"""Gives a topic's records from the first to the last, each time it is called."""

_PATIENT = {"delivery.timeout.ms": 600_000, "linger.ms": 5}


def rounds(make: RowsMaker, topic: str) -> Iterator[Row]:
    """The records round by round without end; each round's times follow those of the one before.

    Where that would lead into the future, which brokers refuse, times start over.

    Raises:
        UsageError: There are no records.
    """
    shift = 0
    while True:
        first = last = None
        empty = True
        for row in make():
            empty = False
            if row.timestamp is None:
                yield row
                continue
            first = row.timestamp if first is None else min(first, row.timestamp)
            last = row.timestamp if last is None else max(last, row.timestamp)
            yield row._replace(timestamp=Timestamp(row.timestamp + shift))
        if empty:
            raise UsageError(f"there are no records for {topic}: give it some")
        if first is not None and last is not None:
            span = last - first + 1
            ahead = last + shift + span > time.time() * 1000
            shift = 0 if ahead else shift + span


@dataclass(slots=True)
class Load:
    """Writes records to one topic, in a thread of its own.

    Args:
        client: librdkafka settings.
        topic: The topic.
        rows: Its records, without end.
        rate: Records a second.
        finish: Makes each what it is when it is written.
    """

    client: ClientConfig
    topic: str
    rows: Iterator[Row]
    rate: float
    finish: Callable[[Row], Row] | None = None
    written: int = 0
    """How many records were handed over; when it has stopped, acknowledged."""
    has_begun: bool = False
    """Whether there is a first record: making that may take long."""
    _stop: Event = field(default_factory=Event)
    _error: KprocError | None = None
    _thread: Thread | None = None

    def start(self) -> None:
        """Begins."""
        self._thread = Thread(target=self._run, name=f"load-{self.topic}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises what has ended it.

        Raises:
            KprocError: Records can't be read, or not be written.
        """
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Writes no more, and waits until all is acknowledged.

        Raises:
            KprocError: As `check`.
        """
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.check()

    def _run(self) -> None:
        try:
            rows = paced(self._until_stopped(), self.rate)
            rows = rows if self.finish is None else map(self.finish, rows)
            self.written = produce_rows(
                {**self.client, **_PATIENT}, self.topic, rows, None, self._note
            )
        except KprocError as error:
            self._error = error

    def _until_stopped(self) -> Iterator[Row]:
        for row in self.rows:
            self.has_begun = True
            if self._stop.is_set():
                return
            yield row

    def _note(self, done: int, _total: int | None) -> None:
        self.written = done
