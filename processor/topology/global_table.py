"""GlobalTable: a topic that every worker holds whole, and what a join with it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, cast

from processor.errors import TopologyError
from processor.operators.joins.global_tables import GlobalJoin
from processor.records import K, V
from processor.state.keyvalue import StoreSpec
from processor.topology.flow import Flow
from processor.topology.form import Form
from processor.topology.functions import checked_function, told

if TYPE_CHECKING:
    from processor.topology.builder import Builder


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


def global_join(
    flow: Flow,
    table: GlobalTable[Any, Any],
    by: Callable[[Any, Any], Any] | str,
    joiner: Callable[..., Any],
    name: str | None,
    *,
    left: bool,
) -> Flow:
    """The results of a stream's join with a global table.

    Raises:
        TopologyError: The table is another thing or another topology's, or a function is none.
    """
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
    return flow.then(kind, operator, name, value=Form.returned_by(joiner))


@dataclass(frozen=True)
class _ByField:
    field: Callable[[Any], Any]

    def __call__(self, key: object, value: object) -> Any:
        del key
        return self.field(value)
