"""A plan as text: each subtopology as the tree of its records' ways, from topics to topics.

Meant for people, for golden files and for differences between two plans: the same topology always
gives the same text, and nothing in it depends on a cluster.
"""

from collections.abc import Iterator
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, cast

from processor.operators.base import Operator
from processor.operators.joins.global_tables import GlobalJoin
from processor.operators.joins.streams import Span, StreamStreamJoin
from processor.operators.windows.kinds import shown
from processor.operators.windows.windowed import WindowStep
from processor.state.keyvalue import StoreSpec
from processor.topology.graph import Edge, Node, Sink, Source, Step
from processor.topology.plan import Plan, Subtopology

_WIDEST = 60  # a longer name moves its own remark only
_TWIGS = ("├─ ", "└─ ")  # by whether it is the last
_INDENTS = ("│  ", "   ")


class Line(NamedTuple):
    """One line of the text: a drawn tree with a name in it, and what is known of that."""

    tree: str
    remark: str


def describe(plan: Plan) -> str:
    """The plan as text, in lines that end with a newline.

    Names stand left, as a tree; to the right of each is what it is: the serdes `key → value` of
    topics and stores, the kind of a step and the function that it calls.
    """
    parts = [list(_Tree(plan, part).lines()) for part in plan.subtopologies]
    width = min(_WIDEST, max(len(line.tree) for lines in parts for line in lines))
    text = [f"Topology {plan.application}"]
    for part, lines in zip(plan.subtopologies, parts, strict=True):
        text += ["", f"Subtopology {part.number}"]
        text += [f"  {line.tree:<{width}}  {line.remark}" for line in lines]
    if plan.global_tables:
        text += ["", "Global tables"]
        text += [f"  {topic}  {_table(spec)}" for topic, spec in plan.global_tables]
    return "\n".join((*text, "", f"Dead letters: {plan.dead_letters}", ""))


def called(operator: Operator) -> str:
    """The function that a step calls, or the field that it gets, and its windows or times.

    Functions without a name, lambdas, are left out.
    """
    if isinstance(operator, WindowStep):
        function = function_name(getattr(operator.aggregation, "function", None))
        early = f", early every {shown(operator.early.every)}" if operator.early else ""
        return f"{function} per {times_of(operator)}, emit {operator.emit}{early}".lstrip()
    if isinstance(operator, StreamStreamJoin):
        return f"{function_name(operator.joiner)} {times_of(operator)}".lstrip()
    if isinstance(operator, GlobalJoin):
        return f"{function_name(operator.joiner)} with {operator.table}".lstrip()
    for role in ("function", "predicate", "add", "joiner", "predicates"):
        found: Any = getattr(operator, role, None)
        if found is not None:
            functions = cast("tuple[Any, ...]", found if isinstance(found, tuple) else (found,))
            return ", ".join(filter(None, map(function_name, functions)))
    return ""


def times_of(operator: Operator) -> str:
    """The windows of a step, or the interval of a join of streams; empty for any other."""
    if isinstance(operator, WindowStep):
        return str(operator.windows)
    return _times(operator.span) if isinstance(operator, StreamStreamJoin) else ""


def _times(span: Span) -> str:
    """As they are written: `within 1h, grace 5m`."""
    if span.before == span.after:
        matching = f"within {shown(span.before)}"
    else:
        sides = ("before", span.before), ("after", span.after)
        matching = ", ".join(f"{name} {shown(time)}" for name, time in sides if time)
    return f"{matching}, grace {shown(span.grace)}" if span.grace else matching


def function_name(function: Any) -> str:
    """The name of a function, empty if it has none."""
    if isinstance(function, attrgetter | itemgetter):
        return str(function.__reduce__()[1][0])  # how pickle reads the field's name
    name = getattr(function, "__name__", "")
    return "" if name == "<lambda>" else name


