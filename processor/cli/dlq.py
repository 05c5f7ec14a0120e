"""`kproc dlq`: the dead letters of an application: how many, which, and back into the topics.

Owns the way from the command line to `admin.dead_letters` and how letters look. What may be
replayed, and how that happens exactly once, is decided there.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console

from processor.cli.common import (
    confirm,
    moment,
    name_with_settings,
    record_progress,
    redacting,
    say,
)
from processor.cli.dead_letters import (
    GROUPS,
    Count,
    counts_table,
    group_of,
    groups_of,
    reported,
    text_of,
)
from processor.cli.run import ConfigOption, SetOption
from processor.cli.snapshots import ApplicationOption, FileArgument
from processor.errors import UsageError
from processor.records import Offset, Partition
from processor.wording import several

if TYPE_CHECKING:
    from processor.admin.dead_letters import DeadLetters, Survey
    from processor.runtime.dead_letters import DeadLetter, Place, Wanted
    from processor.settings import Settings

_SHOWN_OBSTACLES = 5
_WIDE = 200

app = typer.Typer(no_args_is_help=True)

StepOption = Annotated[
    list[str] | None, typer.Option("--step", help="Only of this step. Repeatable, as the others.")
]
ReasonOption = Annotated[
    list[str] | None, typer.Option("--reason", help="Only for this reason, such as decode.")
]
TopicOption = Annotated[
    list[str] | None, typer.Option("--topic", "-t", help="Only read from this topic.")
]
PartitionOption = Annotated[
    list[int] | None, typer.Option("--partition", help="Only read from this partition.")
]
KeyOption = Annotated[str | None, typer.Option("--key", help="Only with this key.")]
SinceOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Only records from this time on: ISO 8601, or milliseconds."),
]
UntilOption = Annotated[str | None, typer.Option(metavar="TIME", help="Only records before this.")]
LetterOption = Annotated[
    list[str] | None,
    typer.Option("--letter", metavar="[P:]OFFSET", help="Only this one, as `show` calls it."),
]
BootstrapOption = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Where Kafka listens.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@app.command("list")
def list_letters(  # noqa: PLR0913 - options of a command
    topology: FileArgument = None,
    *,
    by: Annotated[
        str, typer.Option(help=f"What to count by: of {', '.join(GROUPS)}; by commas.")
    ] = "step,reason,topic",
    step: StepOption = None,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    partition: PartitionOption = None,
    key: KeyOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    letter: LetterOption = None,
    as_json: JsonOption = False,
    application: ApplicationOption = None,
    bootstrap: BootstrapOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Counts dead letters, by step, reason and topic, or by what else is asked for.

    Example: kproc dlq list orders.py --by reason,day
    """
    groups = groups_of(by)
    wanted = _wanted(step, reason, topic, partition, key, since, until, letter)
    where = _where(topology, application, bootstrap, config, sets)
    with redacting(where.settings):
        found: dict[tuple[str, ...], Count] = {}
        replayed: set[Place] = set()
        for place, each in _letters(where.letters(), replayed):
            if wanted.takes(each):
                group = tuple(group_of(name, each) for name in groups)
                found.setdefault(group, Count()).add(place, each)
    counts = sorted(found.items(), key=lambda pair: -len(pair[1].places))
    if as_json:
        for group, count in counts:
            line = {**dict(zip(groups, group, strict=True)), **count.reported(replayed)}
            sys.stdout.write(f"{msgspec.json.encode(line).decode()}\n")
    elif counts:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = _WIDE
        console.print(counts_table(groups, counts, replayed))
    else:
        say("There are no such dead letters.")


