"""The autoscaler at work: hears an application, decides now and then, and has it done.

Owns the clock, and what is kept and served of the decisions.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import TypeAlias

import msgspec
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from processor.cluster.autoscale import Autoscaler, Policy, Recommendation
from processor.cluster.explain import explain
from processor.cluster.load import SPAN
from processor.cluster.measure import Measurement, measure
from processor.cluster.overview import Overview
from processor.cluster.sizing import Sizing
from processor.errors import ActuatorFailed, SettingsError, StateError
from processor.scaling.actuators import Actuator

ONCE_SECONDS = SPAN
"""How long somebody who asks only once has to listen."""

Overviews: TypeAlias = Iterable[tuple[Overview, list[str]]]


class Entry(msgspec.Struct, frozen=True):
    """A recommendation, as it is kept and reported."""

    time: str  # ISO 8601, UTC
    nodes: int
    before: int
    needed: int | None
    why: str
    text: str
    live: int
    arrival: float  # records per second
    rate: float  # records per second
    lag: int  # records


@dataclass(frozen=True, slots=True)
class Turn:
    """What to report after a while: a recommendation at times, and what happened."""

    entry: Entry | None
    news: tuple[str, ...] = ()


class Autoscaling:
    """One application's.

    Args:
        policy: What is wanted.
        actuator: What runs the nodes; not closed here.
        interval: Seconds between two decisions.
        history: Keeps what was decided.
        exporter: Serves the figures.
    """

    def __init__(
        self,
        policy: Policy,
        actuator: Actuator,
        interval: float,
        history: "History | None" = None,
        exporter: "Exporter | None" = None,
    ) -> None:
        self._policy = policy
        self._scaler = Autoscaler(policy)
        self._actuator = actuator
        self._interval = interval
        self._history = history
        self._exporter = exporter
        self._stopped = False
        self._unkept = False

    def run(
        self, overviews: Overviews, clock: Callable[[], float] = time.monotonic
    ) -> Iterator[Turn]:
        """Turns for as long as there are overviews.

        Raises:
            KprocError: The actuator can't go on at all.
        """
        due = clock()
        for overview, problems in overviews:
            news, entry = list(problems), None
            try:
                news += self._actuator.turn()
                if overview.slots and clock() >= due:
                    due = max(due + self._interval, clock())
                    ordered = self._actuator.count()
                    news += self._note_stop(ordered)
                    if ordered != 0:
                        entry = self._decide(measure(overview, clock()), ordered)
                        news += self._keep(entry)
            except ActuatorFailed as error:
                news.append(str(error))
            if entry or news:
                yield Turn(entry, tuple(news))

    def _note_stop(self, ordered: int | None) -> Iterator[str]:
        """Who has stopped all nodes means it: they are not started again from here."""
        if ordered == 0 and not self._stopped:
            yield "no node is wanted: nothing is decided until somebody starts the first"
        self._stopped = ordered == 0

    def _decide(self, measurement: Measurement, ordered: int | None) -> Entry:
        """After a start, how many nodes happen to live is no order until the load is known."""
        nodes = len(measurement.nodes) if ordered is None else ordered
        advice = self._scaler.advise(measurement, nodes)
        known = advice.needed is not None and not advice.load.missing
        if known if ordered is None else advice.is_change:
            self._actuator.scale_to(advice.nodes)
        if self._exporter is not None:
            is_order = known or ordered is not None
            self._exporter.note(advice, measurement, self._policy, is_order=is_order)
        return _entry(advice, explain(advice, self._policy))

    def _keep(self, entry: Entry) -> Iterator[str]:
        """That it can't be kept is reported once; the nodes matter more."""
        if self._history is None:
            return
        try:
            self._history.note(entry)
            self._unkept = False
        except StateError as error:
            if not self._unkept:
                yield str(error)
            self._unkept = True


def _entry(advice: Recommendation, text: str) -> Entry:
    load = advice.load
    return Entry(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        nodes=advice.nodes,
        before=advice.before,
        needed=advice.needed,
        why=advice.why,
        text=text,
        live=advice.live,
        arrival=round(load.arrival, 1),
        rate=round(load.rate, 1),
        lag=load.lag,
    )


class History:
    """The decisions, one JSON object a line; those that say the same again are left out.

    Args:
        file: Where; its folder is made.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._last: tuple[object, ...] | None = None

    def note(self, entry: Entry) -> None:
        """Keeps a decision if it is another than the last.

        Raises:
            StateError: The file can't be written.
        """
        gist = (entry.nodes, entry.why, entry.live)
        if gist == self._last and entry.nodes == entry.before:
            return
        with self._os_errors():
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("ab") as file:
                file.write(msgspec.json.encode(entry) + b"\n")
        self._last = gist

    @contextlib.contextmanager
    def _os_errors(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise StateError(
                f"the history {self.file} can't be written: {error.strerror or error}. Let this "
                "user write there, or choose another state_dir"
            ) from error


def history_file(state_dir: Path, application: str) -> Path:
    """Where an application's decisions are kept."""
    return state_dir / application / "autoscale.jsonl"


def kept(file: Path) -> list[Entry]:
    """The decisions in a history; a line that was cut off is left out."""
    if not file.exists():
        return []
    found: list[Entry] = []
    for line in file.read_bytes().splitlines():
        with contextlib.suppress(msgspec.DecodeError):
            found.append(msgspec.json.decode(line, type=Entry))
    return found


class Exporter(Collector):
    """Serves the latest figures to Prometheus, from a thread of its own.

    Args:
        host: Where to listen.
        port: 0 for any free one.
        application: The label of all figures.

    Raises:
        SettingsError: Nothing can listen there.
    """

    def __init__(self, host: str, port: int, application: str) -> None:
        self._application = application
        self._figures: dict[str, tuple[str, float]] = {}
        registry = CollectorRegistry()
        registry.register(self)
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            raise SettingsError(
                f"metrics can't be served at {host}:{port}: {error.strerror or error}; choose "
                "another --metrics-port"
            ) from error
        self.port = self._server.server_port

    def note(
        self, advice: Recommendation, measurement: Measurement, policy: Policy, *, is_order: bool
    ) -> None:
        """Takes in the latest; nodes are recommended only if somebody should follow."""
        load, figures = advice.load, measurement.figures
        busy = fmean(each.busy for each in figures) if figures else 0.0
        room = 0.0
        if load.cost is not None:
            room = Sizing(load, policy.catch_up).room(policy.target)
        recommended = ("Nodes that there should be.", advice.nodes)
        self._figures = {
            **({"recommended_nodes": recommended} if is_order else {}),
            "autoscale_nodes": ("Nodes that live and don't leave.", advice.live),
            "autoscale_arrival_records_per_second": (
                "Input records a second that arrive.",
                load.arrival,
            ),
            "autoscale_records_per_second": (
                "Input records a second, over some seconds.",
                load.rate,
            ),
            "autoscale_node_records_per_second": ("What a node should do at most.", room),
            "autoscale_lag_records": ("Input records not processed yet.", load.lag),
            "autoscale_busy_ratio": (
                "Share of the time not waiting for records, in the mean.",
                busy,
            ),
            "autoscale_slots_without_figures": (
                "Slots of which nothing is known.",
                len(load.missing),
            ),
        }

    def collect(self) -> Iterator[Metric]:
        """What Prometheus' registry asks for."""
        for name, (text, value) in self._figures.items():
            family = GaugeMetricFamily(f"kproc_{name}", text, labels=["application"])
            family.add_metric([self._application], value)
            yield family

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
