"""What a benchmark found, as plain values: rates, shares and percentiles. Pure arithmetic."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from processor.wording import several

PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class Sample(NamedTuple):
    """What was seen at a moment of the backlog.

    Attributes:
        at: Seconds since the nodes were started.
        records: Records of the input that are committed.
        cpu: Seconds of processor time of all nodes' processes so far.
        memory: Bytes of all of them; what they share counts once.
    """

    at: float
    records: int
    cpu: float
    memory: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """How all of an input that was there at the start was worked through.

    Attributes:
        samples: From the start of the nodes to the end of everything that follows from the input.
        records: Of the input.
    """

    samples: Sequence[Sample]
    records: int

    @property
    def first(self) -> Sample:
        """The last sample before anything was committed: what came before it is the start."""
        none = [sample for sample in self.samples if not sample.records]
        return none[-1] if none else self.samples[0]

    @property
    def seconds(self) -> float:
        """From there to the end."""
        return self.samples[-1].at - self.first.at

    @property
    def rate(self) -> float:
        """Records a second; 0 where there was no time to measure."""
        return self.records / self.seconds if self.seconds else 0.0

    @property
    def cpu_per_million(self) -> float:
        """Seconds of processor time for a million records."""
        return (self.samples[-1].cpu - self.first.cpu) / self.records * 1e6

    @property
    def peak_memory(self) -> int:
        """Bytes."""
        return max(sample.memory for sample in self.samples)

    def rates(self) -> list[tuple[float, float]]:
        """Seconds since the start, and records a second from the sample before to there."""
        return [
            (after.at, (after.records - before.records) / (after.at - before.at))
            for before, after in pairwise(self.samples)
        ]

    def cores(self) -> list[tuple[float, float]]:
        """Seconds since the start, and how many processors were busy before that."""
        return [
            (after.at, max(0.0, after.cpu - before.cpu) / (after.at - before.at))
            for before, after in pairwise(self.samples)
        ]


@dataclass(frozen=True, slots=True)
class Latency:
    """From when a record is written to when a reader of committed records gets its result.

    Attributes:
        rate: Records a second that were written, all topics together.
        milliseconds: Of each result, sorted.
    """

    rate: float
    milliseconds: Sequence[float]

    def percentile(self, percent: float) -> float:
        """The latency that `percent` of the results do not exceed, in milliseconds."""
        at = min(len(self.milliseconds) - 1, int(len(self.milliseconds) * percent / 100))
        return self.milliseconds[at]

    @property
    def most(self) -> float:
        """Of the slowest result, in milliseconds."""
        return self.milliseconds[-1]


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that was measured.

    Attributes:
        application: Its name.
        nodes: How many there were.
        slots: Of the application.
        guarantee: As the setting.
        native: Whether records went by the native plane.
        backlog: How an input that was there was worked through.
        bad: How many records were bad.
        state: Bytes of all state folders afterwards.
        latency: At a steady rate; None where it was not measured.
        unmeasured: Why it was not; empty if it was.
    """

    application: str
    nodes: int
    slots: int
    guarantee: str
    native: bool
    backlog: Backlog
    bad: int
    state: int
    latency: Latency | None
    unmeasured: str


def as_json(figures: Figures) -> dict[str, Any]:
    """The figures for programs: seconds, bytes, and latencies in milliseconds."""
    backlog, latency = figures.backlog, figures.latency
    found = asdict(figures)
    found["backlog"] = {
        "records": backlog.records,
        "seconds": round(backlog.seconds, 3),
        "records_per_second": round(backlog.rate),
        "cpu_seconds_per_million": round(backlog.cpu_per_million, 3),
        "peak_memory": backlog.peak_memory,
        "seconds_to_start": round(backlog.first.at, 3),
        "samples": [sample._asdict() for sample in backlog.samples],
    }
    found["latency"] = latency and {
        "records_per_second": round(latency.rate),
        "results": len(latency.milliseconds),
        **{f"p{percent:g}": round(latency.percentile(percent), 2) for percent in PERCENTILES},
        "most": round(latency.most, 2),
    }
    return found


def rows(figures: Figures) -> list[tuple[str, str]]:
    """The figures for people: names, and values with their units.

    Args:
        figures: What was measured.
    """
    backlog = figures.backlog
    plane = "native plane" if figures.native else "without the native plane"
    layout = f"{several(figures.nodes, 'node')}, {several(figures.slots, 'slot')}"
    return [
        ("records", f"{backlog.records:,} in {backlog.seconds:,.1f} s"),
        ("records per second", f"{backlog.rate:,.0f}"),
        ("CPU per million records", f"{backlog.cpu_per_million:,.2f} s"),
        ("peak memory", f"{backlog.peak_memory / 1e6:,.0f} MB"),
        ("bad records", f"{figures.bad:,}"),
        ("state on disk", f"{figures.state / 1e6:,.1f} MB"),
        ("until the first checkpoint", f"{backlog.first.at:,.1f} s after the start"),
        _latency_row(figures),
        ("with", f"{layout}, {figures.guarantee}, {plane}"),
    ]


def _latency_row(figures: Figures) -> tuple[str, str]:
    latency = figures.latency
    if latency is None:
        return "latency", f"not measured: {figures.unmeasured}"
    shown = [f"p{each:g} {latency.percentile(each):,.0f} ms" for each in PERCENTILES]
    most = f"at most {latency.most:,.0f} ms"
    return f"latency at {latency.rate:,.0f} records/s", ", ".join([*shown, most])
