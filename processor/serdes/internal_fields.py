"""The fields of models: which there are, how they are taken from an object, and put into a new one.

Owns what each library's objects are made of. Neither way calls code of the class: no validator, no
`__post_init__`, no converter, no property. Defaults are asked for only where what was kept lacks a
field that the class has got since.
"""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, repeat
from operator import attrgetter, itemgetter
from types import NoneType
from typing import (
    Any,
    Final,
    NamedTuple,
    NotRequired,
    TypeAlias,
    TypedDict,
    cast,
    get_args,
    get_origin,
    is_typeddict,
)

import msgspec

from processor.serdes.types import hints

Parts: TypeAlias = dict[str, Any]

_PYDANTIC: Final = "+"
"""The name of an entry for what an object of pydantic has besides its fields; no field has it."""


class Field(NamedTuple):
    """A field; `default` is what it has where nothing was kept, None where it has to be there."""

    name: str
    type: Any
    default: Callable[[], Any] | None
    optional: bool


class Batches(NamedTuple):
    """How a batch of a model's objects is done at C's speed.

    `parts` takes the fields of each object; `make` makes objects of what msgspec has read as
    `form`. Both may give None, or raise, where objects are not all alike or not of the class.
    """

    parts: Callable[[Sequence[Any]], list[Parts] | None]
    form: Any
    make: Callable[[list[Any]], list[Any] | None]


class Fields(NamedTuple):
    """A model's fields; `parts` takes them from an object, `make` makes one of them."""

    each: Sequence[Field]
    parts: Callable[[Any], Parts]
    make: Callable[[Parts], Any]
    batches: Batches | None = None


def fields_of(model: Any) -> Fields | None:
    """The fields of a type; None where it is no model."""
    origin = get_origin(model) or model
    if not isinstance(origin, type):
        return None
    types = _types(model, origin)
    if is_typeddict(origin):
        return _typed_dict(origin, types)
    for attribute, fields in _LIBRARIES.items():
        if hasattr(origin, attribute):
            return fields(origin, types)
    return None


def _types(model: Any, origin: Any) -> dict[str, Any]:
    """The types of annotated fields, with a generic's arguments in place of its variables."""
    variables: Any = getattr(origin, "__parameters__", ())
    if type(variables) is not tuple:  # of unions themselves
        return {}
    given: dict[Any, Any] = dict(zip(cast("Any", variables), get_args(model), strict=False))
    return {name: _with(given, each) for name, each in hints(origin).items()}


def _with(given: Mapping[Any, Any], annotation: Any) -> Any:
    if not given:
        return annotation
    if annotation in given:
        return given[annotation]
    parameters = getattr(annotation, "__parameters__", ())
    if isinstance(annotation, type) or not parameters:
        return annotation
    return annotation[tuple(given.get(each, each) for each in parameters)]


def _typed_dict(origin: Any, types: Mapping[str, Any]) -> Fields:
    each = [
        Field(name, _unqualified(types[name]), None, name not in origin.__required_keys__)
        for name in origin.__annotations__
        if name in types
    ]
    return Fields(each, _itself, _itself)


def _unqualified(annotation: Any) -> Any:
    """The type in `Required`, `NotRequired` or `ReadOnly`."""
    origin = get_origin(annotation)
    if origin is NotRequired or getattr(origin, "_name", "") in {"Required", "ReadOnly"}:
        return _unqualified(get_args(annotation)[0])
    return annotation


def _itself(parts: Parts) -> Parts:
    return parts


def _dataclass(cls: type, types: Mapping[str, Any]) -> Fields:
    each: list[Field] = []
    for field in dataclasses.fields(cls):
        default = _default(field.default, field.default_factory, dataclasses.MISSING)
        kind = types.get(field.name, Any if isinstance(field.type, str) else field.type)
        each.append(Field(field.name, kind, default, default is not None or not field.init))
    return _object_fields(cls, each)


def _attrs(cls: Any, types: Mapping[str, Any]) -> Fields:
    each: list[Field] = []
    for field in cls.__attrs_attrs__:
        given = field.default
        made = getattr(given, "factory", None)
        nothing = type(given).__name__ == "_Nothing"
        default = None if nothing else made if made is not None else _constant(given)
        each.append(Field(field.name, types.get(field.name, Any), default, default is not None))
    return _object_fields(cls, each)


