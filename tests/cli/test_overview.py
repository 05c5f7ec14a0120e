"""What a person reads of an application: tables as they are drawn, and the verdict."""

import io
from typing import Any

import msgspec
import pytest
from rich.console import Console

from processor.cli.overview import numbers, overview_tables, span, verdict
from processor.cluster.overview import NodeOverview, Overview, SlotOverview, Takeover, Worker


def slot(
    number: int,
    primary: Worker | None = None,
    adoption: Takeover | None = None,
    *,
    live: bool = False,
) -> SlotOverview:
    return SlotOverview(number, live, primary, (), adoption)


FAILURE = Takeover("failure", "gamma:80", 1_699_999_810_000, 190, 0.142, 0.052, 0.018, 0.142)
START = Takeover("start", "", None, None, 1.1, 0.1, 1.0, 0.4)
ALPHA = NodeOverview("a", "alpha:412", "east", "live", (0, 1), (2,), 0.06)
BETA = NodeOverview("b", "beta:977", "", "leaving", (2,), (0, 1), 0.11)
GAMMA = NodeOverview("c", "gamma:80", "", "dead", (), (), 195)
SLOTS = (
    SlotOverview(
        0,
        live=True,
        primary=Worker("a", "alpha:412", "running", lag=1204, rate=48200.4, busy=0.814),
        backups=(
            Worker("b", "beta:977", "ready", lag=12),
            Worker("d", "delta:5", "restoring", lag=88000),
        ),
        adoption=FAILURE,
    ),
    slot(1, Worker("a", "alpha:412", "adopting"), START, live=True),
    slot(2, Worker("c", "gamma:80", "dead", lag=7, rate=100.0, busy=0.5)),
    slot(3),
)
MIXED = Overview(
    "orders",
    healthy=False,
    slots=SLOTS,
    nodes=(ALPHA, BETA, GAMMA),
    last_heartbeat=1_700_000_000_000,
)


GOLDEN = """
orders · 4 slots · 1 live node

slot  primary    state       lag  records/s  busy  backups
   0  alpha:412  running   1,204     48,200   81%  beta:977 ready, lag 12
                                                   delta:5 restoring, lag 88,000
   1  alpha:412  adopting      -          0    0%  -
   2  gamma:80   dead          -          -     -  -
   3  -          nobody's      -          -     -  -

slot  adoption  from      when         took   fence  catch up    join
   0  failure   gamma:80  3 min ago  0.14 s  0.05 s    0.02 s  0.14 s
   1  start     -         -          1.10 s  0.10 s    1.00 s  0.40 s

node       state    zone  primary of  backup of  heartbeat
alpha:412  live     east  0-1         2          0.1 s ago
beta:977   leaving  -     2           0-1        0.1 s ago
gamma:80   dead     -     -           -          3 min ago

Slots 2-3 have no live primary: if that lasts, see what the nodes log.
"""


def drawn(overview: Overview, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(overview_tables(overview))
    file: Any = console.file
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def test_all_at_a_glance() -> None:
    assert drawn(MIXED) == GOLDEN.strip("\n")


def test_a_narrow_terminal_loses_nothing() -> None:
    words = drawn(MIXED, 80).replace("\n", " ")
    assert all(word in words for word in ("gamma:80", "48,200", "81%", "0.14", "88,000"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"healthy": True}, "Each slot has a live primary."),
        ({}, "Slots 2-3 have no live primary: if that lasts, see what the nodes log."),
        ({"slots": SLOTS[:3]}, "Slot 2 has no live primary"),
        ({"nodes": (GAMMA,)}, "No node of orders is live; the last heartbeat came at 2023-11-1"),
        ({"nodes": (), "last_heartbeat": None}, "No node of orders is live: start one with `kproc"),
    ],
)
def test_the_verdict(changes: dict[str, Any], text: str) -> None:
    assert verdict(msgspec.structs.replace(MIXED, **changes)).startswith(text)


def test_a_function_that_does_not_return() -> None:
    at = "slow (a.py, line 5), at in[0] offset 3"
    stuck = Worker("a", "alpha:412", "stuck", turn_age=91.5, stuck=at)
    slow = Worker("a", "alpha:412", "running", lag=3, turn_age=20.0)
    shown = drawn(
        msgspec.structs.replace(MIXED, slots=(slot(0, stuck), slot(1, slow, live=True))), 200
    )
    assert f"Slot 0 is stuck for 91.5 s in {at}. It goes on when that returns" in shown
    assert "alpha:412  stuck for 91.5 s" in shown
    assert "alpha:412  running, last turn 20.0 s ago" in shown


@pytest.mark.parametrize(
    ("slots", "text"),
    [([], ""), ([4], "4"), ([2, 0, 1, 7], "0-2, 7"), ([0, 2, 3], "0, 2-3"), ([1, 2], "1-2")],
)
def test_numbers(slots: list[int], text: str) -> None:
    assert numbers(slots) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (119.9, "119.9 s"),
        (120, "2 min"),
        (7100, "118 min"),
        (7200, "2 h"),
        (200_000, "2 d"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_what_is_late_and_whose_time_is_held_back() -> None:
    held = "1_0 waits for 0_3 in slot 1, for 12 s"
    primary = Worker("a", "alpha:412", "running", judged=15_942, late=7_164, held=(held,))
    slots = (slot(0, primary, live=True),)
    shown = drawn(msgspec.structs.replace(MIXED, slots=slots))
    assert "7,164 of 15,942 records were late." in shown
    assert f"Time is held back: {held}." in shown
