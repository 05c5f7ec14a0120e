"""Which steps the joins of the language are made of, and what they refuse.

Sees to it that equal keys meet in one partition; knows nothing of how a join works.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast, get_args

from processor.durations import milliseconds
from processor.errors import TopologyError
from processor.operators.aggregates.by_key import Emit, stamped
from processor.operators.base import LATE, Policy
from processor.operators.joins.foreign_key import (
    ForeignKeyJoin,
    Respond,
    Subscribe,
    response_serde,
    subscription_serde,
)
from processor.operators.joins.pages import pages_of
from processor.operators.joins.streams import OTHER_LATE, Span, StreamStreamJoin
from processor.operators.joins.tables import JoinedTable, JoinKind, StreamTableJoin, TableTableJoin
from processor.serdes import Serde, bytes_serde
from processor.state.keyvalue import StoreSpec
from processor.topology.builder import check_choice
from processor.topology.flow import Flow
from processor.topology.form import Form
from processor.topology.functions import checked_function, getter, told
from processor.topology.graph import Edge, Read

if TYPE_CHECKING:
    from processor.topology.joined import JoinedStream
    from processor.topology.joining import TableJoins
    from processor.topology.stream import Stream
    from processor.topology.table import Table

Duration: TypeAlias = str | float
"""Such as "10s"; a number is seconds."""


class Times(NamedTuple):
    """How far apart the times of two records may be, as it is written."""

    within: Duration | None = None
    before: Duration | None = None
    after: Duration | None = None
    grace: Duration = 0

    def span(self, what: str) -> Span:
        """Which times match; a side that is not given is `within`, or else nothing.

        Raises:
            TopologyError: Nothing is given, or there is no side that `within` is for.
        """
        within, before, after, grace = self
        if within is None and before is None and after is None:
            raise TopologyError(
                f'{what}: say how far apart records may be that match, such as within="10s", or '
                "before= and after="
            )
        if within is not None and before is not None and after is not None:
            raise TopologyError(f"{what}: before= and after= say it all; leave within= out")
        sides = (within or 0 if each is None else each for each in (before, after))
        named = zip(("before", "after", "grace"), (*sides, grace), strict=True)
        return Span(*(0 if each == 0 else milliseconds(each, f"{what}: {n}") for n, each in named))


def stream_join(
    flow: Flow,
    other: Any,
    joiner: Callable[..., Any],
    name: str | None,
    kind: JoinKind,
    times: Times,
    late: Policy | None,
) -> Stream[Any, Any]:
    """A stream with a table or with another stream."""
    from processor.topology.stream import Stream  # noqa: PLC0415 - each makes the other

    if isinstance(other, Stream):
        stream = cast("Stream[Any, Any]", other)
        return streams_join(flow, stream, joiner, name, kind, times, late)
    _check_table(other, kind, "a stream or a table")
    if times != Times() or late is not None:
        raise TopologyError(
            f"{_word(kind)}: within=, before=, after=, grace= and late= are for joins of streams"
        )
    return Stream(_stream_table(flow, other, joiner, name, kind))


def streams_join(
    flow: Flow,
    other: Stream[Any, Any],
    joiner: Callable[..., Any],
    name: str | None,
    kind: JoinKind,
    times: Times,
    late: Policy | None,
) -> JoinedStream[Any, Any, Any, Any]:
    """Two streams."""
    from processor.topology.stream import Stream  # noqa: PLC0415 - each makes the other
    from processor.topology.table import Table  # noqa: PLC0415 - each makes the other

    if not isinstance(cast("object", other), Stream):
        if isinstance(other, Table):
            raise TopologyError(
                f"{_word(kind)}: a stream has no outer join with a table: use left_join"
            )
        _check_table(other, kind, "a stream")
    check_choice(f"{_word(kind)}: late", late, (None, *get_args(Policy)))
    return _stream_stream(flow, other.flow, joiner, name, kind, times.span(_word(kind)), late)


def _check_table(other: object, kind: JoinKind, wanted: str) -> None:
    """Raises TopologyError, which names the right call, unless it is a table."""
    from processor.topology.global_table import GlobalTable  # noqa: PLC0415 - each makes the other
    from processor.topology.stream import Stream  # noqa: PLC0415 - each makes the other
    from processor.topology.table import Table  # noqa: PLC0415 - each makes the other

    if isinstance(other, Table):
        return
    word, called = _word(kind), "left_join_global" if kind == "left" else "join_global"
    if isinstance(other, GlobalTable):
        raise TopologyError(f"{word}: a stream is joined with a global table by {called}")
    if isinstance(other, Stream):
        raise TopologyError(
            f"{word}: a table is joined with tables: make one of the stream with to_table(name=...)"
            ", or let the stream join the table, stream.join(table, joiner)"
        )
    raise TopologyError(f"{word}: give {wanted}, such as topology.table(...), not {told(other)}")


def _check_joiner(kind: JoinKind, joiner: Callable[..., Any]) -> None:
    checked_function(f"{_word(kind)}: joiner", joiner, "value, other")


def _word(kind: JoinKind) -> str:
    return "join" if kind == "inner" else f"{kind}-join"


def _stream_table(
    stream: Flow,
    table: Table[Any, Any],
    joiner: Callable[..., Any],
    name: str | None,
    kind: JoinKind,
) -> Flow:
    _check_joiner(kind, joiner)
    word = _word(kind)
    flow, _ = _pair(stream, table.flow, word, name)
    operator = StreamTableJoin(table.view, joiner, kind == "left")
    reads = (Read(0, table.store.name),)
    edges = flow.edge, table.flow.edge
    node = flow.builder.step(word, edges, operator, (), name, reads=reads, on_error=flow.on_error)
    return replace(flow, edge=Edge(node), value=Form.returned_by(joiner), label=name or flow.label)


def _stream_stream(
    left: Flow,
    right: Flow,
    joiner: Callable[..., Any],
    name: str | None,
    kind: JoinKind,
    span: Span,
    late: Policy | None,
) -> JoinedStream[Any, Any, Any, Any]:
    from processor.topology.joined import JoinedStream  # noqa: PLC0415 - each makes the other

    _check_joiner(kind, joiner)
    word = _word(kind)
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
        left.on_error if late is None and not callable(left.on_error) else late,
    )
    specs = stores if kind == "inner" else (*stores, index)
    edges, outputs = (left.edge, right.edge), ("", "late", "late-other")
    node = left.builder.step(word, edges, operator, specs, name, outputs, on_error=left.on_error)
    made = replace(left, edge=Edge(node), value=Form.returned_by(joiner), label=name)
    lates = (
        replace(left, edge=Edge(node, LATE), label=f"{name}-late"),
        replace(right, edge=Edge(node, OTHER_LATE), label=f"{name}-late-other"),
    )
    return JoinedStream(made, late_flows=lates)


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
        return _word(self.kind)


def table_table(left: TableJoins[Any, Any], right: Table[Any, Any], how: How) -> Table[Any, Any]:
    """Two tables of the same keys."""
    _check_table(right, how.kind, "a table")
    _check_joiner(how.kind, how.joiner)
    name = left.flow.needed(how.name, how.word, how.word)
    flow, _ = _pair(left.flow, right.flow, how.word, name)
    operator = TableTableJoin(name, how.emit, (left.view, right.view), how.joiner, how.kind)
    reads = Read(0, right.store.name), Read(1, left.store.name)
    return _joined(left, flow, (flow.edge, right.flow.edge), operator, reads, how)


def foreign(
    left: TableJoins[Any, Any], right: Table[Any, Any], on: Callable[[Any], Any] | str, how: How
) -> Table[Any, Any]:
    """A table with another one whose key is in its values: three steps, two internal topics."""
    _check_table(right, how.kind, "a table")
    _check_joiner(how.kind, how.joiner)
    flow, builder, on_error = left.flow, left.flow.builder, left.flow.on_error
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
    asking = builder.step("subscribe", (flow.changes.edge,), subscribe, on_error=on_error)
    asked = builder.repartition(
        Edge(asking), other_key, subscription_serde, f"{name}-subscriptions", None, on_error
    )
    kept = StoreSpec(f"{name}-subscriptions", bytes_serde, bytes_serde)
    respond = Respond(kept.name, right.view, key)
    reads = (Read(0, right.store.name),)
    edges = asked, right.flow.edge
    answering = builder.step("respond", edges, respond, (kept,), reads=reads, on_error=on_error)
    responses, own_key = response_serde(other_value), flow.key.meeting_key(how.word)
    answered = builder.repartition(
        Edge(answering), own_key, responses, f"{name}-responses", None, on_error
    )
    operator = ForeignKeyJoin(name, how.emit, left.view, by, how.joiner, how.kind, value)
    reads = (Read(0, left.store.name),)
    return _joined(left, flow, (answered, flow.edge), operator, reads, how)


def _joined(
    left: TableJoins[Any, Any],
    flow: Flow,
    edges: tuple[Edge, Edge],
    operator: JoinedTable,
    reads: tuple[Read, ...],
    how: How,
) -> Table[Any, Any]:
    """The table that a last step keeps."""
    from processor.topology.table import Table  # noqa: PLC0415 - each makes the other

    name = operator.store
    check_choice(f"{how.word} {name}: emit", how.emit, get_args(Emit))
    form = Form.returned_by(how.joiner)
    serde = form.kept_value(how.value, f"the value of store {name}")
    spec = StoreSpec(name, left.store.key, stamped(serde))
    node = flow.builder.step(
        how.word, edges, operator, (spec,), name, reads=reads, on_error=flow.on_error
    )
    made = Form(form.type, kept=serde)
    return Table(replace(flow, edge=Edge(node), value=made, label=name), spec)


def together(flows: Sequence[Flow], what: str, names: Sequence[str | None]) -> list[Flow]:
    """All with equal keys in one partition; where keys were changed, behind internal topics.

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
