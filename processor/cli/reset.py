"""`kproc reset`: drops state on purpose; shown before it is done."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from processor.cli.common import (
    TopologyArgument,
    confirm,
    load_with_settings,
    moment,
    redacting,
    say,
)
from processor.cli.run import ConfigOption, SetOption
from processor.durations import milliseconds, seconds
from processor.errors import UsageError

if TYPE_CHECKING:
    from processor.admin.resetting import Reset
    from processor.settings import Settings
    from processor.topology.plan import Plan

RESET_EXAMPLES = """\
Examples:

kproc reset orders.py --store counts   [dim]empties this store; reading goes on[/]

kproc reset orders.py --dry-run   [dim]what would starting over change?[/]

kproc reset orders.py --to 2026-01-31T00:00   [dim]starts over with what has come since then[/]
"""


def reset(
    topology: TopologyArgument,
    *,
    stores: Annotated[
        list[str] | None,
        typer.Option("--store", metavar="NAME", help="Only this store's contents. Repeatable."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="beginning|end|TIME", help="Where the inputs are read from then: beginning."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = (
        False
    ),
    bootstrap: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where Kafka listens.")
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Drops an application's state: its stores, what is under way, and how far it has read.

    With --store only what these stores hold. All nodes have to be stopped first. Inputs, outputs
    and dead letters stay as they are.
    """
    from processor.topology.plan import plan  # noqa: PLC0415

    if stores and to:
        raise UsageError("--to is for all of the application: leave it out, or --store.")
    spec = None if stores else _spec(to or "beginning")
    loaded, settings = load_with_settings(topology, config, sets, bootstrap=bootstrap)
    with redacting(settings, topology):
        _reset(plan(loaded), settings, stores or [], spec, ask=not yes, dry_run=dry_run)


def _reset(
    plan: "Plan", settings: "Settings", stores: list[str], to: Any, *, ask: bool, dry_run: bool
) -> None:
    from processor.admin import resetting  # noqa: PLC0415
    from processor.admin.rescaling import check_stopped  # noqa: PLC0415

    client, folder = settings.clients.kafka, Path(settings.state_dir)
    asked = resetting.survey(plan, client, folder, stores=stores, to=to)
    for line in _lines(asked):
        say(line)
    if dry_run:
        return
    timeout = milliseconds(settings.failover_timeout, "failover_timeout")
    check_stopped(client, plan.application, timeout)
    if ask:
        confirm(f"Reset {plan.application}? This can't be undone.")
        check_stopped(client, plan.application, timeout)
    patience = seconds(settings.session_timeout, "session_timeout")
    resetting.reset(asked, client, patience=patience, on_step=say)
    say("Done.")


def _spec(to: str) -> Any:
    from confluent_kafka.admin._listoffsets import OffsetSpec  # noqa: PLC0415

    match to:
        case "beginning":
            return OffsetSpec.earliest()
        case "end":
            return OffsetSpec.latest()
        case _:
            return OffsetSpec.for_timestamp(moment(to, "--to"))


def _lines(asked: "Reset") -> list[str]:
    """What is done."""
    emptied = dict.fromkeys(source.topic for source in asked.emptied)
    lines = [f"store {name}: what it holds is dropped" for name in asked.stores]
    lines += [f"topic {topic}: emptied" for topic in emptied]
    lines += [f"topic {topic}: deleted" for topic in asked.deleted]
    lines += [f"{source}: read from offset {at}" for source, at in asked.positions.items()]
    lines += [f"folder {folder}: deleted" for folder in asked.folders]
    return lines
