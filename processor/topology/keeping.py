"""How a table keeps its values: for good, for a time, or with their history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from processor.durations import Duration, milliseconds
from processor.errors import TopologyError
from processor.operators.aggregates.by_key import Emit, Latest, TableOperator, stamped
from processor.operators.tables.timed import Expiring, Wait, expiry_of
from processor.operators.tables.versioned import Kept, Versioned, history_of
from processor.state.keyvalue import StoreSpec
from processor.topology.flow import Flow, TableFlow, Values

if TYPE_CHECKING:
    from processor.topology.form import Form


def kept(
    flow: Flow,
    name: str | None,
    emit: Emit,
    key: Any,
    value: Any,
    ttl: Duration | None,
    versioned: Duration | None,
) -> TableFlow:
    """What `Stream.to_table` makes."""
    name = flow.needed(name, "to_table", "table")
    if ttl is not None and versioned is not None:
        raise TopologyError(
            f"table {name}: a table with a history has no time to live: give ttl= or versioned=, "
            "not both"
        )
    flow = flow.partitioned_by_key(name)
    key_serde = flow.key.kept_key(key, f"the key of table {name}")
    value_serde = flow.value.kept_value(value, f"the value of table {name}")
    spec = StoreSpec(name, key_serde, stamped(value_serde))
    if versioned is not None:
        history = history_of(name, value_serde)
        span = Kept(history.name, milliseconds(versioned, f"versioned of table {name}"))
        made = flow.table("table", spec, Versioned(name, emit, span), flow.value, history)
        return TableFlow(made, Values(spec, history=span))
    made = lasting(flow, "table", spec, Latest(name, emit), flow.value, ttl)
    return TableFlow(made, Values(spec))


def lasting(
    flow: Flow,
    kind: str,
    spec: StoreSpec[Any, Any],
    operator: TableOperator,
    value: Form,
    ttl: Duration | None,
) -> Flow:
    """The changes of a table that a new step keeps in the store, for good or for a time to live."""
    if ttl is None:
        return flow.table(kind, spec, operator, value)
    wait = Wait(milliseconds(ttl, f"ttl of {kind} {spec.name}"))
    expiring = Expiring(spec.name, operator.emit, operator, wait)
    return flow.table(kind, spec, expiring, value, expiry_of(spec.name))