def _default(value: Any, factory: Any, missing: Any) -> Callable[[], Any] | None:
    if factory is not missing:
        return cast("Callable[[], Any]", factory)
    return None if value is missing else _constant(value)


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def _object_fields(cls: type, each: Sequence[Field]) -> Fields:
    """Of objects that have a dict, or slots."""
    if any("__slots__" in base.__dict__ for base in cls.__mro__[:-1]):
        return _slotted(cls, each)
    names = {field.name: None for field in each}
    size = len(names)
    may_lack = any(field.optional and field.default is None for field in each)
    complete = _completing(cls, each)
    new: Any = object.__new__
    put = object.__setattr__

    def parts(value: Any) -> Parts:
        held: Parts = value.__dict__
        if len(held) == size and not may_lack:
            return held
        return {name: held[name] for name in names if name in held}

    def make(tree: Parts) -> Any:
        made = new(cls)
        put(made, "__dict__", tree if tree.keys() == names.keys() else complete(tree))
        return made

    def parts_of_all(values: Sequence[Any]) -> list[Parts] | None:
        return None if may_lack else _dicts(cls, size, values)

    def make_all(trees: list[Parts]) -> list[Any] | None:
        return _filled(cls, size, trees)

    return Fields(each, parts, make, Batches(parts_of_all, _form(names), make_all))


def _form(names: Iterable[str]) -> Any:
    """The type of dicts that have all the names, and may have `_PYDANTIC`; more is left out."""
    typed_dict: Any = TypedDict
    return typed_dict("Parts", dict.fromkeys(names, Any) | {_PYDANTIC: NotRequired[Any]})


def _dicts(cls: type, size: int, values: Sequence[Any]) -> list[Parts] | None:
    """The dicts of objects that are all of the class, and have as many entries as it has fields."""
    if not _all_of(cls, values):
        return None
    held = list(map(attrgetter("__dict__"), values))
    return held if {*map(len, held)} == {size} else None


def _all_of(cls: type, values: Iterable[Any]) -> bool:
    return {*map(type, values)} == {cls}


def _filled(cls: type, size: int, trees: list[Parts]) -> list[Any] | None:
    """Objects that have these for their dicts; None where one has more entries than fields."""
    if {*map(len, trees)} != {size}:
        return None
    new: Any = object.__new__
    made: list[Any] = list(map(new, repeat(cls, len(trees))))
    _put_all(made, "__dict__", trees)
    return made


def _put_all(objects: list[Any], name: str, values: Iterable[Any]) -> None:
    deque(map(object.__setattr__, objects, repeat(name), values), 0)


def _slotted(cls: type, each: Sequence[Field]) -> Fields:
    names = [field.name for field in each]
    complete = _completing(cls, each)
    new: Any = object.__new__
    put, nothing = object.__setattr__, object()

    def parts(value: Any) -> Parts:
        found = ((name, getattr(value, name, nothing)) for name in names)
        return {name: item for name, item in found if item is not nothing}

    def make(tree: Parts) -> Any:
        made = new(cls)
        for name, item in complete(tree).items():
            put(made, name, item)
        return made

    return Fields(each, parts, make, _slotted_batches(cls, names) if len(names) > 1 else None)


def _slotted_batches(cls: type, names: Sequence[str]) -> Batches:
    take = attrgetter(*names)
    new: Any = object.__new__

    def parts_of_all(values: Sequence[Any]) -> list[Parts] | None:
        if not _all_of(cls, values):
            return None
        return list(map(dict[str, Any], map(zip, repeat(names), map(take, values))))

    def make_all(trees: list[Parts]) -> list[Any]:
        made: list[Any] = list(map(new, repeat(cls, len(trees))))
        for name in names:
            _put_all(made, name, map(itemgetter(name), trees))
        return made

    return Batches(parts_of_all, _form(names), make_all)


def _completing(cls: type, each: Sequence[Field]) -> Callable[[Parts], Parts]:
    """Leaves out what is no field any more, and adds defaults for what is one by now."""

    def complete(tree: Parts) -> Parts:
        made: Parts = {}
        for field in each:
            if field.name in tree:
                made[field.name] = tree[field.name]
            elif field.default is not None:
                made[field.name] = field.default()
            elif not field.optional:
                raise ValueError(f"what was kept of {cls.__qualname__} lacks {field.name}")
        return made

    return complete


