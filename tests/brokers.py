"""Three real brokers, each of which can be killed, suspended and started again by what it does.

Every topic has three replicas and takes writes while two of them live, the broker's own included.
"""

import contextlib
import secrets
import signal
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from processor.edges.embedded import EmbeddedKafka, Seat, free_port

NODES = (1, 2, 3)
_SETTINGS = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
}
_PATIENCE = 180.0
"""Seconds; a machine that does much else may need more than a minute for a broker's start."""


class Brokers:
    """A cluster of three nodes, brokers and controllers at once; ended by the `with` block.

    Args:
        folder: Where they keep their data.
        config: Settings of all brokers.
    """

    def __init__(self, folder: Path, config: dict[str, str] | None = None) -> None:
        self._folder = folder
        self._config = {**_SETTINGS, **(config or {})}
        self._cluster = secrets.token_urlsafe(16)
        self._controllers = {node: free_port() for node in NODES}
        self.ports = {node: free_port() for node in NODES}
        # A node ends with the thread that starts it: these live as long as the cluster.
        self._starters = {node: ThreadPoolExecutor(1) for node in NODES}
        self.nodes: dict[int, EmbeddedKafka] = {}
        self.start(NODES)
        swift = {"socket.timeout.ms": 1000, "socket.connection.setup.timeout.ms": 1000}
        self._admin: Any = AdminClient(
            {"bootstrap.servers": self.bootstrap, "log_level": 0, **swift}
        )
        self.await_whole()

    @property
    def bootstrap(self) -> str:
        """The addresses of all three."""
        return ",".join(f"127.0.0.1:{port}" for port in self.ports.values())

    def start(self, nodes: Iterable[int]) -> None:
        """Starts nodes, on the data that they have, and waits until they answer."""
        starts = {
            node: self._starters[node].submit(
                partial(
                    EmbeddedKafka.start,
                    self._folder / str(node),
                    port=self.ports[node],
                    config=self._config,
                    seat=Seat(node, self._cluster, self._controllers),
                    heap="320m",
                    timeout=_PATIENCE,
                )
            )
            for node in nodes
        }
        for node, started in starts.items():
            self.nodes[node] = started.result()

    def kill(self, node: int) -> None:
        """Kills a node as a crash of its machine would."""
        self.nodes[node].kill()

    @contextlib.contextmanager
    def without(self, node: int) -> Generator[None]:
        """Kills a node; others lead what it led. It is there again when the block ends."""
        self.kill(node)
        try:
            self.await_led_without(node)
            yield
        finally:
            self.start([node])
            self.await_whole()

    @contextlib.contextmanager
    def suspended(self, node: int) -> Generator[None]:
        """Suspends a node until others lead what it led; it goes on when the block ends."""
        self.suspend(node)
        try:
            self.await_led_without(node)
            yield
        finally:
            self.resume(node)
            self.await_whole()

    def suspend(self, node: int) -> None:
        """Stops a node's process: its connections stay, and nothing is answered."""
        psutil.Process(self.nodes[node].pid).send_signal(signal.SIGSTOP)

    def resume(self, node: int) -> None:
        """Lets a suspended node go on."""
        psutil.Process(self.nodes[node].pid).send_signal(signal.SIGCONT)

    def leader(self, topic: str, partition: int = 0) -> int:
        """The node that leads a partition; -1 while there is none."""
        return int(self._topics()[topic].partitions[partition].leader)

    def group_coordinator(self, group: str) -> int:
        """The node that coordinates a group."""
        return self.leader("__consumer_offsets", self._partition("__consumer_offsets", group))

    def transaction_coordinator(self, transactional_id: str) -> int:
        """The node that coordinates a producer's transactions."""
        topic = "__transaction_state"
        return self.leader(topic, self._partition(topic, transactional_id))

    def await_led_without(self, node: int) -> None:
        """Waits until other nodes lead all partitions."""
        self._await(lambda leader, _: leader not in (-1, node), f"node {node} still leads")

    def await_whole(self) -> None:
        """Waits until all partitions have leaders and all replicas in sync."""
        self._await(lambda leader, isr: leader > 0 and isr == len(NODES), "replicas lag behind")

    def _await(self, holds: Callable[[int, int], bool], otherwise: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not all(
            holds(each.leader, len(each.isrs))
            for topic in self._topics().values()
            for each in topic.partitions.values()
        ):
            assert time.monotonic() < deadline, otherwise
            time.sleep(0.02)

    def _topics(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE
        while True:  # the one that is asked may be the one that is suspended
            try:
                return self._admin.list_topics(timeout=2).topics
            except KafkaException:
                if time.monotonic() > deadline:
                    raise

    def _partition(self, topic: str, name: str) -> int:
        """Where a coordinator keeps what it knows of a name: by Java's hash of it."""
        code = 0
        for each in name:
            code = (31 * code + ord(each)) & 0xFFFFFFFF
        return (code & 0x7FFFFFFF) % len(self._topics()[topic].partitions)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for node, broker in self.nodes.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                self.resume(node)
            broker.kill()
        for starter in self._starters.values():
            starter.shutdown()
