"""How Python's types stand for Avro's: which class a value has, what a record becomes.

Owns the check that a model and a schema fit, made when the topology is written. Knows nothing of
bytes.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from inspect import Parameter, signature
from operator import attrgetter
from types import NoneType
from typing import Any, Final, NamedTuple, cast, get_args, get_origin, is_typeddict
from uuid import UUID

import msgspec

from processor.errors import TopologyError
from processor.serdes.avro import tree as avro
from processor.serdes.avro.logical import logical_of
from processor.serdes.types import UNIONS, field_type, plain_type, type_name

TAG: Final = "-type"
"""The entry of a dict that says which record of a union it is."""

_CLASSES: Final[dict[str, type]] = {
    "null": NoneType,
    "boolean": bool,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "bytes": bytes,
    "string": str,
    "fixed": bytes,
    "enum": str,
    "array": list,
    "map": dict,
    "record": dict,
}
_LEAVES: Final = frozenset(
    (str, int, float, bool, bytes, datetime, date, time, timedelta, Decimal, UUID, NoneType)
)


def class_of(type_: avro.Type) -> type:
    """The class of a type's values where no annotation names another."""
    logical = logical_of(type_)
    return _CLASSES[type_.kind] if logical is None else logical.cls


def is_untyped(annotation: Any) -> bool:
    """Whether an annotation leaves the choice to the schema."""
    return annotation is Any or annotation is object


class Conversion(NamedTuple):
    """Between a value as the schema has it and the one that an annotation asks for."""

    load: Callable[[Any], Any]
    dump: Callable[[Any], Any]


def conversion(type_: avro.Type, annotation: Any, place: str) -> Conversion | None:
    """What has to be done to a single value for its annotation; None: nothing.

    Raises:
        TopologyError: The annotation can't hold values of the type.
    """
    wanted, cls = plain_type(annotation), class_of(type_)
    if is_untyped(wanted) or wanted is cls:
        return None
    if wanted is float and cls is int:
        return Conversion(float, _whole)
    if wanted in _LEAVES:
        raise TopologyError(
            f"{place} is {type_name(wanted)}, but the schema's {described(type_)} is "
            f"{cls.__name__} in Python: change one of them"
        )

    def load(value: Any) -> Any:
        return msgspec.convert(value, annotation)

    def dump(value: Any) -> Any:
        return value.value if isinstance(value, Enum) else msgspec.to_builtins(value)

    return Conversion(load, dump)


def _whole(value: float) -> int:
    if not float(value).is_integer():
        raise ValueError(f"{value} is no whole number")
    return int(value)


def described(type_: avro.Type) -> str:
    """A type in a few words: `long (timestamp-millis)`."""
    name = f" {type_.name}" if isinstance(type_, avro.Named) else ""
    return f"{type_.kind}{name}" + (f" ({type_.logical})" if type_.logical else "")


class Items(NamedTuple):
    """What an array or a map is in Python: its class, if not list or dict, and its items' type."""

    build: Callable[[Any], Any] | None
    classes: tuple[type, ...]
    of: Any


def items_of(type_: avro.Collection, annotation: Any, place: str) -> Items:
    """What an annotation says about an array or a map.

    Raises:
        TopologyError: It is neither.
    """
    wanted = plain_type(annotation)
    origin, arguments = get_origin(wanted) or wanted, get_args(wanted)
    if type_.kind == "map":
        if is_untyped(wanted) or (isinstance(origin, type) and issubclass(dict, origin)):
            return Items(None, (dict,), arguments[1] if arguments else Any)
    else:
        if is_untyped(wanted) or origin in (list, Sequence, Collection):
            return Items(None, (list, tuple), arguments[0] if arguments else Any)
        if origin is tuple and (not arguments or arguments[1:] == (...,)):
            return Items(tuple, (list, tuple), arguments[0] if arguments else Any)
        if origin in (set, frozenset, AbstractSet):
            build = frozenset if origin is frozenset else set
            return Items(build, (set, frozenset), arguments[0] if arguments else Any)
    asked = "dict[str, TYPE]" if type_.kind == "map" else "list[TYPE] or tuple[TYPE, ...]"
    raise TopologyError(f"{place} is {type_name(wanted)}, but the schema has {type_.kind}: {asked}")


class Shape(NamedTuple):
    """What a record is in Python.

    `build` makes it of its fields by the schema's names, `getters` take it apart; both are None
    for a dict. `types` are the annotations of its fields.
    """

    cls: type | None
    build: Callable[[dict[str, Any]], Any] | None
    getters: Mapping[str, Callable[[Any], Any]] | None
    types: Mapping[str, Any]


def shape_of(record: avro.RecordType, annotation: Any, place: str) -> Shape:
    """What a record becomes, and is made of, for an annotation.

    Raises:
        TopologyError: The annotation is no model, or one with other fields.
    """
    model = plain_type(annotation)
    if is_untyped(model) or (get_origin(model) or model) in (dict, Mapping):
        of = (get_args(model) or (Any, Any))[1]
        return Shape(None, None, None, {field.name: of for field in record.fields})
    attributes = _attributes(model)
    if attributes is None:
        raise TopologyError(
            f"{place} is {type_name(model)}, but the schema's {record.name} is a record: name a "
            "dataclass, pydantic model, msgspec Struct, TypedDict or NamedTuple, or dict"
        )
    _check_names(record, attributes, model)
    types = {name: _or_any(field_type(model, each)) for name, each in attributes.items()}
    if is_typeddict(model):
        return Shape(None, None, None, types)
    getters = {name: attrgetter(each) for name, each in attributes.items()}
    return Shape(get_origin(model) or model, _builder(model, attributes), getters, types)


