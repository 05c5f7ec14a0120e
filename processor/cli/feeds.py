"""What trials of a topology are given: records for its topics, and a folder for all they write."""

import contextlib
import shutil
import signal
import tempfile
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from processor.cli.common import say
from processor.errors import BadRecordError, KprocError, UsageError

if TYPE_CHECKING:
    from processor.settings import Settings
    from processor.topology.plan import Plan
    from processor.topology.topology import SampleData
    from processor.trial.load import RowsMaker

InputsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="[TOPIC=]FILE",
        help="Records: JSON lines, CSV, Parquet or text. By default the topology's sample "
        "data. Repeatable, one for each topic that is read.",
    ),
]
KeyOption = Annotated[str | None, typer.Option(help="The files' column that is the key.")]
TimestampOption = Annotated[
    str | None, typer.Option(help="The files' column with the time; by default it is now.")
]
ValueFormatOption = Annotated[
    Literal["json", "text"] | None,
    typer.Option(help="The value: the row as JSON, or the text of its only other column."),
]
BootstrapOption = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="A Kafka where the topology's topics are empty; by default one of its own.",
    ),
]


def sources_of(
    plan: "Plan", samples: "Sequence[SampleData]", inputs: Sequence[str]
) -> "dict[str, SampleData | str]":
    """Where the records for each input topic come from: a file, or sample data.

    Raises:
        UsageError: A topic has neither, or a file is for none.
    """
    fed = [topic for topic in plan.inputs if topic not in plan.outputs]
    topics = [*fed, *plan.tables]
    found: dict[str, SampleData | str] = {
        sample.topic: sample for sample in samples if sample.topic in topics
    }
    for given in inputs:
        topic, equals, file = given.partition("=")
        if not (equals and topic in topics):
            if len(topics) > 1:
                listed = ", ".join(topics)
                raise UsageError(
                    f"--input {given}: the topology reads {listed}; say --input {topics[0]}=FILE"
                )
            topic, file = topics[0], given
        if not Path(file).is_file():
            raise UsageError(f"--input {given}: there is no file {file}.")
        found[topic] = file
    if missing := [topic for topic in topics if topic not in found]:
        raise UsageError(
            f"there are no records for {', '.join(missing)}: say --input {missing[0]}=FILE, or "
            f'give the topology some with topology.sample_data("{missing[0]}", ...)'
        )
    return found


class Feeds(NamedTuple):
    """What gives the records of each topic.

    Attributes:
        inputs: By input topic.
        tables: By topic of a global table.
    """

    inputs: "dict[str, RowsMaker]"
    tables: "dict[str, RowsMaker]"


def feeds_of(
    plan: "Plan",
    samples: "Sequence[SampleData]",
    inputs: Sequence[str],
    settings: "Settings",
    key: str | None,
    timestamp: str | None,
    value_format: Literal["json", "text"] | None,
) -> Feeds:
    """What gives the records, tried with the first of each: what can't be made is reported now.

    Raises:
        UsageError: As `sources_of`; or a file's format is not known, or sample data fails.
        BadRecordError: A file's first record can't be read.
    """
    makers = {
        topic: _maker(source, settings, key, timestamp, value_format)
        for topic, source in sources_of(plan, samples, inputs).items()
    }
    for make in makers.values():
        next(iter(make()), None)
    tables = {topic: makers.pop(topic) for topic in plan.tables}
    return Feeds(makers, tables)


def _maker(
    source: "SampleData | str",
    settings: "Settings",
    key: str | None,
    timestamp: str | None,
    value_format: Literal["json", "text"] | None,
) -> "RowsMaker":
    """What gives the records, from the first to the last each time."""
    from processor.kafka.registry import Registry  # noqa: PLC0415
    from processor.local.dev import sample_rows  # noqa: PLC0415
    from processor.local.readers import (  # noqa: PLC0415
        Columns,
        FileFormat,
        ValueFormat,
        format_of,
        read_rows,
    )

    if not isinstance(source, str):
        return partial(sample_rows, source, Registry(settings.schema_registry))
    kind = format_of(source)
    usual = "text" if kind is FileFormat.TEXT else "json"
    columns: Columns = Columns(key, timestamp, ValueFormat(value_format or usual))
    return partial(read_rows, source, kind, columns, partial(_refuse, source))


def _refuse(file: str, line: int, why: str) -> None:
    raise BadRecordError(f"{file}, line {line}: {why}. Fix it, or leave it out.")


class TrialFolder:
    """A folder for a run, and whether it is kept."""

    def __init__(self, path: Path, *, keep: bool) -> None:
        self.path, self.keep = path, keep


@contextlib.contextmanager
def trial_folder(name: str, *, keep: bool) -> Generator[TrialFolder]:
    """A folder that is gone afterwards, unless it is to be kept, or an error needs its logs.

    SIGTERM ends the command as Ctrl-C does, so that it goes then as well.
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    folder = TrialFolder(Path(tempfile.mkdtemp(prefix=f"kproc-{name}-")), keep=keep)
    try:
        yield folder
    except KprocError:
        folder.keep = True  # its logs say more
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        if folder.keep:
            say(f"Logs, state and Kafka's data are kept in {folder.path}")
        else:
            shutil.rmtree(folder.path, ignore_errors=True)


def _terminate(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)
