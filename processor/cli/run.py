"""`kproc run`: a topology at work, from the command line to the exit code."""

import contextlib
import signal
import socket
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from processor.cli.common import (
    TopologyArgument,
    effective_here,
    record_progress,
    redacting,
    say,
    start_kafka,
)
from processor.cli.scaling import Asked, bounds_of, run_here
from processor.errors import UsageError, WorkerFailed
from processor.wording import several

if TYPE_CHECKING:
    from processor.health.http import Endpoint
    from processor.settings import Effective, Settings
    from processor.topology.plan import Plan
    from processor.topology.topology import SampleData, Topology

_INTERRUPTED = 130
_SHOWN_RECORDS = 200_000

EXIT_CODES = (
    "Exit codes: [bold]0[/] done, or stopped by Ctrl-C or SIGTERM after a last checkpoint · "
    "[bold]2[/] command, settings or topology are wrong · [bold]3[/] Kafka is not as needed · "
    "[bold]4[/] a bad record, where on_bad_record is fail · [bold]5[/] state can't be read or "
    "restored · [bold]6[/] another process has taken over · [bold]7[/] a worker keeps crashing · "
    "[bold]8[/] it ended without knowing whether its last checkpoint counts, or before "
    "all was committed; the next run finds out · [bold]130[/] interrupted before it began, or "
    "killed by a second Ctrl-C"
)
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Instead of ./kproc.toml.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any setting, see [bold]kproc config[/]; or kafka.security.protocol=SSL. Repeatable.",
    ),
]


