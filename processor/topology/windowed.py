"""WindowedStream and WindowedTable: the part of the language that divides time.

Each method adds nodes to the builder and returns a new table; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, cast, get_args, overload

from processor.durations import Duration, milliseconds
from processor.errors import TopologyError
from processor.operators.aggregates.aggregators import Adding, Aggregation, Counting
from processor.operators.aggregates.by_key import stamped
from processor.operators.aggregates.catalogue import Aggregator
from processor.operators.base import (
    LATE,
    Operator,
)
from processor.operators.windows.aligned import AlignedStep
from processor.operators.windows.early import Early
from processor.operators.windows.keyed import (
    CountedStep,
    KeyedStep,
    SessionStep,
    SlidingStep,
    entries_serde,
)
from processor.operators.windows.kinds import (
    AnyWindows,
    Calendar,
    Counted,
    Hopping,
    Session,
    Sliding,
    Windows,
)
from processor.operators.windows.windowed import FINAL, WindowEmit
from processor.records import (
    V2,
    K,
    Policy,
    V,
)
from processor.serdes import Serde, json_of, key_json
from processor.serdes.typed_keys import own_json_key
from processor.serdes.types import runs_code
from processor.serdes.windowed import Windowed, windowed, windowed_json
from processor.state.keyvalue import StoreSpec
from processor.topology.aggregating import composed
from processor.topology.builder import check_choice
from processor.topology.flow import Flow, FromFlow, Values
from processor.topology.form import Form
from processor.topology.functions import checked_function, described, folded
from processor.topology.graph import Edge
from processor.topology.table import JoinableTable

if TYPE_CHECKING:
    from processor.topology.stream import Stream


_KEYED: Mapping[type[Windows], type[KeyedStep]] = {
    Session: SessionStep,
    Sliding: SlidingStep,
    Counted: CountedStep,
}
"""The steps of windows that depend on the records of a key."""


@dataclass(frozen=True, eq=False, repr=False)
class WindowedTable(JoinableTable[Windowed[K], V2], Generic[K, V, V2]):
    """The results of windows by `Windowed` keys: key, start and end.

    For the other methods of tables put `.to_stream().to_table(name=...)` after it.
    """

    _late_flow: Flow | None
    """Where late records go, if any can be."""
    _final_flow: Flow | None
    """Where the results of closed windows go, if they are emitted."""

    def late(self) -> Stream[K, V]:
        """The records that came after their windows had closed; they are no bad records then.

        Returns:
            The stream of them, with their own keys.

        Raises:
            TopologyError: The windows close by count.
        """
        if self._late_flow is None:
            raise TopologyError(
                f"{self._flow.label}: no record is late for windows that close by count; leave "
                "out late()"
            )
        return self._late_flow.to_stream()

    def final(self) -> Stream[Windowed[K], V2]:
        """The results of windows that have closed, without early ones.

        Returns:
            The stream of them.

        Raises:
            TopologyError: The table emits changes, and nothing when windows close.
        """
        if self._final_flow is None:
            raise TopologyError(
                f"{self._flow.label}: windows that emit changes emit nothing when they close; "
                'use emit="close" with early=, of which final() has the last results'
            )
        return self._final_flow.to_stream()


@dataclass(frozen=True, eq=False, repr=False)
class WindowedStream(FromFlow, Generic[K, V]):
    """Records by key and window, to be made into a table; see `GroupedStream.window`."""

    _windows: AnyWindows
    _emit: WindowEmit
    _late: Policy | None
    _kept: int
    """How long after its end a window stays in the store, milliseconds."""
    _early: int | None
    """How often results of open windows are emitted, in milliseconds of stream time."""

    def count(self, *, name: str | None = None) -> WindowedTable[K, V, int]:
        """Counts the records of each key and window.

        Example: `orders.group_by_key().window(tumbling("1m")).count()`.
        In Kafka Streams: `TimeWindowedKStream#count`.

        Args:
            name: Of the store; needed where the stream has no name of its own.

        Returns:
            The table of the counts, by key and window.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        name = self._flow.needed(name, "count", "count")
        return self._table("count", name, Counting(), Form(int))

    def reduce(
        self,
        add: Callable[[V, V], V | None],
        *,
        name: str | None = None,
        value: type[V] | Serde[V] | None = None,
    ) -> WindowedTable[K, V, V]:
        """Folds the values of each key and window into one: `add(so_far, value)`.

        In Kafka Streams: `TimeWindowedKStream#reduce`.

        Args:
            add: Returns the new value; None deletes the window's. Joins sessions as well.
            name: Of the store; needed where the stream has no name of its own.
            value: Type or serde of the value in the store, by default as far as it is known.

        Returns:
            The table of the values, by key and window.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        name = self._flow.needed(name, "reduce", "reduce")
        checked_function("reduce", add, "so_far, value")
        form = self._flow.value
        serde = form.kept_value(value, f"the value of store {name}")
        return self._table("reduce", name, Adding(serde, None, add, add), form)

    def aggregate(
        self,
        start: Callable[[], V2],
        add: Callable[[V2, V], V2 | None],
        *,
        merge: Callable[[V2, V2], V2 | None] | None = None,
        name: str | None = None,
        value: type[V2] | Serde[V2] | None = None,
    ) -> WindowedTable[K, V, V2]:
        """Folds the values of each key and window into an aggregate: `add(so_far, value)`.

        In Kafka Streams: `TimeWindowedKStream#aggregate`.

        Args:
            start: Makes the aggregate that a window begins with.
            add: Returns the new aggregate, which may be the changed old one; None deletes it.
            merge: Makes one of two aggregates, of which the first is the earlier; for sessions.
            name: Of the store; needed where the stream has no name of its own.
            value: Type or serde of the aggregate in the store; see `GroupedStream.aggregate`.

        Returns:
            The table of the aggregates, by key and window.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        name = self._flow.needed(name, "aggregate", "aggregate")
        form = folded("aggregate", start, add)
        if merge is not None:
            checked_function("aggregate: merge", merge, "earlier, later")
        serde = form.kept_value(value, f"the value of store {name}")
        return self._table("aggregate", name, Adding(serde, start, add, merge), form)

    @overload
    def agg(
        self, /, *, name: str | None = None, **parts: Aggregator[Any]
    ) -> WindowedTable[K, V, dict[str, Any]]: ...
    @overload
    def agg(
        self, model: type[V2], /, *, name: str | None = None, **parts: Aggregator[Any]
    ) -> WindowedTable[K, V, V2]: ...
    def agg(
        self, model: Any = dict, /, *, name: str | None = None, **parts: Aggregator[Any]
    ) -> WindowedTable[K, V, Any]:
        """Several aggregates at once: `agg(total=sum_of("amount"), most=max_of("amount"))`.

        Args:
            model: What the results are, made with their names as keywords; by default a dict.
            name: Of the store; needed where the stream has no name of its own.
            parts: The aggregates, by the names that they have in the results.

        Returns:
            The table of the results, by key and window.

        Raises:
            TopologyError: An aggregate is invalid, of an unknown field, or has no name; or the
                name of the store is missing, taken or malformed.
        """
        name = self._flow.needed(name, "agg", "agg")
        aggregation, form = composed(self._flow.value, parts, model, f"agg {name}")
        return self._table("agg", name, aggregation, form)

    def _table(
        self, kind: str, name: str, aggregation: Aggregation, form: Form
    ) -> WindowedTable[K, V, Any]:
        flow = self._flow.partitioned_by_key(name)
        key = flow.key.kept_key(None, f"the key of store {name}")
        spec = StoreSpec(name, windowed(key), stamped(aggregation.shown))
        operator, more = self._operator(name, key, aggregation)
        outputs = ("", "late") if self._early is None else ("", "late", "final")
        edges, on_bad_record = (flow.edge,), flow.on_bad_record
        node = flow.builder.step(
            kind, edges, operator, (spec, *more), name, outputs, on_bad_record=on_bad_record
        )
        made = Form(Windowed[flow.key.type or Any], windowed_json(_in_json(flow.key)))
        results = replace(flow, edge=Edge(node), key=made, value=Form(form.type), label=name)
        late = None
        if not isinstance(self._windows, Counted):
            late = replace(flow, edge=Edge(node, LATE), label=f"{name}-late")
        final = None if self._emit != "close" else results
        if self._early is not None:
            final = replace(results, edge=Edge(node, FINAL), label=f"{name}-final")
        # The store has open windows: a result that is emitted when one closes is in it no more.
        values = Values(spec, is_held=self._emit != "close")
        return WindowedTable(results, values, late, final)

    def _operator(
        self, name: str, key: Serde[Any], aggregation: Aggregation
    ) -> tuple[Operator, tuple[StoreSpec[Any, Any], ...]]:
        """The step, and the stores that it needs besides."""
        windows = self._windows
        early = None if self._early is None else Early(f"{name}-early", self._early)
        changed = () if early is None else (early.spec,)
        emit, late, kept = self._emit, self._late, self._kept
        if isinstance(windows, Hopping | Calendar):
            return AlignedStep(name, windows, aggregation, key, emit, late, kept, early), changed
        if isinstance(windows, Session) and not aggregation.can_merge:
            raise TopologyError(
                f"{name}: sessions grow together, so say how their aggregates do: "
                "merge=function(earlier, later)"
            )
        index = StoreSpec(f"{name}-windows", key, entries_serde)
        step = _KEYED[type(windows)](
            name, windows, aggregation, key, emit, late, kept, early, index.name
        )
        return step, (index, *changed)


