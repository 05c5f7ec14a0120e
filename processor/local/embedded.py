"""A real Apache Kafka on this machine, from Python packages alone: one node, or one of several.

Owns the process and its data folder: `data/` is Kafka's, `server.properties` is written at every
start, `kafka.log` holds what Kafka says, `kafka.json` shows other processes where it runs. Knows
nothing of topologies; `kafka_jars` knows where the program comes from.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from processor.errors import KafkaError, UsageError
from processor.local.kafka_jars import FetchProgress, KafkaJars, install

DEFAULT_VERSION = "4.1.0"
DEFAULT_PORT = 9092
DEFAULT_DATA = Path(".kproc/kafka")

BROKER_DEFAULTS: Mapping[str, str] = {
    "auto.create.topics.enable": "false",
    # After a crash a node can't register again before its old session has timed out.
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "4000",
    "default.replication.factor": "1",
    "group.initial.rebalance.delay.ms": "0",
    # The default of 128 MB is taken from the heap at start.
    "log.cleaner.dedupe.buffer.size": "33554432",
    # Data of past years would be deleted minutes after it was loaded: retention goes by timestamps.
    "log.retention.ms": "-1",
    "offsets.topic.num.partitions": "8",
    "offsets.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
}
"""Settings that suit one node that serves development and tests."""

_HOST = "127.0.0.1"
_PORT_ATTEMPTS = 3
_PORTS = range(20_000, 32_768)
"""Below those that Linux gives to outgoing connections, if nobody has changed that."""
_PORT_TRIES = 100
_LOG_LINES = 20
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Seat:
    """A node's place in a cluster of several; those of one cluster differ in `node` alone.

    Attributes:
        node: Its number.
        cluster: The cluster's id.
        controllers: The port of each node's controller on 127.0.0.1, by its number.
    """

    node: int
    cluster: str
    controllers: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class _Identity:
    """What `kafka.json` says; its start time distinguishes it from later processes of its id."""

    pid: int
    created: float
    port: int
    version: str


class EmbeddedKafka:
    """A running Kafka; made by `EmbeddedKafka.start` or `running`. A context manager that stops it.

    Attributes:
        data_dir: The folder that it keeps everything in.
        port: The port on 127.0.0.1 that it listens on.
        version: The version of Kafka.
        pid: The process.
    """

    def __init__(self, data_dir: Path, identity: _Identity, process: psutil.Process) -> None:
        self.data_dir = data_dir
        self.port = identity.port
        self.version = identity.version
        self.pid = identity.pid
        self._process = process

    @classmethod
    def start(  # noqa: PLR0913 - given by name
        cls,
        data_dir: Path = DEFAULT_DATA,
        *,
        port: int = DEFAULT_PORT,
        version: str = DEFAULT_VERSION,
        config: Mapping[str, str] | None = None,
        seat: Seat | None = None,
        heap: str = "512m",
        detach: bool = False,
        timeout: float = 180.0,
        on_fetch: FetchProgress | None = None,
    ) -> Self:
        """Starts Kafka, on the data that the folder has from earlier, and waits until it answers.

        Args:
            data_dir: Where it keeps everything; made if it is missing.
            port: Where it listens on 127.0.0.1; 0 chooses a free one.
            version: The version of Kafka; fetched if it was never used on this machine.
            config: Broker settings that are added to, and go before, `BROKER_DEFAULTS`.
            seat: Its place in a cluster of several, started at the same time: none answers before
                most of them run.
            heap: The most that its Java heap takes, as `java -Xmx` takes it.
            detach: Whether it outlives the thread that starts it; if not, that thread's end,
                however sudden, ends Kafka as well.
            timeout: Seconds that it has to answer, without the time that fetching takes.
            on_fetch: Called with the progress if the version has to be fetched.

        Raises:
            UsageError: the port or the folder is in use, or the extra `embedded` is missing.
            KafkaError: it can't be fetched, or it did not start; the text ends with its log.
        """
        jars = install(version, on_progress=on_fetch)
        data_dir = data_dir.absolute()
        data_dir.mkdir(parents=True, exist_ok=True)
        with _starting(data_dir):
            other = running(data_dir)
            if other:
                raise UsageError(
                    f"Kafka already runs on {data_dir}, at {other.bootstrap}: use that one, stop "
                    "it first, or give another folder."
                )
            controller, *free = free_ports(1 + _PORT_ATTEMPTS)
            taken = seat or Seat(1, secrets.token_urlsafe(16), {1: controller})
            _format(jars, data_dir, taken)
            ports = [port] if port else free
            launch = _Launch(jars, data_dir, taken, config or {}, heap, detach, timeout)
            return cls(data_dir, *launch.on_first_free(ports))

    @property
    def bootstrap(self) -> str:
        """The address for `bootstrap.servers`."""
        return f"{_HOST}:{self.port}"

    @property
    def log(self) -> Path:
        """The file that Kafka writes its log to."""
        return self.data_dir / "kafka.log"

    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return _is_alive(self._process)

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the process has ended; False if it has not within `timeout` seconds."""
        with contextlib.suppress(psutil.NoSuchProcess):
            try:
                self._process.wait(timeout)
            except psutil.TimeoutExpired:
                return False
        return True

    def stop(self, timeout: float = 30.0) -> None:
        """Stops it cleanly, after `timeout` seconds by force; nothing happens if it has ended."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process.terminate()
        if not self.wait(timeout):
            self.kill()

    def kill(self) -> None:
        """Kills it as a crash would."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process.kill()
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def running(data_dir: Path = DEFAULT_DATA) -> EmbeddedKafka | None:
    """The Kafka that runs on this folder, whoever started it; None if there is none."""
    data_dir = data_dir.absolute()
    try:
        identity = _Identity(**json.loads(_identity_file(data_dir).read_text()))
        process = psutil.Process(identity.pid)
        same = abs(process.create_time() - identity.created) < 1
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None
    return EmbeddedKafka(data_dir, identity, process) if same and _is_alive(process) else None


