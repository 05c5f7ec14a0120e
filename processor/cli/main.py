"""The command `kproc`: puts the commands together and turns errors into exit codes."""

import sys

import typer

from processor.cli.dev import dev
from processor.cli.run import run
from processor.cli.transfer import consume, produce
from processor.errors import KprocError

app = typer.Typer(
    name="kproc",
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="A Kafka-native stream processor for Python.",
)
app.command()(run)
app.command()(dev)
app.command()(produce)
app.command()(consume)


def main() -> None:
    """Runs a command; an error of kproc is told in its own words and sets the exit code."""
    try:
        app()
    except KprocError as error:
        from processor.cli.common import say  # noqa: PLC0415 - only where it is needed

        say(f"kproc: {error}")
        sys.exit(error.exit_code)
