"""What several commands share: options, settings of the client, progress on a terminal.

Everything visible goes to stderr: stdout belongs to a command's result. Heavy modules are imported
where they are used, so that `kproc --help` is fast.
"""

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from processor.cli.complete import topology_files
from processor.errors import KprocError, UsageError
from processor.records import Timestamp
from processor.wording import naming

if TYPE_CHECKING:
    from processor.local.embedded import EmbeddedKafka
    from processor.settings import Effective, Settings
    from processor.topology.topology import Topology

DEFAULT_BOOTSTRAP = "127.0.0.1:9092"

TopologyArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE.py[:NAME]",
        help="The file, and the variable if it has several topologies.",
        autocompletion=topology_files,
    ),
]
ClientOption = Annotated[
    list[str] | None,
    typer.Option(
        "--client",
        "-X",
        metavar="NAME=VALUE",
        help="A setting of librdkafka besides those in \\[kafka], such as security.protocol=SSL. "
        "Repeatable.",
    ),
]

err = Console(stderr=True)
"""Where progress and summaries go."""


@contextlib.contextmanager
def redacting(settings: "Settings", topology: str = "FILE.py") -> Generator[None]:
    """Hides the settings' secrets in the text of an error that passes, and names the topology."""
    from processor.settings import redacted  # noqa: PLC0415

    try:
        yield
    except KprocError as error:
        raise type(error)(naming(redacted(settings, str(error)), topology)) from error


def load_with_settings(
    topology: str, config: Path | None, sets: list[str] | None, **given: Any
) -> "tuple[Topology, Settings]":
    """A topology, and the settings that a run of it has here; see `settings_here`.

    Raises:
        UsageError: The topology or a setting is wrong.
    """
    from processor.loading import load as load_topology  # noqa: PLC0415

    loaded = load_topology(topology)
    return loaded, settings_here(loaded.settings, config, sets, **given)


def name_with_settings(
    topology: str | None,
    application: str | None,
    config: Path | None,
    sets: list[str] | None,
    **given: Any,
) -> "tuple[str, Settings]":
    """The name of an application, given by its topology or as it is, and the settings here.

    Raises:
        UsageError: Neither is given, or both; or the topology or a setting is wrong.
    """
    if (topology is None) == (application is None):
        raise UsageError("Give the topology's file, or --application and its name.")
    if topology is None:
        return application or "", settings_here(None, config, sets, **given)
    loaded, settings = load_with_settings(topology, config, sets, **given)
    return loaded.name, settings


def settings_here(
    own: Mapping[str, Any] | None, config: Path | None, sets: list[str] | None, **given: Any
) -> "Settings":
    """The settings in effect; see `effective_here`."""
    return effective_here(own, config, sets, **given).settings


def effective_here(
    own: Mapping[str, Any] | None, config: Path | None, sets: list[str] | None, **given: Any
) -> "Effective":
    """The settings in effect, and where they are from.

    Kafka is that of `kproc dev` in this folder, if nothing says more.

    Args:
        own: A topology's, if there is one.
        config: A file instead of ./kproc.toml.
        sets: `NAME=VALUE` texts.
        given: By options of their own; None means not given.

    Raises:
        SettingsError: One is wrong.
    """
    from processor.layers import assigned  # noqa: PLC0415
    from processor.local.embedded import running  # noqa: PLC0415
    from processor.settings import load  # noqa: PLC0415

    options = {name: value for name, value in given.items() if value is not None}
    kafka = running()
    dev = None if kafka is None else {"bootstrap": kafka.bootstrap}
    return load({**assigned(sets or ()), **options}, own, config, dev)


def say(text: str) -> None:
    """Shows the user something that is no result: as it is, on one line."""
    err.print(text, highlight=False, markup=False, soft_wrap=True)


def moment(text: str, option: str) -> Timestamp:
    """A time that an option gives: ISO 8601, in UTC unless it says otherwise, or milliseconds.

    Raises:
        UsageError: It is none.
    """
    if text.isdecimal():
        return Timestamp(int(text))
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text} is no time: give one such as 2026-01-31T12:00, in UTC, or "
            "milliseconds since 1970"
        ) from None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return Timestamp(round(found.timestamp() * 1000))


def confirm(question: str) -> None:
    """Asks; without a yes the command ends.

    Raises:
        UsageError: Nobody can be asked here.
        Abort: The answer is no.
    """
    if not err.is_terminal:
        raise UsageError("Nobody can be asked here: give --yes to do it, or --dry-run.")
    typer.confirm(question, abort=True, err=True)


def client_config(settings: "Settings", more: Sequence[str] | None) -> dict[str, Any]:
    """The client's settings: those of every client here, and those of `-X NAME=VALUE`.

    Raises:
        UsageError: One is not of that form.
        SettingsError: librdkafka refuses one.
    """
    from processor.node.node import check_clients  # noqa: PLC0415

    own: dict[str, Any] = {}
    for setting in more or ():
        name, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"-X takes NAME=VALUE, not {setting!r}.")
        own[name] = value
    whole = settings.model_copy(update={"kafka": {**settings.kafka, **own}})
    check_clients("kproc", whole)
    return {**whole.clients.kafka, **own}


class RecordsPerSecond(ProgressColumn):
    """The rate of a task whose steps are records."""

    def render(self, task: Task) -> Text:
        """The rate over the last seconds, or over all when it has ended."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} records/s")


@contextlib.contextmanager
def record_progress(doing: str) -> Generator[Callable[[int, int | None], None]]:
    """A progress bar for records; gives the function that reports how many of how many are done."""
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
        *(RecordsPerSecond(), TimeRemainingColumn()),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(doing, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def start_kafka(
    data_dir: Path, *, port: int, version: str | None = None, detach: bool = False
) -> "EmbeddedKafka":
    """Starts an embedded Kafka, with the progress of it on the terminal.

    Raises:
        KprocError: as `EmbeddedKafka.start`.
    """
    from processor.local.embedded import DEFAULT_VERSION, EmbeddedKafka  # noqa: PLC0415

    version = version or DEFAULT_VERSION
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(f"Starting Kafka {version}", total=None)

        def on_fetch(done: int, total: int) -> None:
            fetched = 0 < total == done
            doing = "Starting" if fetched else "Fetching, this once,"
            progress.update(
                task,
                description=f"{doing} Kafka {version}",
                completed=done,
                total=None if fetched else total or None,
            )

        return EmbeddedKafka.start(
            data_dir, port=port, version=version, detach=detach, on_fetch=on_fetch
        )