def delete_data(data_dir: Path = DEFAULT_DATA) -> None:
    """Deletes what a Kafka left in this folder, and nothing else that lies there.

    Raises:
        UsageError: it still runs.
    """
    if not data_dir.exists():
        return
    with _starting(data_dir):
        if running(data_dir):
            raise UsageError(f"Kafka runs on {data_dir}: stop it first.")
        if (data_dir / "data").exists():
            shutil.rmtree(data_dir / "data")
        for name in ("kafka.json", "kafka.log", "server.properties"):
            (data_dir / name).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Launch:
    jars: KafkaJars
    data_dir: Path
    seat: Seat
    config: Mapping[str, str]
    heap: str
    detach: bool
    timeout: float

    def on_first_free(self, ports: list[int]) -> tuple[_Identity, psutil.Process]:
        """Starts it on the first port that nobody else takes before it."""
        *others, last = ports
        for port in others:
            with contextlib.suppress(_PortTaken):
                return self.on(port)
        try:
            return self.on(last)
        except _PortTaken as error:
            raise UsageError(
                f"Port {last} on {_HOST} is in use: stop what listens there or give another port "
                "(0 chooses a free one)."
            ) from error

    def on(self, port: int) -> tuple[_Identity, psutil.Process]:
        _probe(port)
        properties = self.data_dir / "server.properties"
        listeners = _listeners(port, self.seat, self.data_dir)
        settings = {**listeners, **BROKER_DEFAULTS, **self.config}
        properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        process = self._run(properties)
        try:
            _await_answer(process, port, self.data_dir / "kafka.log", self.timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        identity = _Identity(process.pid, process.create_time(), port, self.jars.version)
        target = _identity_file(self.data_dir)
        fresh = target.with_suffix(".tmp")
        fresh.write_text(json.dumps(asdict(identity)))
        fresh.replace(target)
        return identity, process

    def _run(self, properties: Path) -> psutil.Process:
        command = [
            *(str(self.jars.java), f"-Xmx{self.heap}", "-XX:+UseParallelGC", "-XX:-UsePerfData"),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            *("-cp", self.jars.classpath, "kafka.Kafka", str(properties)),
        ]
        with (self.data_dir / "kafka.log").open("wb") as log:
            # A session of its own: Ctrl-C at a terminal goes to whom it is meant for, not to Kafka.
            return psutil.Popen(
                command,
                cwd=self.data_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=None if self.detach else end_with_parent(),
            )


class _PortTaken(Exception):
    """Another process listens on the port."""


def _listeners(port: int, seat: Seat, data_dir: Path) -> dict[str, str]:
    voters = (f"{node}@{_HOST}:{controller}" for node, controller in seat.controllers.items())
    own = seat.controllers[seat.node]
    return {
        "process.roles": "broker,controller",
        "node.id": str(seat.node),
        "controller.quorum.voters": ",".join(voters),
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{_HOST}:{port},CONTROLLER://{_HOST}:{own}",
        "advertised.listeners": f"PLAINTEXT://{_HOST}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data_dir / "data"),
    }


def _format(jars: KafkaJars, data_dir: Path, seat: Seat) -> None:
    """Does what Kafka's own storage tool does, without the second that starting it takes."""
    data = data_dir / "data"
    if (data / "meta.properties").exists():
        return
    shutil.copytree(jars.formatted, data, dirs_exist_ok=True)
    fresh = data / "meta.properties.new"
    fresh.write_text(
        f"version=1\ncluster.id={seat.cluster}\nnode.id={seat.node}\n"
        f"directory.id={secrets.token_urlsafe(16)}\n"
    )
    fresh.replace(data / "meta.properties")


def _await_answer(process: psutil.Process, port: int, log: Path, timeout: float) -> None:
    client = AdminClient(
        {
            "bootstrap.servers": f"{_HOST}:{port}",
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 100,
            "log_level": 0,
        }
    )
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with contextlib.suppress(KafkaException):
            if client.list_topics(timeout=0.5).brokers:
                return
        if not _is_alive(process):
            if "Address already in use" in log.read_text(errors="replace"):
                raise _PortTaken
            raise KafkaError(f"Kafka ended at its start. {_log_end(log)}")
    raise KafkaError(f"Kafka did not answer within {timeout:g} s. {_log_end(log)}")


def _log_end(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join([f"The end of {log}:", *lines[-_LOG_LINES:]])


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _identity_file(data_dir: Path) -> Path:
    return data_dir / "kafka.json"


@contextlib.contextmanager
def _starting(data_dir: Path) -> Generator[None]:
    with (data_dir / "start.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on now; see `free_ports`."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many ports on 127.0.0.1 that nobody listens on now, each another one.

    They are none of those that the kernel gives to outgoing connections, if there are others: such
    a port could be taken by one before it is listened on, or while a broker is started again.
    """
    found: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, _PORT_TRIES):
        if len(found) == count:
            return found
        with contextlib.suppress(OSError):
            socket.create_server((_HOST, port)).close()
            found.append(port)
    with contextlib.ExitStack() as stack:
        left = range(count - len(found))
        servers = [stack.enter_context(socket.create_server((_HOST, 0))) for _ in left]
        return [*found, *(int(server.getsockname()[1]) for server in servers)]


def _probe(port: int) -> None:
    try:
        socket.create_server((_HOST, port)).close()
    except PermissionError as error:
        raise UsageError(f"Port {port} needs root: give one above 1023.") from error
    except (OSError, OverflowError) as error:
        raise _PortTaken from error


def end_with_parent() -> Callable[[], None]:
    """Has the kernel stop a child when the thread that started it ends, even by kill -9."""
    # Loaded before the fork: the child of a threaded process must not load libraries.
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def in_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)

    return in_child
