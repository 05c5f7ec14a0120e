"""GroupedStream and Table: the part of the language that keeps the last value of each key.

Each method adds nodes to the builder and returns a new table; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from processor.operators.aggregate import Aggregate, Count, Emit, stamped
from processor.operators.base import Policy
from processor.operators.windowed import WindowEmit
from processor.operators.windows import AnyWindows
from processor.records import V2, K, Record, V
from processor.serdes import Serde, int64
from processor.state.keyvalue import StoreSpec
from processor.topology.flow import Flow
from processor.topology.form import Form
from processor.topology.joining import TableJoins

if TYPE_CHECKING:
    from processor.topology.stream import Stream
    from processor.topology.windowed import WindowedStream


@dataclass(frozen=True, eq=False)
class GroupedStream(Generic[K, V]):
    """Records by key, to be made into a table.

    With `emit="checkpoint"`, the default, a table tells of the last change of each key at every
    checkpoint; with `emit="change"` of every change, record by record. The first is several times
    faster; the last value of every key is the same.
    """

    flow: Flow
    """What is known here; for the runtime and for tests, no part of the language."""

    def window(
        self,
        windows: AnyWindows,
        *,
        emit: WindowEmit = "close",
        late: Policy | None = None,
        retention: str | float | None = None,
    ) -> WindowedStream[K, V]:
        """Groups by windows as well, see docs/windows.md.

        Args:
            windows: Such as `tumbling("10s", grace="1s")`.
            emit: `close`: one result of each window, when it closes. `change`: a result at every
                change. `checkpoint`: the last change of each window at every checkpoint.
            late: For records that come after their windows have closed, instead of the setting
                `on_bad_record`. See also `WindowedTable.late`.
            retention: How long after its end a window can be read in the store, by default until
                it closes.

        Raises:
            TopologyError: What is asked for does not go together.
        """
        from processor.topology.windowed import windowed_stream  # noqa: PLC0415 - makes tables

        return windowed_stream(self.flow, windows, emit, late, retention)

    def count(self, *, name: str | None = None, emit: Emit = "checkpoint") -> Table[K, int]:
        """Counts the records of each key.

        Args:
            name: Of the store; needed where the stream has no name of its own.
            emit: Which changes to tell of, see `GroupedStream`.
        """
        name = self.flow.needed(name, "count", "count")
        flow = self.flow.partitioned_by_key(name)
        spec = StoreSpec(name, _key_serde(flow, name), stamped(int64))
        return Table(flow.table("count", spec, Count(name, emit), Form(int)), spec)

    def reduce(
        self,
        add: Callable[[V, V], V | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V] | Serde[V] | None = None,
    ) -> Table[K, V]:
        """Folds the values of each key into one: `add(so_far, value)`; the first is the start.

        Args:
            add: Returns the new value; None deletes the key.
            name: Of the store; needed where the stream has no name of its own.
            emit: Which changes to tell of, see `GroupedStream`.
            value: Type or serde of the value in the store, by default as far as it is known.
        """
        name = self.flow.needed(name, "reduce", "reduce")
        return self._fold(None, add, self.flow.value, value, name, emit)

    def aggregate(
        self,
        start: Callable[[], V2],
        add: Callable[[V2, V], V2 | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]:
        """Folds the values of each key into an aggregate: `add(so_far, value)`.

        Args:
            start: Makes the aggregate that a key begins with.
            add: Returns the new aggregate, which may be the changed old one; None deletes the key.
            name: Of the store; needed where the stream has no name of its own.
            emit: Which changes to tell of, see `GroupedStream`.
            value: Type or serde of the aggregate in the store; by default what the annotation of
                `add` or `start` says, else JSON, which is refused if it would change the value.
        """
        name = self.flow.needed(name, "aggregate", "aggregate")
        form = Form.returned_by(add)
        if form.type is None:
            form = Form(start) if isinstance(start, type) else Form.returned_by(start)
        return self._fold(start, add, form, value, name, emit)

    def _fold(
        self,
        start: Callable[[], Any] | None,
        add: Callable[[Any, Any], Any],
        form: Form,
        given: Any,
        name: str,
        emit: Emit,
    ) -> Table[K, Any]:
        flow = self.flow.partitioned_by_key(name)
        serde = form.kept_value(given, f"the value of store {name}")
        spec = StoreSpec(name, _key_serde(flow, name), stamped(serde))
        kind = "reduce" if start is None else "aggregate"
        operator = Aggregate(name, emit, start, add, serde)
        return Table(flow.table(kind, spec, operator, form), spec)


@dataclass(frozen=True, eq=False)
class Table(TableJoins[K, V], Generic[K, V]):
    """The last value of each key, kept in a store; its changes can be read as a stream."""

    flow: Flow
    """What is known here; for the runtime and for tests, no part of the language."""
    store: StoreSpec[Any, Any]
    """The store that holds the table."""

    def to_stream(self) -> Stream[K, V]:
        """The table's changes: the new value of a key, None when it is deleted."""
        from processor.topology.stream import Stream  # noqa: PLC0415 - each makes the other

        return Stream(self.flow)

    def to(
        self,
        topic: str | Callable[[Record[K, V]], str],
        *,
        key: type[Any] | Serde[Any] | None = None,
        value: type[Any] | Serde[Any] | None = None,
    ) -> None:
        """Writes the table's changes to a topic, see `Stream.to`."""
        self.to_stream().to(topic, key=key, value=value)

    def print(self, label: str | None = None) -> Table[K, V]:
        """Prints each change as `label: key → value`."""
        self.to_stream().print(label)
        return self


def _key_serde(flow: Flow, name: str) -> Serde[Any]:
    return flow.key.kept_key(None, f"the key of store {name}")
