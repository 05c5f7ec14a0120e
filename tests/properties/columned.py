"""Steps of columns by the book: by functions that do the same, one value at a time."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from processor.operators.columns.composed import ColumnItem
from processor.operators.columns.evaluation import Columns
from processor.operators.columns.steps import FilterColumns, KeyByColumn, SelectColumns
from processor.records import Record

Twin = Callable[[Any], Any]
TWINS: WeakKeyDictionary[Columns, tuple[Twin, ...]] = WeakKeyDictionary()
"""The functions that do what columns do."""


def step(operator: Any, row: Record[Any, Any]) -> list[Record[Any, Any]]:
    """What a step of columns makes of one row, by its functions."""
    made = [twin(row.value) for twin in TWINS[operator.function]]
    match operator:
        case FilterColumns():
            return [row] if bool(made[0]) == operator.keep else []
        case KeyByColumn():
            return [row._replace(key=made[0])]
        case SelectColumns():
            fields = dict(zip(operator.names, made, strict=True))
            return [row._replace(value={**row.value, **fields} if operator.added else fields)]
        case _:
            raise TypeError(operator)


def getter(get: Any) -> Any:
    """What gets an item of a value for an aggregate: the function, where it is a column."""
    return TWINS[get.columns][get.number] if isinstance(get, ColumnItem) else get
