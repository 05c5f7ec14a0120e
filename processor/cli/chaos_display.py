"""What a person sees of a chaos run: a live area on a terminal, plain lines elsewhere; a report.

While it lasts everything goes to stderr; the report is a result and goes to stdout.
"""

import contextlib
import time
from collections.abc import Generator, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from processor.chaos.compare import Compared
from processor.chaos.rules import Rule
from processor.chaos.run import ChaosTrial, Progress, Watcher
from processor.chaos.verdict import Happening, Report, cause_of
from processor.cli.common import err, say

_LINE_SECONDS = 10.0
_EVENTS = 8
_FILE_WIDTH = 180
_SHOWN = 10
"""Differences of one topic that are shown."""

_STYLES = {"running": "green", "down": "red", "suspended": "yellow"}


@contextlib.contextmanager
def shown(trial: ChaosTrial) -> Generator[Watcher]:
    """Shows a run until the end of the block."""
    if not err.is_terminal:
        yield PlainDisplay()
        return
    display = LiveDisplay(trial)
    with display.live:
        yield display


class PlainDisplay:
    """A line for whatever happens, and every ten seconds one that says how far it is."""

    def __init__(self) -> None:
        self._phase: str = ""
        self._due = 0.0

    def happened(self, happening: Happening) -> None:
        """Something happened."""
        say(f"{happening.at / 1000:7.1f} s  {happening.text}")

    def turn(self, progress: Progress) -> None:
        """Some time has passed."""
        now = time.monotonic()
        if now >= self._due or progress.phase != self._phase:
            self._due, self._phase = now + _LINE_SECONDS, progress.phase
            say(f"{progress.elapsed / 1000:7.1f} s  {progress.phase}: {_figures(progress)}")

    def replayed(self, done: int, total: int) -> None:
        """So many of so many records went through the reference run."""
        if done == total:
            say(f"           compared with a run of {total:,} records without failures")


class LiveDisplay:
    """A live area: the time, the figures, the nodes and what happened last."""

    def __init__(self, trial: ChaosTrial) -> None:
        self.live = Live(console=err, auto_refresh=False, transient=True)
        self._name = trial.plan.application
        self._happenings: list[Happening] = []

    def happened(self, happening: Happening) -> None:
        """Something happened."""
        self._happenings = [*self._happenings, happening][-_EVENTS:]

    def turn(self, progress: Progress) -> None:
        """Draws the area."""
        self.live.update(Group(*self._area(progress)), refresh=True)

    def replayed(self, done: int, total: int) -> None:
        """Draws how far the reference run is."""
        text = f"comparing with a run without failures: {done:,} of {total:,} records"
        self.live.update(_bar(done, total, text), refresh=True)

    def _area(self, progress: Progress) -> Sequence[RenderableType]:
        left = max(0, progress.duration - progress.elapsed) / 1000
        text = f"{_clock(progress.elapsed)} · {left:,.0f} s left"
        done = min(progress.elapsed, progress.duration)
        victims = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("", "state", "workers"):
            victims.add_column(column)
        for name, state, workers in progress.victims:
            count = str(workers) if name.startswith("node") else ""
            victims.add_row(name, Text(state, _STYLES.get(state, "yellow")), count)
        return (
            Text.assemble((self._name, "bold"), (f" · chaos · {progress.phase}", "dim")),
            _bar(done, progress.duration, text),
            Text(_figures(progress)),
            victims,
            *(Text(f"{each.at / 1000:7.1f} s  {each.text}", "dim") for each in self._happenings),
        )


def _figures(progress: Progress) -> str:
    longest = progress.longest
    stood = f" · longest standstill {longest.lasted / 1000:.2f} s" if longest else ""
    return (
        f"{progress.faults} of {progress.planned} faults · {progress.records_in:,} records in · "
        f"{progress.records_out:,} out{stood}"
    )


def _bar(done: int, total: int, text: str) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=max(total, 1), completed=done, width=30), text)
    return grid


def _clock(milliseconds: int) -> str:
    minutes, seconds = divmod(milliseconds // 1000, 60)
    return f"{minutes}:{seconds:02}"


def print_report(report: Report) -> None:
    """The report for a person, on stdout."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    console.print(*_report(report), sep="\n", soft_wrap=True)


def _report(report: Report) -> Generator[Any]:
    verdict = report.verdict
    if report.happenings:
        yield Text("\nWhat happened", "bold")
        for each in report.happenings:
            style = "" if each.fault else "dim"
            yield Text(f"{each.at / 1000:7.1f} s  {each.text}", style)
    yield Text("\nWhat was compared with a run of the same input without failures", "bold")
    yield _compared(verdict.compared)
    for each in verdict.compared:
        yield from _differences(each)
    for problem in verdict.problems:
        yield Text(problem, "red")
    for note in verdict.notes:
        yield Text(note, "yellow")
    yield Text()
    yield _figures_of(report)
    yield _standstill(report)
    yield Text.assemble(
        ("PASSED", "bold green") if verdict.passed else ("FAILED", "bold red"),
        ": nothing is lost, doubled or out of order" if verdict.passed else _why(report),
        f" (seed {report.seed})",
    )


def _why(report: Report) -> str:
    fates: dict[str, int] = {}
    for compared in report.verdict.compared:
        for difference in compared.differences:
            fates[difference.fate] = fates.get(difference.fate, 0) + 1
    named = [f"{fate} with {count:,} keys" for fate, count in fates.items()]
    problems = len(report.verdict.problems)
    return ": " + "; ".join([*named, *([f"{problems} problems"] if problems else [])])


def _compared(compared: Sequence[Compared]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("topic or store", no_wrap=True)
    for name in ("found", "expected", "different"):
        table.add_column(name, justify="right")
    table.add_column("how", ratio=1)
    for each in compared:
        wrong = len(each.differences)
        count = Text(f"{wrong:,}", "bold red" if wrong else "green")
        checked = each.judgement.rule is not Rule.NOTHING
        table.add_row(
            each.name,
            f"{each.found:,}",
            f"{each.expected:,}" if checked else "",
            count if checked else "",
            Text(_how(each), "" if checked else "yellow"),
        )
    return table


def _how(compared: Compared) -> str:
    rule, reason = compared.judgement
    why = f": {reason}" if reason else ""
    left_out = f"; {compared.undecided:,} keys left out" if compared.undecided else ""
    return f"{rule.value}{why}{left_out}"


def _differences(compared: Compared) -> Generator[Text]:
    if compared.differences:
        yield Text(f"\n{compared.name}", "bold red")
    for difference in compared.differences[:_SHOWN]:
        yield Text(f"  {difference.fate}: {difference}")
    if len(compared.differences) > _SHOWN:
        yield Text(f"  … and {len(compared.differences) - _SHOWN:,} more", "dim")


def _figures_of(report: Report) -> Text:
    return Text(
        f"{report.seconds:,.1f} s · {report.nodes} nodes · {len(report.faults)} faults · "
        f"{report.adoptions} adoptions · {report.records_in:,} records in · "
        f"{report.records_out:,} out"
    )


def _standstill(report: Report) -> Text:
    longest = report.longest
    if longest is None:
        return Text("No partition stood still.")
    cause = cause_of(longest, report.faults)
    after = f", after: {cause.text}" if cause else ""
    return Text(
        f"The longest standstill was {longest.lasted / 1000:.2f} s: {longest.source}, from "
        f"{longest.since / 1000:.1f} s on{after}"
    )
