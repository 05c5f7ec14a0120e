"""The page of a node: what it shows, and the files that it is made of.

A watcher's part of the endpoint: the node's loop hands over what it knows, and documents are made
of that at once, so that requests only read bytes.
"""

import time
from collections import defaultdict
from collections.abc import Mapping
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from processor.cluster.overview import overview
from processor.cluster.view import View
from processor.health import document
from processor.health.flows import SlotFlows
from processor.health.guard import plain
from processor.health.history import History
from processor.health.openapi import description
from processor.health.problems import problems
from processor.node.accounting import Figures
from processor.records import Timestamp
from processor.settings import Effective, listed, redacted
from processor.topology.graph import Source
from processor.topology.plan import Plan
from processor.worker.channel import Log, Report
from processor.worker.channel import Status as WorkerStatus

if TYPE_CHECKING:
    from processor.node.node import NodeState

_FOLDER: Final = Path(__file__).parent / "page"
_FILES: Final = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


class Site:
    """The page of one node.

    Args:
        plan: What the node runs.
        effective: Its settings, and where they are from; no secret of them is shown.
    """

    def __init__(self, plan: Plan, effective: Effective) -> None:
        self._plan = plan
        self._settings = effective.settings
        self._flows: defaultdict[int, SlotFlows] = defaultdict(SlotFlows)
        self._history = History()
        self._status: bytes | None = None
        self._fixed: Mapping[str, tuple[bytes, str]] = {
            **{
                path: ((_FOLDER / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()
            },
            "/application.json": (_application(plan, effective), "application/json"),
            "/openapi.json": (msgspec.json.encode(description()), "application/json"),
        }

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that can be asked for."""
        return (*self._fixed, "/status.json")

    def report(self, report: Report, now: float) -> None:
        """Takes in what a worker reports, or what happens to it; `now` goes only forward."""
        if isinstance(report, WorkerStatus):
            self._flows[report.slot].note(report, now)
        elif isinstance(report, Log):
            self._history.hear(self._without_secrets(report), _milliseconds())

    def turn(
        self, state: "NodeState", view: View, figures: Figures, now: float, unsettled: str | None
    ) -> None:
        """Makes a new document of what is known."""
        wall = _milliseconds()
        seen = overview(self._plan.application, view, last=Timestamp(wall))
        self._history.see(seen, wall)
        member = view.members.get(state.node)
        replicas = member.beat.replicas if member else ()
        primaries = [each.slot for each in replicas if each.role == "primary"]
        found = document.Status(
            application=self._plan.application,
            node=state.node,
            time=wall,
            uptime=round(now - state.began, 1),
            unsettled=unsettled,
            healthy=seen.healthy,
            problems=problems(
                seen,
                figures,
                self._history.warnings(wall),
                self._kept_letters(),
                backed_up=self._settings.backup_mode == "primary-backup",
            ),
            totals=document.totals(figures),
            slots=seen.slots,
            nodes=seen.nodes,
            workers=tuple(document.workers(replicas, figures.slots, self._flows, now)),
            topics=document.topics(primaries, figures.slots, self._flows),
            steps=document.steps(primaries, self._flows),
            bad_records=document.bad_records(figures),
            late_records=document.late_records(figures),
            events=self._history.events(wall),
        )
        self._status = msgspec.json.encode(found)

    async def answer(self, request: Request) -> Response:
        """Answers for one of the paths."""
        path = request.url.path
        if path in self._fixed:
            content, kind = self._fixed[path]
            return Response(content, media_type=kind)
        if self._status is None:
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, "the node has not begun yet")
        return Response(self._status, media_type="application/json")

    def _without_secrets(self, log: Log) -> Log:
        fields = {
            name: redacted(self._settings, value) if isinstance(value, str) else value
            for name, value in log.fields.items()
        }
        return msgspec.structs.replace(log, fields=fields)

    def _kept_letters(self) -> str:
        """The topic for dead letters, if bad records go there."""
        nodes = (node for part in self._plan.subtopologies for node in part.nodes)
        sources = (node for node in nodes if isinstance(node, Source))
        usual = self._settings.on_bad_record
        kept = any((each.on_bad_record or usual) == "dead-letter" for each in sources)
        return self._plan.dead_letters if kept else ""


def _application(plan: Plan, effective: Effective) -> bytes:
    settings = (
        document.Setting(
            ".".join(filter(None, (each.part, each.name))),
            str(each.value),
            each.origin,
            each.description,
        )
        for each in listed(effective)
        if each.value is not None
    )
    return msgspec.json.encode(
        document.Application(
            plan.application,
            version("kproc"),
            effective.settings.guarantee,
            document.drawing(plan),
            tuple(settings),
        )
    )


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
