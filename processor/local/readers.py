"""Files of records as rows to write: JSON lines, CSV, Parquet and plain text, streamed.

Owns what a file's columns become: key, value and timestamp of a record. Knows nothing of Kafka.
"""

import csv
import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, cast

import msgspec

from processor.errors import UsageError
from processor.kafka.transfer import Row
from processor.records import Timestamp
from processor.wording import adding

STDIN = "-"
_SPOOLED = 2**24
"""Bytes that are kept in memory of what is piped in."""

Kind: TypeAlias = type[str] | type[int] | type[float]


class FileFormat(StrEnum):
    """How the records lie in the file."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    TEXT = "text"


class ValueFormat(StrEnum):
    """What a record's value is: the row as a JSON object, or the text of its only other column."""

    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Columns:
    """What the file's columns become.

    Attributes:
        key: The column whose text is the key; without one there is no key.
        timestamp: The column with the record's time: milliseconds since 1970, or ISO 8601, in UTC
            if it names no zone.
        value: What is written as the value.
        encode: What makes the value's bytes of a row, instead; cells of a CSV are text there.
        tombstones: Whether a row that has nothing but its key, and its time, has no value.
    """

    key: str | None = None
    timestamp: str | None = None
    value: ValueFormat = ValueFormat.JSON
    encode: Callable[[Any], bytes] | None = None
    tombstones: bool = False


OnBad: TypeAlias = Callable[[int, str], None]
"""Called with the line (Parquet: row) and what is wrong with it; raises, or has it skipped."""

_SUFFIXES = {
    ".json": FileFormat.JSON,
    ".jsonl": FileFormat.JSON,
    ".ndjson": FileFormat.JSON,
    ".csv": FileFormat.CSV,
    ".parquet": FileFormat.PARQUET,
    ".txt": FileFormat.TEXT,
}
_TEXT_COLUMN = "line"
_PARQUET_SLICE = 50_000
# 007, +1 and 1e5 stay text: such cells may be codes.
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d+)?", re.ASCII)


def format_of(file: str) -> FileFormat:
    """The format that the file's name says.

    Raises:
        UsageError: it says none.
    """
    found = _SUFFIXES.get(Path(file).suffix.lower())
    if found is None:
        raise UsageError(
            f"What kind of file is {file!r}? Give --format json, csv, parquet or text."
        )
    return found


def count_rows(file: str, kind: FileFormat) -> int | None:
    """How many rows the file has, for a progress bar; None if it isn't known beforehand.

    A CSV with line breaks inside quotes has fewer rows than counted.
    """
    if not Path(file).is_file():
        return None
    if kind is FileFormat.PARQUET:
        polars = _polars()
        return int(polars.scan_parquet(file).select(polars.len()).collect().item())
    with Path(file).open("rb") as lines:
        newlines = sum(chunk.count(b"\n") for chunk in iter(lambda: lines.read(1 << 20), b""))
    return max(0, newlines - 1) if kind is FileFormat.CSV else newlines


def read_rows(file: str, kind: FileFormat, columns: Columns, on_bad: OnBad) -> Iterator[Row]:
    """The file's rows in order, one at a time; `-` reads what is piped in.

    A CSV's first line names its columns. A column's values are JSON numbers if all of them look
    like one, and else strings; empty ones are null. So the file is read twice, and what is piped in
    is put aside first. The lines of a text file are its column `line`.

    Raises:
        UsageError: the file can't be read, or has no such column.
    """
    to_row = _row_maker(kind, columns)
    for number, fields in _fields(file, kind, columns):
        try:
            yield to_row(fields)
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            on_bad(number, str(error))


class _Fields(NamedTuple):
    """A row's columns, or why there are none.

    `raw` is its text where that is JSON already, `kinds` is what the cells of a CSV are.
    """

    columns: Any
    raw: bytes | None = None
    error: str = ""
    kinds: Mapping[str, Kind] = MappingProxyType({})


def _fields(file: str, kind: FileFormat, columns: Columns) -> Iterator[tuple[int, _Fields]]:
    if kind is FileFormat.PARQUET:
        yield from _parquet(file, columns)
        return
    try:
        with sys.stdin.buffer if file == STDIN else Path(file).open("rb") as lines:
            if kind is FileFormat.CSV:
                yield from _typed_csv(lines, columns)
            elif kind is FileFormat.JSON:
                yield from _json_lines(lines)
            else:
                yield from _text_lines(lines, columns)
    except OSError as error:
        raise UsageError(f"{file!r} can't be read: {error.strerror}.") from error