def windowed_stream(
    flow: Flow,
    windows: AnyWindows,
    emit: WindowEmit,
    late: Policy | None,
    retention: Duration | None,
    early: Duration | None = None,
) -> WindowedStream[Any, Any]:
    """A windowed stream, if what is asked for goes together.

    Raises:
        TopologyError: It does not.
    """
    if not isinstance(cast("object", windows), Windows):
        raise TopologyError(
            f'window takes windows, such as tumbling("10s") or counted(100), not '
            f"{described(windows)}"
        )
    check_choice("emit", emit, get_args(WindowEmit))
    check_choice("late", late, (None, *get_args(Policy)))
    kept = windows.delay
    if retention is not None:
        kept = milliseconds(retention, "retention")
        if kept < windows.delay:
            raise TopologyError(
                f"retention={retention!r}: windows ({windows}) take records for longer after "
                "their end; choose a longer one, or none"
            )
    if isinstance(windows, Counted) and (emit != "close" or late or retention or early):
        raise TopologyError(
            f"windows of {windows} close by count: they have one result each, and no late records, "
            "so leave out emit=, late=, retention= and early="
        )
    if early is not None and emit != "close":
        raise TopologyError(
            f"early={early!r}: windows with emit={emit!r} emit their changes anyway; leave out "
            "one of both"
        )
    if isinstance(windows, Sliding):
        kept = max(kept, windows.delay + windows.size + 1)  # as new windows are made of them
    if late is None and not callable(flow.on_bad_record):
        late = flow.on_bad_record
    every = None if early is None else milliseconds(early, "early")
    return WindowedStream(flow, windows, emit, late, kept, every)


def _in_json(form: Form) -> Serde[Any]:
    """Keys as JSON, as far as their type has that."""
    if form.type is None:
        return key_json
    try:
        runs = runs_code(form.type)
        return json_of(form.type, sort=True) if runs else own_json_key(form.type)
    except TopologyError:
        return key_json
