"""`kproc produce` and `kproc consume`: records in and out of a topic by hand."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from processor.cli.avro import AvroOption, RegistryOption, json_decoder, row_encoder
from processor.cli.common import (
    ClientOption,
    client_config,
    record_progress,
    say,
    settings_here,
)
from processor.cli.formats import OutputFormat, Shown, fields_of, formatter, header_of
from processor.cli.run import ConfigOption, SetOption
from processor.errors import BadRecordError, TopicMismatch, UsageError
from processor.records import Offset, Partition, Timestamp
from processor.wording import several

if TYPE_CHECKING:
    from confluent_kafka import Message

_MOST_BAD_LINES_SHOWN = 5
_BootstrapOption = Annotated[
    str | None, typer.Option("--bootstrap", metavar="HOST:PORT", help="Where Kafka listens.")
]


def produce(  # noqa: PLR0913 - options of a command
    file: Annotated[str, typer.Argument(help="JSON lines, CSV, Parquet or text; - reads a pipe.")],
    *,
    topic: Annotated[str, typer.Option("--topic", "-t", help="The topic to write to.")],
    bootstrap: _BootstrapOption = None,
    form: Annotated[
        Literal["json", "csv", "parquet", "text"] | None,
        typer.Option("--format", help="What the file is; by default its name says so."),
    ] = None,
    key: Annotated[str | None, typer.Option(help="The column that becomes the key.")] = None,
    timestamp: Annotated[
        str | None,
        typer.Option(help="The column with the time: milliseconds since 1970, or ISO 8601."),
    ] = None,
    value_format: Annotated[
        Literal["json", "text"] | None,
        typer.Option(
            help="The value: the row as a JSON object, or the text of its only other column. "
            "json, but text for text files."
        ),
    ] = None,
    avro: AvroOption = None,
    registry: RegistryOption = None,
    rate: Annotated[float | None, typer.Option(help="At most so many records a second.")] = None,
    create: Annotated[
        bool,
        typer.Option(
            "--create",
            help="Create the topic if it is missing; with --timestamp, one that keeps old records.",
        ),
    ] = False,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions with --create.")] = 4,
    compact: Annotated[
        bool,
        typer.Option(
            "--compact", help="With --create: a topic that keeps the last value of each key."
        ),
    ] = False,
    tombstones: Annotated[
        bool,
        typer.Option(
            "--tombstones",
            help="A row with nothing but its key has a null value, which deletes the key.",
        ),
    ] = False,
    on_error: Annotated[
        Literal["fail", "skip"], typer.Option(help="What happens at a bad line.")
    ] = "fail",
    client: ClientOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Writes a file's records to a topic, idempotently.

    Example: kproc produce orders.csv --topic orders --key user --timestamp at --create;
    kproc produce flights.csv --topic flights --key carrier --avro schemas/flight.avsc;
    kproc produce users.csv --topic users --key id --create --compact --tombstones
    """
    from processor.kafka import clients, transfer  # noqa: PLC0415
    from processor.local import readers  # noqa: PLC0415

    if rate is not None and rate <= 0:
        raise UsageError("--rate takes a number above 0.")
    if compact and not create:
        raise UsageError("--compact is for a topic that is created: give --create as well.")
    if (compact or tombstones) and key is None:
        raise UsageError("--compact and --tombstones go by keys: name their column with --key.")
    if registry is not None and avro is None:
        raise UsageError("--registry needs the schema to write with: --avro FILE.avsc")
    connection = client_config(settings_here(None, config, sets, bootstrap=bootstrap), client)
    kind = readers.FileFormat(form) if form else readers.format_of(file)
    usual = "text" if kind is readers.FileFormat.TEXT else "json"
    encode = None if avro is None else row_encoder(avro, topic, registry)
    value = readers.ValueFormat(value_format or usual)
    columns = readers.Columns(key, timestamp, value, encode, tombstones)
    if create:
        # Retention goes by the records' time: data of past years would not stay for long.
        kept = {"retention.ms": "-1"} if timestamp else {}
        last = {"cleanup.policy": "compact"} if compact else {}
        is_new = clients.create_topic(connection, topic, partitions, kept | last)
        if compact and not is_new:
            say(f"{topic} was there already, and stays as it was: compacted or not.")
    bad = _BadLines(file, fail=on_error == "fail")
    rows = readers.read_rows(file, kind, columns, bad.note)
    start = time.monotonic()
    try:
        with record_progress(f"{file} → {topic}") as report:
            count = transfer.produce_rows(
                connection,
                topic,
                rows if rate is None else transfer.paced(rows, rate),
                readers.count_rows(file, kind),
                report,
            )
    except TopicMismatch as error:
        raise TopicMismatch(f"{error} --create does that here.") from error
    took = time.monotonic() - start
    skipped = f"; skipped {several(bad.count, 'bad line')}" if bad.count else ""
    say(f"{several(count, 'record')} to {topic} in {took:.1f} s{skipped}")


