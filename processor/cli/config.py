"""`kproc config`: the effective settings, where each is from, and what it means."""

import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from processor.cli.complete import topology_files
from processor.cli.run import ConfigOption, SetOption

if TYPE_CHECKING:
    from processor.settings import Listed


def config(
    topology: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE.py[:NAME]]",
            help="A topology, whose own settings count then.",
            autocompletion=topology_files,
        ),
    ] = None,
    *,
    file: ConfigOption = None,
    sets: SetOption = None,
    form: Annotated[
        Literal["table", "toml"], typer.Option("--format", help="toml: as a commented kproc.toml.")
    ] = "table",
) -> None:
    """Shows the settings in effect, where each is from and what it means; secrets are hidden.

    Later ones win: defaults, a `kproc dev` that runs in this folder, the topology's own,
    kproc.toml, variables KPROC_..., the command line.

    Example: kproc config --format toml > kproc.toml
    """
    from processor.cli.common import effective_here  # noqa: PLC0415
    from processor.loading import load as load_topology  # noqa: PLC0415
    from processor.settings import listed  # noqa: PLC0415

    own = load_topology(topology).settings if topology else None
    lines = list(listed(effective_here(own, file, sets)))
    if form == "toml":
        typer.echo(_toml(lines))
    else:
        Console(highlight=False).print(_table(lines))


def _table(lines: list["Listed"]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("setting", "value", "from", ""):
        table.add_column(heading, overflow="fold")
    for part, name, value, origin, description in lines:
        full = ".".join(filter(None, (part, name)))
        own = origin not in ("", "default")
        shown = "" if value is None else str(value)
        if full == "native":
            shown += f" ({_state(str(value))})"
        table.add_row(
            Text(full, "bold" if own else ""),
            Text(shown, "bold" if own else ""),
            Text(origin, "" if own else "dim"),
            Text(description, "dim"),
        )
    return table


def _state(native: str) -> str:
    """Whether workers that start here use the native plane."""
    from processor.native.client import unused  # noqa: PLC0415

    why = unused("off" if native == "off" else "auto")
    return f"not used: {why}" if why else "used"


def _toml(lines: list["Listed"]) -> str:
    """A kproc.toml; defaults are comments, and so are secrets, whose text is not shown."""
    from processor.redaction import HIDDEN  # noqa: PLC0415

    found = ["# kproc's settings. Variables KPROC_NAME and the command line go before them."]
    for part, name, value, origin, description in lines:
        if part and not name:
            found += ["", f"# {description}", f"[{part}]"]
            continue
        if description:
            found += ["", f"# {description}"]
        key = json.dumps(name) if part else name
        hidden = isinstance(value, str) and HIDDEN in value
        aside = origin == "default" or hidden
        note = f"  # {origin}{', hidden' if hidden else ''}" if origin != "default" else ""
        found.append(f"{'# ' if aside else ''}{key} = {json.dumps(value)}{note}")
    return "\n".join(found)
