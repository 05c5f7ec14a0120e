"""GlobalTable: a topic that every worker holds whole, and the joins of streams with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from processor.errors import TopologyError
from processor.operators.joins.global_tables import GlobalJoin
from processor.records import V2, K, V
from processor.state.keyvalue import StoreSpec
from processor.topology.flow import Flow
from processor.topology.form import Form
from processor.topology.functions import checked_function, told

if TYPE_CHECKING:
    from processor.topology.builder import Builder
    from processor.topology.stream import Stream

KG = TypeVar("KG")
VG = TypeVar("VG")


@dataclass(frozen=True, eq=False, repr=False)
class GlobalTable(Generic[K, V]):
    """The last value of each key of a topic, of all its partitions, in every worker.

    It is read to its end before a worker's tasks begin, and followed from then on. It is no part
    of the tasks' transactions: a record meets what the table has when it is worked on, and after a
    crash may meet a newer value. For `Stream.join_global` and, read only, `ProcessContext.table`.
    """

    builder: Builder
    """For the runtime and for tests, no part of the language."""
    topic: str
    store: StoreSpec[K, V]

    def __repr__(self) -> str:
        return f"GlobalTable({self.topic!r}, store {self.store.name!r})"


class GlobalJoins(Generic[K, V]):
    """The joins of a stream with global tables."""

    flow: Flow

    def join_global(
        self,
        table: GlobalTable[KG, VG],
        by: Callable[[K, V], KG | None] | str,
        joiner: Callable[[V, VG], V2],
        *,
        name: str | None = None,
    ) -> Stream[K, V2]:
        """Joins each record with the value of a key of a global table: `joiner(value, other)`.

        The stream's keys and partitions may be any. A record without a match, without a key to
        look up or with a null value has no result.

        Args:
            table: The table.
            by: `by(key, value)` gives the key to look up; or it is the field of that name.
            joiner: Makes the value.
            name: Of the step.
        """
        return _joined(self.flow, table, by, joiner, name, left=False)

    def left_join_global(
        self,
        table: GlobalTable[KG, VG],
        by: Callable[[K, V], KG | None] | str,
        joiner: Callable[[V, VG | None], V2],
        *,
        name: str | None = None,
    ) -> Stream[K, V2]:
        """As `join_global`; without a match, or a key to look up, a record is joined with None."""
        return _joined(self.flow, table, by, joiner, name, left=True)


def _joined(
    flow: Flow,
    table: GlobalTable[Any, Any],
    by: Callable[[Any, Any], Any] | str,
    joiner: Callable[..., Any],
    name: str | None,
    *,
    left: bool,
) -> Stream[Any, Any]:
    from processor.topology.stream import Stream  # noqa: PLC0415 - each makes the other

    kind = "left-join-global" if left else "join-global"
    called = kind.replace("-", "_")
    if not isinstance(cast("object", table), GlobalTable):
        joins = "left_join" if left else "join"
        raise TopologyError(
            f"{called}: give what topology.global_table(...) gave, not {told(table)}; other tables "
            f"and streams are for {joins}"
        )
    checked_function(f"{called}: joiner", joiner, "value, other")
    if table.builder is not flow.builder:
        raise TopologyError(f"{kind}: the table belongs to a different topology; use one")
    if isinstance(by, str):
        function = _ByField(flow.value.field(by)[0])
    else:
        function = checked_function(f"{called}: by", by, "key, value")
    operator = GlobalJoin(table.store.name, function, joiner, left)
    return Stream(flow.then(kind, operator, name, value=Form.returned_by(joiner)))


@dataclass(frozen=True)
class _ByField:
    field: Callable[[Any], Any]

    def __call__(self, key: object, value: object) -> Any:
        del key
        return self.field(value)
