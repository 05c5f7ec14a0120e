"""Copies of values, made as the internal form makes them: without calling code of their types.

`copy.deepcopy` makes a Struct by its constructor, so that `__post_init__` sees a value again.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, Final, cast
from uuid import UUID

from processor.serdes.internal_fields import fields_of
from processor.serdes.internal_values import SIMPLE

FIXED: Final = SIMPLE | {datetime, date, time, timedelta, Decimal, UUID}
"""Types whose values nobody can change."""

_are_fixed = FIXED.issuperset


def copy_of(value: Any) -> Any:
    """A value that shares nothing with this one that can be changed.

    What refuses to be copied is given back itself.
    """
    kind = cast("type[Any]", type(value))
    if kind in FIXED:
        return value
    try:
        return _copier(kind)(value)
    except Exception:  # noqa: BLE001 - a user's value may refuse to be copied in any way
        return value


def are_fixed(items: Iterable[Any]) -> bool:
    """Whether nobody can change any of these."""
    return _are_fixed(map(type, items))


def _dict(value: dict[Any, Any]) -> dict[Any, Any]:
    if are_fixed(value.values()):
        return value.copy()
    return {key: copy_of(item) for key, item in value.items()}


def _list(value: list[Any]) -> list[Any]:
    return value.copy() if are_fixed(value) else list(map(copy_of, value))


def _tuple(value: tuple[Any, ...]) -> tuple[Any, ...]:
    return value if are_fixed(value) else tuple(map(copy_of, value))


_CONTAINERS: Final[dict[type, Callable[[Any], Any]]] = {dict: _dict, list: _list, tuple: _tuple}


@cache
def _copier(kind: Any) -> Callable[[Any], Any]:
    if kind in _CONTAINERS:
        return _CONTAINERS[kind]
    fields = None if issubclass(kind, Enum) else fields_of(kind)
    if fields is None:
        return deepcopy
    parts, make = fields.parts, fields.make

    def copy_model(value: Any) -> Any:
        held = parts(value)
        if len(getattr(value, "__dict__", ())) > len(held):
            return deepcopy(value)  # with what it has besides its fields
        return make({name: copy_of(item) for name, item in held.items()})

    return copy_model
