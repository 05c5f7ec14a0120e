"""Real brokers on this machine, each of which can be harmed by what it does, and comes back.

Every topic has three replicas where there are as many brokers, and takes writes while two of them
live, the brokers' own topics included.
"""

import contextlib
import secrets
import signal
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from confluent_kafka import KafkaException

from processor.errors import KafkaError
from processor.kafka.clients import admin_client
from processor.kafka.hanging import offsets_partition
from processor.local.embedded import EmbeddedKafka, Seat, free_ports

REPLICAS = 3

_SHARED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
}
"""Settings of several brokers; what one alone has is what `EmbeddedKafka` has by default."""

_HEAP, _SHARED_HEAP = "512m", "320m"
_PATIENCE = 180.0
"""Seconds; a machine that does much else may need more than a minute for a broker's start."""


class Brokers:
    """A cluster of brokers that are controllers at once; a context manager that kills them.

    Args:
        folder: Where they keep their data, each in a folder with its number.
        count: How many.
        config: Settings of all brokers.
        detach: Whether they outlive this process.

    Attributes:
        numbers: Of the brokers, from 1.
        nodes: The brokers by their numbers.

    Raises:
        KprocError: As `EmbeddedKafka.start`.
    """

    def __init__(
        self,
        folder: Path,
        count: int = REPLICAS,
        config: Mapping[str, str] | None = None,
        *,
        detach: bool = False,
    ) -> None:
        self.numbers: Sequence[int] = range(1, count + 1)
        self._config = {**(_SHARED if count >= REPLICAS else {}), **(config or {})}
        ports = free_ports(2 * count)
        controllers = dict(zip(self.numbers, ports[count:], strict=True))
        self._ports = dict(zip(self.numbers, ports[:count], strict=True))
        cluster = secrets.token_urlsafe(16)
        self._starts = {
            number: partial(
                EmbeddedKafka.start,
                folder / str(number),
                port=self._ports[number],
                config=self._config,
                seat=Seat(number, cluster, controllers),
                heap=_HEAP if count == 1 else _SHARED_HEAP,
                detach=detach,
                timeout=_PATIENCE,
            )
            for number in self.numbers
        }
        # A broker ends with the thread that starts it: these live as long as the cluster.
        self._starters = {number: ThreadPoolExecutor(1, "broker") for number in self.numbers}
        self.nodes: dict[int, EmbeddedKafka] = {}
        try:
            self.start(self.numbers)
        except BaseException:
            self.close()
            raise
        swift = {"socket.timeout.ms": 1000, "socket.connection.setup.timeout.ms": 1000}
        self._admin: Any = admin_client({"bootstrap.servers": self.bootstrap, **swift})
        self.await_whole()

    @property
    def bootstrap(self) -> str:
        """The addresses of all."""
        return ",".join(f"127.0.0.1:{port}" for port in self._ports.values())

    def start(self, numbers: Iterable[int]) -> None:
        """Starts brokers, on the data that they have, and waits until they answer.

        Raises:
            KprocError: As `EmbeddedKafka.start`.
        """
        starts = {each: self._starters[each].submit(self._starts[each]) for each in numbers}
        for number, started in starts.items():
            self.nodes[number] = started.result()

    def stop(self, number: int) -> None:
        """Stops a broker cleanly: others lead first what it leads."""
        self.nodes[number].stop()

    def kill(self, number: int) -> None:
        """Kills a broker as a crash of its machine would."""
        self.nodes[number].kill()

    def suspend(self, number: int) -> None:
        """Stops a broker's process: its connections stay, and nothing is answered."""
        psutil.Process(self.nodes[number].pid).send_signal(signal.SIGSTOP)

    def resume(self, number: int) -> None:
        """Lets a suspended broker go on."""
        psutil.Process(self.nodes[number].pid).send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def without(self, number: int) -> Generator[None]:
        """Kills a broker; others lead what it led. It is there again when the block ends."""
        self.kill(number)
        try:
            self.await_led_without(number)
            yield
        finally:
            self.start([number])
            self.await_whole()

    @contextlib.contextmanager
    def suspended(self, number: int) -> Generator[None]:
        """Suspends a broker until others lead what it led; it goes on when the block ends."""
        self.suspend(number)
        try:
            self.await_led_without(number)
            yield
        finally:
            self.resume(number)
            self.await_whole()

    def leader(self, topic: str, partition: int = 0) -> int:
        """The broker that leads a partition; -1 while there is none."""
        return int(self._topics()[topic].partitions[partition].leader)

    def group_coordinator(self, group: str) -> int:
        """The broker that coordinates a group."""
        return self._coordinator("__consumer_offsets", group)

    def transaction_coordinator(self, transactional_id: str) -> int:
        """The broker that coordinates a producer's transactions."""
        return self._coordinator("__transaction_state", transactional_id)

    def await_led_without(self, number: int) -> None:
        """Waits until other brokers lead all partitions.

        Raises:
            KafkaError: It takes too long.
        """
        self._await(lambda leader, _: leader not in (-1, number), f"broker {number} still leads")

    def await_whole(self) -> None:
        """Waits until all partitions have leaders and all replicas in sync.

        Raises:
            KafkaError: It takes too long.
        """
        self._await(lambda leader, lag: leader > 0 and not lag, "replicas lag behind")

    def close(self, *, leave: bool = False) -> None:
        """Ends them all, unless they are to be left running."""
        for number, broker in self.nodes.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                self.resume(number)
            if not leave:
                broker.kill()
        for starter in self._starters.values():
            starter.shutdown()

    def _coordinator(self, topic: str, name: str) -> int:
        return self.leader(topic, offsets_partition(name, len(self._topics()[topic].partitions)))

    def _await(self, holds: Callable[[int, int], bool], otherwise: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not all(
            holds(each.leader, len(each.replicas) - len(each.isrs))
            for topic in self._topics().values()
            for each in topic.partitions.values()
        ):
            if time.monotonic() > deadline:
                raise KafkaError(f"after {_PATIENCE:.0f} s {otherwise}; see the brokers' logs")
            time.sleep(0.02)

    def _topics(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE
        while True:  # the one that is asked may be the one that is suspended
            try:
                return self._admin.list_topics(timeout=2).topics
            except KafkaException:
                if time.monotonic() > deadline:
                    raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
