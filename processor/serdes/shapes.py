"""What values of a type are made of, as a text that can be kept and compared.

Owns the question whether what was kept under one shape can be read, or found, under another.
"""

from collections.abc import Iterator, Mapping
from enum import Enum, Flag
from typing import Any, Final, TypeAlias, get_origin

from processor.serdes.internal_fields import fields_of
from processor.serdes.types import is_message, parts, type_name

Shape: TypeAlias = Mapping[str, Mapping[str, str]]
"""Class → field → its type's name. Names of fields that may be missing end in "?"; members of an
enum have no type."""

_NARROW: Final = frozenset(
    {"bool", "int", "float", "str", "bytes", "Decimal", "datetime", "date", "time", "UUID", "None"}
)


def shape_of(annotation: Any) -> dict[str, dict[str, str]]:
    """The models and enums in a type."""
    shape: dict[str, dict[str, str]] = {}
    for part in parts(annotation):
        if is_message(part):
            shape |= _messages(part.DESCRIPTOR, {})
        elif fields := _fields(part):
            name = type_name(part)
            known = shape.setdefault(name, fields)
            if known is not fields:
                shape[f"{(get_origin(part) or part).__module__}.{name}"] = fields
    return shape


def _messages(descriptor: Any, known: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """A message of Protobuf and those in it; a field that lacks has its default."""
    if descriptor.full_name not in known:
        fields = known[descriptor.full_name] = dict[str, str]()
        for each in descriptor.fields:
            inner = each.message_type
            kind = each.type if inner is None else inner.full_name
            fields[f"{each.name}?"] = f"{kind} as {each.number}"
            if inner is not None:
                _messages(inner, known)
    return known


def _fields(part: Any) -> dict[str, str]:
    if isinstance(part, type) and issubclass(part, Enum):
        is_flag = issubclass(part, Flag)
        return {
            name: repr(member.value) if is_flag else ""
            for name, member in part._member_map_.items()
        }
    fields = fields_of(part)
    if fields is None:
        return {}
    return {
        each.name + ("?" if each.optional else ""): type_name(each.type) for each in fields.each
    }


def misfits(was: Shape, now: Shape) -> list[str]:
    """Why what was kept under one shape can't be read under another; empty if it can."""
    return [why for name in now if name in was for why in _misfits(name, was[name], now[name])]


def key_misfits(was: Shape, now: Shape) -> list[str]:
    """Why keys that were kept under one shape would have other bytes under another.

    A key is found by its bytes, so that it does not help that it could be read.
    """
    return [
        f"{name}, of which keys are made, has other fields: {_listed(was[name])}, and would have "
        f"{_listed(fields)}"
        for name, fields in now.items()
        if name in was and not _same_bytes(was[name], fields)
    ]


def _same_bytes(was: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Members of an enum may be added; fields may have a default by now, or none any more."""
    before, after = (
        {name.removesuffix("?"): kind for name, kind in each.items()} for each in (was, now)
    )
    return before == after or (not any(before.values()) and before.items() <= after.items())


def _listed(fields: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {kind}" if kind else name for name, kind in fields.items())


def _misfits(name: str, was: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    before = {field.removesuffix("?"): kind for field, kind in was.items()}
    for field, kind in now.items():
        bare = field.removesuffix("?")
        if bare not in before:
            if kind and field == bare:
                yield f"{name} has a field {bare} more, without a default"
        elif not _fits(before[bare], kind):
            yield f"{name}.{bare} is {before[bare]} and would be {kind}"
    for field, kind in before.items():
        if not kind and field not in now:
            yield f"{name} has no {field} any more"


def _fits(was: str, now: str) -> bool:
    before, after = set(was.split(" | ")), set(now.split(" | "))
    more = after - before
    if before - after:
        return before - after == {"int"} and "float" in after and more <= {"float", "None"}
    return more <= {"None"} or after <= _NARROW
