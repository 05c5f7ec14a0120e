"""`kproc snapshots`: what snapshots an application has, and whether they are whole.

Owns the way from the command line to object storage and back. Needs neither Kafka nor a node.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from processor.cli.common import name_with_settings, say
from processor.cli.complete import topology_files
from processor.cli.run import ConfigOption, SetOption
from processor.errors import SnapshotError, UsageError

if TYPE_CHECKING:
    from processor.state.snapshot import Manifest
    from processor.storage.archive import Archive

_DAMAGED = 5

SNAPSHOT_EXIT_CODES = (
    "Exit codes: [bold]0[/] all is whole · [bold]5[/] something is damaged, or storage can't be "
    "read · [bold]2[/] the command or a setting is wrong"
)
FileArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[FILE.py[:NAME]]",
        help="The application's topology.",
        autocompletion=topology_files,
        show_default=False,
    ),
]
ApplicationOption = Annotated[
    str | None,
    typer.Option("--application", "-a", metavar="NAME", help="Its name, instead of a file."),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Instead of the setting [bold]snapshot_url[/]."),
]

app = typer.Typer(no_args_is_help=True)


class _Row(msgspec.Struct):
    """One snapshot, as it is reported; `age_s` in seconds."""

    store: str
    partition: int
    position: int
    age_s: int
    files: int
    bytes: int


@app.command("list")
def list_snapshots(
    topology: FileArgument = None,
    *,
    application: ApplicationOption = None,
    url: UrlOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Shows the snapshots of each store, the newest first.

    Example: kproc snapshots list orders.py
    """
    rows: list[_Row] = []
    for _, made in _snapshots(_archives(topology, application, url, config, sets)):
        age = round(time.time() - made.time / 1000)
        size = sum({file.sha256: file.size for file in made.files}.values())
        rows.append(_Row(made.store, made.partition, made.position, age, len(made.files), size))
    if as_json:
        sys.stdout.writelines(f"{msgspec.json.encode(row).decode()}\n" for row in rows)
    elif rows:
        Console(highlight=False).print(_table(rows))
    else:
        say("There are no snapshots yet.")


@app.command(epilog=SNAPSHOT_EXIT_CODES)
def verify(
    topology: FileArgument = None,
    *,
    application: ApplicationOption = None,
    url: UrlOption = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Remove damaged files, so that they are uploaded again."),
    ] = False,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Reads every file of every snapshot and compares it with its hash.

    A restore checks them, too, and takes an older snapshot or the changelog where one is damaged.

    Example: kproc snapshots verify orders.py --repair
    """
    checked: dict[tuple[str, int, str], str | None] = {}
    damaged = 0
    for archive, made in _snapshots(_archives(topology, application, url, config, sets)):
        for file in made.files:
            key = (made.store, made.partition, file.sha256)
            if key not in checked:
                checked[key] = archive.damage(file)
                if repair and checked[key] is not None:
                    archive.discard(file)
            if (cause := checked[key]) is not None:
                damaged += 1
                place = f"{made.store}[{made.partition}] at {made.position}"
                say(f"{place}: {file.name} is stored as {file.sha256}: {cause}")
    say(f"{len(checked):,} files read, {damaged:,} uses of damaged ones.")
    if damaged:
        raise typer.Exit(_DAMAGED)


def _archives(
    topology: str | None,
    application: str | None,
    url: str | None,
    config: Path | None,
    sets: list[str] | None,
) -> "list[Archive]":
    """Those of all the application's stores."""
    from processor.storage.archive import archives  # noqa: PLC0415
    from processor.storage.bucket import Bucket  # noqa: PLC0415

    interval = "1d" if url else None
    name, settings = name_with_settings(
        topology, application, config, sets, snapshot_url=url or None, snapshot_interval=interval
    )
    if not settings.snapshot_url:
        raise UsageError("It is not known where snapshots are: set snapshot_url, or give --url.")
    return archives(Bucket(settings.snapshot_url), name)


def _snapshots(archives: "list[Archive]") -> "Iterator[tuple[Archive, Manifest]]":
    """All snapshots that can be read, newest first by store; those that can't are reported."""
    for archive in archives:
        for stored in reversed(archive.manifests()):
            try:
                yield archive, archive.read(stored.name)
            except SnapshotError as error:
                say(f"{stored.name}: {error}")


def _table(rows: list[_Row]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("store", "partition", "position", "age", "files", "MB"):
        table.add_column(heading, justify="left" if heading == "store" else "right")
    for row in rows:
        table.add_row(
            row.store,
            str(row.partition),
            f"{row.position:,}",
            _age(row.age_s),
            str(row.files),
            f"{row.bytes / 1e6:,.1f}",
        )
    return table


def _age(seconds: int) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
