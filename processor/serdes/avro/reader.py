"""Reads Avro's bytes: a writer's schema, a reader's schema and a type become one function.

All that depends on the schemas alone is decided when the function is made; so is every bound that
can be. Each function takes the data and a position and returns the value and the position after
it; the data is never trusted: a length is compared with what is left before anything is done.
"""

from collections.abc import Callable, Mapping
from struct import error as StructError  # noqa: N812 - a class, by a name like one
from typing import Any

from processor.errors import TopologyError
from processor.serdes.avro.decoding import Read, UnreadableError, plain_reader, read_long, read_text
from processor.serdes.avro.schema import AvroSchema
from processor.serdes.avro.tree import Collection, Fixed, Named, RecordType, Type, UnionType
from processor.serdes.avro.types import (
    described,
    items_of,
    members_of,
    positional,
    shape_of,
)
from processor.serdes.avro.values import (
    PROMOTIONS,
    chained,
    counts_alike,
    default_of,
    finish_of,
    tagging,
)
from processor.serdes.types import plain_type


class Incompatible(TopologyError):
    """Data of one schema can't be read with another; the text says where and what to do."""


def reader(writer: AvroSchema, reader: AvroSchema | None, annotation: Any) -> Callable[..., Any]:
    """A function that makes a value of data, from a position on.

    Args:
        writer: The schema that the data was written with.
        reader: The schema that is wanted; None: the writer's.
        annotation: The type of the values.

    Raises:
        Incompatible: Data of the one can't be read with the other.
        TopologyError: The type does not fit the reader's schema.
    """
    wanted = writer if reader is None else reader
    read = _Compiler().compile(writer.root, wanted.root, annotation, "the value")

    def decode(data: bytes, start: int = 0) -> Any:
        try:
            value, end = read(data, start)
        except (IndexError, StructError):
            raise UnreadableError("the data ends too early for its schema") from None
        except RecursionError:
            raise UnreadableError("the data is nested too deeply") from None
        if end != len(data):
            raise UnreadableError(f"{len(data) - end} bytes follow after the end of the value")
        return value

    return decode


class _Compiler:
    """Makes functions for types; one for each pair of records, so that they can be recursive."""

    def __init__(self) -> None:
        self._records: dict[tuple[int, int, str], list[Read]] = {}

    def compile(self, writer: Type, reader: Type, annotation: Any, place: str) -> Read:
        if isinstance(writer, UnionType):
            return self._union(writer, reader, annotation, place)
        if isinstance(reader, UnionType):
            return self._into_union(writer, reader, annotation, place)
        if not _matches(writer, reader):
            raise Incompatible(
                f"{place} was written as {described(writer)} and can't be read as "
                f"{described(reader)}: use a type that the old one can become (int → long → "
                "double, X → [null, X]), or another field"
            )
        if isinstance(writer, RecordType) and isinstance(reader, RecordType):
            return self._record(writer, reader, annotation, place)
        if isinstance(writer, Collection) and isinstance(reader, Collection):
            return self._collection(writer, reader, annotation, place)
        return _with(plain_reader(writer, reader), finish_of(writer, reader, annotation, place))

    def _record(self, writer: RecordType, reader: RecordType, annotation: Any, place: str) -> Read:
        # A type is known by its name here, as equal ones of typing need not be the same object.
        key = (id(writer), id(reader), repr(plain_type(annotation)))
        if key in self._records:
            made = self._records[key]
            return _deferred(made)
        made = self._records[key] = []
        try:
            made.append(self._fields(writer, reader, annotation, place))
        except TopologyError:
            del self._records[key]
            raise
        return made[0]

    def _fields(self, writer: RecordType, reader: RecordType, annotation: Any, place: str) -> Read:
        shape = shape_of(reader, annotation, place)
        wanted = {each.name: each for each in reader.fields}
        aliases = {alias: each for each in reader.fields for alias in each.aliases}
        steps: list[tuple[str, Read]] = []
        skipped = 0
        for each in writer.fields:
            if (target := wanted.get(each.name) or aliases.get(each.name)) is None:
                skipped += 1
                steps.append(("", self.compile(each.type, each.type, Any, each.name)))
                continue
            wanted.pop(target.name, None)
            inside = f"{reader.short}.{target.name}"
            of = shape.types[target.name]
            steps.append((target.name, self.compile(each.type, target.type, of, inside)))
        defaults: dict[str, Callable[[], Any]] = {}
        for name, target in wanted.items():
            if not target.has_default:
                raise Incompatible(
                    f"{place}: {reader.name} wants a field {name!r}, which {writer.name} was "
                    "written without: give it a default in the schema"
                )
            default = default_of(target.type, target.default, shape.types[name], name)
            defaults[name] = default
        make = positional(shape, [name for name, _ in steps])
        if make is not None and not (skipped or defaults):
            return _made_in_order([read for _, read in steps], make)
        return _record_function(steps, bool(skipped), defaults, shape.build)

    def _collection(
        self, writer: Collection, reader: Collection, annotation: Any, place: str
    ) -> Read:
        items = items_of(reader, annotation, place)
        read = self.compile(writer.items, reader.items, items.of, f"{place}[…]")
        make = _array if writer.kind == "array" else _map
        return _with(make(read), items.build)

    def _union(self, writer: UnionType, reader: Type, annotation: Any, place: str) -> Read:
        branches: list[Read] = []
        several = 0
        for each in writer.branches:
            try:
                branches.append(self.compile(each, reader, annotation, place))
                several += 1
            except Incompatible as error:
                branches.append(_refusing(str(error)))
        if writer.branches and not several:
            raise Incompatible(
                f"{place}: none of what {described(writer)} can hold can be read as "
                f"{described(reader)}"
            )
        return _choice(tuple(branches))

    def _into_union(self, writer: Type, reader: UnionType, annotation: Any, place: str) -> Read:
        members = members_of(reader, annotation, place)
        pairs = list(zip(reader.branches, members, strict=True))
        # What is the same, and called so in full, comes before what it can become.
        same = [pair for pair in pairs if _same(writer, pair[0])]
        ordered = sorted(same, key=lambda pair: _name(pair[0]) != _name(writer))
        ordered += [pair for pair in pairs if pair not in ordered and _matches(writer, pair[0])]
        problem: Incompatible | None = None
        for branch, member in ordered:
            try:
                read = self.compile(writer, branch, member, place)
            except Incompatible as error:
                problem = error
                continue
            return _with(read, tagging(reader, branch, member))
        raise problem or Incompatible(
            f"{place} was written as {described(writer)}, which the reader's union does not have"
        )


