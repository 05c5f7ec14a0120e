"""How dead letters look, one by one or counted, on a terminal or as JSON."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from rich.table import Table

from processor.cli.formats import json_value, readable, shown_time
from processor.errors import UsageError
from processor.records import Timestamp

if TYPE_CHECKING:
    from processor.runtime.dead_letters import DeadLetter, Place

GROUPS = ("step", "reason", "topic", "partition", "day", "hour", "error")
"""What dead letters can be counted by."""


@dataclass(slots=True)
class Count:
    """The dead letters of one group; times in milliseconds, None where none has any."""

    places: "set[Place]" = field(default_factory=set["Place"])
    first: int | None = None
    last: int | None = None

    def add(self, place: "Place", letter: "DeadLetter") -> None:
        """One more."""
        self.places.add(place)
        time = letter.record.timestamp
        if time >= 0:
            self.first = time if self.first is None else min(self.first, time)
            self.last = time if self.last is None else max(self.last, time)

    def reported(self, replayed: "set[Place]") -> dict[str, Any]:
        """As JSON has it."""
        done = len(self.places & replayed)
        count = len(self.places)
        return {"count": count, "replayed": done, "first": self.first, "last": self.last}


def groups_of(text: str) -> list[str]:
    """What `--by` names.

    Raises:
        UsageError: There is no such thing.
    """
    groups = [name.strip() for name in text.split(",")]
    for name in groups:
        if name not in GROUPS:
            raise UsageError(f"--by knows {', '.join(GROUPS)}; not {name!r}.")
    return groups


def group_of(name: str, letter: "DeadLetter") -> str:
    """The group that a dead letter is in, of those that `name` stands for."""
    match name:
        case "topic":
            return letter.source.topic
        case "partition":
            return str(letter.source)
        case "day":
            return shown_time(letter.record.timestamp)[:10]
        case "hour":
            return shown_time(letter.record.timestamp)[:13]
        case _:
            return str(getattr(letter, name))


def counts_table(
    groups: list[str], counts: "list[tuple[tuple[str, ...], Count]]", replayed: "set[Place]"
) -> Table:
    """A line for each group."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in groups:
        table.add_column(name, overflow="fold")
    for name in ("letters", "replayed"):
        table.add_column(name, justify="right")
    for name in ("first", "last"):
        table.add_column(name, no_wrap=True)
    for group, count in counts:
        times = (
            shown_time(Timestamp(-1 if at is None else at)) for at in (count.first, count.last)
        )
        done = len(count.places & replayed)
        table.add_row(*group, f"{len(count.places):,}", f"{done:,}", *times)
    return table


def reported(letter: "DeadLetter", *, is_replayed: bool) -> dict[str, Any]:
    """A dead letter as JSON has it."""
    record = letter.record
    return {
        "letter": str(letter.place),
        "topic": letter.source.topic,
        "partition": letter.source.partition,
        "offset": letter.offset,
        "timestamp": record.timestamp,
        "step": letter.step,
        "reason": letter.reason,
        "error": letter.error,
        "replayed": is_replayed,
        "truncated": letter.is_truncated,
        "key": readable(record.key),
        "value": json_value(record.value),
        "headers": [(name, readable(value)) for name, value in record.headers],
    }


def text_of(reported: dict[str, Any]) -> str:
    """The same for people to read."""
    value = reported["value"]
    place = f"{reported['topic']}[{reported['partition']}] offset {reported['offset']}"
    when = shown_time(reported["timestamp"]) + ", replayed" * reported["replayed"]
    lines = [
        f"dead letter {reported['letter']}: {place}, {when}",
        f"  {reported['step']}, {reported['reason']}: {reported['error']}",
    ]
    if reported["truncated"]:
        return "\n".join([*lines, "  too large to be kept whole", ""])
    lines += [
        f"  key    {_or_null(reported['key'])}",
        f"  value  {value if isinstance(value, str) else msgspec.json.encode(value).decode()}",
        *(f"  header {name}: {_or_null(text)}" for name, text in reported["headers"]),
        "",
    ]
    return "\n".join(lines)


def _or_null(text: str | None) -> str:
    return "null" if text is None else text
