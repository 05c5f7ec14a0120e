"""A plan as boxes and the arrows between them.

Topics take the place of sources and sinks and stand outside of subtopologies; stores stand with
their step. Knows nothing of positions, colours or formats.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from processor.serdes.base import Serde
from processor.state.keyvalue import StoreSpec
from processor.topology.describe import branch, caption, function_name
from processor.topology.graph import Edge, Node, Sink, Source, Step
from processor.topology.plan import Plan, Subtopology

Kind: TypeAlias = Literal["topic", "internal", "chosen", "step"]
"""A user's topic, a repartition topic, a topic chosen for each record, a step."""


class Store(NamedTuple):
    """A store of a step."""

    name: str
    types: str
    changelog: str


@dataclass(frozen=True)
class Box:
    """A topic or a step."""

    id: str
    kind: Kind
    name: str
    caption: str
    """What it is, in a few words."""
    part: int | None = None
    """The subtopology of a step."""
    stores: tuple[Store, ...] = ()


class Arrow(NamedTuple):
    """Records go from a box to another; the label names the branch of a split."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True)
class Picture:
    """All boxes and arrows; an arrow never joins two topics, nor steps of two subtopologies."""

    boxes: dict[str, Box]
    arrows: tuple[Arrow, ...]


def picture(plan: Plan) -> Picture:
    """A plan as boxes and arrows."""
    boxes: dict[str, Box] = {}
    arrows: dict[tuple[str, str], Arrow] = {}
    for part in plan.subtopologies:
        for each in _elements(plan, part):
            if isinstance(each, Box):
                boxes.setdefault(each.id, each)
            else:
                known = arrows.get(each[:2], each)
                labels = dict.fromkeys((known.label, each.label))
                arrows[each[:2]] = known._replace(label=", ".join(filter(None, labels)))
    return Picture(boxes, tuple(arrows.values()))


def _elements(plan: Plan, part: Subtopology) -> Iterator[Box | Arrow]:
    for node in part.nodes:
        if isinstance(node, Source):
            yield from (_topic(plan, topic, node.key, node.value) for topic in node.topics)
        elif isinstance(node, Step):
            stores = tuple(_store(plan, spec) for spec in node.stores)
            name = "" if _numbered(node) else node.name
            yield Box(_id(node), "step", name, caption(node), part.number, stores)
            yield from _arrows(node, _id(node))
        elif isinstance(node, Sink):
            yield from _sink(plan, part, node)


def _sink(plan: Plan, part: Subtopology, sink: Sink) -> Iterator[Box | Arrow]:
    if isinstance(sink.topic, str):
        target = _topic(plan, sink.topic, sink.key, sink.value)
    else:
        by = function_name(sink.topic)
        caption = f"chosen by {by}" if by else "chosen for each record"
        target = Box(_id(sink), "chosen", "", caption)
    yield target
    (parent,) = sink.parents
    if not isinstance(parent.node, Source):
        yield from _arrows(sink, target.id)
        return
    # A subtopology without a step has something to show all the same.
    yield Box(f"copy-{sink.name}", "step", "", "copy", part.number)
    yield from _arrows(sink, f"copy-{sink.name}")
    yield Arrow(f"copy-{sink.name}", target.id)


def _arrows(node: Node, target: str) -> Iterator[Arrow]:
    for edge in node.parents:
        yield from (Arrow(origin, target, branch(edge)) for origin in _origins(edge))


def _origins(edge: Edge) -> list[str]:
    node = edge.node
    if isinstance(node, Source):
        return [f"topic-{topic}" for topic in node.topics]
    return [_id(node)]


def _topic(plan: Plan, topic: str, key: Serde[Any], value: Serde[Any]) -> Box:
    kind = "internal" if topic in plan.repartitions else "topic"
    return Box(f"topic-{topic}", kind, topic, f"{key.name} → {value.name}")


def _store(plan: Plan, spec: StoreSpec[Any, Any]) -> Store:
    return Store(spec.name, f"{spec.key.name} → {spec.value.name}", plan.changelog(spec.name))


def _id(node: Node) -> str:
    return f"node-{node.name}"


def _numbered(step: Step) -> bool:
    """Whether the step was named after its kind and number."""
    return step.name.removeprefix(f"{step.kind}-").isdecimal()
