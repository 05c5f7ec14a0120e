"""The part of the language that joins: what `Stream` and `Table` inherit their joins from.

Each method adds nodes to the builder and returns a new stream or table; nothing is computed here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar, get_args, overload

from processor.durations import milliseconds
from processor.errors import TopologyError
from processor.operators.aggregate import Emit, stamped
from processor.operators.joins import JoinKind, StreamTableJoin, TableTableJoin
from processor.operators.joins_pages import pages_of
from processor.operators.joins_streams import Span, StreamStreamJoin
from processor.operators.views import View
from processor.records import V2, K, V
from processor.serdes import Serde, bytes_serde
from processor.state.keyvalue import StoreSpec
from processor.topology.builder import check_choice
from processor.topology.flow import Flow
from processor.topology.form import Form
from processor.topology.graph import Edge, Read

if TYPE_CHECKING:
    from processor.topology.stream import Stream
    from processor.topology.table import Table

VO = TypeVar("VO")


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


class StreamJoins(Generic[K, V]):
    """The joins of a stream."""

    flow: Flow

    @overload
    def join(
        self, other: Table[K, VO], joiner: Callable[[V, VO], V2], *, name: str | None = None
    ) -> Stream[K, V2]: ...
    @overload
    def join(
        self,
        other: Stream[K, VO],
        joiner: Callable[[V, VO], V2],
        *,
        within: Duration | None = None,
        before: Duration | None = None,
        after: Duration | None = None,
        grace: Duration = 0,
        name: str | None = None,
    ) -> Stream[K, V2]: ...
    def join(
        self,
        other: Table[K, Any] | Stream[K, Any],
        joiner: Callable[[Any, Any], Any],
        *,
        within: Duration | None = None,
        before: Duration | None = None,
        after: Duration | None = None,
        grace: Duration = 0,
        name: str | None = None,
    ) -> Stream[K, Any]:
        """Joins each record with the value that a table has for its key, or with another stream.

        With a table: `joiner(value, table_value)`. A record whose key is not in the table has no
        result; timestamp and headers are those of the record. The table is met as it is when the
        record is worked on.

        With a stream: `joiner(value, other_value)` for each two records of equal keys whose times
        are close. The result has the later time, and the headers of the record that came later.

        Null values join with nothing. A record without a key is a bad one.

        Args:
            other: A table or a stream; keys must be of the same type, and are brought together.
            joiner: Makes the value of a result.
            within: How far apart the times of two records may be, such as "10s", or seconds.
            before: How much earlier the other's record may be, instead of `within`.
            after: How much later it may be, instead of `within`.
            grace: How much longer to wait for records that are out of order. A record is late when
                the stream time is past all that it could match, and the grace.
            name: Of the stores; needed where this stream has no name of its own.
        """
        return _join(self.flow, other, joiner, name, "inner", Times(within, before, after, grace))

    @overload
    def left_join(
        self, other: Table[K, VO], joiner: Callable[[V, VO | None], V2], *, name: str | None = None
    ) -> Stream[K, V2]: ...
    @overload
    def left_join(
        self,
        other: Stream[K, VO],
        joiner: Callable[[V, VO | None], V2],
        *,
        within: Duration | None = None,
        before: Duration | None = None,
        after: Duration | None = None,
        grace: Duration = 0,
        name: str | None = None,
    ) -> Stream[K, V2]: ...
    def left_join(
        self,
        other: Table[K, Any] | Stream[K, Any],
        joiner: Callable[[Any, Any], Any],
        *,
        within: Duration | None = None,
        before: Duration | None = None,
        after: Duration | None = None,
        grace: Duration = 0,
        name: str | None = None,
    ) -> Stream[K, Any]:
        """As `join`, with a result for each record of this stream: without a match, with None.

        With a table, that is told at once. With a stream it is told once, when the stream time is
        so far that nothing can match the record any more, `before` + `after` + `grace` behind it.
        A record without a key has no match.
        """
        return _join(self.flow, other, joiner, name, "left", Times(within, before, after, grace))

    def outer_join(
        self,
        other: Stream[K, VO],
        joiner: Callable[[V | None, VO | None], V2],
        *,
        within: Duration | None = None,
        before: Duration | None = None,
        after: Duration | None = None,
        grace: Duration = 0,
        name: str | None = None,
    ) -> Stream[K, V2]:
        """As `left_join`, with a result for each record of both streams."""
        return _join(self.flow, other, joiner, name, "outer", Times(within, before, after, grace))


class TableJoins(Generic[K, V]):
    """The joins of a table."""

    flow: Flow
    store: StoreSpec[Any, Any]

    @property
    @abstractmethod
    def view(self) -> View:
        """How a step reads the table's values; for the runtime, no part of the language."""

    def join(
        self,
        other: Table[K, VO],
        joiner: Callable[[V, VO], V2 | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]:
        """A table of `joiner(value, other)` for the keys that both tables have.

        A value is from the later of the two event times that its parts are from.

        Args:
            other: The table to join with.
            joiner: Makes the value; None deletes the key.
            name: Of the store; needed where this table has no name of its own.
            emit: Which changes to tell of, see `GroupedStream`.
            value: Type or serde of the value in the store, by default as `joiner` is annotated.
        """
        return _table_table(self, other, joiner, name, emit, value, "inner")

    def left_join(
        self,
        other: Table[K, VO],
        joiner: Callable[[V, VO | None], V2 | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]:
        """As `join`, for all keys of this table: `joiner(value, None)` where the other has none."""
        return _table_table(self, other, joiner, name, emit, value, "left")

    def outer_join(
        self,
        other: Table[K, VO],
        joiner: Callable[[V | None, VO | None], V2 | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]:
        """As `join`, for all keys that either table has; what the other lacks is None."""
        return _table_table(self, other, joiner, name, emit, value, "outer")


def _join(
    flow: Flow,
    other: Any,
    joiner: Callable[..., Any],
    name: str | None,
    kind: JoinKind,
    times: Times,
) -> Stream[Any, Any]:
    from processor.topology.stream import Stream  # noqa: PLC0415 - each makes the other

    word = _word(kind)
    if isinstance(other, Stream):
        made = _stream_stream(flow, other.flow, joiner, name, kind, times.span(word))
    elif times != Times():
        raise TopologyError(f"{word}: within=, before=, after= and grace= are for joins of streams")
    else:
        made = _stream_table(flow, other, joiner, name, kind)
    return Stream(made)


def _word(kind: JoinKind) -> str:
    return "join" if kind == "inner" else f"{kind}-join"


def _stream_table(
    stream: Flow,
    table: Table[Any, Any],
    joiner: Callable[..., Any],
    name: str | None,
    kind: JoinKind,
) -> Flow:
    word = _word(kind)
    flow, _ = _together(stream, table.flow, word, name)
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
) -> Flow:
    word = _word(kind)
    name = left.needed(name, word, word)
    left, right = _together(left, right, word, name)
    key = _key_serde(left)
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
    )
    specs = stores if kind == "inner" else (*stores, index)
    edges = left.edge, right.edge
    node = left.builder.step(word, edges, operator, specs, name, on_error=left.on_error)
    return replace(left, edge=Edge(node), value=Form.returned_by(joiner), label=name)


def _table_table(
    left: TableJoins[Any, Any],
    right: Table[Any, Any],
    joiner: Callable[..., Any],
    name: str | None,
    emit: Emit,
    value: Any,
    kind: JoinKind,
) -> Table[Any, Any]:
    from processor.topology.table import Table  # noqa: PLC0415 - each makes the other

    word = _word(kind)
    name = left.flow.needed(name, word, word)
    flow, _ = _together(left.flow, right.flow, word, name)
    check_choice(f"{word} {name}: emit", emit, get_args(Emit))
    form = Form.returned_by(joiner)
    serde = form.kept_value(value, f"the value of store {name}")
    spec = StoreSpec(name, left.store.key, stamped(serde))
    operator = TableTableJoin(name, emit, (left.view, right.view), joiner, kind)
    reads = (Read(0, right.store.name), Read(1, left.store.name))
    edges = flow.edge, right.flow.edge
    node = flow.builder.step(
        word, edges, operator, (spec,), name, reads=reads, on_error=flow.on_error
    )
    made = Form(form.type, kept=serde)
    return Table(replace(flow, edge=Edge(node), value=made, label=name), spec)


def _together(one: Flow, other: Flow, what: str, name: str | None) -> tuple[Flow, Flow]:
    """Both with equal keys in one partition; where keys were changed, behind internal topics.

    Raises:
        TopologyError: They belong to different topologies, or equal keys have different bytes.
    """
    if one.builder is not other.builder:
        raise TopologyError(f"{what}: the two belong to different topologies; use one")
    settled = [flow for flow in (one, other) if not flow.rekeyed or flow.key.type is not None]
    serdes = {serde.name: serde for serde in map(_key_serde, settled or (one,))}
    if len(serdes) > 1:
        raise TopologyError(
            f"{what}: the keys of one side are {' and those of the other '.join(serdes)}, so that "
            "equal keys are in different partitions: read or repartition both with the same key="
        )
    (serde,) = serdes.values()
    made = (
        flow.repartitioned(flow.needed(flow.label or (name and f"{name}-{side}"), what), key=serde)
        if flow.rekeyed
        else flow
        for flow, side in ((one, "left"), (other, "right"))
    )
    return next(made), next(made)


def _key_serde(flow: Flow) -> Serde[Any]:
    """The serde that gives the bytes by which the flow's records are partitioned."""
    return flow.key.kept_key(None, "the key of a join")
