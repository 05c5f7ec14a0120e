"""What `kproc autoscale` and `kproc run --autoscale` share: the loop, local nodes, words."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec
from rich.console import Console
from rich.table import Table

from processor.cli.common import say
from processor.durations import milliseconds, seconds
from processor.errors import (
    BrokerUnreachable,
    SettingsError,
    TopicMismatch,
    UsageError,
    WorkerFailed,
)

if TYPE_CHECKING:
    from processor.cluster.autoscale import Policy
    from processor.cluster.overview import Overview
    from processor.scaling.actuators import Actuator
    from processor.scaling.autoscaling import Entry, Exporter, Turn
    from processor.scaling.local_nodes import LocalNodes
    from processor.settings import Settings

    Turns: TypeAlias = Iterable[Turn]

_INTERVAL = 5.0
_START = 3.0
"""Seconds that a node takes to start on this machine."""
_MARGIN = 10.0
"""Seconds beyond its own deadlines that a node has to finish."""
_REPORT_AGAIN = 60.0
"""Seconds after which what has not changed is reported once more."""
_SHOWN = 30
_WIDE = 160


class Asked(NamedTuple):
    """An application, and the topology's file where that was given."""

    application: str
    settings: "Settings"
    topology: str | None


def bounds_of(text: str) -> tuple[int, int]:
    """The least and the most nodes that `1..4` means.

    Raises:
        UsageError: It means nothing.
    """
    least, dots, most = text.partition("..")
    if not (dots and least.isdecimal() and most.isdecimal() and 1 <= int(least) <= int(most)):
        raise UsageError(f"--autoscale takes the least and the most nodes, such as 1..4: {text!r}")
    return int(least), int(most)


def run_here(asked: Asked, bounds: tuple[int, int], *, log_format: str | None, quiet: bool) -> bool:
    """Runs a topology with as many nodes of this machine as it needs; whether they were killed.

    Args:
        asked: The application.
        bounds: The least and the most nodes.
        log_format: `json` for a JSON object a line.
        quiet: Whether to report only what happens to nodes.
    """
    from processor.cluster.autoscale import Policy  # noqa: PLC0415

    show = _show_news if quiet else show_json if log_format == "json" else show_text
    return scale_here(asked, Policy(*bounds), _INTERVAL, show)


def scale_here(
    asked: Asked,
    policy: "Policy",
    interval: float,
    show: "Callable[[Turns], None]",
    exporter: "Exporter | None" = None,
) -> bool:
    """Has nodes run on this machine until a signal comes, then finish; whether they were killed.

    Raises:
        KprocError: Nodes can't run, or one did not finish in good order.
    """
    policy = msgspec.structs.replace(policy, start=_START)
    file = asked.settings.state_dir.absolute() / asked.application / f"autoscale-{os.getpid()}.toml"
    with contextlib.ExitStack() as stack:
        stack.callback(file.unlink, missing_ok=True)
        nodes = _local_nodes(asked, policy.most, file)
        stack.callback(nodes.kill)
        try:
            with interruptible(), _finishing(nodes):
                _make_topics(asked, policy.most)
                nodes.scale_to(policy.least)
                show(turns(asked, policy, nodes, interval, exporter))
        except KeyboardInterrupt:
            return True
    return False


def turns(
    asked: Asked,
    policy: "Policy",
    actuator: "Actuator",
    interval: float,
    exporter: "Exporter | None" = None,
) -> "Iterator[Turn]":
    """What the autoscaler does, for ever.

    Raises:
        KprocError: It can't go on.
    """
    from processor.scaling.autoscaling import Autoscaling, History, history_file  # noqa: PLC0415

    history = History(history_file(asked.settings.state_dir, asked.application))
    work = Autoscaling(policy, actuator, interval, history, exporter)
    yield from work.run(_overviews(asked, actuator))


def last_of(found: "Turns") -> "Turns":
    """The recommendation after listening for long enough; what happens meanwhile is reported."""
    from processor.scaling.autoscaling import ONCE_SECONDS  # noqa: PLC0415

    until = time.monotonic() + ONCE_SECONDS
    for turn in found:
        for text in turn.news:
            say(text)
        if turn.entry is not None and time.monotonic() >= until:
            return [turn]
    return []


@contextlib.contextmanager
def interruptible() -> Generator[None]:
    """SIGTERM is as Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def show_text(found: "Turns") -> None:
    """Shows a person: what changes at once, and what doesn't now and then."""
    console = Console(highlight=False, soft_wrap=True)
    reported: tuple[object, ...] = ()
    again = 0.0
    for turn in found:
        for text in turn.news:
            say(f"{_now()} {text}")
        entry = turn.entry
        if entry is None:
            continue
        gist = (entry.nodes, entry.why, entry.live)
        if gist != reported or time.monotonic() >= again or entry.nodes != entry.before:
            reported, again = gist, time.monotonic() + _REPORT_AGAIN
            style = "bold" if entry.nodes != entry.before else ""
            console.print(f"{_now()} {entry.text}", style=style, markup=False)


