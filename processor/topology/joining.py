"""The part of the language that joins: what `Stream` and `Table` inherit their joins from.

Each method adds nodes to the builder and returns a new stream or table; nothing is computed here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from processor.errors import TopologyError
from processor.operators.aggregate import Emit, stamped
from processor.operators.joins import JoinKind, StreamTableJoin, TableTableJoin
from processor.operators.tables import View
from processor.records import V2, K, V
from processor.serdes import Serde
from processor.state.keyvalue import StoreSpec
from processor.topology.builder import check_choice
from processor.topology.flow import Flow
from processor.topology.form import Form
from processor.topology.graph import Edge, Read

if TYPE_CHECKING:
    from processor.topology.stream import Stream
    from processor.topology.table import Table

VO = TypeVar("VO")


class StreamJoins(Generic[K, V]):
    """The joins of a stream."""

    flow: Flow

    def join(
        self, other: Table[K, VO], joiner: Callable[[V, VO], V2], *, name: str | None = None
    ) -> Stream[K, V2]:
        """Joins each record with the value that the table has for its key: `joiner(value, other)`.

        A record whose key is not in the table has no result, and none with a null value; one
        without a key is a bad record. The table may change at any time: a record meets what is in
        it when the record is worked on. Timestamps and headers are those of the stream.
        """
        return _stream_table(self.flow, other, joiner, name, left=False)

    def left_join(
        self, other: Table[K, VO], joiner: Callable[[V, VO | None], V2], *, name: str | None = None
    ) -> Stream[K, V2]:
        """As `join`; without a match, or without a key, a record is joined with None."""
        return _stream_table(self.flow, other, joiner, name, left=True)


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


def _stream_table(
    stream: Flow,
    table: Table[Any, Any],
    joiner: Callable[..., Any],
    name: str | None,
    *,
    left: bool,
) -> Stream[Any, Any]:
    from processor.topology.stream import Stream  # noqa: PLC0415 - each makes the other

    kind = "left-join" if left else "join"
    flow = _beside(stream, table.flow, kind, name)
    operator = StreamTableJoin(table.view, joiner, left)
    reads = (Read(0, table.store.name),)
    node = flow.builder.step(
        kind, (flow.edge, table.flow.edge), operator, (), name, reads=reads, on_error=flow.on_error
    )
    made = replace(flow, edge=Edge(node), value=Form.returned_by(joiner), label=name or flow.label)
    return Stream(made)


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

    word = "join" if kind == "inner" else f"{kind}-join"
    name = left.flow.needed(name, word, word)
    flow = _beside(left.flow, right.flow, word, name)
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


def _beside(flow: Flow, other: Flow, what: str, name: str | None) -> Flow:
    """The records of the flow where those of the other with equal keys are.

    Raises:
        TopologyError: They belong to different topologies, or equal keys have different bytes.
    """
    if flow.builder is not other.builder:
        raise TopologyError(f"{what}: the two belong to different topologies; use one")
    wanted = _partitioned_as(other, what)
    known = not flow.rekeyed or flow.key.type is not None
    if known and _partitioned_as(flow, what).name != wanted.name:
        raise TopologyError(
            f"{what}: the keys of one side are {_partitioned_as(flow, what).name} and those of the "
            f"other {wanted.name}, so that equal keys are in different partitions: read or "
            "repartition both with the same key="
        )
    if not flow.rekeyed:
        return flow
    return flow.repartitioned(flow.needed(flow.label or name, what), key=wanted)


def _partitioned_as(flow: Flow, what: str) -> Serde[Any]:
    """The serde that gives the bytes by which the flow's records are partitioned."""
    return flow.key.kept_key(None, f"the key of {what}")
