"""What the page is made of, as `/status.json` and `/application.json` serve it.

From what a node knows to documents; their types are the schema in `/openapi.json`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from processor.cluster.beats import Replica
from processor.cluster.overview import NodeOverview, SlotOverview
from processor.health.flows import SlotFlows
from processor.health.history import Event
from processor.health.problems import Problem
from processor.node.accounting import Figures, SlotFigures
from processor.topology.drawing.layout import Point, Size
from processor.topology.drawing.picture import picture
from processor.topology.drawing.scene import Cylinder, Scene, Shape, scene
from processor.topology.plan import Plan
from processor.worker.channel import RestoreStatus

ROOM: Final = Size(152, 22)
"""For figures in a box of the drawing."""


class Totals(msgspec.Struct, frozen=True):
    """Of this node since its start, over restarts of its workers."""

    records: int
    records_per_second: float
    lag: int | None
    checkpoints: int
    checkpoints_per_second: float
    bad_records: int
    late_records: int
    restarts: int


class WorkerStatus(msgspec.Struct, frozen=True):
    """A worker of this node."""

    slot: int
    role: str
    state: str
    records_per_second: float
    lag: int | None
    partitions: int
    tasks: int
    restarts: int
    state_bytes: int
    checkpoints_per_second: float
    checkpoint_seconds: float | None  # what a commit takes
    checkpoint_age: float | None  # seconds since the last one
    restore: RestoreStatus | None
    native: bool  # whether batches go by the native plane


class TopicStatus(msgspec.Struct, frozen=True):
    """A topic that this node's primaries read."""

    topic: str
    records_per_second: float
    lag: int | None


class StepStatus(msgspec.Struct, frozen=True):
    """A step of this node's primaries; sources decode, sinks encode."""

    step: str
    busy: float  # the share of a slot's time that it takes, of 1


class BadRecords(msgspec.Struct, frozen=True):
    """Records that could not be processed."""

    step: str
    reason: str
    records: int


class LateRecords(msgspec.Struct, frozen=True):
    """Records that came to a step which judges whether they are late."""

    step: str
    judged: int
    late: int
    partly: int  # for some of their windows only


class Status(msgspec.Struct, frozen=True):
    """An application as one of its nodes sees it, and what that node's workers do."""

    application: str
    node: str  # this node's id
    time: int  # milliseconds since 1970
    uptime: float  # seconds
    unsettled: str | None  # what the node still has to do; None: it is ready
    healthy: bool  # whether each slot has a live primary
    problems: tuple[Problem, ...]
    totals: Totals
    slots: tuple[SlotOverview, ...]  # of all nodes
    nodes: tuple[NodeOverview, ...]
    workers: tuple[WorkerStatus, ...]
    topics: tuple[TopicStatus, ...]
    steps: tuple[StepStatus, ...]
    bad_records: tuple[BadRecords, ...]
    late_records: tuple[LateRecords, ...]
    events: tuple[Event, ...]  # the latest first


class Setting(msgspec.Struct, frozen=True):
    """A setting in effect; secrets are hidden."""

    name: str
    value: str
    origin: str
    description: str


class Drawn(msgspec.Struct, frozen=True):
    """A box of the drawing: the corner, the size, and the lines of its text."""

    kind: str  # topic, internal, chosen, step or store
    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]
    small: tuple[str, ...]
    title: str
    topic: str = ""  # whose figures it shows
    step: str = ""


class Line(msgspec.Struct, frozen=True):
    """An arrow of the drawing."""

    points: tuple[Point, ...]
    label: str


class Frame(msgspec.Struct, frozen=True):
    """The frame around a subtopology."""

    part: int
    x: float
    y: float
    width: float
    height: float


class Drawing(msgspec.Struct, frozen=True):
    """The topology; all lengths are pixels."""

    width: float
    height: float
    frames: tuple[Frame, ...]
    boxes: tuple[Drawn, ...]
    lines: tuple[Line, ...]


class Application(msgspec.Struct, frozen=True):
    """What stays the same while a node runs."""

    application: str
    version: str
    guarantee: str
    drawing: Drawing
    settings: tuple[Setting, ...]


