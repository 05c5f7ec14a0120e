"""Which faults a topology and its Kafka allow."""

import pytest

from processor import Topology, tumbling
from processor.chaos.possible import Scene
from processor.chaos.schedule import KINDS, OF_ROLES, kinds_of
from processor.topology.plan import plan


def scene(*, counts: bool = True, brokers: int = 1, on_disk: bool = True) -> Scene:
    topology = Topology("app")
    stream = topology.stream("in")
    (stream.group_by_key().count(name="counts") if counts else stream).to("out")
    return Scene(plan(topology), brokers, on_disk)


def test_three_brokers_and_stores_allow_everything() -> None:
    assert scene(brokers=3).possible(KINDS) == KINDS


@pytest.mark.parametrize(
    ("made", "word", "reason"),
    [
        (scene(brokers=0), "kill-broker", "is left alone"),
        (scene(brokers=0), "kill-input-leader", "is left alone"),
        (scene(), "suspend-group-coordinator", "add --brokers 3"),
        (scene(counts=False, brokers=3), "kill-changelog-leader", "has no store"),
        (scene(counts=False), "truncate-changelog", "has no store"),
        (scene(on_disk=False), "truncate-changelog", "in memory alone"),
    ],
)
def test_what_stands_in_the_way(made: Scene, word: str, reason: str) -> None:
    (kind,) = kinds_of([word])
    assert reason in (made.obstacle(kind) or "")
    assert kind not in made.possible(KINDS)


def test_what_one_broker_does_not_allow_is_left_out() -> None:
    assert set(KINDS) - set(scene().possible(KINDS)) == set(OF_ROLES)


def test_a_reset_has_to_be_known_by_one_offset() -> None:
    topology = Topology("app")
    grouped = topology.stream("in").group_by(str, name="by")
    grouped.window(tumbling("1m")).count(name="counts").to("out")
    made = plan(topology)
    assert made.followed
    (kind,) = kinds_of(["reset-state"])
    assert "one offset does not say" in (Scene(made, 1, on_disk=True).obstacle(kind) or "")
