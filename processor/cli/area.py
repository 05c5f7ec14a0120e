"""The live area of a run: what a terminal shows of a node, its slots and its neighbours.

Pure: from figures to what rich draws.
"""

from collections.abc import Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from processor.cli.overview import STYLES, worker_text
from processor.cli.summary import Run
from processor.cluster.overview import Overview, SlotOverview, overview
from processor.node.accounting import Figures, SlotFigures
from processor.worker.channel import RestoreStatus

if TYPE_CHECKING:
    from processor.kafka.progress import Backlog
    from processor.node.node import NodeState

_UNKNOWN = "-"


def area(run: Run, figures: Figures, state: "NodeState", done_rate: float) -> Group:
    """What is drawn.

    Args:
        run: What is run.
        figures: What the node's workers did.
        state: The node's.
        done_rate: Committed input records a second, where the backlog is known.
    """
    around = None if state.view is None else overview(run.plan.application, state.view)
    parts: list[Any] = [_headline(run, figures, stopping=state.stopping), _totals(figures)]
    if state.backlog is not None:
        parts.append(_bar(state.backlog, done_rate))
    here = _held(figures, around, state.node)
    parts.append(_slots(here, around, state.node))
    parts += [_restore(number, slot.last.restore) for number, slot in here.items()]
    if around is not None:
        parts += [_neighbourhood(around, state.node), _last_adoption(around, state.node)]
    return Group(*filter(None, parts))


def _held(figures: Figures, around: Overview | None, me: str) -> Mapping[int, SlotFigures]:
    """The slots that have a worker here."""
    mine = None
    if around is not None:
        node = next((each for each in around.nodes if each.node == me), None)
        mine = None if node is None else {*node.primaries, *node.backups}
    slots = sorted(figures.slots.items())
    return {number: slot for number, slot in slots if mine is None or number in mine}


def _headline(run: Run, figures: Figures, *, stopping: bool) -> Text:
    doing = " · finishing" if stopping else ""
    return Text.assemble(
        (run.plan.application, "bold"),
        (f" · {run.settings.guarantee} · {_clock(figures.seconds)}{doing}", "dim"),
    )


def _neighbourhood(around: Overview, me: str) -> Text | None:
    """Which node this is, where there are others."""
    live = [node for node in around.nodes if node.state == "live"]
    name = next((node.name for node in live if node.node == me), None)
    if name is None or len(live) == 1:
        return None
    return Text(f"node {name}, one of {len(live)}", "dim")


def _totals(figures: Figures) -> Text:
    bad = figures.bad_records.total()
    lag = _UNKNOWN if figures.lag is None else f"{figures.lag:,}"
    return Text.assemble(
        f"{figures.records:,} records · {figures.records_per_second:,.0f} records/s · lag {lag} · "
        f"{figures.checkpoints_per_second:.1f} checkpoints/s · ",
        (f"{bad:,} bad", "bold red" if bad else ""),
    )


def _bar(backlog: "Backlog", rate: float) -> Table:
    done, total = backlog.done_records, backlog.input_records
    share = done / total if total else 1.0
    left = _clock((total - done) / rate) if rate and done < total else _UNKNOWN
    text = f"{share:4.0%}  {done:,} of {total:,} · {rate:,.0f} records/s · {left} left"
    return _beside(ProgressBar(total=max(total, 1), completed=done, width=30), text)


def _slots(here: Mapping[int, SlotFigures], around: Overview | None, me: str) -> Table:
    elsewhere = {} if around is None else {each.slot: _elsewhere(each, me) for each in around.slots}
    is_shared = any(elsewhere.values())
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("slot", justify="right")
    if is_shared:
        table.add_column("role")
    table.add_column("state", min_width=10)
    for name in ("partitions", "records/s", "lag", "restarts"):
        table.add_column(name, justify="right")
    if is_shared:
        table.add_column("elsewhere")
    for number, slot in here.items():
        last = slot.last
        row: list[str | Text] = [
            Text(last.state, STYLES.get(last.state, "dim")),
            str(last.partitions),
            f"{slot.rate.per_second:,.0f}",
            _UNKNOWN if last.lag is None else f"{last.lag:,}",
            Text(str(slot.restarts), "yellow" if slot.restarts else ""),
        ]
        if is_shared:
            row = [last.role, *row, elsewhere.get(number) or _UNKNOWN]
        table.add_row(str(number), *row)
    return table


def _elsewhere(slot: SlotOverview, me: str) -> Text:
    """The slot's workers on other nodes."""
    primary = [slot.primary] if slot.primary else []
    others = [each for each in (*primary, *slot.backups) if each.node != me]
    return Text(", ").join(map(worker_text, others))


def _last_adoption(around: Overview, me: str) -> Text | None:
    """The last one here that was no mere start."""
    found = [
        (slot.adoption.at or 0, slot.slot, slot.adoption)
        for slot in around.slots
        if slot.adoption and slot.primary and slot.primary.node == me
        if slot.adoption.reason != "start"
    ]
    if not found:
        return None
    _, slot, last = max(found, key=itemgetter(0))
    before = f", from {last.predecessor}" if last.predecessor else ""
    return Text.assemble(
        (f"last adoption · slot {slot}, {last.reason}{before} · {last.took:.2f} s: ", "dim"),
        f"fence {last.fence:.2f}, catch up {last.catch_up:.2f}, join {last.join:.2f}",
    )


def _restore(slot: int, restore: RestoreStatus | None) -> Table | None:
    if restore is None:
        return None
    seconds = max(restore.seconds, 0.001)
    if restore.downloaded < restore.to_download:
        rate, megabytes = restore.downloaded / seconds, restore.to_download / 1e6
        text = f"slot {slot} downloads snapshots · {megabytes:,.1f} MB · {rate / 1e6:,.1f} MB/s"
        return _beside(
            ProgressBar(total=restore.to_download, completed=restore.downloaded, width=20), text
        )
    rate, megabytes = restore.records / seconds, restore.bytes / seconds / 1e6
    left = _clock((restore.total - restore.records) / rate) if rate else _UNKNOWN
    text = f"slot {slot} restores · {rate:,.0f} records/s · {megabytes:,.1f} MB/s · {left} left"
    return _beside(
        ProgressBar(total=max(restore.total, 1), completed=restore.records, width=20), text
    )


def _beside(bar: ProgressBar, text: str) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_row(bar, text)
    return grid


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