def _struct(cls: Any, types: Mapping[str, Any]) -> Fields:
    each: list[Field] = []
    for field in msgspec.structs.fields(cls):
        default = _default(field.default, field.default_factory, msgspec.NODEFAULT)
        each.append(Field(field.name, types.get(field.name, Any), default, default is not None))
    complete = _completing(cls, each)
    config = cls.__struct_config__
    # Of the same layout, and without the class's own code; it becomes the class once it is filled.
    twin = msgspec.defstruct(
        cls.__name__,
        [field.name for field in each],
        weakref=config.weakref,
        dict=config.dict,
        gc=config.gc,
        cache_hash=config.cache_hash,
        kw_only=True,
    )

    def make(tree: Parts) -> Any:
        made: Any = twin(**complete(tree))
        made.__class__ = cls
        return made

    def parts_of_all(values: Sequence[Any]) -> list[Parts] | None:
        return list(map(msgspec.structs.asdict, values)) if _all_of(cls, values) else None

    def make_all(made: list[Any]) -> list[Any]:
        deque(map(setattr, made, repeat("__class__"), repeat(cls)), 0)
        return made

    return Fields(each, msgspec.structs.asdict, make, Batches(parts_of_all, twin, make_all))


def _named_tuple(cls: Any, types: Mapping[str, Any]) -> Fields:
    names: tuple[str, ...] = cls._fields
    each = [
        Field(
            name,
            types.get(name, Any),
            _constant(cls._field_defaults[name]) if name in cls._field_defaults else None,
            name in cls._field_defaults,
        )
        for name in names
    ]
    complete = _completing(cls, each)
    new: Any = cast("Any", tuple).__new__

    def parts(value: Any) -> Parts:
        return dict(zip(names, value, strict=True))

    def make(tree: Parts) -> Any:
        return new(cls, complete(tree).values())

    return Fields(each, parts, make)


def _pydantic(cls: Any, _types: Mapping[str, Any]) -> Fields:
    each: list[Field] = []
    for name, field in getattr(cls, "__pydantic_fields__", {}).items():
        needed = field.is_required()
        default = None if needed else _pydantic_default(field)
        each.append(Field(name, field.annotation, default, not needed))
    names = {field.name: None for field in each}
    size, all_names = len(names), set(names)
    complete = _completing(cls, each)
    has_more = not cls.__pydantic_root_model__
    new: Any = object.__new__
    put = object.__setattr__

    def parts(value: Any) -> Parts:
        held: Parts = value.__dict__
        if len(held) != size:
            held = {name: held[name] for name in names if name in held}
        known = value.__pydantic_fields_set__
        extra, private = value.__pydantic_extra__, value.__pydantic_private__
        if extra is None and private is None and len(known) == size:
            return held
        return {**held, _PYDANTIC: [sorted(known), extra, private]}

    def make(tree: Parts) -> Any:
        made = new(cls)
        if tree.keys() == names.keys():
            known, extra, private = all_names.copy(), None, None
        else:
            known, extra, private = tree.get(_PYDANTIC) or (names, None, None)
            tree = complete(tree)
        put(made, "__dict__", tree)
        put(made, "__pydantic_fields_set__", known if type(known) is set else set(known))
        if has_more:
            put(made, "__pydantic_extra__", extra)
            put(made, "__pydantic_private__", private)
        return made

    return Fields(each, parts, make, _pydantic_batches(cls, names))


def _pydantic_batches(cls: Any, names: Mapping[str, None]) -> Batches:
    """Of models without anything besides their fields."""
    size, has_more = len(names), not cls.__pydantic_root_model__

    def parts_of_all(values: Sequence[Any]) -> list[Parts] | None:
        held = _dicts(cls, size, values)
        if held is None or {*map(len, map(_FIELDS_SET, values))} != {size}:
            return None
        more = chain(map(_EXTRA, values), map(_PRIVATE, values))
        return held if {*map(type, more)} == {NoneType} else None

    def make_all(trees: list[Parts]) -> list[Any] | None:
        made = _filled(cls, size, trees)
        if made is not None:
            _put_all(made, "__pydantic_fields_set__", map(set[str], repeat(names, len(made))))
            if has_more:
                _put_all(made, "__pydantic_extra__", repeat(None))
                _put_all(made, "__pydantic_private__", repeat(None))
        return made

    return Batches(parts_of_all, _form(names), make_all)


_FIELDS_SET = attrgetter("__pydantic_fields_set__")
_EXTRA, _PRIVATE = attrgetter("__pydantic_extra__"), attrgetter("__pydantic_private__")


def _pydantic_default(field: Any) -> Callable[[], Any]:
    def default() -> Any:
        return field.get_default(call_default_factory=True, validated_data={})

    return default


_LIBRARIES: Final[Mapping[str, Callable[[Any, Mapping[str, Any]], Fields]]] = {
    "__pydantic_fields_set__": _pydantic,
    "__dataclass_fields__": _dataclass,
    "__struct_fields__": _struct,
    "__attrs_attrs__": _attrs,
    "_fields": _named_tuple,
}
"""What identifies the classes of each library."""
