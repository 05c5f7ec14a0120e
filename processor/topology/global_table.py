"""GlobalTable: a topic that every worker holds whole, and what a join with it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Generic

from processor.errors import TopologyError
from processor.operators.joins.global_tables import GlobalJoin
from processor.records import K, V
from processor.state.keyvalue import StoreSpec
from processor.topology.builder import Builder
from processor.topology.flow import Flow
from processor.topology.form import Form
from processor.topology.functions import checked_function


@dataclass(frozen=True, eq=False, repr=False)
class GlobalTable(Generic[K, V]):
    """The last value of each key of a topic, of all its partitions, in every worker.

    It is read to its end before a worker's tasks begin, and followed from then on. It is no part
    of the tasks' transactions: a record meets what the table has when it is worked on, and after a
    crash may meet a newer value. For `Stream.join` and, read only, `ProcessContext.table`.
    """

    _builder: Builder
    topic: str
    store: StoreSpec[K, V]

    def __repr__(self) -> str:
        return f"GlobalTable({self.topic!r}, store {self.store.name!r})"


_builder_of: Callable[[GlobalTable[Any, Any]], Builder] = attrgetter("_builder")


def global_join(
    flow: Flow,
    table: GlobalTable[Any, Any],
    on: Callable[[Any, Any], Any] | str | None,
    joiner: Callable[..., Any],
    name: str | None,
    *,
    left: bool,
) -> Flow:
    """The results of a stream's join with a global table.

    Raises:
        TopologyError: The table is another topology's, a function is invalid, or `on` is missing.
    """
    kind = "left-join-global" if left else "join-global"
    called = "left_join" if left else "join"
    if on is None:
        raise TopologyError(
            f'{called}: say which key of the global table to look up: on="field", or '
            "on=function(key, value)"
        )
    checked_function(f"{called}: joiner", joiner, "value, other")
    if _builder_of(table) is not flow.builder:
        raise TopologyError(f"{kind}: the table belongs to a different topology; use one")
    if isinstance(on, str):
        function = _ByField(flow.value.field(on)[0])
    else:
        function = checked_function(f"{called}: on", on, "key, value")
    operator = GlobalJoin(table.store.name, function, joiner, left)
    return flow.then(kind, operator, name, value=Form.returned_by(joiner))


@dataclass(frozen=True)
class _ByField:
    field: Callable[[Any], Any]

    def __call__(self, key: object, value: object) -> Any:
        del key
        return self.field(value)