def _or_any(annotation: Any) -> Any:
    return Any if annotation is None else annotation


def _attributes(model: Any) -> dict[str, str] | None:
    """The model's attributes by the names that its fields have in data."""
    cls: Any = get_origin(model) or model
    names: Sequence[str] | None = None
    if is_typeddict(cls):
        names = list(cls.__annotations__)
    elif not isinstance(cls, type):
        pass
    elif issubclass(cls, msgspec.Struct):
        return dict(zip(cls.__struct_encode_fields__, cls.__struct_fields__, strict=True))
    elif dataclasses.is_dataclass(cast("Any", cls)):
        names = [each.name for each in dataclasses.fields(cast("Any", cls)) if each.init]
    elif hasattr(cast("Any", cls), "__pydantic_fields__"):
        fields: Mapping[str, Any] = cast("Any", cls).__pydantic_fields__
        return {each.alias or name: name for name, each in fields.items()}
    elif issubclass(cls, tuple):
        names = getattr(cast("Any", cls), "_fields", None)
    return None if names is None else {name: name for name in names}


def _builder(model: Any, attributes: Mapping[str, str]) -> Callable[[dict[str, Any]], Any]:
    cls = get_origin(model) or model
    validate = getattr(cls, "model_validate", None)
    if validate is not None and hasattr(cls, "__pydantic_fields__"):
        return validate
    if all(name == each for name, each in attributes.items()):
        return lambda fields: cls(**fields)
    return lambda fields: cls(**{attributes[name]: each for name, each in fields.items()})


def positional(shape: Shape, names: Sequence[str]) -> Callable[..., Any] | None:
    """The record's class, if it takes exactly these fields in this order."""
    if shape.cls is None:
        return None
    try:
        parameters = signature(shape.cls).parameters
    except (ValueError, TypeError):
        return None
    plain = all(each.kind is Parameter.POSITIONAL_OR_KEYWORD for each in parameters.values())
    return shape.cls if plain and list(parameters) == list(names) else None


def _check_names(record: avro.RecordType, attributes: Mapping[str, str], model: Any) -> None:
    declared = {field.name for field in record.fields}
    lacking, more = declared - attributes.keys(), attributes.keys() - declared
    if lacking or more:
        parts = [
            *([f"{type_name(model)} lacks {', '.join(sorted(lacking))}"] if lacking else []),
            *([f"the schema lacks {', '.join(sorted(more))}"] if more else []),
        ]
        raise TopologyError(
            f"{type_name(model)} and the schema's {record.name} have other fields: "
            f"{'; '.join(parts)}. `kproc schema types` writes the model of a schema"
        )


def members_of(union: avro.UnionType, annotation: Any, place: str) -> list[Any]:
    """The part of an annotation that is meant for each branch of a union.

    Raises:
        TopologyError: A branch has none.
    """
    wanted = plain_type(annotation)
    present = [each for each in union.branches if each.kind != "null"]
    if is_untyped(wanted) or len(present) == 1:
        return [wanted if each.kind != "null" else Any for each in union.branches]
    members = get_args(wanted) if get_origin(wanted) in UNIONS else (wanted,)
    found = [_member(each, members, place) for each in union.branches]
    _check_apart(union, found, place)
    return found


def _check_apart(union: avro.UnionType, members: Sequence[Any], place: str) -> None:
    """No class stands for two records: one of them would be written as the other."""
    known: dict[Any, str] = {}
    for branch, member in zip(union.branches, members, strict=True):
        if isinstance(branch, avro.RecordType) and shape_of(branch, member, place).cls is not None:
            other = known.setdefault(plain_type(member), branch.name)
            if other != branch.name:
                raise TopologyError(
                    f"{place}: {type_name(member)} would stand for {other} and for {branch.name} "
                    "in the schema's union: name a class for each with the fields of its own, or "
                    f'leave them dicts, which say it with "{TAG}"'
                )


def _member(branch: avro.Type, members: Sequence[Any], place: str) -> Any:
    if branch.kind == "null":
        return Any
    fitting = [each for each in members if _fits(branch, plain_type(each))]
    if isinstance(branch, avro.Named):
        named = [each for each in fitting if getattr(each, "__name__", "") == branch.short]
        fitting = named or fitting
    if isinstance(branch, avro.RecordType) and len(fitting) > 1:
        names = {field.name for field in branch.fields}
        alike = [each for each in fitting if (_attributes(plain_type(each)) or {}).keys() == names]
        fitting = alike or fitting
    if not fitting:
        raise TopologyError(
            f"{place}: {' | '.join(map(type_name, members))} has no type for "
            f"{described(branch)}, which the schema's union has"
            + (", such as a class of that name" if branch.kind == "record" else "")
        )
    return fitting[0]


def _fits(branch: avro.Type, member: Any) -> bool:
    cls = get_origin(member) or member
    if is_untyped(member):
        return True
    if branch.kind == "record":
        return cls in (dict, Mapping) or _attributes(member) is not None
    if branch.kind == "array":
        return cls in (list, tuple, set, frozenset, Sequence, Collection, AbstractSet)
    if branch.kind == "map":
        return cls in (dict, Mapping)
    if branch.kind == "enum" and isinstance(cls, type) and issubclass(cls, Enum):
        return True
    return cls is class_of(branch)