def show_json(found: "Turns") -> None:
    """Each recommendation as an object on a line; what happens besides goes to stderr."""
    for turn in found:
        for text in turn.news:
            say(text)
        if turn.entry is not None:
            _print_json(turn.entry)


def history_table(asked: Asked, *, as_json: bool) -> None:
    """Shows what was decided here; all of it as JSON, or the last decisions as a table."""
    from processor.scaling.autoscaling import history_file, kept  # noqa: PLC0415

    file = history_file(asked.settings.state_dir, asked.application)
    entries = kept(file)
    if as_json:
        for entry in entries:
            _print_json(entry)
        return
    if not entries:
        say(f"Nothing has been decided for {asked.application} yet: {file} has no entries.")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("time", "nodes", "arriving/s", "lag", "why"):
        table.add_column(name, justify="left" if name in {"time", "why"} else "right")
    for entry in entries[-_SHOWN:]:
        changed = "" if entry.nodes == entry.before else f"{entry.before} → "
        time_ = datetime.fromisoformat(entry.time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        lag, arrival = f"{entry.lag:,}", f"{entry.arrival:,.0f}"
        table.add_row(time_, f"{changed}{entry.nodes}", arrival, lag, entry.text)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    console.print(table)


@contextlib.contextmanager
def _finishing(nodes: "LocalNodes") -> Generator[None]:
    """Nodes end in good order whatever happened here; the first error is the one to raise."""
    try:
        yield
    except KeyboardInterrupt:
        say("The nodes finish; Ctrl-C once more kills them.")
    except Exception:
        say("The autoscaler can't go on. The nodes finish; Ctrl-C kills them.")
        try:
            nodes.close()
        except WorkerFailed as error:
            say(str(error))
        raise
    nodes.close()


def _show_news(found: "Turns") -> None:
    for turn in found:
        for text in turn.news:
            say(text)


def _print_json(entry: "Entry") -> None:
    sys.stdout.write(f"{msgspec.json.encode(entry).decode()}\n")
    sys.stdout.flush()


def _now() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")


def _overviews(asked: Asked, actuator: "Actuator") -> "Iterator[tuple[Overview, list[str]]]":
    """What there is to see, for ever.

    A broker that can't be reached any more is waited for, and where nodes start so is their topic.
    """
    from processor.node.observing import overviews  # noqa: PLC0415
    from processor.settings import redacted  # noqa: PLC0415

    settings = asked.settings
    timeout = milliseconds(settings.failover_timeout, "failover_timeout")
    patience = seconds(settings.startup_timeout, "startup_timeout")
    until = time.monotonic() + (0.0 if asked.topology is None else patience)
    reported = ""
    while True:
        try:
            for seen in overviews(settings.clients.kafka, asked.application, timeout):
                until, reported = time.monotonic() + patience, ""
                yield seen
        except (BrokerUnreachable, TopicMismatch) as error:
            if time.monotonic() > until:
                raise
            if isinstance(error, BrokerUnreachable) and not reported:
                reported = str(error)
                say(f"{redacted(settings, reported)} It is tried again for {patience:.0f} s.")
            for text in actuator.turn():
                say(text)
            time.sleep(0.2)


def _make_topics(asked: Asked, nodes: int) -> None:
    """An application that is new gets a slot for each node that there may be."""
    from processor.loading import load  # noqa: PLC0415
    from processor.node.setup import prepare  # noqa: PLC0415
    from processor.topology.plan import plan  # noqa: PLC0415

    if asked.topology is not None:
        prepare(plan(load(asked.topology)), asked.settings, nodes)


def _local_nodes(asked: Asked, most: int, file: Path) -> "LocalNodes":
    from processor.local.node_process import NodeProcess  # noqa: PLC0415
    from processor.local.settings_file import unset_environment, write_settings  # noqa: PLC0415
    from processor.scaling.local_nodes import LocalNodes  # noqa: PLC0415

    if asked.topology is None:
        raise UsageError("--actuator local starts nodes: give the topology's file, not its name.")
    settings, topology = asked.settings, asked.topology
    folder = file.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_settings(_for_many(settings), file)
    except OSError as error:
        raise SettingsError(f"state_dir {settings.state_dir}: {error.strerror or error}") from error
    drain = milliseconds(settings.drain_timeout, "drain_timeout")
    shutdown = milliseconds(settings.shutdown_timeout, "shutdown_timeout")
    patience = (drain + shutdown) / 1000 + _MARGIN

    def launch(number: int) -> NodeProcess:
        options = ["--config", str(file)]
        return NodeProcess(topology, options, folder / f"node-{number}.log", unset_environment())

    nodes = LocalNodes(launch, most, patience)
    say(f"The nodes log to {folder}/node-*.log")
    return nodes


def _for_many(settings: "Settings") -> "Settings":
    """Settings for several nodes on a machine: each serves its metrics on a port of its own."""
    changed: dict[str, object] = {"state_dir": settings.state_dir.absolute()}
    if settings.http:
        changed["http"] = f"{settings.http.rpartition(':')[0]}:0"
    return settings.model_copy(update=changed)
