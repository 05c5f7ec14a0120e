"""`kproc rescale`: another number of slots, or larger inputs; shown before it is done."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from processor.cli.common import TopologyArgument, confirm, load_with_settings, redacting, say
from processor.cli.run import ConfigOption, SetOption
from processor.durations import milliseconds, seconds
from processor.errors import UsageError

if TYPE_CHECKING:
    from processor.cluster.rescale import Rescaling
    from processor.settings import Settings
    from processor.topology.plan import Plan, TaskId

RESCALE_EXAMPLES = """\
Examples:

kproc rescale orders.py --slots 8   [dim]shows what changes, asks, and does it[/]

kproc rescale orders.py --partitions orders=12 --dry-run   [dim]would keys stay where they are?[/]
"""


def rescale(
    topology: TopologyArgument,
    *,
    slots: Annotated[
        int | None, typer.Option(min=1, max=1000, help="How many slots it shall have.")
    ] = None,
    partitions: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOPIC=N", help="How many partitions an input shall have. Repeatable."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change.")
    ] = False,
    bootstrap: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where Kafka listens.")
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Changes the number of an application's slots, or adds partitions to its inputs.

    All its nodes have to be stopped first. No state is lost: it belongs to partitions, not to
    slots, and what is on a node's disk is used again. What would part keys from their state is
    refused.
    """
    from processor.topology.plan import plan  # noqa: PLC0415

    wanted = _counts(partitions or [])
    if slots is None and not wanted:
        raise UsageError("Give --slots N, --partitions TOPIC=N, or both.")
    loaded, settings = load_with_settings(topology, config, sets, bootstrap=bootstrap)
    with redacting(settings, topology):
        _rescale(plan(loaded), settings, slots, wanted, ask=not yes, dry_run=dry_run)


def _rescale(
    plan: "Plan",
    settings: "Settings",
    slots: int | None,
    partitions: dict[str, int],
    *,
    ask: bool,
    dry_run: bool,
) -> None:
    from processor.admin import rescaling  # noqa: PLC0415

    client = settings.clients.kafka
    change = rescaling.survey(plan, client, slots=slots, partitions=partitions)
    if change.before == change.after:
        say(f"{plan.application} is like that already: nothing to do.")
        return
    Console(highlight=False).print(_table(change))
    for line in _remarks(change):
        say(line)
    if dry_run:
        return
    timeout = milliseconds(settings.failover_timeout, "failover_timeout")
    rescaling.check_stopped(client, plan.application, timeout)
    if ask:
        confirm(f"Rescale {plan.application}?")
        rescaling.check_stopped(client, plan.application, timeout)
    rescaling.rescale(
        change,
        client,
        replication=settings.replication_factor,
        patience=seconds(settings.session_timeout, "session_timeout"),
        on_step=say,
    )
    say(f"Done. Start the nodes again{_hint(change, settings)}.")


def _counts(texts: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for text in texts:
        topic, _, count = text.rpartition("=")
        if not topic or not count.isdecimal() or count == "0":
            raise UsageError(f"--partitions {text} is not TOPIC=N, such as --partitions orders=12")
        counts[topic] = int(count)
    return counts


def _hint(change: "Rescaling", settings: "Settings") -> str:
    """What keeps the setting from contradicting, where it is given."""
    slots = change.after.slots
    given = "slots" in settings.model_fields_set and settings.slots != slots
    return (
        f"; the setting `slots`, which is {settings.slots} here, has to be {slots} or left out"
        * given
    )


def _table(change: "Rescaling") -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("slot", "tasks now", "tasks then"):
        table.add_column(header)
    for slot, (before, after) in enumerate(change.shares):
        gone = slot >= change.after.slots
        table.add_row(str(slot), _tasks(before), "[dim]gone[/]" if gone else _tasks(after))
    return table


def _tasks(tasks: "frozenset[TaskId]") -> str:
    return " ".join(map(str, sorted(tasks))) or "-"


def _remarks(change: "Rescaling") -> list[str]:
    lines = [f"{topic}: {old} → {new} partitions" for topic, (old, new) in change.grown.items()]
    if change.before.slots != change.after.slots:
        lines.append(f"slots: {change.before.slots} → {change.after.slots}")
    if change.moved:
        lines.append(
            f"{len(change.moved)} of {len(change.after.tasks)} tasks get another slot; a node that "
            "has a task's state on disk goes on with it, others restore it from its changelogs"
        )
    if change.new:
        lines.append(f"{len(change.new)} tasks are new: {_tasks(change.new)}")
    if change.idle:
        lines.append(
            f"slots without work: {', '.join(map(str, change.idle))}; there are no more partitions"
        )
    elif change.uneven:
        lines.append("some slots have {} tasks, others {}".format(*change.uneven))
    return lines
