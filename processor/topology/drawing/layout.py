"""Places boxes in columns from left to right so that arrows are short, straight and rarely cross.

After K. Sugiyama, S. Tagawa, M. Toda, "Methods for Visual Understanding of Hierarchical System
Structures" (1981): columns by longest path, long arrows bent in every column that they pass, order
within columns by barycenters. Positions are the ones closest to straight arrows that keep the
order, by isotonic regression. Knows nothing of what the boxes mean; the graph must have no cycle.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, TypeAlias

Point: TypeAlias = tuple[float, float]
Ends: TypeAlias = tuple[str, str]

_SWEEPS = 12


class Size(NamedTuple):
    """Of a box, in pixels."""

    width: float
    height: float


_NOTHING = Size(0, 0)


class Link(NamedTuple):
    """An arrow; it leaves and enters so far below the tops of its boxes.

    `room` is the least gap between the columns at its end.
    """

    source: str
    target: str
    leaves: float
    enters: float
    room: float = 0


class Gaps(NamedTuple):
    """The room between columns, and between boxes above each other."""

    across: float
    down: float


@dataclass
class Placed:
    """Top left corners of the boxes, and for each arrow the points where it passes a column."""

    corners: dict[str, Point] = field(default_factory=dict[str, Point])
    routes: dict[Ends, list[Point]] = field(default_factory=dict[Ends, list[Point]])
    size: Size = _NOTHING


def place(
    sizes: Mapping[str, Size],
    links: Sequence[Link],
    gaps: Gaps,
    *,
    first: Iterable[str] = (),
    last: Iterable[str] = (),
) -> Placed:
    """Places boxes.

    Args:
        sizes: The boxes.
        links: The arrows, at most one from a box to another.
        gaps: The room between them.
        first: Boxes that have to be in the first column; no arrow leads to them.
        last: Boxes that have to be in the last column; no arrow leads away from them.
    """
    columns = _columns(sizes, links, frozenset(first), frozenset(last))
    chains = {link[:2]: _chain(link, columns) for link in links}
    pieces = [piece for chain in chains.values() for piece in chain]
    full = {**sizes, **{piece.target: Size(0, 0) for piece in pieces if piece.target not in sizes}}
    for chain in chains.values():
        for piece in chain[:-1]:
            columns[piece.target] = columns[piece.source] + 1
    order = _ordered(full, pieces, columns)
    tops = _tops(full, pieces, order, gaps.down)
    return _assembled(full, chains, order, tops, gaps.across)


def _columns(
    sizes: Mapping[str, Size], links: Sequence[Link], first: frozenset[str], last: frozenset[str]
) -> dict[str, int]:
    """As far left as arrows allow; boxes that no arrow leads to as far right as they can be."""
    columns = dict.fromkeys(sizes, 0)
    for _ in sizes:
        for link in links:
            columns[link.target] = max(columns[link.target], columns[link.source] + 1)
    targets = {link.target for link in links}
    for box in columns.keys() - targets - first:
        downstream = [columns[link.target] for link in links if link.source == box]
        columns[box] = min(downstream, default=1) - 1
    end = max((columns[box] for box in columns.keys() - last), default=-1) + 1
    return {box: end if box in last else column for box, column in columns.items()}


def _chain(link: Link, columns: Mapping[str, int]) -> list[Link]:
    """The arrow in pieces from column to column, over boxes without size."""
    passed = range(columns[link.source] + 1, columns[link.target])
    stops = [link.source, *(f"{link.source}\n{link.target}\n{at}" for at in passed), link.target]
    pieces = [Link(source, target, 0, 0) for source, target in pairwise(stops)]
    pieces[0] = pieces[0]._replace(leaves=link.leaves)
    pieces[-1] = pieces[-1]._replace(enters=link.enters, room=link.room)
    return pieces


class _Sides(NamedTuple):
    """For each box its neighbours on one side: the other box, where it ends there, where here."""

    left: Mapping[str, list[tuple[str, float, float]]]
    right: Mapping[str, list[tuple[str, float, float]]]


def _sides(pieces: Sequence[Link]) -> _Sides:
    sides = _Sides(defaultdict(list), defaultdict(list))
    for source, target, leaves, enters, _ in pieces:
        sides.left[target].append((source, leaves, enters))
        sides.right[source].append((target, enters, leaves))
    return sides


def _ordered(
    sizes: Mapping[str, Size], pieces: Sequence[Link], columns: Mapping[str, int]
) -> list[list[str]]:
    """The boxes of each column from top to bottom, in the best order found."""
    order: list[list[str]] = [[] for _ in range(max(columns.values(), default=-1) + 1)]
    for box in sizes:
        order[columns[box]].append(box)
    sides = _sides(pieces)
    best, fewest = [list(column) for column in order], _crossings(order, pieces)
    for sweep in range(_SWEEPS):
        rightwards = sweep % 2 == 0
        side = sides.left if rightwards else sides.right
        for column in order if rightwards else reversed(order):
            rank = {box: number for boxes in order for number, box in enumerate(boxes)}
            center = {box: _barycenter(rank, sizes, box, side.get(box, [])) for box in column}
            column.sort(key=center.__getitem__)
        crossings = _crossings(order, pieces)
        if crossings < fewest:
            best, fewest = [list(column) for column in order], crossings
    return best


def _barycenter(
    rank: Mapping[str, int],
    sizes: Mapping[str, Size],
    box: str,
    neighbours: Sequence[tuple[str, float, float]],
) -> float:
    """The mean rank of the neighbours; where an arrow ends on one distinguishes arrows to it."""
    ranks = [rank[other] + there / (sizes[other].height + 1) for other, there, _ in neighbours]
    return sum(ranks) / len(ranks) if ranks else rank[box]


def _crossings(order: Sequence[Sequence[str]], pieces: Sequence[Link]) -> int:
    column = {box: number for number, boxes in enumerate(order) for box in boxes}
    rank = {box: number for boxes in order for number, box in enumerate(boxes)}
    ends = [
        (column[p.source], (rank[p.source], p.leaves), (rank[p.target], p.enters)) for p in pieces
    ]
    return sum(
        one[0] == other[0] and one[1] < other[1] and one[2] > other[2]
        for one in ends
        for other in ends
    )


def _tops(
    sizes: Mapping[str, Size], pieces: Sequence[Link], order: Sequence[Sequence[str]], gap: float
) -> dict[str, float]:
    """How far down each box is, so that arrows are as straight as the order allows."""
    tops = dict.fromkeys(sizes, 0.0)
    sides = _sides(pieces)
    for sweep in range(_SWEEPS):
        side = (sides.left, sides.right)[sweep % 2]
        for column in order if sweep % 2 == 0 else reversed(order):
            wanted = [_wanted(tops, box, side.get(box, [])) for box in column]
            heights = [sizes[box].height + gap for box in column]
            tops |= zip(column, _apart(wanted, heights), strict=True)
    highest = min(tops.values(), default=0)
    return {box: top - highest for box, top in tops.items()}


def _wanted(
    tops: Mapping[str, float], box: str, neighbours: Sequence[tuple[str, float, float]]
) -> float:
    if not neighbours:
        return tops[box]
    return sum(tops[other] + there - here for other, there, here in neighbours) / len(neighbours)


def _apart(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Positions in order, each a height below the one before, closest to the wanted ones.

    Without the heights above each they only have to grow: least squares by pooling neighbours that
    are the wrong way round (R. E. Barlow et al., "Statistical Inference under Order Restrictions").
    """
    shifts = [sum(heights[:row]) for row in range(len(heights))]
    pools: list[tuple[float, int]] = []  # mean and number of members
    for want, shift in zip(wanted, shifts, strict=True):
        mean, count = want - shift, 1
        while pools and pools[-1][0] > mean:
            other, members = pools.pop()
            mean = (mean * count + other * members) / (count + members)
            count += members
        pools.append((mean, count))
    means = [mean for mean, count in pools for _ in range(count)]
    return [mean + shift for mean, shift in zip(means, shifts, strict=True)]


