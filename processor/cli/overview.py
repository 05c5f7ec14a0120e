"""Shows a person an `Overview`: tables of slots, adoptions and nodes, and what is wrong.

Pure: from figures to what rich draws.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from processor.cluster.overview import NodeOverview, Overview, SlotOverview, Worker
from processor.wording import several

_UNKNOWN = "-"
_LONG_TURN = 5.0
"""Seconds without a turn of a worker's loop that are worth a word."""

STYLES: Mapping[str, str] = {
    **dict.fromkeys(("running", "ready", "live"), "green"),
    **dict.fromkeys(
        ("starting", "restoring", "waiting", "adopting", "leaving", "stopping"), "yellow"
    ),
    **dict.fromkeys(("dead", "gone", "silent", "crashed", "deprived", "stuck"), "bold red"),
}
"""Of the states of workers and nodes."""


def overview_tables(overview: Overview) -> Group:
    """Everything, with what is wrong at the end."""
    live = sum(node.state == "live" for node in overview.nodes)
    counts = f" · {several(len(overview.slots), 'slot')} · {several(live, 'live node')}"
    parts: list[RenderableType] = [
        Text.assemble((overview.application, "bold"), (counts, "dim"), "\n")
    ]
    tables = (_slots(overview.slots), _adoptions(overview.slots), _nodes(overview.nodes))
    parts += [part for table in tables if table.row_count for part in (table, Text())]
    parts += [Text(text, "yellow") for text in _about_time(overview.slots)]
    return Group(*parts, Text(verdict(overview), "green" if overview.healthy else "bold red"))


def _about_time(slots: Iterable[SlotOverview]) -> list[str]:
    """What is late, and whose time is held back by whom."""
    primaries = [slot.primary for slot in slots if slot.primary is not None]
    late = sum(each.late for each in primaries)
    judged = sum(each.judged for each in primaries)
    told = [f"{late:,} of {judged:,} records were late."] if late else []
    return [*told, *(f"Time is held back: {text}." for each in primaries for text in each.held)]


def verdict(overview: Overview) -> str:
    """Whether all is well, and else what to do."""
    if overview.healthy:
        return "Each slot has a live primary."
    if not any(node.state in {"live", "leaving"} for node in overview.nodes):
        last = overview.last_heartbeat
        ages = [each.heartbeat_age for each in overview.nodes]
        ago = f", {span(min(ages))} ago" if ages else ""
        when = "" if last is None else f"; the last heartbeat came at {_date(last)}{ago}"
        return f"No node of {overview.application} is live{when}: start one with `kproc run`."
    withheld = [each.primary.withheld for each in overview.slots if each.primary]
    if told := sorted({text for text in withheld if text}):
        return (
            "Nobody works on partitions that the group has given to others. "
            f"{'. '.join(told)}. End these members, or give them a group of their own."
        )
    primaries = [(each.slot, each.primary) for each in overview.slots if each.primary]
    if stuck := [
        f"Slot {slot} is stuck for {span(each.turn_age)} in {each.stuck}."
        for slot, each in primaries
        if each.stuck
    ]:
        return " ".join([*stuck, "It goes on when that returns, or when its worker is ended."])
    slots, several = numbers(overview.unattended), len(overview.unattended) > 1
    return (
        f"Slot{'s' * several} {slots} {'have' if several else 'has'} no live primary: if that "
        "lasts, see what the nodes log."
    )


def numbers(slots: Iterable[int]) -> str:
    """Numbers of slots, several in a row as a range: `0-3, 7`."""
    ordered = enumerate(sorted(slots))
    runs = [
        [slot for _, slot in run] for _, run in groupby(ordered, lambda each: each[1] - each[0])
    ]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _slots(slots: Iterable[SlotOverview]) -> Table:
    table = _table("slot>", "primary", "state", "lag>", "records/s>", "busy>", "backups")
    for slot in slots:
        primary = slot.primary or Worker("", _UNKNOWN, "nobody's")
        working = slot.live or primary.state == "deprived"
        table.add_row(
            str(slot.slot),
            Text(primary.name),
            _state(primary.state, "" if slot.live else "bold red", primary.turn_age),
            _count(primary.lag) if working else _UNKNOWN,
            f"{primary.rate:,.0f}" if working else _UNKNOWN,
            f"{primary.busy:.0%}" if working else _UNKNOWN,
            Text("\n").join(map(worker_text, slot.backups)) if slot.backups else _UNKNOWN,
        )
    return table


def _adoptions(slots: Iterable[SlotOverview]) -> Table:
    table = _table("slot>", "adoption", "from", "when", "took>", "fence>", "catch up>", "join>")
    for slot in slots:
        if adoption := slot.adoption:
            times = (adoption.took, adoption.fence, adoption.catch_up, adoption.join)
            table.add_row(
                str(slot.slot),
                adoption.reason,
                Text(adoption.predecessor or _UNKNOWN),
                _UNKNOWN if adoption.ago is None else f"{span(adoption.ago)} ago",
                *(f"{seconds:.2f} s" for seconds in times),
            )
    return table


def _nodes(nodes: Iterable[NodeOverview]) -> Table:
    table = _table("node", "state", "zone", "primary of", "backup of", "heartbeat")
    for node in nodes:
        table.add_row(
            Text(node.name),
            _state(node.state),
            Text(node.zone or _UNKNOWN),
            numbers(node.primaries) or _UNKNOWN,
            numbers(node.backups) or _UNKNOWN,
            f"{span(node.heartbeat_age)} ago",
        )
    return table


def _table(*columns: str) -> Table:
    """An empty table; columns that end in `>` are numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        justify = "right" if name.endswith(">") else "left"
        table.add_column(name.removesuffix(">"), justify=justify, overflow="fold")
    return table


def _state(state: str, style: str = "", turn_age: float = 0.0) -> Text:
    still = f" for {span(turn_age)}" if state == "stuck" else ""
    if turn_age >= _LONG_TURN and not still:
        still = f", last turn {span(turn_age)} ago"
    return Text(f"{state}{still}", style or STYLES.get(state, "dim"))


def worker_text(worker: Worker) -> Text:
    """A worker in few words."""
    lag = "" if worker.lag is None else f", lag {worker.lag:,}"
    return Text.assemble(f"{worker.name} ", _state(worker.state), lag)


def span(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s"


def _date(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().isoformat(" ", "seconds")


def _count(records: int | None) -> str:
    return _UNKNOWN if records is None else f"{records:,}"