def _json_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, _Fields]]:
    decode = msgspec.json.Decoder().decode
    for number, line in enumerate(lines, 1):
        raw = line.strip()
        if not raw:
            continue
        try:
            yield number, _Fields(decode(raw), raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield number, _Fields(None, error=str(error))


def _text_lines(lines: Iterable[bytes], columns: Columns) -> Iterator[tuple[int, _Fields]]:
    _check_columns([_TEXT_COLUMN], columns)
    for number, line in enumerate(lines, 1):
        try:
            yield number, _Fields({_TEXT_COLUMN: line.rstrip(b"\r\n").decode()})
        except UnicodeDecodeError as error:
            yield number, _Fields(None, error=str(error))


def _typed_csv(lines: Any, columns: Columns) -> Iterator[tuple[int, _Fields]]:
    if columns.encode is not None or columns.value is ValueFormat.TEXT:
        yield from _csv(lines, columns)
        return
    with SpooledTemporaryFile(_SPOOLED) as aside:
        if not lines.seekable():
            copyfileobj(lines, aside)
            aside.seek(0)
            lines = aside
        kinds: dict[str, Kind] = {}
        for _, fields in _csv(lines, columns):
            for name, cell in cast("dict[str, str]", fields.columns or {}).items():
                if cell and _is_unicode(cell):
                    kinds[name] = _wider(kinds.get(name, int), cell)
        lines.seek(0)
        for number, fields in _csv(lines, columns):
            yield number, fields._replace(kinds=kinds)


def _is_unicode(cell: str) -> bool:
    """Whether it can be written; a row that has another cell is a bad one."""
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def _wider(kind: Kind, cell: str) -> Kind:
    """The kind of a column that has this cell, too."""
    if kind is str or not _NUMBER.fullmatch(cell):
        return str
    return float if "." in cell else kind


def _csv(lines: Any, columns: Columns) -> Iterator[tuple[int, _Fields]]:
    # Bytes that are no UTF-8 pass through here as surrogates and fail where the row is encoded.
    text = io.TextIOWrapper(lines, "utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, strict=True)
    header = next(reader, None)
    if header is None:
        text.detach()
        return
    _check_columns(header, columns)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            text.detach()  # it would close the file
            return
        except csv.Error as error:
            yield number, _Fields(None, error=str(error))
            continue
        if cells and len(cells) != len(header):
            error = f"it has {len(cells)} columns, the header {len(header)}"
            yield number, _Fields(None, error=error)
        elif cells:
            yield number, _Fields(dict(zip(header, cells, strict=True)))


def _parquet(file: str, columns: Columns) -> Iterator[tuple[int, _Fields]]:
    polars = _polars()
    if file == STDIN:
        raise UsageError("Parquet can't be read from a pipe: give a file.")
    try:
        frame = polars.scan_parquet(file)
        _check_columns(frame.collect_schema().names(), columns)
        count = count_rows(file, FileFormat.PARQUET) or 0
        for start in range(0, count, _PARQUET_SLICE):
            rows = frame.slice(start, _PARQUET_SLICE).collect().iter_rows(named=True)
            for number, row in enumerate(rows, start + 1):
                yield number, _Fields(row)
    except (OSError, polars.exceptions.PolarsError) as error:
        raise UsageError(f"{file!r} can't be read: {error}") from error


def _polars() -> Any:
    try:
        import polars as pl  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise UsageError(f"Parquet needs Polars: {adding('parquet')}") from error
    return pl


def _check_columns(names: Iterable[str], columns: Columns) -> None:
    present = list(names)
    for wanted in _named(columns):
        if wanted is not None and wanted not in present:
            raise UsageError(f"There is no column {wanted!r}; there are {', '.join(present)}.")


def _row_maker(kind: FileFormat, columns: Columns) -> Callable[[_Fields], Row]:
    encode = msgspec.json.Encoder().encode

    def to_row(fields: _Fields) -> Row:
        if fields.error:
            raise ValueError(fields.error)
        found = fields.columns
        key = None if columns.key is None else _to_bytes(_field(found, columns.key))
        time = columns.timestamp and _to_timestamp(_field(found, columns.timestamp))
        if columns.tombstones and _is_bare(found, kind, columns):
            value = None
        elif columns.encode is not None:
            value = columns.encode(found)
        elif columns.value is ValueFormat.TEXT:
            value = _to_bytes(_only_other(found, columns))
        else:
            is_text = kind is FileFormat.CSV
            value = fields.raw or encode(_from_text(found, fields.kinds) if is_text else found)
        return Row(key, value, time or None)

    return to_row


def _is_bare(found: Any, kind: FileFormat, columns: Columns) -> bool:
    """Whether a row has nothing but its key and its time; an empty cell of a CSV is nothing."""
    others = (each for name, each in _object(found).items() if name not in _named(columns))
    return all(each is None or (each == "" and kind is FileFormat.CSV) for each in others)


def _named(columns: Columns) -> tuple[str | None, str | None]:
    return columns.key, columns.timestamp


def _field(found: Any, name: str) -> Any:
    present = _object(found)
    if name not in present:
        raise ValueError(f"there is no column {name!r}; there are {', '.join(present)}")
    return present[name]


def _only_other(found: Any, columns: Columns) -> Any:
    present = _object(found)
    others = [name for name in present if name not in _named(columns)]
    if len(others) != 1:
        raise ValueError(
            "--value-format text takes one column besides key and timestamp; there are "
            f"{', '.join(others) or 'none'}"
        )
    return present[others[0]]


def _object(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object, so it has no columns")  # noqa: TRY004 - of the file
    return cast("dict[str, Any]", found)


def _from_text(cells: Mapping[str, str], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    return {name: kinds.get(name, str)(cell) if cell else None for name, cell in cells.items()}


def _typed(cell: str) -> Any:
    if not cell:
        return None
    if not _NUMBER.fullmatch(cell):
        return cell
    return float(cell) if "." in cell else int(cell)


def _to_bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


def _to_timestamp(value: Any) -> Timestamp:
    milliseconds = _milliseconds(value)
    # For Kafka's client 0 means now, and brokers refuse what is before.
    if milliseconds <= 0:
        raise ValueError(f"the timestamp {value!r} is not after 1970-01-01")
    return Timestamp(milliseconds)


def _milliseconds(value: Any) -> int:
    if isinstance(value, str):
        number = _typed(value)
        value = datetime.fromisoformat(value) if isinstance(number, str) else number
    if isinstance(value, datetime):
        zoned = value if value.tzinfo else value.replace(tzinfo=UTC)
        return round(zoned.timestamp() * 1000)
    if isinstance(value, date):
        return _milliseconds(datetime(value.year, value.month, value.day, tzinfo=UTC))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value)
    raise ValueError(f"{value!r} is no timestamp: give milliseconds since 1970 or ISO 8601")
