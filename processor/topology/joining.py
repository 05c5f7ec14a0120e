"""Which steps the joins of the language are made of, and what they refuse.

Gives points of the dataflow, which the language makes streams and tables of. Sees to it that equal
keys meet in one partition; knows nothing of how a join works.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, get_args

from processor.durations import Duration, milliseconds
from processor.errors import TopologyError
from processor.operators.aggregates.by_key import Emit, stamped
from processor.operators.base import (
    LATE,
)
from processor.operators.joins.foreign_key import (
    ForeignKeyJoin,
    Respond,
    Subscribe,
    response_serde,
    subscription_serde,
)
from processor.operators.joins.pages import pages_of
from processor.operators.joins.streams import LATE_RIGHT, Span, StreamStreamJoin
from processor.operators.joins.tables import JoinedTable, JoinKind, StreamTableJoin, TableTableJoin
from processor.records import Policy
from processor.serdes import Serde, bytes_serde
from processor.state.keyvalue import StoreSpec
from processor.topology.builder import check_choice
from processor.topology.flow import Flow, TableFlow, Values
from processor.topology.form import Form
from processor.topology.functions import checked_function, getter
from processor.topology.graph import Edge, Read


@dataclass(frozen=True)
class JoinWindow:
    """How far apart the times of two records may be that a join of streams matches.

    Durations are such as "10s", seconds, or a `timedelta`. What is not given of `before` and
    `after` is `within`, or 0. Kafka Streams has `JoinWindows`.

    Args:
        within: How much earlier or later the other stream's record may be.
        before: How much earlier it may be.
        after: How much later it may be.
        grace: How much longer to wait for records that are out of order. A record is late when the
            stream time is past all that it could match, and the grace.
    """

    within: Duration | None = None
    before: Duration | None = None
    after: Duration | None = None
    grace: Duration = 0


def span_of(within: Duration | JoinWindow | None, what: str) -> Span:
    """Which times match.

    Raises:
        TopologyError: Nothing is given, or there is no side that `within` is for.
    """
    window = within if isinstance(within, JoinWindow) else JoinWindow(within)
    both, sides = window.within, (window.before, window.after)
    if both is None and sides == (None, None):
        raise TopologyError(
            f'{what}: say how far apart records may be that match, such as within="10s" or '
            'within=JoinWindow(before="10s", after="1m")'
        )
    if both is not None and None not in sides:
        raise TopologyError(f"{what}: before= and after= are both sides; leave within= out")
    chosen = (both or 0 if each is None else each for each in sides)
    named = zip(("before", "after", "grace"), (*chosen, window.grace), strict=True)
    return Span(*(0 if each == 0 else milliseconds(each, f"{what}: {n}") for n, each in named))


def refuse_window(
    kind: JoinKind, within: Duration | JoinWindow | None, late: Policy | None
) -> None:
    """Raises TopologyError if a join with a table is given what is for joins of streams."""
    if within is not None or late is not None:
        raise TopologyError(f"{join_word(kind)}: within= and late= are for joins of streams")


def join_word(kind: JoinKind) -> str:
    """The kind as users read it."""
    return "join" if kind == "inner" else f"{kind}-join"


def _check_joiner(kind: JoinKind, joiner: Callable[..., Any]) -> None:
    checked_function(f"{join_word(kind)}: joiner", joiner, "value, other")


def stream_table(
    stream: Flow,
    table: TableFlow,
    joiner: Callable[..., Any],
    name: str | None,
    kind: JoinKind,
) -> Flow:
    """The results of a stream with a table."""
    word = join_word(kind)
    _check_joiner(kind, joiner)
    flow, _ = _pair(stream, table.flow, word, name)
    operator = StreamTableJoin(table.view, joiner, kind == "left")
    reads = (Read(0, table.values.store.name),)
    edges = flow.edge, table.flow.edge
    node = flow.builder.step(
        word, edges, operator, (), name, reads=reads, on_bad_record=flow.on_bad_record
    )
    return replace(flow, edge=Edge(node), value=Form.returned_by(joiner), label=name or flow.label)


def stream_stream(
    left: Flow,
    right: Flow,
    joiner: Callable[..., Any],
    name: str | None,
    kind: JoinKind,
    within: Duration | JoinWindow | None,
    late: Policy | None,
) -> tuple[Flow, tuple[Flow, Flow]]:
    """The results of two streams, and the late records of both."""
    word = join_word(kind)
    check_choice(f"{word}: late", late, (None, *get_args(Policy)))
    span = span_of(within, word)
    _check_joiner(kind, joiner)
    name = left.needed(name, word, word)
    left, right = _pair(left, right, word, name)
    key = left.key.kept_key(None, f"the key of {name}")
    values = tuple(
        flow.value.kept_value(None, f"the value of {name}, {side}")
        for flow, side in ((left, "left"), (right, "right"))
    )
    stores = tuple(
        StoreSpec(f"{name}-{side}", bytes_serde, pages_of(value))
        for side, value in zip(("left", "right"), values, strict=True)
    )
    index = StoreSpec(f"{name}-unmatched", bytes_serde, bytes_serde)
    operator = StreamStreamJoin(
        (stores[0].name, stores[1].name),
        index.name,
        joiner,
        kind,
        span,
        key,
        (values[0], values[1]),
        left.on_bad_record if late is None and not callable(left.on_bad_record) else late,
    )
    specs = stores if kind == "inner" else (*stores, index)
    edges, outputs = (left.edge, right.edge), ("", "late-left", "late-right")
    node = left.builder.step(
        word, edges, operator, specs, name, outputs, on_bad_record=left.on_bad_record
    )
    made = replace(left, edge=Edge(node), value=Form.returned_by(joiner), label=name)
    lates = (
        replace(left, edge=Edge(node, LATE), label=f"{name}-late-left"),
        replace(right, edge=Edge(node, LATE_RIGHT), label=f"{name}-late-right"),
    )
    return made, lates


class How(NamedTuple):
    """What a join of tables was asked for."""

    joiner: Callable[..., Any]
    name: str | None
    emit: Emit
    value: Any
    kind: JoinKind

    @property
    def word(self) -> str:
        """The kind as users read it."""
        return join_word(self.kind)


def table_table(left: TableFlow, right: TableFlow, how: How) -> TableFlow:
    """Two tables of the same keys: the changes of the results, and their store."""
    _check_joiner(how.kind, how.joiner)
    name = left.flow.needed(how.name, how.word, how.word)
    flow, _ = _pair(left.flow, right.flow, how.word, name)
    operator = TableTableJoin(name, how.emit, (left.view, right.view), how.joiner, how.kind)
    reads = Read(0, right.values.store.name), Read(1, left.values.store.name)
    return _joined(left, flow, (flow.edge, right.flow.edge), operator, reads, how)


def foreign(
    left: TableFlow, right: TableFlow, on: Callable[[Any], Any] | str, how: How
) -> TableFlow:
    """A table with another one whose key is in its values: three steps, two internal topics."""
    _check_joiner(how.kind, how.joiner)
    flow, builder, on_bad_record = left.flow, left.flow.builder, left.flow.on_bad_record
    name = flow.needed(how.name, how.word, how.word)
    if builder is not right.flow.builder:
        raise TopologyError(f"{how.word}: these belong to different topologies; use one")
    by, form = getter(f"{how.word}: on", flow.value, on)
    key, other_key = flow.key.kept_key(None, how.word), right.flow.key.meeting_key(how.word)
    if not form.meets(other_key, how.word):
        given = form.kept_key(None, how.word).name
        raise TopologyError(
            f"{how.word}: on= gives {given}, but the keys of the other table are "
            f"{other_key.name}: let on= give what the other table has for keys"
        )
    value = flow.value.kept_value(None, f"the value of {name}")
    other_value = right.flow.value.kept_value(None, f"the other value of {name}")
    subscribe = Subscribe(by, key, value)
    asking = builder.step("subscribe", (flow.changes.edge,), subscribe, on_bad_record=on_bad_record)
    asked = builder.repartition(
        Edge(asking), other_key, subscription_serde, f"{name}-subscriptions", None, on_bad_record
    )
    kept = StoreSpec(f"{name}-subscriptions", bytes_serde, bytes_serde)
    respond = Respond(kept.name, right.view, key)
    reads = (Read(0, right.values.store.name),)
    edges = asked, right.flow.edge
    answering = builder.step(
        "respond", edges, respond, (kept,), reads=reads, on_bad_record=on_bad_record
    )
    responses, own_key = response_serde(other_value), flow.key.meeting_key(how.word)
    answered = builder.repartition(
        Edge(answering), own_key, responses, f"{name}-responses", None, on_bad_record
    )
    operator = ForeignKeyJoin(name, how.emit, left.view, by, how.joiner, how.kind, value)
    reads = (Read(0, left.values.store.name),)
    return _joined(left, flow, (answered, flow.edge), operator, reads, how)


def _joined(
    left: TableFlow,
    flow: Flow,
    edges: tuple[Edge, Edge],
    operator: JoinedTable,
    reads: tuple[Read, ...],
    how: How,
) -> TableFlow:
    """The changes of a table that a last step keeps, and its store."""
    name = operator.store
    check_choice(f"{how.word} {name}: emit", how.emit, get_args(Emit))
    form = Form.returned_by(how.joiner)
    serde = form.kept_value(how.value, f"the value of store {name}")
    spec = StoreSpec(name, left.values.store.key, stamped(serde))
    node = flow.builder.step(
        how.word, edges, operator, (spec,), name, reads=reads, on_bad_record=flow.on_bad_record
    )
    made = Form(form.type, kept=serde)
    results = replace(flow, edge=Edge(node), value=made, label=name)
    return TableFlow(results, Values(spec))


def together(flows: Sequence[Flow], what: str, names: Sequence[str | None]) -> list[Flow]:
    """All with equal keys in one partition; where keys were changed, by way of internal topics.

    Args:
        flows: Streams or tables.
        what: The step that they are for.
        names: Of the internal topics of those that have no name of their own.

    Raises:
        TopologyError: They belong to different topologies, or equal keys have different bytes.
    """
    if any(flow.builder is not flows[0].builder for flow in flows):
        raise TopologyError(f"{what}: these belong to different topologies; use one")
    serde = _common_key(flows, what)
    return [
        flow.repartitioned(flow.needed(flow.label or name, what), key=serde)
        if flow.rekeyed
        else flow
        for flow, name in zip(flows, names, strict=True)
    ]


def _common_key(flows: Sequence[Flow], what: str) -> Serde[Any]:
    """The serde by whose bytes keys find their partitions; that of topics that are read, if any."""
    settled = [flow.key.meeting_key(what) for flow in flows if not flow.rekeyed]
    made = [flow.key for flow in flows if flow.rekeyed and flow.key.type is not None]
    others = [key for key in made if not settled or not key.meets(settled[0], what)]
    serdes = [*settled, *(key.kept_key(None, what) for key in others)]
    names = list(dict.fromkeys(serde.name for serde in serdes))
    if len(names) > 1:
        raise TopologyError(
            f"{what}: the keys of one side are {' and those of the other '.join(names)}, so that "
            "equal keys are in different partitions: read or repartition both with the same key="
        )
    return serdes[0] if serdes else flows[0].key.kept_key(None, what)


def _pair(one: Flow, other: Flow, what: str, name: str | None) -> tuple[Flow, Flow]:
    names = [name and f"{name}-{side}" for side in ("left", "right")]
    left, right = together((one, other), what, names)
    return left, right
