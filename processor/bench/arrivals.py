"""How long results take: each record says when it was written, each result when it was read.

A record brings the time in a header, which results have that are made of one record. Those of a
table have the time of the newest record that they are made of, and records of a benchmark are
written with the time that it is.
"""

import time
from collections.abc import Mapping
from threading import Event, Thread

from confluent_kafka import OFFSET_END, Consumer, Message

from processor.errors import KprocError
from processor.kafka.clients import COMMON, ClientConfig, connect
from processor.kafka.progress import partitions
from processor.kafka.reader import Reader, reading_config
from processor.kafka.transfer import Row

_SENT = "kproc.sent"
_TURN = 0.002
_PROMPT = {"fetch.wait.max.ms": 10}


def stamped(row: Row) -> Row:
    """The row as it is written now: with the time in a header, in place of one of its own."""
    now = time.time_ns().to_bytes(8, "big")
    return row._replace(timestamp=None, headers=((_SENT, now),))


class Arrivals:
    """Reads results from now on, in a thread of its own.

    Args:
        client: librdkafka settings.
        outputs: The partition counts of the output topics.
    """

    def __init__(self, client: ClientConfig, outputs: Mapping[str, int]) -> None:
        self._found: list[tuple[float, float]] = []
        self._error: KprocError | None = None
        self._began = time.time() * 1000
        self._stop = Event()
        self._consumer = Consumer({**COMMON, **client, **reading_config("kproc-bench"), **_PROMPT})
        connect(self._consumer, outputs)
        self._reader = Reader(self._consumer, dict.fromkeys(partitions(outputs), OFFSET_END))
        self._thread = Thread(target=self._run, name="arrivals", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Reads no more.

        Raises:
            KprocError: The results can't be read.
        """
        self._stop.set()
        self._thread.join()
        self._consumer.close()
        if self._error is not None:
            raise self._error

    def since(self, moment: float) -> list[float]:
        """The latencies of what was read since then, sorted, in milliseconds.

        Args:
            moment: Seconds since 1970.
        """
        return sorted(latency for at, latency in self._found if at >= moment)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                messages = self._reader.read(_TURN)
                now = time.time()
                sent = filter(None, map(self._sent, messages))
                self._found += [(now, now * 1000 - each) for each in sent]
        except KprocError as error:
            self._error = error

    def _sent(self, message: Message) -> float | None:
        """When the newest record was written that a result is made of, milliseconds since 1970."""
        for name, value in message.headers() or ():
            if name == _SENT and isinstance(value, bytes):
                return int.from_bytes(value, "big") / 1e6
        _, time_of = message.timestamp()
        return time_of if time_of >= self._began else None
