"""What is remembered of the last minutes, and what is wrong by it."""

from typing import Any

import msgspec
import pytest

from processor.cluster.overview import NodeOverview, Overview, SlotOverview, Takeover, Worker
from processor.health.flows import Flow, SlotFlows
from processor.health.history import MINUTES, History
from processor.health.problems import Problem, problems
from processor.node.accounting import Figures
from processor.worker.channel import CRASHED, BadRecords, Log, Spent, Status

NOON = 1_700_000_000_000
MINUTE = 60_000


def seen(*, node: str = "a", reason: str = "start", at: int = NOON, **state: str) -> Overview:
    """One slot, on a node; `state` of others by their names."""
    slot = SlotOverview(
        0,
        live=True,
        primary=Worker(node, f"{node}.host", "running"),
        backups=(),
        adoption=Takeover(reason, "b.host", at, 5.0, 0.25, 0.1, 0.2, 0.1),
    )
    nodes = tuple(
        NodeOverview(each, f"{each}.host", "", its, (), (), 0.0) for each, its in state.items()
    )
    return Overview("orders", healthy=True, slots=(slot,), nodes=nodes, last_heartbeat=NOON)


def texts(history: History, now: int = NOON) -> list[str]:
    return [each.text for each in history.events(now)]


def test_adoptions_are_told_once() -> None:
    history = History()
    history.see(seen(), NOON)
    history.see(seen(), NOON + 500)
    assert texts(history) == ["a.host took it over from b.host (start) in 0.25 s"]
    history.see(seen(node="c", reason="failure", at=NOON + 9), NOON + 1000)
    (last, _) = history.events(NOON)
    assert (last.at, last.level, last.slot) == (NOON + 9, "warning", 0)
    assert last.text.startswith("c.host took it over")


def test_nodes_come_and_go() -> None:
    history = History()
    for state in ("live", "live", "leaving", "left"):
        history.see(seen(x=state, gone="dead"), NOON)
    history.see(seen(x="live", gone="live"), NOON)
    assert sorted(each for each in texts(history) if "took" not in each) == [
        "gone.host is live",
        *("x.host has left", "x.host is leaving", "x.host is live", "x.host is live"),
    ]


def test_logs_that_warn() -> None:
    history = History()
    history.hear(Log(0, "info", "worker process", {"pid": 5}), NOON)
    traceback = "Traceback:\n  line\nValueError: no"
    history.hear(
        Log(3, "warning", CRASHED, {"cause": traceback, "pause_s": 0.0, "after": "x"}), NOON
    )
    (event,) = history.events(NOON)
    assert (event.level, event.slot, event.kind) == ("error", 3, CRASHED)
    assert event.text == "ValueError: no. after x"
    assert event.detail == traceback


def test_memory_is_bounded() -> None:
    history = History()
    for number in range(1000):
        history.hear(Log(0, "warning", "left out", {"text": "x" * 9000 + str(number)}), NOON)
    found = history.events(NOON)
    assert len(found) == 200
    assert max(len(each.text) for each in found) == 2000
    assert history.events(NOON + MINUTES * MINUTE + 1) == ()


def test_some_warnings_last() -> None:
    history = History()
    history.hear(Log(None, "warning", "brokers", {"text": "too old"}), NOON)
    history.hear(Log(1, "warning", "left out", {"text": "x: decode"}), NOON)
    assert {each.kind for each in history.warnings(NOON + MINUTE)} == {"brokers", "left out"}
    assert [each.kind for each in history.warnings(NOON + 60 * MINUTE)] == ["brokers"]


def wrong(overview: Overview, figures: Figures | None = None, **given: Any) -> list[Problem]:
    history: History = given.get("history", History())
    letters = given.get("letters", "orders-dead-letters")
    return list(problems(overview, figures or Figures(0), history.warnings(NOON), letters))


def with_primary(**changes: Any) -> Overview:
    overview = seen()
    (slot,) = overview.slots
    assert slot.primary is not None
    worker = msgspec.structs.replace(slot.primary, **changes)
    return msgspec.structs.replace(overview, slots=(msgspec.structs.replace(slot, primary=worker),))


def test_all_is_well() -> None:
    assert wrong(seen()) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"held": ("0_1 waits for 1_0 in slot 2",)}, "Time is held back: task 0_1 waits"),
        ({"starved": 0.5}, "Slot 0 often without a free processor"),
        ({"busy": 1.0, "lag": 5000, "rate": 100.0}, "Slot 0 always busy, and behind"),
    ],
)
def test_what_is_wrong_with_a_slot(changes: dict[str, Any], what: str) -> None:
    (problem,) = wrong(with_primary(**changes))
    assert problem.level == "warning"
    assert problem.what.startswith(what)
    assert problem.advice


def test_nobody_has_a_slot() -> None:
    overview = msgspec.structs.replace(seen(x="live"), healthy=False)
    lost = msgspec.structs.replace(overview.slots[0], live=False)
    (problem,) = wrong(msgspec.structs.replace(overview, slots=(lost,)))
    assert problem.level == "error"
    assert (problem.what, problem.advice) == (
        "Not all slots are worked on",
        "Slot 0 has no live primary: if that lasts, see what the nodes log.",
    )


def test_slots_without_a_backup() -> None:
    history = History()
    found = problems(seen(), Figures(0), history.warnings(NOON), "", backed_up=True)
    assert [each.what for each in found] == ["Slot 0 without a backup"]


def test_what_becomes_of_bad_records() -> None:
    figures = Figures(0)
    bad = (BadRecords("sum", "decode", 3), BadRecords("sum", "late", 9))
    figures.note(Status(0, "running", bad_records=bad), 1)
    (kept,) = wrong(seen(), figures)
    assert kept.what == "3 records could not be processed at sum: decode"
    assert "kproc dlq list" in kept.advice
    (dropped,) = wrong(seen(), figures, letters="")
    assert "on_bad_record" in dropped.advice


def test_several_slots_with_one_problem() -> None:
    history = History()
    for slot in (0, 1, 2, 1):
        history.hear(Log(slot, "warning", "keys are elsewhere", {"cause": f"key {slot}"}), NOON)
    (problem,) = wrong(seen(), history=history)
    assert problem.what == "Slots 0-2: keys are elsewhere"
    assert problem.advice.endswith("(and 2 more like this, see the events)")


def test_flows_begin_again_with_each_process() -> None:
    flow = Flow()
    for now, total in ((0, 0), (1, 100), (2, 200)):
        flow.note(now, total)
    assert flow.per_second == 100
    flow.note(3, 10)
    flow.note(4, 60)
    assert flow.per_second == 50


def test_how_long_checkpoints_take() -> None:
    flows = SlotFlows()
    assert (flows.checkpoint_seconds, flows.checkpoint_at) == (None, None)
    for now in range(4):
        flows.note(Status(0, "running", checkpoints=2 * now, spent=Spent(commits=0.1 * now)), now)
    assert flows.checkpoint_seconds == pytest.approx(0.05)
    flows.note(Status(0, "running", checkpoints=6, spent=Spent(commits=0.3)), 9)
    assert flows.checkpoint_at == 3
