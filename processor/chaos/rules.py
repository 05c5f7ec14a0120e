"""What of a topology's results follows from its input alone, and so how they can be compared.

A task that reads one partition does the same with it each time, record by record. Three things are
left to chance: when checkpoints are made, and so which changes a table reports; in which order a
task reads several partitions; and the wall clock. Each step passes on what chance had a hand in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from processor.operators.aggregates.by_key import TableOperator
from processor.operators.base import Operator
from processor.operators.process import Process
from processor.operators.stateless import (
    Filter,
    FlatMap,
    FlatMapValues,
    KeyBy,
    Map,
    MapValues,
    Merge,
    Peek,
    Split,
)
from processor.topology.graph import Node, Sink, Source, Step
from processor.topology.plan import Plan, Subtopology


class Rule(StrEnum):
    """How found records are compared with those of the reference run."""

    SEQUENCE = "every record, in order for each key"
    SET = "every record, in any order"
    CHANGES = "of each key the last change, and those before in their order"
    SELECTION = "changes of each key, in their order"
    LAST = "the last value of each key, where the order of reading does not matter"
    NOTHING = "not compared"


class Judgement(NamedTuple):
    """A rule, and why it is no stricter."""

    rule: Rule
    reason: str = ""


@dataclass(frozen=True)
class Rules:
    """How everything that an application writes is compared.

    Attributes:
        topics: By name: outputs and repartition topics.
        chosen: For topics that are chosen for each record; None if there are none.
        stores: By name, for their changelogs.
        varied: The subtopologies whose results may depend on the order of reading.
    """

    topics: Mapping[str, Judgement]
    chosen: Judgement | None
    stores: Mapping[str, Judgement]
    varied: frozenset[int]

    def of_topic(self, topic: str) -> Judgement:
        """The one for a topic, whether it is fixed or was chosen."""
        unknown = Judgement(Rule.NOTHING, "no step of the topology writes it")
        return self.topics.get(topic, self.chosen or unknown)


def rules(plan: Plan, unread: frozenset[str] = frozenset()) -> Rules:
    """Derives the rules from the graph.

    Args:
        plan: The plan.
        unread: Topics whose records could not all be read back.
    """
    stores: dict[str, Judgement] = {}
    topics: dict[str, list[_Known]] = {}
    chosen: list[_Known] = []
    varied: set[int] = set()
    for part in plan.subtopologies:
        walk = _Walk(part, unread)
        stores |= walk.stores
        if any(known.rule is Rule.LAST for known in walk.known.values()):
            varied.add(part.number)
        chosen += [_merged(walk.chosen)] if walk.chosen else []
        for topic, known in walk.topics.items():
            topics.setdefault(topic, []).append(_merged(known))
    # A function may choose a fixed topic as well.
    judged = {topic: _together([*known, *chosen]).judged for topic, known in topics.items()}
    return Rules(judged, _together(chosen).judged if chosen else None, stores, frozenset(varied))


class _Known(NamedTuple):
    """What is known of the rows that come out of a node."""

    rule: Rule
    topics: frozenset[str] = frozenset()
    """Those that the rows come from; SEQUENCE means that it is one."""
    reason: str = ""

    @property
    def judged(self) -> Judgement:
        return Judgement(self.rule, self.reason)

    def but(self, rule: Rule, reason: str) -> "_Known":
        return _Known(rule, self.topics, reason)


_VALUE_FOR_VALUE = (MapValues, Peek, Merge)
_SOME_ROWS = (Filter, FlatMapValues, Split)
_OTHER_KEYS = (KeyBy, Map, FlatMap)
_AT_CHECKPOINTS = "the table reports the last change at each checkpoint"
_SEVERAL = "it reads several topics, in no order between them"


@dataclass(slots=True)
class _Walk:
    """One subtopology, node by node."""

    part: Subtopology
    unread: frozenset[str]
    known: dict[Node, _Known] = field(default_factory=dict[Node, _Known])
    stores: dict[str, Judgement] = field(default_factory=dict[str, Judgement])
    topics: dict[str, list[_Known]] = field(default_factory=dict[str, list[_Known]])
    chosen: list[_Known] = field(default_factory=list[_Known])

    def __post_init__(self) -> None:
        for node in self.part.nodes:
            if isinstance(node, Source):
                self.known[node] = self._source(node)
                continue
            known = _merged([self.known[parent.node] for parent in node.parents])
            if isinstance(node, Step):
                self.known[node] = self._step(node, known)
            elif isinstance(node, Sink) and isinstance(node.topic, str):
                self.topics.setdefault(node.topic, []).append(known)
            else:
                self.chosen.append(known)

    def _source(self, source: Source) -> _Known:
        topics = frozenset(source.topics)
        if missing := topics & self.unread:
            gone = f"records of {', '.join(sorted(missing))} were deleted before they could be read"
            return _Known(Rule.NOTHING, topics, gone)
        return _Known(Rule.SEQUENCE, topics) if len(topics) == 1 else _unordered(topics)

    def _step(self, step: Step, known: _Known) -> _Known:
        if isinstance(step.operator, (*_VALUE_FOR_VALUE, *_SOME_ROWS, *_OTHER_KEYS)):
            return _without_state(step.operator, known)
        made = self._with_state(step.operator, known)
        state = Rule.SEQUENCE if made.rule in {Rule.SEQUENCE, Rule.CHANGES} else made.rule
        reason = "" if state is Rule.SEQUENCE else made.reason
        self.stores |= {spec.name: Judgement(state, reason) for spec in step.stores}
        return made

    def _with_state(self, operator: Operator, known: _Known) -> _Known:
        """What comes out of a step with state, whose state is as certain as its input."""
        if known.rule is Rule.NOTHING:
            return known
        if isinstance(operator, Process) and any(p.clock == "wall" for p in operator.punctuators):
            return known.but(Rule.NOTHING, "a punctuator goes by the clock on the wall")
        is_table = isinstance(operator, TableOperator)
        # Others may ask for the stream time, which records of the task's other topics let go on.
        if known.rule is not Rule.SEQUENCE or not (is_table or len(self.part.topics) == 1):
            return known.but(Rule.LAST, known.reason or _SEVERAL)
        if is_table and operator.emit == "checkpoint":
            return known.but(Rule.CHANGES, _AT_CHECKPOINTS)
        return known


def _without_state(operator: Operator, known: _Known) -> _Known:
    if known.rule in {Rule.SEQUENCE, Rule.SET, Rule.NOTHING}:
        return known
    if isinstance(operator, _VALUE_FOR_VALUE):
        return known
    if isinstance(operator, _SOME_ROWS) and known.rule is not Rule.LAST:
        # The last change may be one that is left out, and the one before may be unreported.
        return known.but(Rule.SELECTION, known.reason)
    return known.but(Rule.NOTHING, f"{known.reason}, and a step downstream changes keys or rows")


def _merged(parents: Sequence[_Known]) -> _Known:
    """The rows of several nodes of one subtopology together, in the order of their records."""
    first, *others = parents
    topics = frozenset[str]().union(*(known.topics for known in parents))
    for known in parents:
        if known.rule is Rule.NOTHING:
            return known
    if not others:
        return first
    if all(known.rule is Rule.SEQUENCE for known in parents) and len(topics) == 1:
        return first
    if all(known.rule in {Rule.SEQUENCE, Rule.SET} for known in parents):
        return _unordered(topics)
    return _Known(Rule.NOTHING, topics, "changes of tables meet other records in no order")


def _together(writers: Sequence[_Known]) -> _Known:
    """What several subtopologies write to one topic: the rows of each are compared in order."""
    distinct = {known.rule: known for known in writers}
    if len(distinct) == 1:
        return writers[0]
    return _merged(writers)


def _unordered(topics: frozenset[str]) -> _Known:
    return _Known(Rule.SET, topics, _SEVERAL)
