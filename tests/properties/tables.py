"""What tables of tables mean, one record at a time: for the reference interpreter alone."""

from types import NoneType
from typing import Any

from processor.operators.changes import Change
from processor.operators.tables.derived import AggregateChanges, Derived, Regroup
from processor.records import Record
from processor.state.keyvalue import StoreSpec

Rows = list[Record[Any, Any]]
Held = tuple[int, Any] | None


def ports(rows: Rows) -> dict[int, Rows]:
    """Changes, as new values and as they are."""
    return {0: [row._replace(value=row.value.new) for row in rows], 1: rows}


def copied(spec: StoreSpec[Any, Any], held: Held) -> Any:
    try:
        return None if held is None else spec.value.decode(spec.value.encode(held))[1]
    except Exception:  # noqa: BLE001 - whatever a serde raises
        return held[1]  # what can't be kept makes its record bad in any case


def derived(operator: Derived, row: Record[Any, Any]) -> Rows:
    old, new = (None if each is None else operator.value(each) for each in row.value)
    return [] if old is None and new is None else [row._replace(value=Change(old, new))]


def regrouped(operator: Regroup, row: Record[Any, Any]) -> Rows:
    old, new = row.value
    groups = [None if each is None else (operator.function(each),) for each in row.value]
    if None not in groups and groups[0] == groups[1]:
        return [row._replace(key=groups[0][0])]
    made: Rows = []
    if groups[0] is not None:
        made.append(row._replace(key=groups[0][0], value=Change(old, None)))
    if groups[1] is not None:
        made.append(row._replace(key=groups[1][0], value=Change(None, new)))
    return made


def counted(before: Held, change: Change) -> int | None:
    count = None if before is None else before[1]
    if change.old is not None and count is not None:
        count -= 1
    if change.new is not None:
        count = (count or 0) + 1
    return count


def added(operator: AggregateChanges, before: Held, change: Change) -> Any:
    held = None if before is None else before[1]
    if change.old is not None and held is not None:
        held = apart(operator, operator.subtract(held, change.old), change.old)
    if change.new is None:
        return held
    if held is None and operator.start is None:
        result = change.new
    else:
        result = operator.add(operator.start() if held is None else held, change.new)
    return apart(operator, result, change.new)


def apart(operator: AggregateChanges, result: Any, given: Any) -> Any:
    changeable = result is given and type(result) not in (int, str, float, bool, bytes, NoneType)
    return operator.value.decode(operator.value.encode(result)) if changeable else result
