"""What a person or a log sees of a run: a live area on a terminal, structured lines elsewhere.

Knows what a node reports of itself and nothing of how it does its work. Everything goes to stderr:
stdout belongs to results and to what the topology prints.
"""

import contextlib
import logging
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import msgspec
import structlog
from rich.console import Console
from rich.live import Live
from rich.text import Text

from processor.cli.area import area
from processor.cli.summary import Run, print_summary
from processor.cli.terminal import shared_terminal
from processor.node.accounting import Figures
from processor.node.lateness import LATE_ADVICE, most_late
from processor.settings import Settings, redacted
from processor.worker.channel import ADOPTED, CRASHED, Failure, Log, Report, Status
from processor.worker.rate import Rate

if TYPE_CHECKING:
    from processor.kafka.progress import Backlog
    from processor.node.node import NodeState

LogFormat: TypeAlias = Literal["text", "json"]

_FRAME = 0.25
_PROGRESS = 10.0
"""Seconds between two lines that say how far it is."""


class Display(Protocol):
    """Shows a run; a `Watcher` of its node."""

    def report(self, report: Report) -> None:
        """A worker reported something."""

    def turn(self, state: "NodeState") -> None:
        """Some time has passed."""

    def summarize(self, state: "NodeState") -> None:
        """Says what the run was, when it has ended."""

    def brief(self, text: str) -> str:
        """A text without the tracebacks that were shown already."""
        ...


@contextlib.contextmanager
def display(run: Run, *, log_format: LogFormat | None, quiet: bool) -> Generator[Display]:
    """A live area if stderr is a terminal and no log is asked for, else lines."""
    if sys.stderr.isatty() and log_format is None and not quiet:
        with shared_terminal() as console:
            yield from _closing(LiveDisplay(run, console))
    else:
        log = logger(run.settings, sys.stderr, log_format or "text", quiet=quiet)
        yield from _closing(LogDisplay(run, log))


def _closing(shown: "LogDisplay") -> Generator[Display]:
    with shown.visible():
        try:
            yield shown
        finally:
            shown.close()


class LogDisplay:
    """Lines: all that workers report, and every ten seconds how far it is."""

    def __init__(self, run: Run, log: Any) -> None:
        self.figures = Figures(time.monotonic())
        self._run = run
        self._has_backups = run.settings.backup_mode == "primary-backup"
        self._log = log
        self._failures: dict[int, Failure] = {}
        self._states: dict[int, tuple[str, str]] = {}
        self._reported: set[str] = set()
        self._due = time.monotonic() + _PROGRESS

    @contextlib.contextmanager
    def visible(self) -> Generator[None]:
        """While it is to be seen."""
        settings = self._run.settings
        self._log.info(
            "connecting",
            application=self._run.plan.application,
            guarantee=settings.guarantee,
            **({"slots": settings.slots} if "slots" in settings.model_fields_set else {}),
            bootstrap=settings.bootstrap,
        )
        yield

    def report(self, report: Report) -> None:
        """Takes in figures; logs the rest."""
        if isinstance(report, Status):
            self.figures.note(report, time.monotonic())
            self._note_state(report)
        elif isinstance(report, Failure):
            # Reported with what comes of it: a new start, or the end.
            self._failures[report.slot] = report
        else:
            self._note_event(report)
            self._log_report(report)

    def turn(self, state: "NodeState") -> None:
        """Logs progress when it is time."""
        now = time.monotonic()
        self.figures.tick(now)
        if now >= self._due:
            self._due += _PROGRESS
            self._log.info("progress", **progress(self.figures, state.backlog))

    def close(self) -> None:
        """Logs the failures that nothing came of, such as those while stopping."""
        for failure in self._failures.values():
            self._log.error("worker failed", slot=failure.slot, **self._cause(failure.text))

    def brief(self, text: str) -> str:
        """A text in which each traceback that was reported is cut to its last line."""
        for reported in self._reported:
            text = text.replace(reported, reported.splitlines()[-1])
        return text

    def summarize(self, state: "NodeState") -> None:
        """A line, and one for each kind of bad record."""
        figures, run = self.figures, self._run
        fields = {"seconds": round(figures.seconds, 1), **progress(figures, state.backlog)}
        fields["records_per_s"] = round(figures.mean_rate)
        self._log.info("finished" if run.is_done(state) else "stopped before the end", **fields)
        kept = {"dead_letters": run.plan.dead_letters} if run.keeps_dead_letters else {}
        for cause, count in figures.bad_records.items():
            self._log.warning("bad records", step=str(cause), count=count, **kept)
        for step, each in sorted(figures.late.items()):
            if each.late or each.partly:
                self._log.warning("late records", step=step, **msgspec.structs.asdict(each))
        if worst := most_late(figures.late):
            self._log.warning("many records are late", advice=LATE_ADVICE.format(step=worst))

    def _note_event(self, report: Log) -> None:
        if report.slot is not None:
            self._failures.pop(report.slot, None)
            if report.event == CRASHED:
                self.figures.note_restart(report.slot)
            elif report.event == ADOPTED:
                self.figures.note_adoption(str(report.fields.get("reason", "start")))

    def _note_state(self, status: Status) -> None:
        state = (status.role, status.state)
        if self._states.get(status.slot) != state:
            self._states[status.slot] = state
            is_backup = self._has_backups and status.role == "backup"
            more = {"role": "backup"} if is_backup else {"partitions": status.partitions}
            self._log.info(f"worker {status.state}", slot=status.slot, **more)

    def _log_report(self, report: Log) -> None:
        fields: dict[str, Any] = dict(report.fields)
        if not self._has_backups:
            fields.pop("role", None)  # each worker is a backup until it has its slot
        fields |= self._cause(str(fields.pop("cause"))) if "cause" in fields else {}
        whose = {} if report.slot is None else {"slot": report.slot}
        getattr(self._log, report.level)(report.event, **whose, **fields)

    def _cause(self, text: str) -> dict[str, str]:
        """The field that says why: a traceback gets lines of its own, once."""
        text = self.brief(text.rstrip())
        if "\n" not in text:
            return {"cause": text}
        self._reported.add(text)
        return {"exception": text}


