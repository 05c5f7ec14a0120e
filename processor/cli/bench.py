"""`kproc bench`: how fast a topology of the user's own is."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from processor.cli.common import TopologyArgument, record_progress, redacting, say
from processor.cli.feeds import (
    BootstrapOption,
    InputsOption,
    KeyOption,
    TimestampOption,
    ValueFormatOption,
    feeds_of,
    trial_folder,
)
from processor.cli.run import ConfigOption, SetOption
from processor.errors import UsageError
from processor.wording import adding

if TYPE_CHECKING:
    from processor.bench.figures import Figures

_INTERRUPTED = 130

BENCH_EXAMPLES = """\
Examples:

kproc bench topologies/flights.py   [dim]its sample data, again and again[/]

kproc bench orders.py --input orders.csv --key user --timestamp at --html report.html

kproc bench orders.py --input orders.csv --key user --rate 5000 --set checkpoint_interval=50ms

kproc bench orders.py --set slots=4 --nodes 2 --json > after.json

Exit codes: [bold]0[/] measured · [bold]2[/] command, settings or topology are wrong · \
[bold]3[/] Kafka is not as needed · [bold]7[/] it does not run · [bold]130[/] interrupted
"""


def bench(  # noqa: PLR0913 - options of a command
    topology: TopologyArgument,
    *,
    records: Annotated[
        int, typer.Option(min=1, help="How many records each input has at the start.")
    ] = 1_000_000,
    seconds: Annotated[
        float, typer.Option(min=0, help="How long latency is measured; 0: not at all.")
    ] = 10.0,
    rate: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Records a second while latency is measured, all inputs together. By default a "
            "fifth of what was reached, at most 20000.",
        ),
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, max=20, help="How many nodes: kproc run.")] = 1,
    inputs: InputsOption = None,
    key: KeyOption = None,
    timestamp: TimestampOption = None,
    value_format: ValueFormatOption = None,
    bootstrap: BootstrapOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Writes a page with charts; needs the extra reports."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
) -> None:
    """Measures a topology: records per second, processor time, memory, latency, size of state.

    Real nodes work on a Kafka of their own. First they work through an input that is there when
    they start; then records come at a steady rate, and what counts is the time from when a record
    is written until a reader of committed records gets its result.

    Kafka, the nodes and what measures them share this machine: compare figures of one machine, and
    with nothing else running. Records of global tables are written once, before all others.
    """
    from processor.bench.run import BenchRun, BenchTrial  # noqa: PLC0415
    from processor.layers import assigned  # noqa: PLC0415
    from processor.loading import load as load_topology  # noqa: PLC0415
    from processor.settings import load  # noqa: PLC0415
    from processor.topology.plan import plan  # noqa: PLC0415

    if html is not None:
        _check_report(html)
    loaded = load_topology(topology)
    made = plan(loaded)
    given = {**assigned(sets or ()), **({} if bootstrap is None else {"bootstrap": bootstrap})}
    settings = load(given, loaded.settings, config).settings
    feeds = feeds_of(made, loaded.samples, inputs or (), settings, key, timestamp, value_format)
    try:
        with redacting(settings, topology), trial_folder("bench", keep=False) as folder:
            trial = BenchTrial(
                topology=topology,
                plan=made,
                settings=settings,
                feeds=feeds.inputs,
                tables=feeds.tables,
                records=records,
                seconds=seconds,
                rate=rate,
                nodes=nodes,
                folder=folder.path,
                embedded=bootstrap is None,
            )
            figures = BenchRun(trial, record_progress).run()
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    _show(figures, html, as_json=as_json)


def _check_report(html: Path) -> None:
    """Finds out before the run whether its report can be written.

    Raises:
        UsageError: It can't.
    """
    if not html.parent.is_dir():
        raise UsageError(f"--html {html}: there is no folder {html.parent}.")
    if find_spec("plotly") is None:
        raise UsageError(f"--html needs the package plotly: {adding('reports')}")


def _show(figures: "Figures", html: Path | None, *, as_json: bool) -> None:
    from processor.bench.figures import as_json as reported  # noqa: PLC0415
    from processor.bench.figures import rows  # noqa: PLC0415

    if html is not None:
        from processor.bench.page import page  # noqa: PLC0415

        html.write_text(page(figures), encoding="utf-8")
        say(f"Charts: {html}")
    if as_json:
        typer.echo(json.dumps(reported(figures)))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column()
    for name, value in rows(figures):
        table.add_row(name, value)
    Console().print(table)
