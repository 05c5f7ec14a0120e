"""`kproc plan`: what to expect of an application before it runs, or runs with more."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from processor.cli.changes import show_changes
from processor.cli.common import TopologyArgument, load_with_settings, redacting, say
from processor.cli.run import ConfigOption, SetOption
from processor.durations import milliseconds, seconds
from processor.wording import several

if TYPE_CHECKING:
    from processor.cluster.capacity import Assumptions, Line, Measured
    from processor.settings import Settings

_UNKNOWN = "not known"
_NOT_MEASURED = "not measured"
_WIDE = 140
_LISTENING = 8.0
"""Seconds: more than a slot has to be at work until its figures count."""

PLAN_EXAMPLES = """\
Examples:

kproc plan orders.py   [dim]what would happen to its state?[/]

kproc plan orders.py --capacity   [dim]by the model alone[/]

kproc plan orders.py --capacity --bootstrap kafka:9092   [dim]beside what running nodes report[/]

kproc plan orders.py --capacity --nodes 4 --mtbf 90d --snapshot-cost 20s
"""


def plan(  # noqa: PLR0913 - options of a command
    topology: TopologyArgument,
    *,
    capacity: Annotated[
        bool,
        typer.Option("--capacity", help="Throughput, availability, replay and snapshots."),
    ] = False,
    nodes: Annotated[
        int | None, typer.Option(min=1, help="That should run. By default as many as do, or 1.")
    ] = None,
    mtbf: Annotated[
        str, typer.Option(metavar="TIME", help="Mean time between failures of a node.")
    ] = "30d",
    period: Annotated[
        str, typer.Option(metavar="TIME", help="That availability is reported for.")
    ] = "1d",
    recovers: Annotated[
        float, typer.Option(help="Probability that a slot nobody has is taken up again.")
    ] = 0.99,
    snapshot_cost: Annotated[
        str, typer.Option(metavar="TIME", help="What one snapshot takes.")
    ] = "5s",
    rate: Annotated[
        float, typer.Option(min=0, help="Records a second, where they are not measured.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    bootstrap: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where Kafka listens; with --capacity the nodes are listened to for 8 s.",
        ),
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Says what would happen to an application's stores and topics, if this topology were run.

    Nothing is changed; exit code 5 if a start would be refused. With --capacity: a model's
    predictions beside what is measured.
    """
    from processor.cluster.capacity import Measured  # noqa: PLC0415
    from processor.cluster.capacity import capacity as lines_of  # noqa: PLC0415

    loaded, settings = load_with_settings(topology, config, sets, bootstrap=bootstrap)
    if not capacity:
        from processor.topology.plan import plan as plan_of  # noqa: PLC0415

        with redacting(settings, topology):
            show_changes(topology, plan_of(loaded), settings, as_json=as_json)
        return
    name, known = loaded.name, Measured()
    with redacting(settings, topology):
        if bootstrap is not None:
            known = _measured(name, settings)
    assumed = _assumptions(settings, nodes or known.nodes or 1, rate, recovers)
    assumed = msgspec.structs.replace(
        assumed,
        slots=known.slots or assumed.slots,
        mtbf=seconds(mtbf, "--mtbf"),
        period=seconds(period, "--period"),
        snapshot_cost=seconds(snapshot_cost, "--snapshot-cost"),
    )
    lines = lines_of(assumed, known)
    if as_json:
        reported = {"application": name, "assumed": assumed, "measured": known, "lines": lines}
        sys.stdout.write(f"{msgspec.json.encode(reported).decode()}\n")
    else:
        _print(name, assumed, lines)


def _assumptions(settings: "Settings", nodes: int, rate: float, recovers: float) -> "Assumptions":
    """What the settings say."""
    from processor.cluster.capacity import Assumptions  # noqa: PLC0415

    snapshots = settings.snapshot_interval
    return Assumptions(
        slots=settings.slots,
        nodes=nodes,
        backups=settings.backups if settings.backup_mode == "primary-backup" else 0,
        recovers=recovers,
        failover=seconds(settings.failover_timeout, "failover_timeout"),
        checkpoint=seconds(settings.checkpoint_interval, "checkpoint_interval"),
        snapshot=seconds(snapshots, "snapshot_interval") if snapshots else 0.0,
        rate=rate,
    )


def _measured(application: str, settings: "Settings") -> "Measured":
    """What the running nodes report in some seconds."""
    from processor.cluster.capacity import measured  # noqa: PLC0415
    from processor.cluster.load import LoadMeter  # noqa: PLC0415
    from processor.cluster.measure import measure  # noqa: PLC0415
    from processor.node.observing import overviews  # noqa: PLC0415

    timeout = milliseconds(settings.failover_timeout, "failover_timeout")
    meter, began = LoadMeter(), time.monotonic()
    for overview, problems in overviews(settings.clients.kafka, application, timeout):
        for problem in problems:
            say(problem)
        measurement = measure(overview, time.monotonic() - began)
        load = meter.note(measurement)
        if measurement.at >= _LISTENING:
            return measured(measurement, load)
    raise AssertionError("overviews end only by an error")


def _print(application: str, assumed: "Assumptions", lines: "list[Line]") -> None:
    from processor.cluster.explain import span  # noqa: PLC0415

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    backups = several(assumed.backups, "backup")
    console.print(
        f"{application}: {several(assumed.slots, 'slot')}, {backups} of each, "
        f"{several(assumed.nodes, 'node')}; assumed are a failure of a node each "
        f"{span(assumed.mtbf)}, a period of {span(assumed.period)}, P_recover {assumed.recovers:g} "
        f"and {span(assumed.snapshot_cost)} for a snapshot\n"
    )
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for name in ("quantity", "formula", "predicted", "measured"):
        table.add_column(name, justify="left" if name in {"quantity", "formula"} else "right")
    for line in lines:
        predicted = _written(line.predicted, line.unit) or _UNKNOWN
        measured = _written(line.measured, line.unit) or _NOT_MEASURED
        table.add_row(line.quantity, line.formula, predicted, measured)
    console.print(table)


def _written(value: float | None, unit: str) -> str:
    from processor.cluster.explain import amount, span  # noqa: PLC0415

    if value is None:
        return ""
    match unit:
        case "s":
            return span(value) if value >= 10 else f"{value:.2f} s"  # noqa: PLR2004
        case "bytes":
            return amount(value)
        case "":
            return f"{value:.4g}" if value < 0.9 else f"{value:.7f}"  # noqa: PLR2004
        case _:
            return f"{value:,.0f} {unit}"
