"""Input at a steady pace, and when what follows from it is there: by the brokers' clocks.

Nothing here depends on how fast the clients of a test notice what brokers do.
"""

import time
from threading import Event, Thread

from confluent_kafka import Producer

from tests import ledger
from tests.integration.conftest import App

PARTITIONS = 3
LOOK = 0.3
"""Seconds between two looks at the results, which only say when to go on."""

TOPOLOGY = """
source = topology.stream(IN, value=dict[str, Any])
source.group_by_key().count(name="counts", emit="change").to(OUT)
"""


class Steady:
    """Writes a record to each partition, again and again, until it is stopped.

    Each partition has a key of its own. The topics must set the times of their records themselves.
    """

    def __init__(self, app: App, pause: float = 0.2) -> None:
        self._app = app
        self._seen: dict[str, list[ledger.Row]] = {"in": [], "out": []}
        self._pause = pause
        self._stopped = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it, when all is written."""
        self._stopped.set()
        self._thread.join()

    def await_results(self, timeout: float) -> None:
        """Waits until each partition has the result of something that is written only now."""
        wanted = {partition: end + 1 for partition, end in self._count("in").items()}
        deadline = time.monotonic() + timeout
        while any(self._count("out")[each] < count for each, count in wanted.items()):
            assert time.monotonic() < deadline, f"{self._count('out')} of {wanted}"
            time.sleep(LOOK)

    def await_all(self, timeout: float = 120) -> None:
        """Waits, when it is stopped, until all that was written has its result."""
        deadline, wanted = time.monotonic() + timeout, self._count("in")
        while (found := self._count("out")) != wanted:
            assert time.monotonic() < deadline, f"{found} of {wanted}"
            time.sleep(LOOK)

    def check(self) -> None:
        """Checks that each record was counted once."""
        written = ledger.by_key(self._app.read("in"))
        counted = ledger.by_key(self._app.read())
        wanted = {
            key: [str(n).encode() for n in range(1, len(rows) + 1)] for key, rows in written.items()
        }
        ledger.check_sequences(counted, wanted, "counts")

    def longest_wait(self, since: float, until: float) -> float:
        """The longest, in seconds, that what came before `until` waited for its result.

        Waiting counts from `since` on.
        """
        written, done = self._times("in"), self._times("out")
        return max(
            out - max(since, came)
            for key, times in written.items()
            for came, out in zip(times, done[key], strict=False)
            if out > since and came < until
        )

    def _count(self, topic: str) -> dict[str, int]:
        return {key: len(times) for key, times in self._times(topic).items()}

    def _times(self, topic: str) -> dict[str, list[float]]:
        times: dict[str, list[float]] = {str(each): [] for each in range(PARTITIONS)}
        name = f"{self._app.name}-{topic}"
        self._seen[topic] = ledger.read_on(self._app.kafka, name, self._seen[topic])
        for row in self._seen[topic]:
            times[(row.key or b"").decode()].append(row.timestamp / 1000)
        return {key: sorted(found) for key, found in times.items()}

    def _run(self) -> None:
        swift = {"socket.timeout.ms": 1000, "socket.connection.setup.timeout.ms": 1000}
        producer = Producer(
            {
                "bootstrap.servers": self._app.kafka,
                "enable.idempotence": True,
                "log_level": 0,
                "linger.ms": 0,
                "request.timeout.ms": 1000,
                "topic.metadata.refresh.interval.ms": 500,
                **swift,
            }
        )
        while not self._stopped.wait(self._pause):
            for partition in range(PARTITIONS):
                ledger.produce(producer, self._app.input, partition, str(partition), "{}")
            producer.poll(0)
        assert producer.flush(120) == 0