class _BadLines:
    """The policy for lines that are no record, and how many there were."""

    def __init__(self, file: str, *, fail: bool) -> None:
        self.count = 0
        self._file = file
        self._fail = fail

    def note(self, line: int, why: str) -> None:
        """Raises, or counts and shows the first few."""
        where = f"{self._file}, line {line}: {why}"
        if self._fail:
            raise BadRecordError(
                f"{where}\nThe lines before it are written. --on-error skip leaves such lines out."
            )
        self.count += 1
        if self.count <= _MOST_BAD_LINES_SHOWN:
            say(f"skipped {where}")


def consume(  # noqa: PLR0913 - options of a command
    topic: Annotated[str, typer.Argument(help="The topic to read.")],
    *,
    bootstrap: _BootstrapOption = None,
    beginning: Annotated[
        bool,
        typer.Option("--from-beginning/--latest", help="Start with the first record or the next."),
    ] = True,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop after what is there at the start.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--max", min=1, help="Stop after so many records.")
    ] = None,
    form: Annotated[
        OutputFormat,
        typer.Option(
            "--format",
            help="json: one object a line; text: tab-separated; raw: the bytes as they are; table.",
        ),
    ] = "text",
    fields: Annotated[
        str | None,
        typer.Option(help="Of timestamp, partition, offset, key, value, headers; by commas."),
    ] = None,
    partition: Annotated[list[int] | None, typer.Option(help="Only this one. Repeatable.")] = None,
    key: Annotated[str | None, typer.Option(help="Only records with this key.")] = None,
    avro: AvroOption = None,
    registry: RegistryOption = None,
    client: ClientOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Shows a topic's committed records; bytes that are no text are shown as 0x….

    Example: kproc consume order-totals --until-end --format table;
    kproc consume flights --until-end --avro schemas/flight.avsc; or, for values with the id of
    their schema, --registry http://localhost:8081
    """
    from processor.kafka import transfer  # noqa: PLC0415

    chosen = fields_of(fields, form)
    batches = transfer.read(
        client_config(settings_here(None, config, sets, bootstrap=bootstrap), client),
        topic,
        start="beginning" if beginning else "end",
        until_end=until_end,
        partitions=None if partition is None else [Partition(each) for each in partition],
        key=None if key is None else key.encode(),
        limit=limit,
    )
    show = _shown
    if avro is not None or registry is not None:
        decode = json_decoder(avro, registry)
        show = partial(_shown_as, decode)
    to_line = formatter(form, chosen)
    _print_all(batches, header_of(form, chosen), lambda message: to_line(show(message)))


def _print_all(
    batches: "Iterator[list[Message]]", head: bytes, to_line: "Callable[[Message], bytes]"
) -> None:
    out = sys.stdout.buffer
    try:
        with contextlib.suppress(KeyboardInterrupt):
            for batch in batches:
                lines = b"".join(map(to_line, batch))
                if lines:
                    out.write(head + lines)
                    out.flush()
                    head = b""
    except BrokenPipeError:
        # The reader has what it wanted. Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _shown_as(decode: Callable[[bytes], bytes], message: "Message") -> Shown:
    shown = _shown(message)
    return shown if shown.value is None else shown._replace(value=decode(shown.value))


def _shown(message: "Message") -> Shown:
    headers: Any = message.headers() or ()  # as they come, values are bytes
    return Shown(
        Timestamp(message.timestamp()[1]),
        Partition(message.partition() or 0),
        Offset(message.offset() or 0),
        message.key(),
        message.value(),
        tuple(headers),
    )
