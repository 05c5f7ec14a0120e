"""The node's HTTP endpoint: `/healthz`, `/readyz` and `/metrics`.

Serves from threads of its own what the node's loop has last set; neither waits for the other. Owns
the server; what is measured is the business of `metrics`, and what ready means of `cluster`.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from processor.addresses import Address
from processor.cluster.readiness import unsettled
from processor.errors import SettingsError
from processor.health.metrics import families
from processor.node.accounting import Figures
from processor.worker.channel import ADOPTED, CRASHED, Log, Report, Status

if TYPE_CHECKING:
    from processor.node.node import NodeState

_ALIVE: Final = 10.0
"""Seconds within which the node's loop has to come round: it does so some times a second."""

_FRESH: Final = 0.5
"""Seconds between two snapshots."""

_PATIENCE: Final = 10.0
"""Seconds that a client may take for its request."""

_BUCKETS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)

StartResponse: TypeAlias = Callable[[str, list[tuple[str, str]]], Any]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What is known of the node; never changed."""

    unsettled: str | None = "it has not begun yet"
    families: tuple[Metric, ...] = ()


class Endpoint(Collector):
    """Serves a node's health and metrics; a `Watcher` of the node.

    Args:
        address: Where to listen.
        application: The application's name.

    Raises:
        SettingsError: The address can't be listened on.
    """

    def __init__(self, address: Address, application: str) -> None:
        self._application = application
        self._figures = Figures(time.monotonic())
        self._snapshot = _Snapshot()
        self._snapshot_at = 0.0
        self._turned: float | None = None
        registry = CollectorRegistry()
        self._adoptions = Histogram(
            "kproc_adoption_seconds",
            "How long it took to take over a slot.",
            ["reason"],
            registry=registry,
            buckets=_BUCKETS,
        )
        registry.register(self)
        self._registry = registry
        self._server = _listen(address)
        self._server.set_app(self._answer)
        self.address = Address(address.host, self._server.server_port)
        """Where it listens."""
        self._thread = Thread(target=self._server.serve_forever, name="http", daemon=True)
        self._thread.start()

    def report(self, report: Report) -> None:
        """Takes in what a worker tells, or what happens to it."""
        if isinstance(report, Status):
            self._figures.note(report, time.monotonic())
        elif isinstance(report, Log) and report.slot is not None:
            if report.event == CRASHED:
                self._figures.note_restart(report.slot)
            elif report.event == ADOPTED:
                reason = str(report.fields.get("reason", "start"))
                self._adoptions.labels(reason).observe(float(report.fields["total_s"]))

    def turn(self, state: "NodeState") -> None:
        """Notes that the node's loop has come round, and at times what there is to tell."""
        self._turned = now = time.monotonic()
        if now < self._snapshot_at + _FRESH or state.view is None:
            return
        self._snapshot_at = now
        pending = "it is stopping" if state.stopping else unsettled(state.view, state.node)
        found = families(self._application, state.node, state.view, self._figures)
        self._snapshot = _Snapshot(pending, found)

    def collect(self) -> Iterator[Metric]:
        """What Prometheus' registry asks for."""
        yield from self._snapshot.families

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        if request["REQUEST_METHOD"] != "GET":
            return _reply(start, HTTPStatus.METHOD_NOT_ALLOWED, "GET only", ("Allow", "GET"))
        match request["PATH_INFO"]:
            case "/healthz":
                return _verdict(start, self._ailing())
            case "/readyz":
                return _verdict(start, self._ailing() or self._snapshot.unsettled)
            case "/metrics":
                encode, kind = choose_encoder(request.get("HTTP_ACCEPT", ""))
                start("200 OK", [("Content-Type", kind)])
                return [encode(self._registry)]
            case _:
                text = "there are /healthz, /readyz and /metrics"
                return _reply(start, HTTPStatus.NOT_FOUND, text)

    def _ailing(self) -> str | None:
        """What is wrong with the node's loop."""
        turned = self._turned
        if turned is None:
            return "the node has not begun yet"
        silent = time.monotonic() - turned
        return f"the node's loop hangs for {silent:.0f} s" if silent > _ALIVE else None


def _verdict(start: StartResponse, wrong: str | None) -> Iterable[bytes]:
    if wrong is None:
        return _reply(start, HTTPStatus.OK, "ok")
    return _reply(start, HTTPStatus.SERVICE_UNAVAILABLE, wrong)


def _reply(
    start: StartResponse, status: HTTPStatus, text: str, *headers: tuple[str, str]
) -> Iterable[bytes]:
    plain = ("Content-Type", "text/plain; charset=utf-8")
    start(f"{status.value} {status.phrase}", [plain, *headers])
    return [f"{text}\n".encode()]


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request, so that a slow client delays nobody."""

    daemon_threads = True

    def server_bind(self) -> None:
        """Binds; wsgiref would also ask for the host's full name, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class _Server6(_Server):
    address_family = 10  # AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is called
        """Probes are no news."""


def _listen(address: Address) -> _Server:
    kind = _Server6 if ":" in address.host else _Server
    try:
        return kind((address.host, address.port), _Handler)
    except OSError as error:
        raise SettingsError(
            f"http: {address} can't be listened on ({error.strerror}): each node on a machine "
            "needs a port of its own; with port 0 it takes a free one and logs it"
        ) from error
