"""Where everything of a picture is: boxes, frames around subtopologies, the arrows' points.

Each subtopology is placed by itself, with a door for each topic that it reads or writes on its left
or right side; then topics and subtopologies are placed as boxes of one graph. So no frame meets
another, and no arrow goes through a box. Knows the sizes of texts, not how they look.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from unicodedata import east_asian_width

from processor.topology.drawing.layout import Ends, Gaps, Link, Placed, Point, Size, place
from processor.topology.drawing.picture import Arrow, Box, Picture

LINE = 17  # from one line of text to the next
LETTER = 7.9  # widest usual width of a letter of 13 px in fonts of equal widths
SMALL = 6.9  # the same of 11 px
PAD = 14
CAP = 6  # half the height of a cylinder's end
FRAME_PAD = 22
FRAME_TOP = 40
_LONGEST = 30  # letters in a line
STORE_GAP = 10
_INNER = Gaps(44, 22)
_OUTER = Gaps(60, 30)
_NOTHING = Size(0, 0)


@dataclass(frozen=True)
class Cylinder:
    """A store, with its text in lines."""

    tip: str
    name: list[str]
    types: list[str]
    corner: Point
    size: Size


@dataclass(frozen=True)
class Shape:
    """A box with its text in lines; stores stand below it and take part in its place."""

    box: Box
    name: list[str]
    caption: list[str]
    size: Size
    stores: tuple[Cylinder, ...]
    full: Size
    corner: Point = (0, 0)

    @property
    def middle(self) -> float:
        """Where arrows meet it, below its top."""
        return self.size.height / 2


@dataclass(frozen=True)
class Frame:
    """The frame around a subtopology."""

    part: int
    corner: Point
    size: Size


@dataclass
class Scene:
    """Everything at its place."""

    shapes: list[Shape] = field(default_factory=list[Shape])
    frames: list[Frame] = field(default_factory=list[Frame])
    lines: list[tuple[Arrow, list[Point]]] = field(default_factory=list[tuple[Arrow, list[Point]]])
    size: Size = _NOTHING


def scene(drawn: Picture, room: Size = _NOTHING) -> Scene:
    """Places a picture.

    Args:
        drawn: The picture.
        room: What is left free below the text of each step, and of each topic that is read.
    """
    return _Composer(_without_cycles(drawn), room).compose()


class _Composer:
    def __init__(self, drawn: Picture, room: Size) -> None:
        self._drawn = drawn
        read = {arrow.source for arrow in drawn.arrows}
        self._shapes = {
            box.id: _shape(box, _NOTHING if box.part is None and box.id not in read else room)
            for box in drawn.boxes.values()
        }
        self._parts = sorted({box.part for box in drawn.boxes.values() if box.part is not None})
        self._inner = {part: self._place_inside(part) for part in self._parts}

    def compose(self) -> Scene:
        outer, made = self._place_outside(), Scene()
        made.size = outer.size
        for part, inner in self._inner.items():
            left, top = outer.corners[_frame(part)]
            made.frames.append(Frame(part, (left, top), self._framed(part)))
            for box, corner in inner.corners.items():
                if box in self._shapes:
                    made.shapes.append(self._at(box, _inside(left, top, corner)))
        made.shapes += [
            self._at(box, corner) for box, corner in outer.corners.items() if box in self._shapes
        ]
        made.lines = [(arrow, self._line(arrow, outer)) for arrow in self._drawn.arrows]
        return made

    def _place_inside(self, part: int) -> Placed:
        """One subtopology: its steps, and a door for each topic."""
        sizes = {
            box.id: self._shapes[box.id].full
            for box in self._drawn.boxes.values()
            if box.part == part
        }
        ends = {self._inner_ends(arrow, part): None for arrow in self._drawn.arrows}
        inside = [(one, other) for one, other in ends if one in sizes or other in sizes]
        entries = dict.fromkeys(one for one, _ in inside if one not in sizes)
        exits = dict.fromkeys(other for _, other in inside if other not in sizes)
        sizes |= dict.fromkeys((*entries, *exits), Size(0, 0))
        links = [self._link(one, other) for one, other in inside]
        return place(sizes, links, _INNER, first=entries, last=exits)

    def _place_outside(self) -> Placed:
        """Topics and frames; arrows end at the doors."""
        sizes = {_frame(part): self._framed(part) for part in self._parts}
        sizes |= {
            box.id: self._shapes[box.id].full
            for box in self._drawn.boxes.values()
            if box.part is None
        }
        links: dict[Ends, Link] = {}
        for arrow in self._drawn.arrows:
            for part in self._parts:
                one, other = self._inner_ends(arrow, part)
                inner = self._inner[part].corners
                if one not in self._shapes and one in inner:
                    link = self._link(arrow.source, _frame(part))
                    links[link[:2]] = link._replace(enters=_inside(0, 0, inner[one])[1])
                if other not in self._shapes and other in inner:
                    link = self._link(_frame(part), arrow.target)
                    links[link[:2]] = link._replace(leaves=_inside(0, 0, inner[other])[1])
        return place(sizes, list(links.values()), _OUTER)

    def _link(self, source: str, target: str) -> Link:
        """An arrow with room for its label in front of its target."""
        labels = [arrow.label for arrow in self._drawn.arrows if arrow.target == target]
        room = max(map(_letters, labels), default=0) * SMALL + 2 * PAD
        return Link(source, target, self._middle(source), self._middle(target), room)

    def _inner_ends(self, arrow: Arrow, part: int) -> Ends:
        """The arrow's ends as the subtopology sees them: topics are doors."""
        source, target = self._drawn.boxes[arrow.source], self._drawn.boxes[arrow.target]
        return (
            source.id if source.part == part else f"from {source.id}",
            target.id if target.part == part else f"to {target.id}",
        )

    def _line(self, arrow: Arrow, outer: Placed) -> list[Point]:
        """All points that the arrow passes, outside and inside."""
        source, target = self._drawn.boxes[arrow.source], self._drawn.boxes[arrow.target]
        part = source.part if target.part is None else target.part
        assert part is not None
        left, top = outer.corners[_frame(part)]
        route = self._inner[part].routes[self._inner_ends(arrow, part)]
        points = [_inside(left, top, point) for point in route]
        if source.part is None:
            return [*outer.routes[source.id, _frame(part)], *points]
        if target.part is None:
            return [*points, *outer.routes[_frame(part), target.id]]
        return points

    def _framed(self, part: int) -> Size:
        """The size of a frame; arrows that leave it make room on its right side, else here."""
        inner = self._inner[part]
        right = max(
            corner[0] + self._shapes[box].full.width + FRAME_PAD
            for box, corner in inner.corners.items()
            if box in self._shapes
        )
        width, height = inner.size
        return Size(max(width, right), height + FRAME_TOP + FRAME_PAD)

    def _middle(self, box: str) -> float:
        return self._shapes[box].middle if box in self._shapes else 0

    def _at(self, box: str, corner: Point) -> Shape:
        return replace(self._shapes[box], corner=corner)