def totals(figures: Figures) -> Totals:
    """What all of the node's workers did."""
    return Totals(
        figures.records,
        round(figures.records_per_second, 1),
        figures.lag,
        figures.checkpoints,
        round(figures.checkpoints_per_second, 2),
        figures.bad_records.total(),
        sum(each.late for each in figures.late.values()),
        figures.restarts,
    )


def workers(
    replicas: Iterable[Replica],
    figures: Mapping[int, SlotFigures],
    flows: Mapping[int, SlotFlows],
    now: float,
) -> Iterator[WorkerStatus]:
    """The workers that the node has."""
    for each in replicas:
        known, flow = figures.get(each.slot), flows.get(each.slot, SlotFlows())
        last = None if known is None else known.last
        seconds, at = flow.checkpoint_seconds, flow.checkpoint_at
        is_primary = each.role == "primary"
        yield WorkerStatus(
            slot=each.slot,
            role=each.role,
            state=each.state,
            records_per_second=round(flow.records.per_second, 1),
            lag=each.lag,
            partitions=last.partitions if last and is_primary else 0,
            tasks=last.tasks if last else 0,
            restarts=known.restarts if known else 0,
            state_bytes=each.bytes,
            checkpoints_per_second=round(flow.checkpoints.per_second, 2),
            checkpoint_seconds=None if seconds is None else round(seconds, 4),
            checkpoint_age=None if at is None or not is_primary else round(now - at, 1),
            restore=last.restore if last else None,
            native=last.native if last else False,
        )


def topics(
    primaries: Iterable[int], figures: Mapping[int, SlotFigures], flows: Mapping[int, SlotFlows]
) -> tuple[TopicStatus, ...]:
    """What the node's primaries read, all together."""
    rates: defaultdict[str, float] = defaultdict(float)
    lags: dict[str, int | None] = {}
    for slot in primaries:
        if slot in figures:
            for topic, reading in figures[slot].last.topics.items():
                rates[topic] += flows[slot].topics[topic].per_second if slot in flows else 0.0
                before = lags.get(topic)
                lags[topic] = before if reading.lag is None else reading.lag + (before or 0)
    return tuple(TopicStatus(each, round(rates[each], 1), lags[each]) for each in sorted(lags))


def steps(primaries: Iterable[int], flows: Mapping[int, SlotFlows]) -> tuple[StepStatus, ...]:
    """What share of a slot's time each step takes, on the mean of the node's primaries."""
    slots = [flows[slot] for slot in primaries if slot in flows]
    busy: defaultdict[str, float] = defaultdict(float)
    for slot in slots:
        for step, flow in slot.steps.items():
            busy[step] += flow.per_second / len(slots)
    return tuple(StepStatus(each, min(1.0, round(busy[each], 4))) for each in sorted(busy))


def bad_records(figures: Figures) -> tuple[BadRecords, ...]:
    """By step and reason, the most first."""
    return tuple(BadRecords(*cause, count) for cause, count in figures.bad_records.most_common())


def late_records(figures: Figures) -> tuple[LateRecords, ...]:
    """By step."""
    return tuple(
        LateRecords(step, each.judged, each.late, each.partly)
        for step, each in sorted(figures.late.items())
    )


def drawing(plan: Plan) -> Drawing:
    """The plan as boxes and lines at their places, with room for figures."""
    made = scene(picture(plan), ROOM)
    return Drawing(
        *made.size,
        frames=tuple(Frame(each.part, *each.corner, *each.size) for each in made.frames),
        boxes=tuple(_boxes(made)),
        lines=tuple(Line(tuple(points), arrow.label) for arrow, points in made.lines),
    )


def _boxes(made: Scene) -> Iterator[Drawn]:
    for shape in made.shapes:
        box = shape.box
        is_step = box.part is not None
        yield Drawn(
            box.kind,
            *shape.corner,
            *shape.size,
            lines=tuple(shape.name),
            small=tuple(shape.caption),
            title=f"{box.name} {box.caption}".strip(),
            topic="" if is_step else box.name,
            step=box.id.removeprefix("node-") if is_step else "",
        )
        yield from (_store(shape, each) for each in shape.stores)


def _store(shape: Shape, store: Cylinder) -> Drawn:
    left, top = shape.corner
    return Drawn(
        "store",
        left + (shape.size.width - store.size.width) / 2,
        top + shape.size.height + store.corner[1],
        *store.size,
        lines=tuple(store.name),
        small=tuple(store.types),
        title=store.tip,
    )