def _assembled(
    sizes: Mapping[str, Size],
    chains: Mapping[Ends, list[Link]],
    order: Sequence[Sequence[str]],
    tops: Mapping[str, float],
    gap: float,
) -> Placed:
    """Columns next to each other, boxes in their middle, arrows level while they pass a column."""
    placed = Placed()
    spans: dict[str, tuple[float, float]] = {}
    rooms = {chain[-1].target: chain[-1].room for chain in chains.values() if chain[-1].room}
    left = -gap
    for column in order:
        left += max([gap, *(rooms.get(box, 0) for box in column)])
        width = max((sizes[box].width for box in column), default=0)
        for box in column:
            placed.corners[box] = (left + (width - sizes[box].width) / 2, tops[box])
            spans[box] = (left, left + width)
        left += width
    for ends, chain in chains.items():
        placed.routes[ends] = list(_route(chain, placed.corners, spans, sizes))
    bottom = max((tops[box] + size.height for box, size in sizes.items()), default=0)
    placed.size = Size(max(left, 0), bottom)
    return placed


def _route(
    chain: Sequence[Link],
    corners: Mapping[str, Point],
    spans: Mapping[str, tuple[float, float]],
    sizes: Mapping[str, Size],
) -> Iterable[Point]:
    start, end = chain[0].source, chain[-1].target
    yield corners[start][0] + sizes[start].width, corners[start][1] + chain[0].leaves
    for source, target, leaves, enters, _ in chain:
        yield spans[source][1], corners[source][1] + leaves
        yield spans[target][0], corners[target][1] + enters
    yield corners[end][0], corners[end][1] + chain[-1].enters