def _frame(part: int) -> str:
    return f"part {part}"


def _inside(left: float, top: float, point: Point) -> Point:
    """A point inside of a frame whose corner is at left, top."""
    return left + point[0], top + FRAME_TOP + point[1]


def _shape(box: Box, room: Size) -> Shape:
    name, caption = _wrapped(box.name), _wrapped(box.caption)
    stores = tuple(_cylinders(box))
    text = _width(name, caption) if name else _width(caption, [])
    width = max(text, room.width) + 2 * PAD + (2 * CAP if box.part is None else 0)
    width = max([width, *(store.size.width for store in stores)])
    size = Size(width, (len(name) + len(caption)) * LINE + room.height + PAD)
    below = stores[-1].corner[1] + stores[-1].size.height if stores else 0
    return Shape(box, name, caption, size, stores, Size(width, size.height + below))


def _cylinders(box: Box) -> Iterator[Cylinder]:
    """The stores of a step; their corners are below the lower left corner of the step."""
    top = STORE_GAP
    for store in box.stores:
        name, types = _wrapped(store.name), _wrapped(store.types)
        height = (len(name) + len(types)) * LINE + PAD + 2 * CAP
        size = Size(_width(name, types) + 2 * PAD, height)
        yield Cylinder(f"changelog {store.changelog}", name, types, (0, top), size)
        top += height + STORE_GAP


def _width(large: list[str], small: list[str]) -> float:
    widths = [_letters(line) * LETTER for line in large]
    return max(widths + [_letters(line) * SMALL for line in small])


def _letters(text: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _wrapped(text: str) -> list[str]:
    """In lines, broken after what separates words in names if that can be."""
    words = re.findall(rf"[^\s._,-]{{1,{_LONGEST - 1}}}[\s._,-]*|[\s._,-]", text)
    lines = [""]
    for word in words:
        if lines[-1] and _letters(lines[-1] + word.rstrip()) > _LONGEST:
            lines.append("")
        lines[-1] += word
    return [line.rstrip() for line in lines if line.strip()]


def _without_cycles(drawn: Picture) -> Picture:
    """A topic through which records come back is shown twice: written right, read left."""
    boxes, arrows = dict(drawn.boxes), list[Arrow]()
    downstream: dict[str, set[str]] = {}

    def reaches(start: str, end: str) -> bool:
        return start == end or any(reaches(each, end) for each in downstream.get(start, ()))

    def unit(box: str) -> str:
        part = drawn.boxes[box].part
        return box if part is None else _frame(part)

    for arrow in drawn.arrows:
        source, target = unit(arrow.source), unit(arrow.target)
        made = arrow
        if source != target and reaches(target, source):
            again = f"again {arrow.source if source == arrow.source else arrow.target}"
            topic = drawn.boxes[again.removeprefix("again ")]
            boxes[again] = replace(topic, id=again)
            reading = topic.id == arrow.source
            made = arrow._replace(**{"source" if reading else "target": again})
            source, target = (again, target) if reading else (source, again)
        if source != target:
            downstream.setdefault(source, set()).add(target)
        arrows.append(made)
    return Picture(boxes, tuple(arrows))
