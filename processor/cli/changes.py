"""What happens to an application's stores and topics, on a terminal or as JSON."""

import sys
from typing import TYPE_CHECKING

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from processor.errors import StateMismatch
from processor.wording import naming

if TYPE_CHECKING:
    from processor.settings import Settings
    from processor.topology.changes import Change
    from processor.topology.plan import Plan

_WIDE = 200
_STYLES = {"refuse": "bold red", "migrate": "yellow", "rebuild": "yellow", "new": "green"}


def show_changes(file: str, plan: "Plan", settings: "Settings", *, as_json: bool) -> None:
    """Compares a plan with what runs, or ran, under its name; changes nothing.

    Args:
        file: As the command names the topology, for the commands that are advised.
        plan: The topology's.
        settings: In effect.
        as_json: Whether a machine reads it.

    Raises:
        Exit: With the code of `StateMismatch`, if a start would be refused.
        KafkaError: Kafka does not answer, or an input is missing.
        StateError: It is not to be known.
    """
    from processor.admin.planning import planned  # noqa: PLC0415

    found = [
        change._replace(why=naming(change.why, file))
        for change in planned(plan, settings.clients.kafka, settings)
    ]
    if as_json:
        reported = [change._asdict() for change in found]
        line = msgspec.json.encode({"application": plan.application, "changes": reported})
        sys.stdout.write(f"{line.decode()}\n")
    else:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = _WIDE
        console.print(_table(found))
    if any(change.action == "refuse" for change in found):
        raise typer.Exit(StateMismatch.exit_code)


def _table(changes: "list[Change]") -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("what", "name", "becomes", "why"):
        table.add_column(name, overflow="fold")
    for change in changes:
        action = Text(change.action, style=_STYLES.get(change.action, ""))
        table.add_row(change.what, change.name, action, Text(change.why))
    return table
