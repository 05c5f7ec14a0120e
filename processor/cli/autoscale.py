"""`kproc autoscale`: how many nodes an application needs; reported, or also seen to."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from processor.cli.common import load_with_settings, redacting, say, settings_here
from processor.cli.complete import topology_files
from processor.cli.run import ConfigOption, SetOption
from processor.cli.scaling import (
    Asked,
    history_table,
    interruptible,
    last_of,
    scale_here,
    show_json,
    show_text,
    turns,
)
from processor.durations import seconds
from processor.errors import UsageError

if TYPE_CHECKING:
    from processor.cluster.autoscale import Policy
    from processor.scaling.actuators import Actuator
    from processor.scaling.autoscaling import Exporter

_INTERRUPTED = 130
_LISTENING = 2.0
"""Seconds between two measurements for a single recommendation."""
_ANY = 1000
"""More nodes than there are slots: the slots are the limit then."""

AUTOSCALE_EXAMPLES = """\
Examples:

kproc autoscale orders.py --max 6   [dim]says what it would do, until Ctrl-C[/]

kproc autoscale orders --max 6 --once --json   [dim]one recommendation[/]

kproc autoscale orders.py --max 4 --actuator local   [dim]nodes on this machine, one for a core[/]

kproc autoscale orders --max 6 --actuator docker --metrics-port 9109

kproc autoscale orders --max 6 --actuator kubernetes --stateful-set orders

kproc autoscale orders.py --history   [dim]what was decided, and why[/]
"""

ActuatorName = Literal["recommend", "local", "docker", "kubernetes"]


class _Where(NamedTuple):
    """Where nodes are to be started and figures served."""

    actuator: ActuatorName
    stateful_set: str | None
    namespace: str | None
    api: str | None
    metrics_host: str
    metrics_port: int | None


def autoscale(  # noqa: PLR0913 - options of a command
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE.py[:NAME]|APPLICATION",
            help="The application's topology, or its name.",
            autocompletion=topology_files,
        ),
    ],
    *,
    least: Annotated[int, typer.Option("--min", min=1, help="Nodes, at least.")] = 1,
    most: Annotated[
        int | None,
        typer.Option("--max", min=1, help="Nodes, at most; by default one a slot or core."),
    ] = None,
    interval: Annotated[str, typer.Option(metavar="TIME", help="Between two decisions.")] = "5s",
    utilization: Annotated[
        float, typer.Option("--target", help="Share of the fullest node's cores.")
    ] = 0.7,
    catch_up: Annotated[
        str, typer.Option(metavar="TIME", help="In which a backlog should be gone.")
    ] = "60s",
    window: Annotated[
        str,
        typer.Option(metavar="TIME", help="Fewer nodes only by the highest need of this time."),
    ] = "5m",
    actuator: Annotated[
        ActuatorName, typer.Option(help="What to do: say it, or start and stop nodes.")
    ] = "recommend",
    stateful_set: Annotated[
        str | None, typer.Option(metavar="NAME", help="Kubernetes; by default the application's.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(metavar="NAME", help="Kubernetes; by default this pod's.")
    ] = None,
    kubernetes_api: Annotated[
        str | None, typer.Option(metavar="URL", help="Outside a pod, that of kubectl proxy.")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="One recommendation, after listening for 15 s.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
    history: Annotated[
        bool, typer.Option("--history", help="Show what was decided here, and end.")
    ] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve the figures to Prometheus; 0: any free port."),
    ] = None,
    metrics_host: Annotated[
        str, typer.Option(help="Where to listen for that; by default for this machine alone.")
    ] = "127.0.0.1",
    bootstrap: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where Kafka listens.")
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Says how many nodes an application needs and why, and sees to it if it is given the means.

    It listens to the nodes' heartbeats. More nodes at once, fewer after a while; never fewer while
    figures of a slot are missing.
    """
    asked = _asked(target, bootstrap, config, sets)
    if history:
        history_table(asked, as_json=as_json)
        return
    if most is None:
        most = max(least, len(os.sched_getaffinity(0)) if actuator == "local" else _ANY)
    policy = _policy(least, most, utilization, catch_up, window)
    where = _Where(actuator, stateful_set, namespace, kubernetes_api, metrics_host, metrics_port)
    with redacting(asked.settings, asked.topology or "FILE.py"):
        _work(asked, policy, where, seconds(interval, "--interval"), once=once, as_json=as_json)


def _asked(
    target: str, bootstrap: str | None, config: Path | None, sets: list[str] | None
) -> Asked:
    if not (target.partition(":")[0].endswith(".py") or Path(target).is_file()):
        return Asked(target, settings_here(None, config, sets, bootstrap=bootstrap), None)
    loaded, settings = load_with_settings(target, config, sets, bootstrap=bootstrap)
    return Asked(loaded.name, settings, target)


def _policy(least: int, most: int, target: float, catch_up: str, window: str) -> "Policy":
    from processor.cluster.autoscale import Policy  # noqa: PLC0415

    return Policy(
        least,
        most,
        target,
        catch_up=seconds(catch_up, "--catch-up"),
        window=seconds(window, "--window"),
    )


def _work(
    asked: Asked, policy: "Policy", where: _Where, interval: float, *, once: bool, as_json: bool
) -> None:
    show = show_json if as_json else show_text
    with _exporter(asked, where) as exporter:
        if where.actuator == "local":
            if once:
                raise UsageError("--once and --actuator local: nodes run until they are stopped.")
            if scale_here(asked, policy, interval, show, exporter):
                raise typer.Exit(_INTERRUPTED)
            return
        with (
            contextlib.suppress(KeyboardInterrupt),
            interruptible(),
            contextlib.closing(_actuator(asked, where)) as actuator,
        ):
            found = turns(asked, policy, actuator, _LISTENING if once else interval, exporter)
            show(last_of(found) if once else found)


def _actuator(asked: Asked, where: _Where) -> "Actuator":
    if where.actuator == "docker":
        from processor.scaling.docker_nodes import DockerNodes  # noqa: PLC0415

        return DockerNodes(asked.application)
    if where.actuator == "kubernetes":
        from processor.scaling.stateful_set import StatefulSet, find_api  # noqa: PLC0415

        api = find_api(where.api, where.namespace)
        return StatefulSet(api, where.stateful_set or asked.application)
    from processor.scaling.actuators import Recommender  # noqa: PLC0415

    return Recommender()


@contextlib.contextmanager
def _exporter(asked: Asked, where: _Where) -> "Generator[Exporter | None]":
    if where.metrics_port is None:
        yield None
        return
    from processor.scaling.autoscaling import Exporter  # noqa: PLC0415

    host = where.metrics_host
    with contextlib.closing(Exporter(host, where.metrics_port, asked.application)) as exporter:
        say(f"Metrics at http://{host}:{exporter.port}/metrics")
        yield exporter
