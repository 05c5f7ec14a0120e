"""A plan as an SVG picture that needs nothing else: no script, no font, no other file.

Light or dark as its reader's screen is; its own background keeps it legible where that is unknown.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

from processor.topology.drawing.layout import Point, Size
from processor.topology.drawing.picture import Arrow, picture
from processor.topology.drawing.scene import (
    CAP,
    LINE,
    PAD,
    STORE_GAP,
    Cylinder,
    Frame,
    Scene,
    Shape,
    scene,
)
from processor.topology.plan import Plan

_MARGIN = 28
_TITLE = 44
_MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_SANS = "ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"

# Fill, outline and text of each class, light and dark.
_COLOURS = {
    "page": (("#ffffff", "#e2e8f0", "#0f172a"), ("#0b1120", "#1e293b", "#f1f5f9")),
    "frame": (("#f8fafc", "#cbd5e1", "#475569"), ("#111a2e", "#334155", "#94a3b8")),
    "topic": (("#dbeafe", "#2563eb", "#172554"), ("#172554", "#60a5fa", "#dbeafe")),
    "internal": (("#ede9fe", "#7c3aed", "#2e1065"), ("#2e1065", "#a78bfa", "#ede9fe")),
    "chosen": (("#dbeafe", "#2563eb", "#172554"), ("#172554", "#60a5fa", "#dbeafe")),
    "step": (("#ffffff", "#64748b", "#0f172a"), ("#1e293b", "#94a3b8", "#f1f5f9")),
    "store": (("#fef3c7", "#d97706", "#451a03"), ("#451a03", "#f59e0b", "#fef3c7")),
    "line": (("none", "#64748b", "#475569"), ("none", "#94a3b8", "#cbd5e1")),
}


def svg(plan: Plan) -> str:
    """The plan as an SVG document, from left to right."""
    made = scene(picture(plan))
    title = _text(plan.application, _MARGIN, _MARGIN + 16, "title page-text")
    width = max(made.size.width, len(plan.application) * 11) + 2 * _MARGIN
    size = Size(width, made.size.height + 2 * _MARGIN + _TITLE)
    label = f"aria-label={quoteattr(f'Topology {plan.application}')}"
    box = f'width="{size.width:.0f}" height="{size.height:.0f}"'
    view = f'viewBox="0 0 {size.width:.0f} {size.height:.0f}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {box} {view} role="img" {label}>',
            f"<style>{_style()}</style>",
            _rectangle((0, 0), size, 0, "page"),
            title,
            f'<g transform="translate({_MARGIN} {_MARGIN + _TITLE})">',
            *_elements(made),
            "</g>",
            "</svg>",
            "",
        )
    )


def _elements(made: Scene) -> Iterator[str]:
    for frame in made.frames:
        yield from _frame(frame)
    for arrow, points in made.lines:
        yield from _arrow(arrow, points)
    for shape in made.shapes:
        yield from _shape(shape)


def _frame(frame: Frame) -> Iterator[str]:
    left, top = frame.corner
    yield _rectangle(frame.corner, frame.size, 12, "frame")
    yield _text(f"Subtopology {frame.part}", left + 14, top + 22, "small strong frame-text")


def _shape(shape: Shape) -> Iterator[str]:
    box, (left, top) = shape.box, shape.corner
    yield f"<g><title>{escape(f'{box.name} {box.caption}'.strip())}</title>"
    if box.part is None:
        yield _pipe(shape.corner, shape.size, box.kind)
        lines = [(line, "name") for line in shape.name] + [
            (line, "small") for line in shape.caption
        ]
    else:
        yield _rectangle(shape.corner, shape.size, 7, "step")
        style = "small" if shape.name else "name"
        lines = [(line, style) for line in shape.caption] + [(line, "name") for line in shape.name]
    right = CAP if box.part is None else 0  # the end of a pipe that one looks into
    yield from _lines(lines, left + shape.size.width / 2 - right, top + PAD / 2, box.kind)
    yield "</g>"
    for store in shape.stores:
        yield from _store(store, (left, top + shape.size.height), shape.size.width)


def _store(store: Cylinder, below: Point, width: float) -> Iterator[str]:
    left = below[0] + (width - store.size.width) / 2
    top = below[1] + store.corner[1]
    middle = left + store.size.width / 2
    yield f'<path class="line" d="M{middle:.1f} {top - STORE_GAP:.1f}v{STORE_GAP + CAP:.1f}"/>'
    yield f"<g><title>{escape(store.tip)}</title>"
    yield _barrel((left, top), store.size)
    lines = [(line, "name") for line in store.name] + [(line, "small") for line in store.types]
    yield from _lines(lines, middle, top + 2 * CAP + PAD / 2, "store")
    yield "</g>"


def _lines(lines: Sequence[tuple[str, str]], x: float, top: float, kind: str) -> Iterator[str]:
    for number, (line, style) in enumerate(lines):
        y = top + number * LINE + LINE * 0.72
        yield _text(line, x, y, f"{style} centered {kind}-text")


def _arrow(arrow: Arrow, points: Sequence[Point]) -> Iterator[str]:
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x1, y1), (x2, y2) in pairwise(points):
        if abs(y1 - y2) < 0.05:  # noqa: PLR2004 - a difference that is not seen
            path += f"H{x2:.1f}"
        else:
            bend = (x1 + x2) / 2
            path += f"C{bend:.1f} {y1:.1f} {bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    x, y = points[-1]
    yield f'<path class="line" d="{path}"/>'
    yield f'<path class="head" d="M{x:.1f} {y:.1f}l-8 -4.5v9z"/>'
    if arrow.label:
        yield _text(arrow.label, x - 11, y - 5, "label line-text")


def _pipe(corner: Point, size: Size, kind: str) -> str:
    """A cylinder on its side: a topic."""
    (left, top), (width, height) = corner, size
    body, end = width - 2 * CAP, height / 2
    return (
        f'<path class="{kind}" d="M{left + CAP:.1f} {top:.1f}h{body:.1f}'
        f"a{CAP} {end:.1f} 0 0 1 0 {height:.1f}h{-body:.1f}"
        f'a{CAP} {end:.1f} 0 0 1 0 {-height:.1f}z"/>'
        f'<path class="{kind} rim" d="M{left + CAP + body:.1f} {top:.1f}'
        f'a{CAP} {end:.1f} 0 0 0 0 {height:.1f}"/>'
    )


def _barrel(corner: Point, size: Size) -> str:
    """A standing cylinder: a store."""
    (left, top), (width, height) = corner, size
    side, radius = height - 2 * CAP, width / 2
    return (
        f'<path class="store" d="M{left:.1f} {top + CAP:.1f}v{side:.1f}'
        f"a{radius:.1f} {CAP} 0 0 0 {width:.1f} 0v{-side:.1f}"
        f'a{radius:.1f} {CAP} 0 0 0 {-width:.1f} 0z"/>'
        f'<path class="store rim" d="M{left:.1f} {top + CAP:.1f}'
        f'a{radius:.1f} {CAP} 0 0 0 {width:.1f} 0"/>'
    )


def _rectangle(corner: Point, size: Size, radius: float, kind: str) -> str:
    return (
        f'<rect class="{kind}" x="{corner[0]:.1f}" y="{corner[1]:.1f}" '
        f'width="{size.width:.1f}" height="{size.height:.1f}" rx="{radius}"/>'
    )


def _text(text: str, x: float, y: float, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _style() -> str:
    light = "".join(_rules(kind, *colours[0]) for kind, colours in _COLOURS.items())
    dark = "".join(_rules(kind, *colours[1]) for kind, colours in _COLOURS.items())
    return (
        f"text{{font-family:{_MONO}}}"
        ".name{font-size:13px}.small{font-size:11px}.label{font-size:11px;text-anchor:end}"
        f".title{{font:600 20px {_SANS}}}.strong{{font-weight:600}}"
        ".centered{text-anchor:middle}"
        "path,rect{stroke-width:1.3}.internal,.chosen{stroke-dasharray:5 3}"
        f"{light}@media (prefers-color-scheme:dark){{{dark}}}"
        ".rim,.line{fill:none}.head{stroke:none}"
    )


def _rules(kind: str, fill: str, outline: str, text: str) -> str:
    rules = f".{kind}{{fill:{fill};stroke:{outline}}}.{kind}-text{{fill:{text}}}"
    return rules + (f".head{{fill:{outline}}}" if kind == "line" else "")