class LiveDisplay(LogDisplay):
    """A live area at the lower end of the terminal; log lines go above it."""

    def __init__(self, run: Run, console: Console) -> None:
        super().__init__(run, logger(run.settings, _Above(console), "text", quiet=False))
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._frame_at = 0.0
        self._done = Rate()

    @contextlib.contextmanager
    def visible(self) -> Generator[None]:
        """While it is to be seen."""
        with self._live:
            where = f"connecting to {self._run.settings.bootstrap}"
            self._live.update(Text.assemble((self._run.plan.application, "bold"), f" · {where}"))
            self._live.refresh()
            yield

    def turn(self, state: "NodeState") -> None:
        """Draws the area when it is time."""
        now = time.monotonic()
        self.figures.tick(now)
        if now < self._frame_at:
            return
        self._frame_at = now + _FRAME
        if state.backlog is not None:
            self._done.note(now, state.backlog.done_records)
        drawn = area(self._run, self.figures, state, self._done.per_second)
        self._live.update(drawn, refresh=True)

    def summarize(self, state: "NodeState") -> None:
        """A few lines for a person."""
        print_summary(self._run, self.figures, state)

    def _note_state(self, status: Status) -> None:
        """The area shows it."""


def progress(figures: Figures, backlog: "Backlog | None" = None) -> dict[str, Any]:
    """The figures as fields of a log line."""
    found: dict[str, Any] = {
        "records": figures.records,
        "records_per_s": round(figures.records_per_second),
        "checkpoints": figures.checkpoints,
        "bad_records": figures.bad_records.total(),
        "restarts": figures.restarts,
    }
    if figures.lag is not None:
        found["lag"] = figures.lag
    if backlog is not None:
        found |= {"done": backlog.done_records, "of": backlog.input_records}
    restores = [slot.last.restore for slot in figures.slots.values() if slot.last.restore]
    if restores:
        found["restored"] = sum(each.records for each in restores)
        found["to_restore"] = sum(each.total for each in restores)
    return found


class _Above:
    """A file whose lines appear above the live area."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> None:
        self._console.print(Text.from_ansi(text.rstrip("\n")), soft_wrap=True)

    def flush(self) -> None:
        """Nothing waits."""


def logger(settings: Settings, file: "IO[str] | _Above", form: LogFormat, *, quiet: bool) -> Any:
    """A structlog logger to a file, which never sees a secret; a quiet one only warns."""

    def without_secrets(_log: object, _name: str, event: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: redacted(settings, value) if isinstance(value, str) else value
            for name, value in event.items()
        }

    colors = isinstance(file, _Above) or file.isatty()
    shape: Sequence[Any] = (
        [structlog.processors.JSONRenderer()]
        if form == "json"
        else [structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=20, sort_keys=False)]
    )
    return structlog.wrap_logger(
        structlog.WriteLogger(file),  # pyright: ignore[reportArgumentType] - it only writes
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.WARNING if quiet else logging.INFO
        ),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(
                fmt="iso" if form == "json" else "%H:%M:%S", utc=form == "json"
            ),
            without_secrets,
            *shape,
        ],
    )
