import random
from itertools import pairwise

import pytest

from processor import Topology
from processor.topology.drawing.layout import Point, Size
from processor.topology.drawing.picture import picture
from processor.topology.drawing.scene import LETTER, PAD, Scene, scene
from processor.topology.plan import plan
from tests.topology.samples import ALL

SEEN = 0.01


def random_topology(seed: int) -> Topology:
    dice = random.Random(seed)
    topology = Topology("random")
    streams = [topology.stream(f"input-{number}") for number in range(dice.randint(1, 3))]
    for number in range(dice.randint(1, 25)):
        stream = dice.choice(streams)
        match dice.randrange(7):
            case 0:
                streams += stream.split(yes=bool).values()
            case 1:
                streams.append(stream.merge(dice.choice(streams)))
            case 2:
                streams.append(stream.key_by("field").repartition(name=f"again-{number}"))
            case 3:
                made = stream.group_by_key().count(name=f"a-store-with-a-long-name-{number}")
                streams.append(made.to_stream())
            case 4:
                stream.to(f"output-{number}")
            case 5:
                streams.append(stream.through(f"between-{number}"))
            case _:
                streams.append(stream.map_values(str.upper))
    return topology


TOPOLOGIES = [*(make() for make in ALL.values()), *map(random_topology, range(40))]


@pytest.fixture(params=TOPOLOGIES, ids=lambda topology: topology.name)
def placed(request: pytest.FixtureRequest) -> Scene:
    return scene(picture(plan(request.param)))


def meet(one: tuple[Point, Size], other: tuple[Point, Size]) -> bool:
    ((x1, y1), (w1, h1)), ((x2, y2), (w2, h2)) = one, other
    return x1 < x2 + w2 and x2 < x1 + w1 and y1 < y2 + h2 and y2 < y1 + h1


def test_neither_frames_nor_boxes_overlap(placed: Scene) -> None:
    boxes = [(shape.corner, shape.full) for shape in placed.shapes]
    frames = [(frame.corner, frame.size) for frame in placed.frames]
    outside = [(shape.corner, shape.full) for shape in placed.shapes if shape.box.part is None]
    for group in (boxes, [*frames, *outside]):
        assert not [
            (one, other)
            for row, one in enumerate(group)
            for other in group[row + 1 :]
            if meet(one, other)
        ]


def test_steps_are_within_their_frames_and_everything_within_the_picture(placed: Scene) -> None:
    frames = {frame.part: frame for frame in placed.frames}
    for shape in placed.shapes:
        part = shape.box.part
        corner, size = ((0.0, 0.0), placed.size)
        if part is not None:
            corner, size = frames[part].corner, frames[part].size
        assert corner[0] <= shape.corner[0]
        assert corner[1] <= shape.corner[1]
        assert shape.corner[0] + shape.full.width <= corner[0] + size.width + SEEN
        assert shape.corner[1] + shape.full.height <= corner[1] + size.height + SEEN


def test_arrows_go_through_no_box_and_end_where_they_lead(placed: Scene) -> None:
    shapes = {shape.box.id: shape for shape in placed.shapes}
    for arrow, points in placed.lines:
        source, target = shapes[arrow.source], shapes[arrow.target]
        right = source.corner[0] + source.size.width
        assert points[0] == pytest.approx((right, source.corner[1] + source.middle))
        assert points[-1] == pytest.approx((target.corner[0], target.corner[1] + target.middle))
        assert all(x1 <= x2 + SEEN for (x1, _), (x2, _) in pairwise(points))
        for shape in placed.shapes:
            (left, top), (width, height) = shape.corner, shape.full
            assert not any(
                left + SEEN < x < left + width - SEEN and top + SEEN < y < top + height - SEEN
                for x, y in points
            )


def test_boxes_are_wide_enough_for_their_text(placed: Scene) -> None:
    for shape in placed.shapes:
        longest = max(map(len, shape.name or shape.caption))
        assert longest * LETTER + PAD <= shape.size.width


def test_long_names_are_broken_into_lines_and_lose_nothing() -> None:
    name = "orders-of-a-very-long-name." + "x" * 120
    topology = Topology("app")
    topology.stream(name).to("b")
    (shape,) = [shape for shape in scene(picture(plan(topology))).shapes if shape.box.name == name]
    assert "".join(shape.name) == name
    assert max(map(len, shape.name)) <= 30
