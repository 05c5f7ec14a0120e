"""The types that an Avro schema is made of, as a tree; a record may be part of itself."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from processor.errors import TopologyError


class BadSchema(TopologyError):
    """A schema is invalid, or one that kproc doesn't read."""


class UnknownName(BadSchema):
    """A schema uses a type that is not in it."""


@dataclass(frozen=True, eq=False, slots=True)
class Type:
    """A primitive type: what all types have. A logical type that is not known is left out."""

    kind: str
    logical: str | None = None
    precision: int = 0
    scale: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Named(Type):
    """A type with a name, `namespace.Name`, and other names that it had."""

    name: str = ""
    aliases: frozenset[str] = frozenset()
    doc: str = ""

    @property
    def short(self) -> str:
        """The name without its namespace."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, eq=False, slots=True)
class Fixed(Named):
    """So many bytes."""

    size: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class EnumType(Named):
    """One of these symbols."""

    symbols: tuple[str, ...] = ()
    default: str | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Collection(Type):
    """An array or a map of items."""

    items: "Type" = Type("null")


@dataclass(frozen=True, eq=False, slots=True)
class UnionType(Type):
    """One of these types."""

    branches: tuple["Type", ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Field:
    """A field of a record; `default` is as the schema has it, if it has one."""

    name: str
    type: Type
    has_default: bool
    default: Any
    aliases: frozenset[str]
    doc: str


@dataclass(frozen=True, eq=False, slots=True)
class RecordType(Named):
    """A record; it may be part of itself."""

    fields: list[Field] = field(default_factory=list[Field])


def has_floats(root: Type) -> bool:
    """Whether a float or double is part of the type."""
    return any(type_.kind in {"float", "double"} for type_ in _parts(root, set()))


def cuts(root: Type) -> bool:
    """Whether some values lose digits, or microseconds, when they are written."""
    return any(
        type_.kind == "float" or (type_.logical or "").endswith("-millis")
        for type_ in _parts(root, set())
    )


def _parts(type_: Type, seen: set[int]) -> Iterator[Type]:
    """The type and every type that it is made of."""
    if id(type_) in seen:
        return
    seen.add(id(type_))
    yield type_
    inner: tuple[Type, ...] = ()
    if isinstance(type_, UnionType):
        inner = tuple(type_.branches)
    elif isinstance(type_, Collection):
        inner = (type_.items,)
    elif isinstance(type_, RecordType):
        inner = tuple(field.type for field in type_.fields)
    for each in inner:
        yield from _parts(each, seen)
