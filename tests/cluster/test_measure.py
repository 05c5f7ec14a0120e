"""From what somebody who listens sees to what the autoscaler goes by."""

import msgspec
import pytest

from processor.cluster.measure import Measurement, NodeFigures, SlotFigures, measure
from processor.cluster.overview import NodeOverview, Overview, SlotOverview, Takeover, Worker

WORKER = Worker(
    "a",
    "alpha",
    "running",
    lag=7,
    rate=100.0,
    busy=0.5,
    cpu=0.4,
    starved=0.1,
    bytes=1000,
    restored=5e6,
)
BACKUP = Worker("b", "beta", "ready", lag=0, cpu=0.1, restored=3e6)
MOVED = Takeover("move", "beta", None, None, took=0.2, fence=0.1, catch_up=0.1, join=0.2)


def node(name: str, state: str = "live", age: float = 0.1, cores: float = 2.0) -> NodeOverview:
    return NodeOverview(name, f"{name}-host", "", state, (), (), age, cores)


def slot(number: int, primary: Worker | None = WORKER, *backups: Worker) -> SlotOverview:
    return SlotOverview(number, primary is not None, primary, backups, None)


def measured(*slots: SlotOverview, nodes: tuple[NodeOverview, ...] = (node("a"),)) -> Measurement:
    return measure(
        Overview("app", healthy=True, slots=slots, nodes=nodes, last_heartbeat=None), 3.0
    )


def test_everything_is_known() -> None:
    moved = msgspec.structs.replace(slot(0, WORKER, BACKUP), adoption=MOVED)
    assert measured(moved, nodes=(node("a"), node("b"))) == Measurement(
        3.0,
        1,
        (SlotFigures(0, "a", 7, 100.0, 0.5, 0.4, 0.1, 1000),),
        (NodeFigures("a", 2.0), NodeFigures("b", 2.0, 0.1)),
        {},
        settled=True,
        restored=4e6,
        pause=0.2,
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"state": "adopting"}, "is adopting"),
        ({"lag": None}, "doesn't know its lag"),
        ({"cpu": None}, "an older kproc"),
    ],
)
def test_what_a_slot_does_not_report(changes: dict[str, object], why: str) -> None:
    found = measured(slot(0, msgspec.structs.replace(WORKER, **changes)), slot(1))
    assert why in found.missing[0]
    assert [each.slot for each in found.figures] == [1]
    assert not found.settled


def test_nobody_has_the_slot() -> None:
    assert measured(slot(0, None)).missing == {0: "has no live primary"}


def test_a_node_that_was_not_heard_of_lately() -> None:
    found = measured(slot(0), nodes=(node("a", age=7.4),))
    assert found.missing == {0: "sent its last heartbeat 7 s ago"}


def test_a_node_that_does_not_report_its_cores() -> None:
    assert "an older kproc" in measured(slot(0), nodes=(node("a", cores=0.0),)).missing[0]


def test_who_leaves_is_no_node_any_more() -> None:
    found = measured(slot(0), nodes=(node("a", "leaving"), node("b")))
    assert [each.node for each in found.nodes] == ["b"]
    assert not found.settled


@pytest.mark.parametrize(("held", "settled"), [("aab", True), ("aaab", False), ("aa", False)])
def test_slots_that_have_still_to_move(held: str, *, settled: bool) -> None:
    slots = [
        slot(number, msgspec.structs.replace(WORKER, node=name)) for number, name in enumerate(held)
    ]
    assert measured(*slots, nodes=(node("a"), node("b"))).settled is settled


def test_a_backup_that_restores_does_not_count_as_work() -> None:
    restoring = msgspec.structs.replace(BACKUP, state="restoring")
    found = measured(slot(0, WORKER, restoring), nodes=(node("a"), node("b")))
    assert found.nodes[1].backups_cpu == 0.0
