"""`kproc health`: whether the node on this machine is well; for containers' checks."""

import sys
from typing import Annotated

import typer

from processor.cli.common import say

HEALTH_EXIT_CODES = (
    "Exit codes: [bold]0[/] it is · [bold]1[/] it is not, or does not answer · "
    "[bold]2[/] nothing says where it listens"
)


def health(
    *,
    http: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Instead of the setting [bold]http[/].")
    ] = None,
    ready: Annotated[
        bool,
        typer.Option(
            "--ready", help="Whether it has settled, too: its slots run, its backups caught up."
        ),
    ] = False,
) -> None:
    """Asks the node on this machine whether it is well, at the address that its setting http says.

    Example: KPROC_HTTP=:8080 kproc health
    """
    from processor.addresses import parse_address  # noqa: PLC0415
    from processor.health.probe import ask, configured, serves_tls  # noqa: PLC0415

    address = configured() if http is None else parse_address(http)
    answer = ask(address, "readyz" if ready else "healthz", tls=serves_tls())
    if not answer.ok:
        say(answer.text)
        raise typer.Exit(1)
    sys.stdout.write(f"{answer.text}\n")
