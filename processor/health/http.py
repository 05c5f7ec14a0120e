"""The node's HTTP endpoint: health, metrics, the page, and queries.

Answers from what the node's loop has last set, in a thread of its own; neither waits for the other.
What is measured is the business of `metrics`, what ready means of `cluster`, and who may ask of
`access`.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from processor.addresses import Address
from processor.cluster.readiness import unsettled
from processor.health.access import Access
from processor.health.guard import Guard, plain
from processor.health.metrics import families
from processor.health.routing import Routes
from processor.health.server import Server
from processor.health.site import Site
from processor.health.stores import Stores
from processor.node.accounting import Figures
from processor.worker.channel import ADOPTED, CRASHED, Log, Report, Status

if TYPE_CHECKING:
    from processor.node.node import NodeState

_ALIVE: Final = 10.0
"""Seconds within which the node's loop has to come round: it does so some times a second."""

_FRESH: Final = 0.5
"""Seconds between two snapshots."""

_BUCKETS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)

OPEN: Final = Access()
"""Nobody is asked who they are: other machines see health alone."""


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
        access: Who may ask for more than health, and the files for TLS.
        site: The page; None: there is none.
        stores: Answers queries; None: there are none.

    Raises:
        SettingsError: The address can't be listened on, or a file can't be used.
    """

    def __init__(
        self,
        address: Address,
        application: str,
        access: Access = OPEN,
        site: Site | None = None,
        stores: Stores | None = None,
    ) -> None:
        self._application = application
        self._site = site
        self._stores = stores
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
        tls = access.context()
        self._server = Server(Guard(self._app(), access), address, tls)
        self.address = self._server.address
        """Where it listens."""
        self.page = f"{'http' if tls is None else 'https'}://{self.address.local}/"
        """What a browser on this machine opens."""

    def report(self, report: Report) -> None:
        """Takes in what a worker reports, or what happens to it."""
        now = time.monotonic()
        if self._site is not None:
            self._site.report(report, now)
        if isinstance(report, Status):
            self._figures.note(report, now)
        elif isinstance(report, Log) and report.slot is not None:
            if report.event == CRASHED:
                self._figures.note_restart(report.slot)
            elif report.event == ADOPTED:
                reason = str(report.fields.get("reason", "start"))
                self._adoptions.labels(reason).observe(float(report.fields["total_s"]))

    def turn(self, state: "NodeState") -> None:
        """Notes that the node's loop has come round, and at times what it reports."""
        self._turned = now = time.monotonic()
        if self._stores is not None:
            self._stores.router.routes = Routes.of(state)
        if now < self._snapshot_at + _FRESH or state.view is None:
            return
        self._snapshot_at = now
        pending = "it is stopping" if state.stopping else unsettled(state.view, state.node)
        found = families(self._application, state.node, state.view, self._figures)
        self._snapshot = _Snapshot(pending, found)
        self._figures.tick(now)
        if self._site is not None:
            self._site.turn(state, state.view, self._figures, now, pending)

    def collect(self) -> Iterator[Metric]:
        """What Prometheus' registry asks for."""
        yield from self._snapshot.families

    def close(self) -> None:
        """Stops listening."""
        self._server.close()

    def _app(self) -> Starlette:
        routes = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics}
        if self._site is not None:
            routes = dict.fromkeys(self._site.paths, self._site.answer) | routes
        queries = [] if self._stores is None else self._stores.routes
        *others, last = (*routes, "/stores") if queries else routes

        async def missing(_request: Request, _error: Exception) -> Response:
            return plain(HTTPStatus.NOT_FOUND, f"there are {', '.join(others)} and {last}")

        async def wrong_method(_request: Request, _error: Exception) -> Response:
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, "GET only", {"Allow": "GET"})

        return Starlette(
            routes=[*(Route(path, answer) for path, answer in routes.items()), *queries],
            exception_handlers={404: missing, 405: wrong_method},
        )

    async def _healthz(self, _request: Request) -> Response:
        return _verdict(self._ailing())

    async def _readyz(self, _request: Request) -> Response:
        return _verdict(self._ailing() or self._snapshot.unsettled)

    async def _metrics(self, request: Request) -> Response:
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._registry), media_type=kind)

    def _ailing(self) -> str | None:
        """What is wrong with the node's loop."""
        turned = self._turned
        if turned is None:
            return "the node has not begun yet"
        silent = time.monotonic() - turned
        return f"the node's loop hangs for {silent:.0f} s" if silent > _ALIVE else None


def _verdict(wrong: str | None) -> PlainTextResponse:
    if wrong is None:
        return plain(HTTPStatus.OK, "ok")
    return plain(HTTPStatus.SERVICE_UNAVAILABLE, wrong)
