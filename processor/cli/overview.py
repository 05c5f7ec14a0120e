"""Shows a person an `Overview`: tables of slots, adoptions and nodes, and what is wrong.

Pure: from figures to what rich draws.
"""

from collections.abc import Iterable, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from processor.cluster.overview import NodeOverview, Overview, SlotOverview, Worker
from processor.cluster.verdict import numbers, span, verdict
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
    reported = [f"{late:,} of {judged:,} records were late."] if late else []
    return [*reported, *(f"Time is held back: {text}." for each in primaries for text in each.held)]


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


def _count(records: int | None) -> str:
    return _UNKNOWN if records is None else f"{records:,}"
