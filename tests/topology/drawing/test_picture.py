import pytest

from processor import Topology
from processor.topology.drawing.picture import Arrow, picture
from processor.topology.plan import plan
from tests.topology.samples import ALL, order_totals


def test_topics_stand_for_sources_and_sinks_once_each() -> None:
    drawn = picture(plan(order_totals()))
    assert [(box.kind, box.name or box.caption, box.part) for box in drawn.boxes.values()] == [
        ("topic", "orders", None),
        ("step", "filter is_big", 0),
        ("step", "map-values", 0),
        ("topic", "big-orders", None),
        ("step", "key-by user", 0),
        ("internal", "order-totals-orders-by-user-repartition", None),
        ("step", "orders-by-user-count", 1),
        ("topic", "order-totals", None),
    ]
    (counted,) = [box for box in drawn.boxes.values() if box.stores]
    assert counted.stores[0].changelog == "order-totals-orders-by-user-count-changelog"


def test_a_subtopology_without_a_step_has_a_box_all_the_same() -> None:
    topology = Topology("app")
    topology.stream("a").to("b")
    drawn = picture(plan(topology))
    (copy,) = [box for box in drawn.boxes.values() if box.part == 0]
    assert drawn.arrows == (Arrow("topic-a", copy.id), Arrow(copy.id, "topic-b"))


def test_branches_of_one_split_that_meet_again_are_one_arrow() -> None:
    topology = Topology("app")
    one, two, rest = topology.stream("a").split(one=bool, two=bool).values()
    one.merge(two, name="both").to("b")
    rest.to("c")
    labels = [arrow.label for arrow in picture(plan(topology)).arrows]
    assert labels == ["", "one, two", "", "default"]


@pytest.mark.parametrize("name", ALL)
def test_arrows_join_a_topic_and_a_step_or_steps_of_one_subtopology(name: str) -> None:
    drawn = picture(plan(ALL[name]()))
    for arrow in drawn.arrows:
        parts = {drawn.boxes[arrow.source].part, drawn.boxes[arrow.target].part}
        assert parts != {None}
        assert len(parts - {None}) == 1
