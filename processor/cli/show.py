"""Shows a person the results in output topics: one table each, the last value of every key."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from processor.cli.formats import readable, window_text
from processor.serdes import Serde, json
from processor.serdes.windowed import Windowed
from processor.topology.graph import Sink
from processor.topology.plan import Plan
from processor.wording import several

if TYPE_CHECKING:
    from processor.kafka.results import Results

_ROWS = 20
_COLUMNS = 10
_LONGEST = 60
_GROUPED_FROM = 10_000

Row: TypeAlias = tuple[Any, Any]
Serdes: TypeAlias = tuple[Serde[Any] | None, Serde[Any] | None]


def serdes_of(plan: Plan, topic: str) -> Serdes:
    """How a topic's keys and values were written; None where there are several ways."""
    nodes = [node for part in plan.subtopologies for node in part.nodes]
    sinks = [node for node in nodes if isinstance(node, Sink) and node.topic == topic]
    keys = {sink.key.name: sink.key for sink in sinks}
    values = {sink.value.name: sink.value for sink in sinks}
    return _only(keys), _only(values)


def results(topic: str, found: "Results", serdes: Serdes, hint: str) -> Iterator[RenderableType]:
    """The last value of each key in the order of the keys; without keys, the last records.

    Args:
        topic: The topic.
        found: What was read of it.
        serdes: How its keys and values were written; None: not known.
        hint: The command that shows more.
    """
    key, value = serdes
    rows = [
        (_plain(name, key), _plain(data, value))
        for name, data in found.values.items()
        if data is not None
    ]
    rows.sort(key=_order)
    shown, unit = rows[:_ROWS], "key"
    if not rows and found.keyless:
        rows = [(None, _plain(data, value)) for data in found.keyless]
        shown, unit = rows[-_ROWS:], "record"
    part = "" if found.complete else " in its last records"
    yield Text.assemble((topic, "bold"), (f" · {several(len(rows), unit)}{part}", "dim"))
    if shown:
        yield _table(shown)
    if len(rows) > len(shown):
        yield Text(f"… and {len(rows) - len(shown):,} more: {hint}", "dim")


def _only(serdes: dict[str, Serde[Any]]) -> Serde[Any] | None:
    return next(iter(serdes.values())) if len(serdes) == 1 else None


def _plain(data: bytes | None, serde: Serde[Any] | None) -> Any:
    """What bytes stand for, as JSON has it: numbers and text by their serde, objects as dicts."""
    if data is None:
        return None
    try:
        value = serde.decode(data) if serde else None
    except Exception:  # noqa: BLE001 - a serde of the user's; shown is what is there
        return readable(data)
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, Windowed):
        return window_text(*value)
    try:
        return msgspec.json.decode(data if value is None else json.encode(value))
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError):
        return readable(data)


def _order(row: Row) -> tuple[bool, Any]:
    """Numbers by their size, also where they are text, before everything else by its text."""
    key = row[0]
    if isinstance(key, str) and key.isdecimal():
        return False, int(key)
    return (False, key) if isinstance(key, int | float) else (True, _text(key))


def _table(rows: Sequence[Row]) -> Table:
    fields = _fields(value for _, value in rows)
    columns: dict[str, list[Any]] = {
        name.replace("_", " "): [value.get(name) for _, value in rows] for name in fields
    }
    if not fields:
        columns = {"value": [value for _, value in rows]}
    if any(key is not None for key, _ in rows):
        columns = {"key": [key for key, _ in rows], **columns}
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, cells in columns.items():
        table.add_column(name, justify="right" if _are_numbers(cells) else "left")
    for row in zip(*map(_texts, columns.values()), strict=True):
        table.add_row(*map(Text, row))
    return table


def _fields(values: Iterable[Any]) -> list[str]:
    """The fields of the objects, in the order of appearance; none if there are other values."""
    found: dict[str, None] = {}
    for value in values:
        if not isinstance(value, dict):
            return []
        found |= dict.fromkeys(cast("dict[str, Any]", value))
    return list(found) if len(found) <= _COLUMNS else []


def _are_numbers(cells: Iterable[Any]) -> bool:
    return all(isinstance(each, int | float | None) for each in cells)


def _texts(cells: Sequence[Any]) -> list[str]:
    # Years and small numbers read better without separators.
    grouped = any(isinstance(each, int | float) and abs(each) >= _GROUPED_FROM for each in cells)
    return [_text(each, "," if grouped else "") for each in cells]


def _text(value: Any, separator: str = "") -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:{separator}}"
    if isinstance(value, float):
        return f"{value:{separator}.2f}" if abs(value) >= 1 or not value else f"{value:.3g}"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = text.replace("\n", "⏎")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
