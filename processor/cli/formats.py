"""How a record looks on a terminal or in a pipe. Knows nothing of topics or clients."""

import string
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from processor.errors import UsageError
from processor.records import Headers, Offset, Partition, Timestamp

OutputFormat: TypeAlias = Literal["json", "text", "raw", "table"]

_BINARY = frozenset(map(chr, range(32))) - set(string.whitespace) | {"\x0b", "\x0c", "\x7f"}
_WINDOW = b'{"key":'
_LINE_BREAKS = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r"})
_WIDTHS = {"timestamp": 24, "partition": 9, "offset": 10, "key": 20}


class Shown(NamedTuple):
    """A record as Kafka holds it; its fields are those that `--fields` can name."""

    timestamp: Timestamp
    partition: Partition
    offset: Offset
    key: bytes | None
    value: bytes | None
    headers: Headers


_DEFAULT_FIELDS: dict[OutputFormat, tuple[str, ...]] = {
    "json": Shown._fields,
    "text": ("key", "value"),
    "raw": ("value",),
    "table": ("timestamp", "partition", "offset", "key", "value"),
}


def fields_of(text: str | None, form: OutputFormat) -> tuple[str, ...]:
    """The fields that a comma-separated list names; without one, those usual for the format.

    Raises:
        UsageError: A name is not that of a field.
    """
    if text is None:
        return _DEFAULT_FIELDS[form]
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in Shown._fields:
            raise UsageError(f"--fields knows {', '.join(Shown._fields)}; not {name!r}.")
    return names


def header_of(form: OutputFormat, fields: Sequence[str]) -> bytes:
    """The line above a table; nothing for other formats."""
    return _aligned(fields, fields) if form == "table" else b""


def formatter(form: OutputFormat, fields: Sequence[str]) -> Callable[[Shown], bytes]:
    """A function from a record to its line, or lines, with the line break at its end."""

    def as_json(record: Shown) -> bytes:
        shown = {name: _JSON[name](getattr(record, name)) for name in fields}
        return msgspec.json.encode(shown) + b"\n"

    def as_text(record: Shown) -> bytes:
        return "\t".join(_texts(record, fields)).encode() + b"\n"

    def as_table(record: Shown) -> bytes:
        return _aligned(_texts(record, fields), fields)

    def as_raw(record: Shown) -> bytes:
        return b"\t".join(_raw(getattr(record, name)) for name in fields) + b"\n"

    return {"json": as_json, "text": as_text, "table": as_table, "raw": as_raw}[form]


def readable(data: bytes | None) -> str | None:
    """Text as such, other bytes as 0x…; None stays None."""
    if data is None:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"0x{data.hex()}"
    # A number of eight bytes is most often valid text, and unreadable.
    return text if _BINARY.isdisjoint(text) else f"0x{data.hex()}"


class _Window(msgspec.Struct, forbid_unknown_fields=True):
    key: Any
    start: int
    end: int


def window_shown(data: bytes | None) -> str | None:
    """The key of a window as people read it (`window_text`); None if it is not a window."""
    if data is None or not data.startswith(_WINDOW):
        return None
    try:
        window = msgspec.json.decode(data, type=_Window)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return window_text(window.key, window.start, window.end)


def window_text(key: Any, start: int, end: int) -> str:
    """A key and a time from `start` to before `end` in milliseconds, as ISO 8601 has it, in UTC."""
    times = (_iso(each).replace(".000Z", "Z") for each in (start, end))
    text = key if isinstance(key, str) else msgspec.json.encode(key).decode()
    return f"{text} {'/'.join(times)}"


def json_value(data: bytes | None) -> Any:
    """What JSON says; other text as such, other bytes as 0x…."""
    if data is None:
        return None
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return readable(data)


def _json_headers(headers: Headers) -> list[tuple[str, str | None]]:
    return [(name, readable(value)) for name, value in headers]


_JSON: dict[str, Callable[[Any], Any]] = {
    "timestamp": int,
    "partition": int,
    "offset": int,
    "key": readable,
    "value": json_value,
    "headers": _json_headers,
}


def _texts(record: Shown, fields: Sequence[str]) -> list[str]:
    return [_text(name, getattr(record, name)) for name in fields]


def _text(name: str, value: Any) -> str:
    if name == "timestamp":
        return shown_time(value)
    if name == "headers":
        return ",".join(f"{key}={_line(text)}" for key, text in value)
    if name == "key" and (window := window_shown(value)) is not None:
        return window.translate(_LINE_BREAKS)
    return _line(value) if name in ("key", "value") else str(value)


def _line(data: bytes | None) -> str:
    text = readable(data)
    return "null" if text is None else text.translate(_LINE_BREAKS)


def shown_time(timestamp: Timestamp) -> str:
    """ISO 8601, in UTC."""
    return "none" if timestamp < 0 else _iso(timestamp)


def _iso(time: int) -> str:
    try:
        moment = datetime.fromtimestamp(time / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return str(time)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _raw(value: Any) -> bytes:
    return value or b"" if isinstance(value, bytes | None) else str(value).encode()


def _aligned(cells: Sequence[str], fields: Sequence[str]) -> bytes:
    padded = [cell.ljust(_WIDTHS.get(name, 0)) for cell, name in zip(cells, fields, strict=True)]
    return "  ".join(padded).rstrip().encode() + b"\n"
