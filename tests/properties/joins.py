"""Joins of one record, by the book: for the reference interpreter alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from processor.operators.changes import Change
from processor.operators.joins import StreamTableJoin, TableTableJoin
from processor.operators.tables import View
from processor.records import Record, Timestamp
from processor.topology.graph import Step
from tests.properties import one_record, tables

if TYPE_CHECKING:
    from tests.properties.one_record import Rows, Trial

JoinOperator = StreamTableJoin | TableTableJoin


def join(trial: Trial, node: Step, operator: JoinOperator, rows: Rows) -> dict[int, Rows]:
    """The results of the rows of one record, whose values are pairs with the parent's number."""
    match operator:
        case StreamTableJoin():
            return {0: _stream_table(trial, node, operator, rows)}
        case TableTableJoin():
            return tables.ports(_table_table(trial, node, operator, rows))


def _stream_table(trial: Trial, node: Step, operator: StreamTableJoin, rows: Rows) -> Rows:
    stream = [
        row._replace(value=value)
        for row, (parent, value) in ((row, row.value) for row in rows)
        if parent == 0 and value is not None
    ]
    if not operator.left and any(row.key is None for row in stream):
        raise one_record.Bad(node.name, "null-key")
    found = [_lookup(trial, node, operator.table, row) for row in stream]
    made: Rows = []
    for row, pair in zip(stream, found, strict=True):
        if pair is not None or operator.left:
            other = None if pair is None else pair[1]
            value = one_record.call(node, operator.joiner, row.value, other)
            made.append(row._replace(value=value))
    return made


def _lookup(trial: Trial, node: Step, view: View, row: Record[Any, Any]) -> tuple[int, Any] | None:
    if row.key is None:
        return None
    table, spec = view.store, trial.specs[view.store]
    try:
        data = trial.state.stores[table].get(spec.key.encode(row.key))
    except Exception:  # noqa: BLE001 - whatever a serde raises
        raise one_record.Bad(node.name, "key") from None
    if data is None:
        return None
    time, value = spec.value.decode(data)
    for step in view.steps:
        value = None if value is None else one_record.call(node, step.value, value)
    return None if value is None else (time, value)


def _table_table(trial: Trial, node: Step, operator: TableTableJoin, rows: Rows) -> Rows:
    (spec,) = node.stores
    held: dict[bytes, tuple[int, Any] | None] = {}
    told: Rows = []
    for row in rows:
        parent, value = row.value
        other = _lookup(trial, node, operator.tables[1 - parent], row)
        sides = [None if other is None else other[1]] * 2
        sides[parent] = value
        left, right = sides
        time = row.timestamp if other is None else max(row.timestamp, other[0])
        result = None
        if _has_result(operator, left, right):
            result = one_record.call(node, operator.joiner, left, right)
        key = spec.key.encode(row.key)
        data = trial.state.stores[spec.name].get(key)
        before = held[key] if key in held else None if data is None else spec.value.decode(data)
        if before is not None or result is not None:
            held[key] = None if result is None else (time, result)
            change = Change(tables.copied(spec, before), result)
            told.append(row._replace(value=change, timestamp=Timestamp(time)))
    for key, pair in held.items():
        try:
            trial.state.put(spec.name, key, None if pair is None else spec.value.encode(pair))
        except Exception:  # noqa: BLE001 - whatever a serde raises
            raise one_record.Bad(node.name, "state") from None
    return told if operator.emit == "change" else []


def _has_result(operator: TableTableJoin, left: Any, right: Any) -> bool:
    both = left is not None and right is not None
    on_left = operator.kind != "inner" and left is not None
    return both or on_left or (operator.kind == "outer" and right is not None)
