"""When a node has settled; each test writes the slots topic by hand."""

from collections.abc import Callable

import pytest

from processor.cluster.beats import Replica
from processor.cluster.readiness import unsettled
from tests.cluster.topic import Topic, backup, primary

BOTH = {0: 1, 1: 1}


def test_a_node_that_was_not_heard() -> None:
    assert unsettled(Topic().view, "a") == "it has not joined the other nodes yet"


def test_a_slot_without_anybody() -> None:
    topic = Topic(slots=3).says("a", primary(0), claims={0: 1})
    assert unsettled(topic.view, "a") == "nobody has taken slots 1, 2 yet"


def test_all_runs() -> None:
    topic = Topic(slots=2).says("a", primary(0), primary(1), claims=BOTH)
    assert unsettled(topic.view, "a") is None


def test_a_node_with_nothing_to_do() -> None:
    topic = Topic(slots=2).says("a", primary(0), primary(1), claims=BOTH).says("b")
    assert unsettled(topic.view, "b") is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t.says("a", primary(0, "restoring"), claims=BOTH), "primary of slot 0 is res"),
        (lambda t: t.says("a", primary(0), claims=BOTH), "its primary of slot 1 is starting"),
        (lambda t: t.says("a", primary(0), backup(1), claims=BOTH), "its primary of slot 1 is rea"),
        (lambda t: t.says("a", leaving=True), "it is leaving"),
        (lambda t: t.says("b").passes(2000, "b"), "it is dead"),
    ],
)
def test_what_is_to_be_done(change: Callable[[Topic], Topic], expected: str) -> None:
    topic = Topic(slots=2).says("a", primary(0), primary(1), claims=BOTH)
    assert expected in (unsettled(change(topic).view, "a") or "")


def test_a_worker_that_is_stuck() -> None:
    stuck = Replica(0, "primary", "stuck", stuck="slow (a.py, line 5), at in[0] offset 3")
    topic = Topic().says("a", primary(), claims={0: 1}).says("a", stuck, claims={0: 1})
    expected = "its primary of slot 0 is stuck in slow (a.py, line 5), at in[0] offset 3"
    assert unsettled(topic.view, "a") == expected


def test_a_backup_that_catches_up() -> None:
    topic = Topic().says("a", primary(), claims={0: 1}).says("b", backup(state="restoring"))
    assert unsettled(topic.view, "b") == "its backup of slot 0 is restoring"
    assert unsettled(topic.says("b", backup()).view, "b") is None
    assert unsettled(topic.view, "a") is None


def test_a_slot_of_an_earlier_run_of_the_node() -> None:
    topic = Topic().says("a", primary(), claims={0: 1})
    topic.says("a", claims={0: 1}, leaving=True).says("a", boot="2")
    assert unsettled(topic.view, "a") is None
    topic.says("a", primary(state="starting"), claims={0: 2}, boot="2")
    assert unsettled(topic.view, "a") == "its primary of slot 0 is starting"
