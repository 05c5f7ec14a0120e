"""Values of a schema from what files of rows have: JSON, the cells of a CSV, Parquet's values.

Text is taken for what the schema says it is: numbers, true and false, ISO 8601, decimals; an empty
cell for null. Nothing is guessed that the schema does not say.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

from processor.serdes.avro.logical import logical_of
from processor.serdes.avro.tree import Collection, RecordType, Type, UnionType

_BOOLEANS: Final = {"true": True, "false": False}


def value_of_row(type_: Type, given: Any) -> Any:
    """The value that a row, or part of one, stands for.

    Columns that the schema lacks are left out; fields that the row lacks get their default.

    Raises:
        ValueError: It stands for none.
    """
    if isinstance(type_, UnionType):
        return _of_union(type_, given)
    if isinstance(type_, RecordType):
        columns = _object(given)
        present = [each for each in type_.fields if each.name in columns]
        return {each.name: _in_field(each.name, each.type, columns[each.name]) for each in present}
    if isinstance(type_, Collection):
        if type_.kind == "map":
            items = _object(given).items()
            return {name: value_of_row(type_.items, each) for name, each in items}
        if not isinstance(given, list | tuple):
            raise ValueError(f"{given!r:.40} is no array")  # noqa: TRY004 - a row's fault
        return [value_of_row(type_.items, each) for each in cast("list[Any]", given)]
    return _single(type_, given)


def _in_field(name: str, type_: Type, given: Any) -> Any:
    try:
        return value_of_row(type_, given)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _object(given: Any) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise ValueError(f"{given!r:.40} is no object")  # noqa: TRY004 - a row's fault
    return cast("dict[str, Any]", given)


def _of_union(union: UnionType, given: Any) -> Any:
    kinds = [each.kind for each in union.branches]
    if given is None or (given == "" and "null" in kinds):
        return None
    problem = ValueError(f"{given!r:.40} is not one of {', '.join(kinds)}")
    for branch in union.branches:
        if branch.kind != "null":
            try:
                return value_of_row(branch, given)
            except ValueError as error:
                problem = error
    raise problem


def _single(type_: Type, given: Any) -> Any:
    logical = logical_of(type_)
    if logical is not None:
        if isinstance(given, logical.cls):
            return given
        if isinstance(given, int) and type_.kind in ("int", "long"):
            return logical.load(given)
        is_local = (type_.logical or "").startswith("local-")
        read = _local if is_local else _LOGICAL[logical.cls]
    else:
        read = _PLAIN.get(type_.kind, str)
    try:
        return read(given)
    except (ValueError, TypeError, ArithmeticError, AttributeError, KeyError) as error:
        raise ValueError(f"{given!r:.40} is no {type_.logical or type_.kind}") from error


def _boolean(given: Any) -> bool:
    return given if isinstance(given, bool) else _BOOLEANS[given.lower()]


def _integer(given: Any) -> int:
    if isinstance(given, bool) or (isinstance(given, float) and not given.is_integer()):
        raise ValueError
    return int(given)


def _number(given: Any) -> float:
    if isinstance(given, bool):
        raise TypeError
    return float(given)


def _bytes(given: Any) -> bytes:
    return given if isinstance(given, bytes) else given.encode()


def _moment(given: Any) -> datetime:
    moment = datetime.fromisoformat(given)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _local(given: Any) -> datetime:
    return datetime.fromisoformat(given).replace(tzinfo=None)


def _decimal(given: Any) -> Decimal:
    return Decimal(str(given))


_PLAIN: Final[Mapping[str, Callable[[Any], Any]]] = {
    "boolean": _boolean,
    "int": _integer,
    "long": _integer,
    "float": _number,
    "double": _number,
    "bytes": _bytes,
    "fixed": _bytes,
}
_LOGICAL: Final[Mapping[type, Callable[[Any], Any]]] = {
    datetime: _moment,
    date: date.fromisoformat,
    time: time.fromisoformat,
    Decimal: _decimal,
    UUID: UUID,
}
