"""What happens to a value of Avro's in Python: promotion, logical type, conversion; and defaults.

Knows nothing of bytes.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from processor.errors import TopologyError
from processor.serdes.avro.logical import logical_of
from processor.serdes.avro.tree import Collection, EnumType, RecordType, Type, UnionType
from processor.serdes.avro.types import (
    TAG,
    conversion,
    described,
    items_of,
    members_of,
    shape_of,
)
from processor.serdes.copies import copy_of

PROMOTIONS: Final[Mapping[tuple[str, str], Callable[[Any], Any] | None]] = {
    ("int", "long"): None,
    ("int", "float"): float,
    ("int", "double"): float,
    ("long", "float"): float,
    ("long", "double"): float,
    ("float", "double"): None,
    ("string", "bytes"): str.encode,
    ("bytes", "string"): bytes.decode,
}


def finish_of(
    writer: Type, reader: Type, annotation: Any, place: str
) -> Callable[[Any], Any] | None:
    """What is done to a value when it has been read.

    A moment is counted in the writer's units; the specification leaves that out, and has 1970 then.
    """
    logical = logical_of(writer if reader.logical and writer.logical else reader)
    converted = conversion(reader, annotation, place)
    return chained(
        PROMOTIONS.get((writer.kind, reader.kind)),
        None if logical is None else logical.load,
        None if converted is None else converted.load,
    )


def counts_alike(writer: Type, reader: Type) -> bool:
    """Whether what both logical types stand for is the same kind of thing, if in other units."""
    if not (writer.logical and reader.logical) or writer.logical == reader.logical:
        return True
    return _without_unit(writer.logical) == _without_unit(reader.logical)


def _without_unit(logical: str) -> str:
    return logical.removesuffix("-millis").removesuffix("-micros")


def tagging(union: UnionType, branch: Type, member: Any) -> Callable[[Any], Any] | None:
    """Says in a dict which record it is, where a union has several and the type does not say."""
    records = [each for each in union.branches if isinstance(each, RecordType)]
    if len(records) <= 1 or not isinstance(branch, RecordType):
        return None
    if shape_of(branch, member, "the value").cls is not None:
        return None
    name = branch.name

    def tag(value: dict[str, Any]) -> dict[str, Any]:
        return {TAG: name, **value}

    return tag


def chained(*functions: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    """One function of several that follow on each other; None: of none."""
    present = [function for function in functions if function is not None]
    if len(present) <= 1:
        return present[0] if present else None

    def all_of_them(value: Any) -> Any:
        for function in present:
            value = function(value)
        return value

    return all_of_them


def default_of(type_: Type, default: Any, annotation: Any, name: str) -> Callable[[], Any]:
    """A function that makes the value that a default in a schema stands for.

    Raises:
        TopologyError: The default is not of the type.
    """
    try:
        value = _default(type_, default, annotation, name)
    except (ValueError, TypeError, KeyError, AttributeError, LookupError) as error:
        raise TopologyError(
            f"the default of field {name!r} is no {described(type_)}: {error}"
        ) from error
    if isinstance(value, str | int | float | bytes | None):
        return lambda: value
    return lambda: copy_of(value)  # a record may change what it was given


def _default(type_: Type, default: Any, annotation: Any, name: str) -> Any:
    if isinstance(type_, UnionType):
        # By the specification the first branch's; many schemas have that of another.
        members = members_of(type_, annotation, name)
        fitting = zip(type_.branches, members, strict=True)
        found = next((pair for pair in fitting if _holds(pair[0], default)), None)
        if found is None:
            raise TypeError(f"{default!r} is of none of the union's types")
        branch, member = found
        value = _default(branch, default, member, name)
        tag = tagging(type_, branch, member)
        return value if tag is None else tag(value)
    if not _holds(type_, default):
        raise TypeError(f"{default!r} is of another type")
    if isinstance(type_, RecordType):
        shape = shape_of(type_, annotation, name)
        fields = {
            each.name: _default(
                each.type, default.get(each.name, each.default), shape.types[each.name], each.name
            )
            for each in type_.fields
        }
        return fields if shape.build is None else shape.build(fields)
    if isinstance(type_, Collection):
        items = items_of(type_, annotation, name)
        if type_.kind == "map":
            entries = cast("Mapping[str, Any]", default).items()
            return {key: _default(type_.items, each, items.of, name) for key, each in entries}
        made = [_default(type_.items, each, items.of, name) for each in default]
        return made if items.build is None else items.build(made)
    if type_.kind in ("bytes", "fixed"):
        default = default.encode("iso-8859-1")
    elif type_.kind in ("float", "double"):
        default = float(default)
    finish = finish_of(type_, type_, annotation, name)
    return default if finish is None else finish(default)


def _holds(type_: Type, default: Any) -> bool:
    """Whether a default can be one of the type, as JSON has it."""
    if isinstance(type_, EnumType):
        return default in type_.symbols
    classes: dict[str, tuple[type, ...]] = {
        "null": (type(None),),
        "boolean": (bool,),
        "int": (int,),
        "long": (int,),
        "float": (int, float),
        "double": (int, float),
        "array": (list,),
        "map": (dict,),
        "record": (dict,),
    }
    if isinstance(default, bool) and type_.kind != "boolean":
        return False
    return isinstance(default, classes.get(type_.kind, (str,)))
