"""Values of a record that goes several ways: each way has its own, so that none shows in another.

What a step changes in place is so its own business. Values that nobody can change are shared.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

from processor.operators.aggregate import UNCHANGING
from processor.records import Batch

_FIXED: Final = UNCHANGING | {datetime, date, time, timedelta, Decimal, UUID}


def copied(batch: Batch[Any, Any]) -> Batch[Any, Any]:
    """The same rows with values of their own; what refuses to be copied is shared."""
    # Other sequences make their values for each who looks at them.
    values = cast("list[Any]", batch.values)
    if type(values) is not list or _all_fixed(values):
        return batch
    return batch.with_values(list(map(copy_of, values)))


def copy_of(value: Any) -> Any:
    """A value that shares nothing with this one that can be changed."""
    kind = cast("type[Any]", type(value))
    if kind in _FIXED:
        return value
    copier = _COPIERS.get(kind)
    try:
        return deepcopy(value) if copier is None else copier(value)
    except Exception:  # noqa: BLE001 - a user's value may refuse to be copied in any way
        return value


def _dict(value: dict[Any, Any]) -> dict[Any, Any]:
    if _FIXED.issuperset(map(type, value.values())):
        return value.copy()
    return {key: copy_of(item) for key, item in value.items()}


def _list(value: list[Any]) -> list[Any]:
    return value.copy() if _all_fixed(value) else list(map(copy_of, value))


def _tuple(value: tuple[Any, ...]) -> tuple[Any, ...]:
    return value if _all_fixed(value) else tuple(map(copy_of, value))


def _all_fixed(items: Sequence[Any]) -> bool:
    return _FIXED.issuperset(map(type, items))


_COPIERS: Final[dict[type, Callable[[Any], Any]]] = {dict: _dict, list: _list, tuple: _tuple}
