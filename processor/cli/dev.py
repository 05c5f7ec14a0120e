"""`kproc dev`: a real Kafka on this machine, for development."""

import shutil
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import psutil
import typer

from processor.cli.common import err, start_kafka
from processor.errors import KafkaError, UsageError

if TYPE_CHECKING:
    from processor.local.embedded import EmbeddedKafka

_DataOption = Annotated[Path, typer.Option("--data", metavar="DIR", help="Where its data is.")]
_PortOption = Annotated[
    int, typer.Option(help="Where it listens on 127.0.0.1; 0 chooses a free port.")
]
_VersionOption = Annotated[
    str | None, typer.Option("--version", help="The version of Kafka; fetched once.")
]


def dev(
    *,
    data: _DataOption = Path(".kproc/kafka"),
    port: _PortOption = 9092,
    version: _VersionOption = None,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the one that runs.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say whether one runs.")] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Stop it, delete its data.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask before deleting.")] = False,
) -> None:
    """Runs a real single-node Kafka on this machine until Ctrl-C; install no Java or Docker.

    The first start fetches it (45 MB), later ones need no network.

    Example: kproc dev --detach; kproc dev --stop
    """
    if detach + stop + status + reset > 1:
        raise UsageError("Give only one of --detach, --stop, --status and --reset.")
    if status:
        _status(data)
    elif stop:
        _stop(data)
    elif reset:
        _reset(data, yes=yes)
    elif detach:
        _detach(data, port, version)
    else:
        _run(data, port, version)


def _status(data: Path) -> None:
    kafka = _running(data)
    if kafka is None:
        typer.echo(f"No Kafka runs on {data}.")
        raise typer.Exit(1)
    typer.echo(_describe(kafka))


def _stop(data: Path) -> None:
    kafka = _running(data)
    if kafka is None:
        typer.echo(f"No Kafka runs on {data}.")
        return
    kafka.stop()
    typer.echo(f"Stopped Kafka at {kafka.bootstrap}; its data stays in {data}.")


def _reset(data: Path, *, yes: bool) -> None:
    from processor.local.embedded import delete_data  # noqa: PLC0415

    # State without the topics that it stands for is refused by the next run.
    state = data.parent / "state"
    ours = data.parent.name == ".kproc" and state.exists()
    both = f"{data} and all state in {state}" if ours else f"{data}"
    if not (yes or typer.confirm(f"Delete all topics and records in {both}?")):
        raise typer.Exit(1)
    kafka = _running(data)
    if kafka:
        kafka.stop()
    delete_data(data)
    if ours:
        shutil.rmtree(state)
    typer.echo(f"Deleted the data in {both}.")


def _detach(data: Path, port: int, version: str | None) -> None:
    kafka = _running(data) or start_kafka(data, port=port, version=version, detach=True)
    typer.echo(_describe(kafka))


def _run(data: Path, port: int, version: str | None) -> None:
    # A supervisor's SIGTERM stops Kafka as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with start_kafka(data, port=port, version=version) as kafka:
            typer.echo(f"{_describe(kafka)}\nCtrl-C stops it.")
            _watch(kafka)
    except KeyboardInterrupt:
        typer.echo("Stopped.")


def _watch(kafka: "EmbeddedKafka") -> None:
    process = psutil.Process(kafka.pid)
    start = time.monotonic()
    with err.status("") as line:
        while not kafka.wait(1):
            up = timedelta(seconds=int(time.monotonic() - start))
            memory = process.memory_info().rss / 1e6 if kafka.is_alive() else 0
            line.update(f"{kafka.bootstrap} · up {up} · {memory:,.0f} MB")
    raise KafkaError(f"Kafka has ended by itself; {kafka.log} says why.")


def _running(data: Path) -> "EmbeddedKafka | None":
    from processor.local.embedded import running  # noqa: PLC0415

    return running(data)


def _describe(kafka: "EmbeddedKafka") -> str:
    where = f"process {kafka.pid}, data in {kafka.data_dir}"
    return f"Kafka {kafka.version} runs at {kafka.bootstrap} ({where}).{_next(kafka)}"


def _next(kafka: "EmbeddedKafka") -> str:
    """What to set for other commands to find it, where they don't by default."""
    from processor.local.embedded import DEFAULT_DATA, DEFAULT_PORT  # noqa: PLC0415

    if kafka.port == DEFAULT_PORT:
        return ""
    setting = f"export KPROC_BOOTSTRAP={kafka.bootstrap}"
    if kafka.data_dir == DEFAULT_DATA.absolute():
        return f"\nkproc in this folder finds it; elsewhere: {setting}"
    return f"\nFor kproc to find it: {setting}"
