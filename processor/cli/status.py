"""`kproc status`: what runs of an application, and where.

Owns the way from the command line to the slots topic and back; what is seen there is worked out by
`cluster.overview` and drawn by `cli.overview`.
"""

import contextlib
import sys
from collections.abc import Generator, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from processor.cli.common import name_with_settings, redacting, say, settings_here
from processor.cli.complete import topology_files
from processor.cli.run import ConfigOption, SetOption
from processor.errors import KprocError

if TYPE_CHECKING:
    from processor.cluster.overview import Overview
    from processor.settings import Settings

    Overviews: TypeAlias = Generator[Overview]

_UNATTENDED = 9
_WIDE = 160
"""Columns where no terminal sets a limit."""
_PATIENCE = 2.0
"""Seconds that a completion may take."""

STATUS_EXIT_CODES = (
    "Exit codes: [bold]0[/] each slot has a live primary with its partitions · [bold]9[/] one has "
    "not, or no node is live · [bold]2[/] the command or a setting is wrong · [bold]3[/] there is "
    "no such application or Kafka is not as needed"
)


def _applications(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Names of applications that begin so, if the Kafka to ask is known and answers soon."""
    from processor.node import observing  # noqa: PLC0415 - only where it is needed

    try:
        bootstrap = context.params.get("bootstrap")
        settings = settings_here(None, None, None, bootstrap=bootstrap)
        found = observing.applications(settings.clients.kafka, _PATIENCE)
    except KprocError:  # a completion has nowhere to report it
        return
    yield from (name for name in found if name.startswith(incomplete))


def status(
    topology: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE.py[:NAME]]",
            help="The application's topology.",
            autocompletion=topology_files,
            show_default=False,
        ),
    ] = None,
    *,
    application: Annotated[
        str | None,
        typer.Option(
            "--application",
            "-a",
            metavar="NAME",
            help="Its name, instead of a file.",
            autocompletion=_applications,
        ),
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where Kafka listens.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object; with --watch one a line.")
    ] = False,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Shows what runs: the nodes of an application, its slots, their primaries and backups.

    It listens for a second to know who lives.

    Example: kproc status --application flights --watch
    """
    name, settings = name_with_settings(topology, application, config, sets, bootstrap=bootstrap)
    show = _json if as_json else _live if watch else _tables
    healthy = True
    with (
        redacting(settings),
        contextlib.suppress(KeyboardInterrupt),
        contextlib.closing(show(_overviews(name, settings))) as shown,
    ):
        for overview in islice(shown, None if watch else 1):
            healthy = overview.healthy
    if not healthy:
        raise typer.Exit(_UNATTENDED)


def _overviews(application: str, settings: "Settings") -> "Overviews":
    """What there is to see, for ever; what goes wrong is reported once."""
    from processor.durations import milliseconds  # noqa: PLC0415
    from processor.node.observing import overviews  # noqa: PLC0415

    timeout = milliseconds(settings.failover_timeout, "failover_timeout")
    reported: set[str] = set()
    for overview, problems in overviews(settings.clients.kafka, application, timeout):
        for problem in dict.fromkeys(problems):
            if problem not in reported:
                say(problem)
        reported.update(problems)
        yield overview


def _tables(overviews: "Overviews") -> "Overviews":
    from processor.cli.overview import overview_tables  # noqa: PLC0415

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    for overview in overviews:
        console.print(overview_tables(overview))
        yield overview


def _live(overviews: "Overviews") -> "Overviews":
    from processor.cli.overview import overview_tables  # noqa: PLC0415

    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        for overview in overviews:
            live.update(overview_tables(overview), refresh=True)
            yield overview


def _json(overviews: "Overviews") -> "Overviews":
    for overview in overviews:
        sys.stdout.write(f"{msgspec.json.encode(overview).decode()}\n")
        sys.stdout.flush()
        yield overview