def caption(step: Step) -> str:
    """What a step does, in a few words: its kind, the function it calls, what it reads."""
    names = dict.fromkeys(read.store for read in step.reads)
    reads = f", reads {', '.join(names)}" if names else ""
    return f"{step.kind} {called(step.operator)}".rstrip() + reads


def branch(edge: Edge) -> str:
    """The name of a split's output; empty for the only output of any other node."""
    node = edge.node
    return node.outputs[edge.port] if isinstance(node, Step) and node.outputs else ""


class _Tree:
    """Draws one subtopology.

    A node with several parents stands with all that follows it after the last of them; after the
    others it is only named.
    """

    def __init__(self, plan: Plan, part: Subtopology) -> None:
        self._plan = plan
        self._part = part
        self._awaited = {node: len(node.parents) for node in part.nodes}

    def lines(self) -> Iterator[Line]:
        """The lines of all sources and what follows them."""
        for source in self._part.sources:
            yield Line(", ".join(source.topics), self._source(source))
            yield from self._behind(source, "")

    def _behind(self, node: Node, indent: str) -> Iterator[Line]:
        stores = node.stores if isinstance(node, Step) else ()
        edges = [(edge, node) for node in self._part.nodes for edge in node.parents]
        children = [(edge, child) for edge, child in edges if edge.node is node]
        left = len(stores) + len(children)
        for spec in stores:
            left -= 1
            yield Line(f"{indent}{_TWIGS[not left]}[{spec.name}]", self._store(spec))
        for edge, child in children:
            left -= 1
            yield from self._child(edge, child, indent, last=not left)

    def _child(self, edge: Edge, child: Node, indent: str, *, last: bool) -> Iterator[Line]:
        self._awaited[child] -= 1
        label = branch(edge)
        name, remark = self._named(child)
        tree = f"{indent}{_TWIGS[last]}{label and label + ': '}{name}"
        if self._awaited[child]:
            yield Line(tree, f"{remark}, goes on below")
        else:
            yield Line(tree, remark)
            yield from self._behind(child, indent + _INDENTS[last])

    def _named(self, node: Node) -> tuple[str, str]:
        if isinstance(node, Sink):
            return self._sink(node)
        assert isinstance(node, Step)
        return node.name, caption(node)

    def _source(self, source: Source) -> str:
        writers = [part for part in self._plan.subtopologies if {*part.written} & {*source.topics}]
        policy = source.on_bad_record
        remark = f"{self._kind(source.topics[0])}, {source.key.name} → {source.value.name}"
        remark += f"; written by {_listed(writers)}" if writers else ""
        remark += f"; time: {source.time.label}" if source.time else ""
        return remark + (f"; bad records: {policy}" if policy else "")

    def _sink(self, sink: Sink) -> tuple[str, str]:
        serdes = f"{sink.key.name} → {sink.value.name}"
        if not isinstance(sink.topic, str):
            by = function_name(sink.topic)
            return "→ a topic chosen for each record", f"{f'by {by}, ' if by else ''}{serdes}"
        readers = [part for part in self._plan.subtopologies if sink.topic in part.topics]
        read = f"; read by {_listed(readers)}" if readers else ""
        return f"→ {sink.topic}", f"{self._kind(sink.topic)}, {serdes}{read}"

    def _kind(self, topic: str) -> str:
        repartition = self._plan.repartitions.get(topic)
        if repartition is None:
            return "topic"
        count = repartition.partitions
        return "repartition topic" + (f" of {count} partitions" if count else "")

    def _store(self, spec: StoreSpec[Any, Any]) -> str:
        changelog = self._plan.changelog(spec.name)
        return f"store, {spec.key.name} → {spec.value.name}; changelog {changelog}"


def _table(spec: StoreSpec[Any, Any]) -> str:
    return f"[{spec.name}], {spec.key.name} → {spec.value.name}"


def _listed(parts: list[Subtopology]) -> str:
    return ", ".join(f"subtopology {part.number}" for part in parts)
