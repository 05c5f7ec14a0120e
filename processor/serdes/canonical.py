"""Equal keys become one key, so that their bytes are equal too, and they meet.

Owns the rule which of several equal keys that is: of moments the one in UTC, of numbers the one of
the field's type, or else the integer; zeros are positive and Decimals end with a digit that counts.
No code of a key's type runs.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cache
from types import NoneType
from typing import Any, Final, cast, get_args, get_origin, is_typeddict
from uuid import UUID

from processor.errors import TopologyError
from processor.serdes.base import nan_key
from processor.serdes.internal_fields import Fields, fields_of
from processor.serdes.types import package_of, parts, plain_type, type_name

Canonical = Callable[[Any], Any]


def canonical_of(annotation: Any) -> Canonical:
    """A function that gives for all equal keys of a type the same one.

    Raises:
        TopologyError: Keys of the type may be equal, or different, for reasons that can't be seen.
    """
    for part in parts(annotation):
        _check_equality(part)
    return _canonical_of(annotation)


def _canonical_of(annotation: Any) -> Canonical:
    model = plain_type(annotation)
    origin, arguments = get_origin(model) or model, get_args(model)
    if origin in _NUMBERS:
        return _NUMBERS[origin]
    if origin is tuple and arguments[1:] == (...,):
        return _all(tuple, _canonical_of(arguments[0]))
    if origin is tuple and arguments:
        return _each(list(map(_canonical_of, arguments)))
    if origin is frozenset and arguments:
        return _all(frozenset, _canonical_of(arguments[0]))
    if get_args(model) and _is_model(origin):
        return _later(model)
    return _canonical


def _later(model: Any) -> Canonical:
    return lambda value: _model(model)(value) if type(value) is get_origin(model) else value


def _all(kind: Any, member: Canonical) -> Canonical:
    return lambda value: kind(map(member, value)) if type(value) is kind else _canonical(value)


def _each(members: list[Canonical]) -> Canonical:
    def canonical(value: Any) -> Any:
        if type(value) is not tuple or len(cast("Any", value)) != len(members):
            return _canonical(value)
        return tuple(member(item) for member, item in zip(members, cast("Any", value), strict=True))

    return canonical


def _canonical(value: Any) -> Any:
    """The key for a value of which no type is known but its own."""
    kind: Any = type(value)  # pyright: ignore[reportUnknownVariableType]
    return _of_kind(kind)(value)


@cache
def _of_kind(kind: Any) -> Canonical:
    """To look at a class costs more than all that is done with most keys."""
    return _KINDS.get(kind) or (_model(kind) if _is_model(kind) else _itself)


def _itself(value: Any) -> Any:
    return value


def _is_model(kind: Any) -> bool:
    if not isinstance(kind, type) or issubclass(kind, Enum) or is_typeddict(cast("Any", kind)):
        return False
    return fields_of(kind) is not None


@cache
def _model(model: Any) -> Canonical:
    fields = cast("Fields", fields_of(model))
    take, make = fields.parts, fields.make
    names = [field.name for field in fields.each]
    has_numbers = any(_is_number(field.type) for field in fields.each)
    are_alike = _ONE_FORM.issuperset
    made: dict[str, Canonical] = {}

    def canonical(value: Any) -> Any:
        held = take(value)
        if not has_numbers and are_alike(map(type, held.values())) and list(held) == names:
            return value
        if not made:  # by now, as a tree's nodes have nodes in them
            made.update((field.name, _canonical_of(field.type)) for field in fields.each)
        tree = {name: member(held[name]) for name, member in made.items() if name in held}
        return make(tree | _more(held, made))

    return canonical


def _is_number(annotation: Any) -> bool:
    model = plain_type(annotation)
    return (get_origin(model) or model) in _NUMBERS


def _more(held: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """What an object of pydantic has besides; which fields were set makes no difference to `==`."""
    more = {name: each for name, each in held.items() if name not in names}
    return {
        name: [sorted(names), extra, private]
        for name, (_, extra, private) in more.items()
        if extra is not None or private is not None
    }


def _check_equality(part: Any) -> None:
    if not (_is_model(part) or (isinstance(part, type) and issubclass(part, Enum))):
        return
    name = type_name(part)
    if _is_of_the_user(part.__eq__):
        raise TopologyError(
            f"{name} can't be a key, as it has an == of its own, which bytes don't follow: use a "
            "tuple of what is to be equal"
        )
    if part.__eq__ is object.__eq__ and not issubclass(part, Enum):
        raise TopologyError(
            f"{name} can't be a key, as its objects are equal to nothing but themselves: compare "
            "them by their fields (eq=True)"
        )
    for field in _left_out(part):
        raise TopologyError(
            f"{name} can't be a key, as its field {field} plays no part in ==: use a tuple of what "
            "does"
        )


def _is_of_the_user(function: Any) -> bool:
    """Whether it was written by a user, and not in C, by a library or for a class."""
    code = getattr(function, "__code__", None)
    is_made = code is None or code.co_filename.startswith("<")
    return not is_made and package_of(function) != "pydantic"


def _left_out(cls: Any) -> list[str]:
    if is_dataclass(cls):
        return [field.name for field in dataclass_fields(cls) if not field.compare]
    return [field.name for field in getattr(cls, "__attrs_attrs__", ()) if not field.eq]


def _not_nan(value: float) -> float:
    if value != value:  # noqa: PLR0124 - of all numbers NaN alone is not equal to itself
        raise nan_key()
    return value


def _whole(value: float) -> Any:
    _not_nan(value)
    return int(value) if value.is_integer() else value


def _float(value: Any) -> Any:
    if type(value) is float:
        return _not_nan(value) + 0.0
    if type(value) is not int:
        return _canonical(value)
    try:
        return float(value) if float(value) == value else value
    except OverflowError:
        return value


def _decimal(value: Any) -> Any:
    if type(value) is int:
        return _shortened(Decimal(value))
    return _shortened(value) if type(value) is Decimal else _canonical(value)


def _shortened(value: Decimal) -> Decimal:
    """Without zeros at its end, however many digits there are, unlike `normalize`."""
    sign, digits, exponent = value.as_tuple()
    if value.is_nan():
        raise nan_key()
    if not isinstance(exponent, int):
        return value
    kept = len(bytes(digits).rstrip(b"\x00"))
    if not kept:
        return Decimal(0)
    return Decimal((sign, digits[:kept], exponent + len(digits) - kept))


def _number(value: Any) -> Any:
    """A Decimal or Fraction where no type is named: as an int or a float if it equals one."""
    if isinstance(value, Decimal):
        value = _shortened(value)
        if not value.is_finite():
            return value
        if value.adjusted() > _MOST_DIGITS:
            return value
    whole = int(value)
    if whole == value:
        return whole
    try:
        near = float(value)
    except OverflowError:
        return value
    return near if near == value else value


_MOST_DIGITS: Final = 308


def _moment(value: datetime) -> datetime:
    return value.replace(fold=0) if value.utcoffset() is None else value.astimezone(UTC)


def _time(value: time) -> time:
    if value.utcoffset() is not None:
        raise TypeError("a time with an offset can't be a key: use a datetime, or leave it out")
    return value.replace(fold=0)


_ONE_FORM: Final = frozenset({str, int, bool, bytes, NoneType, date, UUID})
"""Types whose equal values are all alike."""
_NUMBERS: Final[Mapping[Any, Canonical]] = {float: _float, Decimal: _decimal}
_KINDS: Final[Mapping[type, Canonical]] = {
    float: _whole,
    Decimal: _number,
    Fraction: _number,
    datetime: _moment,
    time: _time,
    tuple: lambda value: tuple(map(_canonical, value)),
    frozenset: lambda value: frozenset(map(_canonical, value)),
}
