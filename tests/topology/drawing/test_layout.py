import random

import pytest

from processor.topology.drawing.layout import Gaps, Link, Placed, Size, place

GAPS = Gaps(40, 10)


def overlaps(placed: Placed, sizes: dict[str, Size]) -> list[tuple[str, str]]:
    boxes = [(box, *placed.corners[box], *sizes[box]) for box in sizes]
    return [
        (one, other)
        for one, x1, y1, w1, h1 in boxes
        for other, x2, y2, w2, h2 in boxes
        if one < other and x1 < x2 + w2 and x2 < x1 + w1 and y1 < y2 + h2 and y2 < y1 + h1
    ]


def test_a_chain_is_a_straight_line_from_left_to_right() -> None:
    sizes = {"a": Size(50, 20), "b": Size(80, 60), "c": Size(10, 20)}
    placed = place(sizes, [Link("a", "b", 10, 30), Link("b", "c", 30, 10)], GAPS)
    assert placed.corners == {"a": (0, 20), "b": (90, 0), "c": (210, 20)}
    assert {y for route in placed.routes.values() for _, y in route} == {30}
    assert placed.size == Size(220, 60)


def test_a_long_arrow_keeps_off_the_boxes_between_its_ends() -> None:
    sizes = {box: Size(50, 20) for box in "abc"}
    links = [Link("a", "b", 10, 10), Link("b", "c", 10, 10), Link("a", "c", 10, 10)]
    placed = place(sizes, links, GAPS)
    top = placed.corners["b"][1]
    assert not any(90 <= x <= 140 and top < y < top + 20 for x, y in placed.routes["a", "c"])


def test_boxes_that_only_give_stand_right_before_those_they_give_to() -> None:
    sizes = {box: Size(10, 10) for box in "abcd"}
    placed = place(sizes, [Link("a", "b", 5, 5), Link("b", "c", 5, 5), Link("d", "c", 5, 5)], GAPS)
    assert placed.corners["d"][0] == placed.corners["b"][0]


def test_first_and_last_boxes_are_at_the_edges() -> None:
    sizes = {"in": Size(0, 0), "a": Size(10, 10), "b": Size(10, 10), "out": Size(0, 0)}
    links = [Link("in", "a", 0, 5), Link("a", "b", 5, 5), Link("a", "out", 5, 0)]
    placed = place(sizes, links, GAPS, first=["in"], last=["out"])
    assert placed.corners["in"][0] == 0
    assert placed.corners["out"][0] == placed.size.width


def test_order_within_columns_avoids_crossings() -> None:
    sizes = {box: Size(10, 10) for box in ("a", "b", "c", "x", "y", "z")}
    links = [Link("a", "z", 5, 5), Link("b", "y", 5, 5), Link("c", "x", 5, 5)]
    placed = place(sizes, links, GAPS)
    assert all(len({y for _, y in route}) == 1 for route in placed.routes.values())


def test_nothing_and_a_single_box() -> None:
    assert place({}, [], GAPS).size == Size(0, 0)
    assert place({"a": Size(10, 20)}, [], GAPS).size == Size(10, 20)


@pytest.mark.parametrize("seed", range(30))
def test_boxes_never_overlap(seed: int) -> None:
    dice = random.Random(seed)
    names = [f"box-{number}" for number in range(dice.randint(2, 20))]
    sizes = {name: Size(dice.randint(0, 90), dice.randint(1, 60)) for name in names}
    pairs = [(one, other) for one in names for other in names if one < other]
    picked = dice.sample(sorted(pairs), dice.randint(1, len(pairs)) // 2)
    placed = place(sizes, [Link(one, other, 0, 0) for one, other in picked], GAPS)
    assert overlaps(placed, sizes) == []
    assert all(placed.corners[one][0] < placed.corners[other][0] for one, other in picked)