def _deferred(made: list[Read]) -> Read:
    """A function that is in the list when it is called, but need not be there yet."""

    def read_later(data: bytes, at: int) -> tuple[Any, int]:
        return made[0](data, at)

    return read_later


def _name(type_: Type) -> str:
    return type_.name if isinstance(type_, Named) else ""


def _matches(writer: Type, reader: Type) -> bool:
    return _same(writer, reader) or (
        (writer.kind, reader.kind) in PROMOTIONS
        and not {writer.logical, reader.logical} & {"decimal"}
        and counts_alike(writer, reader)
    )


def _same(writer: Type, reader: Type) -> bool:
    if writer.kind != reader.kind:
        return False
    if isinstance(writer, Named) and isinstance(reader, Named):
        shorts = {alias.rpartition(".")[2] for alias in reader.aliases}
        if writer.short != reader.short and writer.short not in shorts:
            return False
    if isinstance(writer, Fixed) and isinstance(reader, Fixed) and writer.size != reader.size:
        return False
    if "decimal" in (writer.logical, reader.logical):
        return (writer.logical, writer.scale) == (reader.logical, reader.scale) and (
            writer.precision <= reader.precision
        )
    return counts_alike(writer, reader)


def _with(read: Read, finish: Callable[[Any], Any] | None) -> Read:
    if finish is None:
        return read

    def read_finished(data: bytes, at: int) -> tuple[Any, int]:
        value, at = read(data, at)
        return finish(value), at

    return read_finished


def _made_in_order(reads: list[Read], make: Callable[..., Any]) -> Read:
    def read_in_order(data: bytes, at: int) -> tuple[Any, int]:
        fields: list[Any] = []
        for read in reads:
            value, at = read(data, at)
            fields.append(value)
        return make(*fields), at

    return read_in_order


def _record_function(
    steps: list[tuple[str, Read]],
    skips: bool,  # noqa: FBT001 - private
    defaults: Mapping[str, Callable[[], Any]],
    build: Callable[[dict[str, Any]], Any] | None,
) -> Read:
    def read_fields(data: bytes, at: int) -> tuple[Any, int]:
        fields: dict[str, Any] = {}
        for name, read in steps:
            fields[name], at = read(data, at)
        return fields, at

    def complete(fields: dict[str, Any]) -> dict[str, Any]:
        if skips:
            del fields[""]
        for name, default in defaults.items():
            fields[name] = default()
        return fields

    return _with(read_fields, chained(complete if skips or defaults else None, build))


def _choice(branches: tuple[Read, ...]) -> Read:
    count = len(branches)

    def read_branch(data: bytes, at: int) -> tuple[Any, int]:
        index = data[at]
        if index < 2 * count and not index & 1:
            return branches[index >> 1](data, at + 1)
        index, at = read_long(data, at)
        if not 0 <= index < count:
            raise UnreadableError(f"a union of {count} types has no number {index}")
        return branches[index](data, at)

    return read_branch


def _refusing(why: str) -> Read:
    def refuse(_data: bytes, _at: int) -> tuple[Any, int]:
        raise UnreadableError(why)

    return refuse


def _count(data: bytes, at: int) -> tuple[int, int]:
    """How many items a block has. Each takes a byte at least, or growth is bounded otherwise."""
    count, at = read_long(data, at)
    if count < 0:
        size, at = read_long(data, at)
        if not 0 <= size <= len(data) - at:
            raise UnreadableError(f"a block of {size} bytes, of {len(data) - at} that there are")
        count = -count
    if count > len(data) - at:
        raise UnreadableError(f"{count} items in {len(data) - at} bytes")
    return count, at


def _array(read: Read) -> Read:
    def read_array(data: bytes, at: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        count, at = _count(data, at)
        while count:
            for _ in range(count):
                item, at = read(data, at)
                items.append(item)
            count, at = _count(data, at)
        return items, at

    return read_array


def _map(read: Read) -> Read:
    def read_map(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        items: dict[str, Any] = {}
        count, at = _count(data, at)
        while count:
            for _ in range(count):
                name, at = read_text(data, at)
                items[name], at = read(data, at)
            count, at = _count(data, at)
        return items, at

    return read_map
