"""CogroupedStream: several grouped streams of equal keys, to be made into one table.

Each method adds nodes to the builder and returns something new; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from processor.errors import TopologyError
from processor.operators.aggregates.by_key import Emit
from processor.operators.base import Policy
from processor.operators.joins.tables import Cogroup
from processor.operators.windows.kinds import AnyWindows
from processor.operators.windows.windowed import WindowEmit
from processor.records import V2, K
from processor.serdes import Serde
from processor.serdes.copies import copy_of
from processor.topology.flow import Flow
from processor.topology.form import Form
from processor.topology.functions import checked_function, told
from processor.topology.graph import Edge
from processor.topology.joining_steps import together

if TYPE_CHECKING:
    from processor.topology.table import GroupedStream, Table
    from processor.topology.windowed import WindowedTable

VO = TypeVar("VO")


class _Group(NamedTuple):
    """One of the streams, and what adds its values."""

    flow: Flow
    add: Callable[[Any, Any], Any]


@dataclass(frozen=True, eq=False, repr=False)
class CogroupedStream(Generic[K, V2]):
    """Grouped streams whose values are folded into one aggregate, each by a function of its own."""

    groups: tuple[_Group, ...]
    """What is known here; for the runtime and for tests, no part of the language."""

    def __repr__(self) -> str:
        return f"CogroupedStream({'; '.join(str(each.flow) for each in self.groups)})"

    def cogroup(
        self, other: GroupedStream[K, VO], add: Callable[[V2, VO], V2 | None]
    ) -> CogroupedStream[K, V2]:
        """One more stream, whose values `add(so_far, value)` adds."""
        from processor.topology.table import GroupedStream  # noqa: PLC0415 - each makes the other

        if not isinstance(cast("object", other), GroupedStream):
            raise TopologyError(
                f"cogroup: give a grouped stream, such as stream.group_by_key(), not {told(other)}"
            )
        checked_function("cogroup", add, "so_far, value")
        return CogroupedStream((*self.groups, _Group(other.flow, add)))

    def aggregate(
        self,
        start: Callable[[], V2],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]:
        """Folds the values of each key into an aggregate, see `GroupedStream.aggregate`.

        Args:
            start: Makes the aggregate that a key begins with, whichever stream it is in first.
            name: Of the store; needed where the first stream has no name of its own.
            emit: Which changes to tell of, see `GroupedStream`.
            value: Type or serde of the aggregate in the store; by default what the annotation of
                the first function or of `start` says.
        """
        from processor.topology.table import GroupedStream  # noqa: PLC0415 - each makes the other

        name = self.groups[0].flow.needed(name, "cogroup", "cogroup")
        grouped: GroupedStream[K, Any] = GroupedStream(_merged(self.groups, name))
        return grouped.aggregate(start, _added(self.groups), name=name, emit=emit, value=value)

    def window(
        self,
        windows: AnyWindows,
        *,
        emit: WindowEmit = "close",
        late: Policy | None = None,
        retention: str | float | None = None,
        early: str | float | None = None,
    ) -> WindowedCogroup[K, V2]:
        """Groups by windows as well, see `GroupedStream.window`."""
        return WindowedCogroup(self, windows, emit, late, retention, early)


@dataclass(frozen=True, eq=False)
class WindowedCogroup(Generic[K, V2]):
    """A cogrouped stream by windows."""

    cogrouped: CogroupedStream[K, V2]
    """What is known here; for the runtime and for tests, no part of the language."""
    windows: AnyWindows
    emit: WindowEmit
    late: Policy | None
    retention: str | float | None
    early: str | float | None

    def aggregate(
        self,
        start: Callable[[], V2],
        *,
        merge: Callable[[V2, V2], V2 | None] | None = None,
        name: str | None = None,
        value: type[V2] | Serde[V2] | None = None,
    ) -> WindowedTable[K, Any, V2]:
        """Folds the values of each key and window, see `WindowedStream.aggregate`."""
        from processor.topology.windowed import windowed_stream  # noqa: PLC0415 - makes tables

        cogrouped = self.cogrouped
        name = cogrouped.groups[0].flow.needed(name, "cogroup", "cogroup")
        merged = _merged(cogrouped.groups, name)
        stream = windowed_stream(
            merged, self.windows, self.emit, self.late, self.retention, self.early
        )
        add = _added(cogrouped.groups)
        return stream.aggregate(start, add, merge=merge, name=name, value=value)


def cogrouped(flow: Flow, add: Callable[[Any, Any], Any]) -> CogroupedStream[Any, Any]:
    """The first stream of a cogroup."""
    return CogroupedStream((_Group(flow, checked_function("cogroup", add, "so_far, value")),))


def _merged(groups: tuple[_Group, ...], name: str) -> Flow:
    """All values, with the number of their stream, where equal keys meet."""
    names = [f"{name}-{number}" for number, _ in enumerate(groups, 1)]
    flows = together([group.flow for group in groups], "cogroup", names)
    first = flows[0]
    edges = tuple(flow.edge for flow in flows)
    node = first.builder.step("cogroup", edges, Cogroup(), on_error=first.on_error)
    return replace(first, edge=Edge(node), value=Form(), label=name)


def _added(groups: tuple[_Group, ...]) -> Callable[[Any, Any], Any]:
    """What adds a value that has the number of its stream; it is known by the first function."""
    adders = [group.add for group in groups]

    def add(so_far: Any, numbered: tuple[int, Any]) -> Any:
        number, value = numbered
        made = adders[number](so_far, value)
        # Steps beside this one see the value as well; the function may change the result.
        return copy_of(made) if made is value else made

    return update_wrapper(add, adders[0])