def run(  # noqa: PLR0913 - options of a command
    topology: TopologyArgument,
    *,
    dev: Annotated[
        bool, typer.Option("--dev", help="On this machine's Kafka, with topics and sample data.")
    ] = False,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="End when the input that is there is processed.")
    ] = False,
    slots: Annotated[int | None, typer.Option(min=1, help="Worker processes.")] = None,
    bootstrap: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where Kafka listens.")
    ] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Folder for the state.")] = None,
    create_topics: Annotated[
        bool | None,
        typer.Option("--create-topics/--no-create-topics", help="Create missing topics."),
    ] = None,
    guarantee: Annotated[
        Literal["exactly-once", "at-least-once"] | None,
        typer.Option(help="How often a record may count."),
    ] = None,
    checkpoint_interval: Annotated[
        str | None, typer.Option(metavar="TIME", help="Between two checkpoints, such as 100ms.")
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    show: Annotated[
        bool | None,
        typer.Option("--show/--no-show", help="Show the results at the end; with --until-end."),
    ] = None,
    log_format: Annotated[
        Literal["text", "json"] | None,
        typer.Option(help="Log lines instead of a live status; text where there is no terminal."),
    ] = None,
    autoscale: Annotated[
        str | None,
        typer.Option(
            metavar="MIN..MAX", help="As many nodes as needed, each on a core of this machine."
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Warnings and results only.")
    ] = False,
) -> None:
    """Runs a topology until it is stopped, or with --until-end until its input is processed.

    Ctrl-C once commits and ends; twice kills.

    Try it: kproc run topologies/flights.py --dev --until-end
    """
    from processor.loading import load as load_topology  # noqa: PLC0415
    from processor.topology.plan import plan  # noqa: PLC0415

    if dev and bootstrap:
        raise UsageError("--dev brings its own Kafka: leave out --bootstrap, or --dev.")
    if autoscale and until_end:
        raise UsageError("--autoscale goes on until it is stopped: leave it out, or --until-end.")
    nodes = bounds_of(autoscale) if autoscale else None
    options = {
        "slots": slots,
        "bootstrap": bootstrap,
        "state_dir": state_dir,
        "create_topics": create_topics,
        "guarantee": guarantee,
        "checkpoint_interval": checkpoint_interval,
    }
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until the node takes over
    loaded = load_topology(topology)
    made = plan(loaded)
    effective = effective_here(loaded.settings, config, sets, **options)
    view = _View(log_format, quiet=quiet, show=until_end if show is None else show)
    with (
        redacting(effective.settings, topology),
        _dev_kafka(loaded, effective, quiet=quiet)
        if dev
        else contextlib.nullcontext(effective) as used,
    ):
        if nodes is None:
            killed = _work(topology, made, used, view, until_end=until_end)
        else:
            asked = Asked(loaded.name, used.settings, topology)
            killed = run_here(asked, nodes, log_format=log_format, quiet=quiet)
    if killed:
        raise typer.Exit(_INTERRUPTED)


@dataclass(frozen=True, slots=True)
class _View:
    """What is to be seen of a run."""

    log_format: Literal["text", "json"] | None
    quiet: bool
    show: bool


def _work(spec: str, made: "Plan", used: "Effective", view: _View, *, until_end: bool) -> bool:
    """Runs the topology and shows its progress; returns whether its workers were killed."""
    from processor.cli.display import Run, display  # noqa: PLC0415
    from processor.node.advertising import advertised  # noqa: PLC0415
    from processor.node.node import Node  # noqa: PLC0415
    from processor.worker.channel import Log  # noqa: PLC0415

    settings = used.settings
    this = Run(made, settings, until_end)
    with (
        _endpoint(made, used) as endpoint,
        display(this, log_format=view.log_format, quiet=view.quiet) as shown,
    ):
        watchers = [shown] if endpoint is None else [shown, endpoint]
        if endpoint is not None:
            fields: dict[str, str | int | float] = {
                "address": str(endpoint.address),
                "page": endpoint.page,
            }
            shown.report(Log(None, "info", "http", fields))
        try:
            http = "" if endpoint is None else advertised(settings, endpoint.address)
            state = Node(spec, made, settings, *watchers, until_end=until_end, http=http).run()
        except WorkerFailed as error:
            raise WorkerFailed(shown.brief(str(error))) from error
    shown.summarize(state)
    if view.show and (state.finished or not until_end):
        _show_results(made, settings)
    return state.killed


@contextlib.contextmanager
def _endpoint(made: "Plan", used: "Effective") -> "Generator[Endpoint | None]":
    """What serves the node's page, health and metrics, if the setting `http` says where."""
    settings = used.settings
    if not settings.http:
        yield None
        return
    from processor.addresses import parse_address  # noqa: PLC0415
    from processor.health.access import Access  # noqa: PLC0415
    from processor.health.http import Endpoint  # noqa: PLC0415
    from processor.health.site import Site  # noqa: PLC0415
    from processor.health.stores import Stores  # noqa: PLC0415
    from processor.node.advertising import shown_to_others  # noqa: PLC0415

    access = Access(
        settings.http_token, settings.http_certificate, settings.http_key, settings.http_client_ca
    )
    address, site = parse_address(settings.http), Site(made, used)
    stores = Stores(made, settings.schema_registry, shown_to_others(settings))
    endpoint = Endpoint(address, made.application, access, site, stores)
    with contextlib.closing(endpoint):
        yield endpoint


def _show_results(made: "Plan", settings: "Settings") -> None:
    from processor.cli.show import results, serdes_of  # noqa: PLC0415
    from processor.cli.summary import consume_command  # noqa: PLC0415
    from processor.kafka.registry import Registry  # noqa: PLC0415
    from processor.kafka.results import read_results  # noqa: PLC0415

    console = Console(highlight=False)
    asking = Registry(settings.schema_registry).asking
    for topic in made.outputs:
        found = read_results(settings.clients.kafka, topic, _SHOWN_RECORDS)
        hint = consume_command(topic, settings)
        key, value = (serde and asking(serde) for serde in serdes_of(made, topic))
        console.print("", *results(topic, found, (key, value), hint), sep="\n")


@contextlib.contextmanager
def _dev_kafka(
    topology: "Topology", effective: "Effective", *, quiet: bool
) -> Generator["Effective"]:
    """The settings for this machine's Kafka, with sample data in it; stopped if it was started."""
    from processor.local.dev import lasting_kafka, own  # noqa: PLC0415
    from processor.local.embedded import DEFAULT_DATA  # noqa: PLC0415
    from processor.settings import developing  # noqa: PLC0415

    kafka = lasting_kafka(DEFAULT_DATA)
    with contextlib.ExitStack() as stack:
        if kafka is None:
            kafka = stack.enter_context(start_kafka(DEFAULT_DATA, port=_dev_port()))
            own(kafka)
        found = developing(effective, kafka.bootstrap)
        for sample in topology.samples:
            _load_sample(found.settings, sample, quiet=quiet)
        yield found


def _dev_port() -> int:
    """Kafka's usual port, or 0 for any if it is taken."""
    from processor.local.embedded import DEFAULT_PORT  # noqa: PLC0415

    try:
        socket.create_server(("127.0.0.1", DEFAULT_PORT)).close()
    except OSError:
        return 0
    return DEFAULT_PORT


def _load_sample(settings: "Settings", sample: "SampleData", *, quiet: bool) -> None:
    from processor.kafka.registry import Registry  # noqa: PLC0415
    from processor.local.dev import load_sample  # noqa: PLC0415

    began = time.monotonic()
    registry = Registry(settings.schema_registry)
    with record_progress(f"Loading {sample.topic}") as report:
        count = load_sample(settings.clients.kafka, sample, registry, settings.partitions, report)
    if count and not quiet:
        took = time.monotonic() - began
        say(f"Loaded {several(count, 'record')} into {sample.topic} in {took:.1f} s.")
