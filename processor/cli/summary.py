"""What a run is and was, for the one who started it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from processor.cli.common import DEFAULT_BOOTSTRAP, err
from processor.node.accounting import Figures
from processor.node.lateness import LATE_ADVICE, most_late
from processor.settings import Settings
from processor.topology.plan import Plan
from processor.wording import several
from processor.worker.channel import Lateness

if TYPE_CHECKING:
    from processor.node.node import NodeState


_LEFT_OPEN = "what waits for later records, as the last windows do; --set idle_timeout=1s closes it"


def reported_late(lateness: Lateness) -> str:
    """How many of how many records were late; empty if none was."""
    many = [f"{lateness.late:,} of {lateness.judged:,} late"] if lateness.late else []
    many += [f"{lateness.partly:,} for some of their windows"] if lateness.partly else []
    return ", ".join(many)


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of a run before it begins."""

    plan: Plan
    settings: Settings
    until_end: bool

    @property
    def keeps_dead_letters(self) -> bool:
        """Whether bad records of any source go to the topic for dead letters."""
        sources = (source for part in self.plan.subtopologies for source in part.sources)
        policies = {source.on_bad_record or self.settings.on_bad_record for source in sources}
        return "dead-letter" in policies

    @property
    def leaves_windows_open(self) -> bool:
        """Whether what steps hold back until more records come stays so at the end."""
        if not self.until_end or self.settings.idle_timeout:
            return False
        return any(part.holds_back for part in self.plan.subtopologies)

    def is_done(self, state: "NodeState") -> bool:
        """Whether it did all that it was to do."""
        return state.finished or not self.until_end


def print_summary(run: Run, figures: Figures, state: "NodeState") -> None:
    """A few lines on stderr."""
    lines = [_first_line(run, figures, state)]
    if run.plan.outputs:
        lines.append(_line("outputs", ", ".join(run.plan.outputs)))
    if figures.restarts:
        lines.append(_line("restarts", str(figures.restarts), "yellow"))
    if figures.adoptions:
        adoptions = (f"{count} {reason}" for reason, count in figures.adoptions.most_common())
        lines.append(_line("adoptions", ", ".join(adoptions)))
    for cause, count in figures.bad_records.items():
        lines.append(_line("bad records", f"{count:,}  {cause}", "red"))
    lines += [
        _line("late", f"{reported}  {step}", "yellow")
        for step, lateness in sorted(figures.late.items())
        if (reported := reported_late(lateness))
    ]
    if worst := most_late(figures.late):
        lines.append(_line("", LATE_ADVICE.format(step=worst)))
    if run.leaves_windows_open and state.finished:
        lines.append(_line("left open", _LEFT_OPEN, "yellow"))
    if figures.bad_records:
        lines += [_line("", text) for text in _whereabouts(run)]
    err.print(*lines, sep="\n", soft_wrap=True)


def _line(name: str, text: str, style: str = "") -> Text:
    return Text.assemble((f"  {name:<13}", "dim"), (text, style))


def consume_command(topic: str, settings: Settings) -> str:
    """The command that shows a topic."""
    usual = settings.bootstrap == DEFAULT_BOOTSTRAP
    where = "" if usual else f" --bootstrap {settings.bootstrap}"
    return f"kproc consume {topic} --until-end{where}"


def _first_line(run: Run, figures: Figures, state: "NodeState") -> Text:
    early = ""
    if not run.is_done(state) and state.backlog is not None:
        done, total = state.backlog.done_records, state.backlog.input_records
        early = f"stopped before the end ({done:,} of {total:,} committed), "
    again = " (repartitioned ones count again)" if run.plan.repartitions else ""
    return Text.assemble(
        (run.plan.application, "bold"),
        f": {early}{several(figures.records, 'record')}{again} in {figures.seconds:,.1f} s, "
        f"{figures.mean_rate:,.0f} records/s, {several(figures.checkpoints, 'checkpoint')}",
    )


def _whereabouts(run: Run) -> list[str]:
    if run.keeps_dead_letters:
        topic = run.plan.dead_letters
        command = f"{consume_command(topic, run.settings)} --fields value,headers"
        return [f"are kept in {topic}:", command]
    return ['were dropped, as on_bad_record = "skip" says']
