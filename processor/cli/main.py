"""The command `kproc`: puts the commands together and turns errors into exit codes."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from processor.cli.autoscale import AUTOSCALE_EXAMPLES, autoscale
from processor.cli.bench import BENCH_EXAMPLES, bench
from processor.cli.chaos import CHAOS_EXAMPLES, chaos
from processor.cli.config import config
from processor.cli.dev import dev
from processor.cli.dlq import app as dlq_app
from processor.cli.health import HEALTH_EXIT_CODES, health
from processor.cli.plan import PLAN_EXAMPLES, plan
from processor.cli.query import QUERY_EXAMPLES, query
from processor.cli.rescale import RESCALE_EXAMPLES, rescale
from processor.cli.reset import RESET_EXAMPLES, reset
from processor.cli.run import EXIT_CODES, run
from processor.cli.schema import app as schema_app
from processor.cli.snapshots import app as snapshots_app
from processor.cli.status import STATUS_EXIT_CODES, status
from processor.cli.topology import topology
from processor.cli.transfer import consume, produce
from processor.errors import KprocError

_INTERRUPTED = 130

_EXAMPLES = """\
Examples:

kproc run topologies/flights.py --dev --until-end   [dim]Kafka, data, results: everything at once[/]

kproc dev --detach   [dim]a Kafka on this machine[/]

kproc produce orders.csv --topic orders --key user --create   [dim]records from a file[/]

kproc run orders.py --create-topics   [dim]until Ctrl-C[/]

kproc status orders.py --watch   [dim]who works on what, and who would take over[/]

kproc consume order-totals --until-end --format table   [dim]what came of it[/]
"""

app = typer.Typer(
    name="kproc",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # they may hold secrets
    help="A Kafka-native stream processor for Python.",
    epilog=_EXAMPLES,
)
app.command(epilog=EXIT_CODES)(run)
app.command(epilog=STATUS_EXIT_CODES)(status)
app.command(epilog=QUERY_EXAMPLES)(query)
app.command(epilog=HEALTH_EXIT_CODES)(health)
app.command(epilog=AUTOSCALE_EXAMPLES)(autoscale)
app.command(epilog=PLAN_EXAMPLES)(plan)
app.command(epilog=RESCALE_EXAMPLES)(rescale)
app.command(epilog=RESET_EXAMPLES)(reset)
app.command()(topology)
app.command()(config)
app.command()(dev)
app.command()(produce)
app.command()(consume)
app.command(epilog=BENCH_EXAMPLES)(bench)
app.command(epilog=CHAOS_EXAMPLES)(chaos)
app.add_typer(dlq_app, name="dlq", help="Counts, shows and replays dead letters.")
app.add_typer(
    schema_app, name="schema", help="Python's types for a schema, and schemas in a registry."
)
app.add_typer(
    snapshots_app, name="snapshots", help="Shows and checks the snapshots of state in storage."
)


def _version(asked: bool) -> None:  # noqa: FBT001 - as typer calls it
    if asked:
        from importlib.metadata import version  # noqa: PLC0415 - only where it is needed

        typer.echo(f"kproc {version('kproc')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    del version


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command; an error of kproc is reported in its own words and sets the exit code.

    Args:
        arguments: The command and what it is given; by default the process's own.
    """
    try:
        app(arguments)
    except KprocError as error:
        from processor.cli.common import say  # noqa: PLC0415 - only where it is needed

        say(f"kproc: {error}")
        sys.exit(error.exit_code)
    except SystemError as error:
        # What the Kafka client makes of a signal that comes while it is asked something.
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        sys.exit(_INTERRUPTED)