@app.command()
def show(  # noqa: PLR0913 - options of a command
    topology: FileArgument = None,
    *,
    limit: Annotated[int, typer.Option("--max", min=1, help="At most so many.")] = 20,
    step: StepOption = None,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    partition: PartitionOption = None,
    key: KeyOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    letter: LetterOption = None,
    as_json: JsonOption = False,
    application: ApplicationOption = None,
    bootstrap: BootstrapOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Shows dead letters: the record with its headers, where it was read, and what was wrong.

    Example: kproc dlq show orders.py --step check --max 3
    """
    wanted = _wanted(step, reason, topic, partition, key, since, until, letter)
    where = _where(topology, application, bootstrap, config, sets)
    with redacting(where.settings):
        replayed: set[Place] = set()
        found = [each for _, each in _letters(where.letters(), replayed) if wanted.takes(each)]
    for each in found[:limit]:
        shown = reported(each, is_replayed=each.place in replayed)
        text = msgspec.json.encode(shown).decode() if as_json else text_of(shown)
        sys.stdout.write(f"{text}\n")
    if len(found) > limit:
        say(f"{len(found) - limit:,} more: choose some, or give --max.")
    elif not found:
        say("There are no such dead letters.")


@app.command()
def replay(  # noqa: PLR0913 - options of a command
    topology: FileArgument = None,
    *,
    to: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="Instead of the topics they are from.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = (
        False
    ),
    step: StepOption = None,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    partition: PartitionOption = None,
    key: KeyOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    letter: LetterOption = None,
    application: ApplicationOption = None,
    bootstrap: BootstrapOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Writes dead letters back to the topics that they were read from, as they were.

    Each dead letter is replayed once, however often the command is given or killed: what is done is
    noted in the transaction that does it. A record that fails again becomes a new dead letter.

    Example: kproc dlq replay orders.py --step check --dry-run
    """
    from processor.admin import dead_letters  # noqa: PLC0415

    wanted = _wanted(step, reason, topic, partition, key, since, until, letter)
    where = _where(topology, application, bootstrap, config, sets)
    with redacting(where.settings):
        letters = where.letters()
        if to is not None and to not in letters.topics:
            raise UsageError(f"There is no topic {to}: create it first, or leave out --to.")
        asked = dead_letters.survey(letters, wanted, to)
        _report(asked)
        if not asked.chosen or dry_run:
            return
        if not yes:
            confirm(f"Replay {several(len(asked.chosen), 'dead letter')}?")
        own = {**where.settings.clients.kafka, **where.settings.producer}
        with record_progress("Replaying") as report:
            done = dead_letters.replay(letters, asked, to, own, report)
    say(f"{several(done, 'dead letter')} {'is' if done == 1 else 'are'} replayed.")


@dataclass(frozen=True, slots=True)
class _Where:
    """Whose dead letters, and how to get at them."""

    application: str
    settings: "Settings"

    def letters(self) -> "DeadLetters":
        from processor.admin.dead_letters import DeadLetters  # noqa: PLC0415
        from processor.topology.plan import DEAD_LETTERS  # noqa: PLC0415

        return DeadLetters(self.settings.clients.kafka, self.application + DEAD_LETTERS)


def _where(
    topology: str | None,
    application: str | None,
    bootstrap: str | None,
    config: Path | None,
    sets: list[str] | None,
) -> _Where:
    return _Where(*name_with_settings(topology, application, config, sets, bootstrap=bootstrap))


def _wanted(
    steps: list[str] | None,
    reasons: list[str] | None,
    topics: list[str] | None,
    partitions: list[int] | None,
    key: str | None,
    since: str | None,
    until: str | None,
    places: list[str] | None,
) -> "Wanted":
    from processor.runtime.dead_letters import Wanted  # noqa: PLC0415

    return Wanted(
        frozenset(steps or ()),
        frozenset(reasons or ()),
        frozenset(topics or ()),
        frozenset(partitions or ()),
        None if key is None else key.encode(),
        None if since is None else moment(since, "--since"),
        None if until is None else moment(until, "--until"),
        frozenset(map(_place, places or ())),
    )


def _place(text: str) -> "Place":
    from processor.runtime.dead_letters import Place  # noqa: PLC0415

    partition, _, offset = text.rpartition(":")
    if not offset.isdecimal() or not (partition or "0").isdecimal():
        raise UsageError(f"--letter {text} is not OFFSET or PARTITION:OFFSET, such as 17 or 2:17")
    return Place(Partition(int(partition or 0)), Offset(int(offset)))


def _letters(
    letters: "DeadLetters", replayed: "set[Place]"
) -> "Iterator[tuple[Place, DeadLetter]]":
    """All dead letters; adds to `replayed` those that were, which is known at the end."""
    from processor.runtime.dead_letters import Place, dead_letter_of, replayed_by  # noqa: PLC0415

    for batch in letters.read(letters.ends(stable=True)):
        for place, raw in batch:
            replayed.update(Place(place.partition, each) for each in replayed_by(raw))
            letter = dead_letter_of(place, raw)
            if letter is not None:
                yield place, letter


def _report(asked: "Survey") -> None:
    """What a replay does, and what it leaves out."""
    for topic, count in asked.targets.most_common():
        say(f"{several(count, 'dead letter')} to {topic}")
    if not asked.chosen:
        say("There is nothing to replay: no such dead letters, or they were replayed before.")
    if asked.is_behind:
        say("A transaction is still open there: what comes after it is left for the next replay.")
    left = Counter(why for _, why in asked.left_out)
    for letter, why in asked.left_out[:_SHOWN_OBSTACLES]:
        say(f"not dead letter {letter.place}: {why}")
    if left.total() > _SHOWN_OBSTACLES:
        say(f"nor {left.total() - _SHOWN_OBSTACLES:,} more that can't be replayed")
