"""Writes Avro's bytes: a schema and a type become one function.

What a value must be is checked while it is written, strictly: no field is left out, none is lost,
and no number is cut.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import isfinite
from struct import Struct
from struct import error as StructError  # noqa: N812 - a class, by a name like one
from typing import Any, TypeAlias, cast

from processor.serdes.avro.encoding import (
    BITS,
    Write,
    key_number,
    plain_writer,
    write_long,
    write_text,
    zigzag,
)
from processor.serdes.avro.logical import logical_of
from processor.serdes.avro.schema import AvroSchema
from processor.serdes.avro.tree import (
    Collection,
    EnumType,
    Field,
    Fixed,
    RecordType,
    Type,
    UnionType,
)
from processor.serdes.avro.types import (
    TAG,
    class_of,
    conversion,
    described,
    is_untyped,
    items_of,
    members_of,
    shape_of,
)
from processor.serdes.avro.values import default_of
from processor.serdes.types import mismatch, plain_type

Accepts: TypeAlias = Callable[[Any], bool]
_SINGLE = Struct("<f")
_FLOATS = frozenset({"float", "double"})


def writer(
    schema: AvroSchema, annotation: Any, *, is_key: bool = False
) -> Callable[[Any, bytes], bytes]:
    """A function that makes data of a value, after what is given to stand before it.

    Args:
        schema: What the data is of.
        annotation: The type of the values.
        is_key: Whether values that are equal have to have equal bytes.

    Raises:
        TopologyError: The type does not fit the schema.
    """
    write = _Compiler(is_key=is_key).compile(schema.root, annotation, "the value")

    def encode(value: Any, before: bytes = b"") -> bytes:
        out = bytearray(before)
        try:
            write(value, out)
        except RecursionError:
            raise ValueError("the value is nested too deeply, or part of itself") from None
        return bytes(out)

    return encode


class _Compiler:
    """Makes functions for types; one for each record, so that they can be recursive."""

    def __init__(self, *, is_key: bool) -> None:
        self._is_key = is_key
        self._records: dict[tuple[int, str], list[Write]] = {}

    def compile(self, type_: Type, annotation: Any, place: str) -> Write:
        if isinstance(type_, UnionType):
            return self._union(type_, annotation, place)
        if isinstance(type_, RecordType):
            return self._record(type_, annotation, place)
        if isinstance(type_, Collection):
            items = items_of(type_, annotation, place)
            write = self.compile(type_.items, items.of, f"{place}[…]")
            make = _array if type_.kind == "array" else _map
            return make(write, items.classes)
        is_number = self._is_key and type_.kind in _FLOATS
        plain = key_number(type_.kind) if is_number else plain_writer(type_)
        return _leaf(type_, annotation, place, plain)

    def _record(self, record: RecordType, annotation: Any, place: str) -> Write:
        key = (id(record), repr(plain_type(annotation)))
        if key in self._records:
            made = self._records[key]
            return _deferred(made)
        made = self._records[key] = []
        made.append(self._fields(record, annotation, place))
        return made[0]

    def _fields(self, record: RecordType, annotation: Any, place: str) -> Write:
        shape = shape_of(record, annotation, place)
        writes = {
            each.name: self.compile(
                each.type, shape.types[each.name], f"{record.short}.{each.name}"
            )
            for each in record.fields
        }
        if shape.cls is None or shape.getters is None:
            defaults = {each.name: _default(each, shape.types[each.name]) for each in record.fields}
            return _of_dict(writes, defaults, record)
        steps = [(name, shape.getters[name], write) for name, write in writes.items()]
        return _of_model(shape.cls, steps, record)

    def _union(self, union: UnionType, annotation: Any, place: str) -> Write:
        members = members_of(union, annotation, place)
        branches = [
            (zigzag(number), branch, self.compile(branch, member, place), member)
            for number, (branch, member) in enumerate(zip(union.branches, members, strict=True))
        ]
        nulls = [prefix for prefix, branch, _, _ in branches if branch.kind == "null"]
        others = [each for each in branches if each[1].kind != "null"]
        if len(nulls) == 1 and len(others) == 1:
            return _nullable(nulls[0], others[0][0], others[0][2])
        records = [each for each in union.branches if isinstance(each, RecordType)]
        shorts = Counter(each.short for each in records)
        choices = [
            (prefix, _accepts(branch, member, shorts, union), write)
            for prefix, branch, write, member in branches
        ]
        # A number is written as another one if there is nothing else for it, the widest first.
        floats = [each for each in branches if each[1].kind in _FLOATS]
        floats.sort(key=lambda each: each[1].kind)
        choices += [(prefix, _is_number, write) for prefix, _, write, _ in floats]
        write = _choice(choices, [each.name for each in records])
        if not (self._is_key and floats):
            return write
        return _of_one_kind(
            write, [BITS[each.kind] for each in union.branches if each.kind in BITS]
        )


def _of_one_kind(write: Write, bits: Sequence[int]) -> Write:
    """Numbers that are equal go to one branch: integers as such, where there is a branch for them.

    Args:
        write: Writes what a union holds.
        bits: Of its branches for integers.
    """
    limit = 1 << max(bits, default=0)

    def write_number(value: Any, out: bytearray) -> None:
        if bits and type(value) is float and value.is_integer() and -limit <= value < limit:
            value = int(value)
        elif not bits and type(value) is int:
            value = float(value) if float(value) == value else value
        write(value, out)

    return write_number


def _deferred(made: list[Write]) -> Write:
    """A function that is in the list when it is called, but need not be there yet."""

    def write_later(value: Any, out: bytearray) -> None:
        made[0](value, out)

    return write_later


def _default(field: Field, annotation: Any) -> Callable[[], Any] | None:
    if not field.has_default:
        return None
    return default_of(field.type, field.default, annotation, field.name)


def _of_model(
    cls: type, steps: list[tuple[str, Callable[[Any], Any], Write]], record: RecordType
) -> Write:
    def write_model(value: Any, out: bytearray) -> None:
        if not isinstance(value, cls):
            raise TypeError(mismatch(cls, value))
        name = ""
        try:
            for name, get, write in steps:  # noqa: B007 - which field the error is about
                write(get(value), out)
        except (TypeError, ValueError, OverflowError, StructError) as error:
            raise _placed(error, name, record) from error

    return write_model


def _missing() -> ValueError:
    return ValueError("it is missing, and has no default")


def _placed(error: Exception, name: str, record: RecordType) -> Exception:
    """The error with the field that it is about."""
    kind = TypeError if isinstance(error, TypeError) else ValueError
    return kind(f"{record.short}.{name}: {error}")


def _of_dict(
    writes: Mapping[str, Write],
    defaults: Mapping[str, Callable[[], Any] | None],
    record: RecordType,
) -> Write:
    steps = [(name, write, defaults[name]) for name, write in writes.items()]
    known = writes.keys() | {TAG}

    def write_dict(value: Any, out: bytearray) -> None:
        if not isinstance(value, Mapping):
            raise TypeError(f"{record.short} is a dict, not {type(value).__name__}")
        fields = cast("Mapping[str, Any]", value)
        name = ""
        try:
            for name, write, default in steps:
                if name in fields:
                    write(fields[name], out)
                elif default is not None:
                    write(default(), out)
                else:
                    raise _missing()
        except (TypeError, ValueError, OverflowError, StructError) as error:
            raise _placed(error, name, record) from error
        if not fields.keys() <= known:
            unknown = map(str, fields.keys() - known)
            raise ValueError(f"the schema of {record.short} lacks {', '.join(sorted(unknown))}")

    return write_dict


def _nullable(null: bytes, present: bytes, write: Write) -> Write:
    def write_nullable(value: Any, out: bytearray) -> None:
        if value is None:
            out += null
        else:
            out += present
            write(value, out)

    return write_nullable


def _choice(choices: list[tuple[bytes, Accepts, Write]], records: Sequence[str]) -> Write:
    def write_choice(value: Any, out: bytearray) -> None:
        for prefix, accepts, write in choices:
            if accepts(value):
                out += prefix
                write(value, out)
                return
        raise TypeError(_no_branch(value, records))

    return write_choice


def _no_branch(value: Any, records: Sequence[str]) -> str:
    if len(records) > 1 and isinstance(value, Mapping):
        if not _is_tagged(value):
            why = f'it does not say which record it is: add {{"{TAG}": "{records[0]}"}}'
        else:
            why = f'"{TAG}" is {value[TAG]!r}'
        return f"a dict in the schema's union has to be one of {', '.join(records)}, but {why}"
    return f"the schema's union has no type for this {type(value).__name__}"


def _accepts(branch: Type, member: Any, shorts: Counter[str], union: UnionType) -> Accepts:
    """Which values a branch of a union is for.

    Args:
        branch: The branch.
        member: The type of its values.
        shorts: How many records of the union have each last name.
        union: The union.
    """
    if isinstance(branch, RecordType):
        accepts = _accepts_record(branch, member, shorts)
        has_map = any(each.kind == "map" for each in union.branches)
        return _with_its_fields(branch, accepts) if has_map else accepts
    if isinstance(branch, Collection):
        classes = items_of(branch, member, "the value").classes
        return lambda value: isinstance(value, classes) and not _is_tagged(value)
    wanted, exact = plain_type(member), class_of(branch)
    cls = wanted if isinstance(wanted, type) and not is_untyped(wanted) else exact
    accepts: Accepts = lambda value: type(value) is cls or type(value) is exact  # noqa: E731
    if cls is exact and sum(each.logical == "decimal" for each in union.branches) > 1:
        return _holding(branch, exact)
    if branch.kind in BITS and cls is int:
        limit = 1 << BITS[branch.kind]
        accepts = lambda value: type(value) is int and -limit <= value < limit  # noqa: E731
    elif branch.kind == "float" and cls is float:
        accepts = _is_single
    elif isinstance(branch, EnumType) and cls is str:
        symbols = frozenset(branch.symbols)
        accepts = lambda value: isinstance(value, str) and value in symbols  # noqa: E731
    elif isinstance(branch, Fixed) and cls is bytes:
        size = branch.size
        accepts = lambda value: isinstance(value, bytes) and len(value) == size  # noqa: E731
    return accepts


def _holding(branch: Type, cls: type) -> Accepts:
    """Whether the branch holds all digits of a decimal: another one may."""
    logical = logical_of(branch)
    if branch.logical != "decimal" or logical is None:
        return lambda value: type(value) is cls
    dump = logical.dump

    def accepts(value: Any) -> bool:
        if type(value) is not cls:
            return False
        try:
            dump(value)
        except (ValueError, OverflowError):
            return False
        return True

    return accepts


def _with_its_fields(record: RecordType, accepts: Accepts) -> Accepts:
    """A dict without the record's fields, or with others, is a map."""
    names = {each.name for each in record.fields} | {TAG}
    needed = {each.name for each in record.fields if not each.has_default}

    def accepts_fields(value: Any) -> bool:
        if not isinstance(value, Mapping):
            return accepts(value)
        return accepts(value) and needed <= cast("Mapping[Any, Any]", value).keys() <= names

    return accepts_fields


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_single(value: Any) -> bool:
    """Whether four bytes hold a float as it is."""
    if type(value) is not float:
        return False
    try:
        return not isfinite(value) or _SINGLE.unpack(_SINGLE.pack(value))[0] == value
    except OverflowError:
        return False


def _is_tagged(value: Any) -> bool:
    return isinstance(value, dict) and TAG in cast("dict[Any, Any]", value)


def _accepts_record(record: RecordType, member: Any, shorts: Counter[str]) -> Accepts:
    shape = shape_of(record, member, "the value")
    if (cls := shape.cls) is not None:
        return lambda value: isinstance(value, cls)
    # A last name that two records have names neither.
    names = (record.name, record.short) if shorts[record.short] == 1 else (record.name,)
    if shorts.total() > 1:
        return lambda value: _is_tagged(value) and value[TAG] in names
    return lambda value: isinstance(value, Mapping)


def _array(write: Write, classes: tuple[type, ...]) -> Write:
    def write_array(value: Any, out: bytearray) -> None:
        if not isinstance(value, classes):
            raise TypeError(f"expected {classes[0].__name__}, not {type(value).__name__}")
        if value:
            write_long(len(value), out)
            if isinstance(value, AbstractSet):
                out += b"".join(_sorted(write, cast("AbstractSet[Any]", value)))
            else:
                for item in cast("Sequence[Any]", value):
                    write(item, out)
        out.append(0)

    return write_array


def _sorted(write: Write, items: AbstractSet[Any]) -> list[bytes]:
    """The items' bytes in one order, so that equal sets, such as in keys, give equal bytes."""
    written: list[bytes] = []
    for item in items:
        out = bytearray()
        write(item, out)
        written.append(bytes(out))
    return sorted(written)


def _map(write: Write, classes: tuple[type, ...]) -> Write:
    def write_map(value: Any, out: bytearray) -> None:
        if not isinstance(value, classes):
            raise TypeError(f"expected dict, not {type(value).__name__}")
        if value:
            items = cast("Mapping[str, Any]", value)
            write_long(len(items), out)
            # In one order, so that equal ones, such as in keys, give equal bytes.
            for name in sorted(items):
                write_text(name, out)
                write(items[name], out)
        out.append(0)

    return write_map


def _leaf(type_: Type, annotation: Any, place: str, plain: Write) -> Write:
    logical, converted = logical_of(type_), conversion(type_, annotation, place)
    if logical is None and converted is None:
        return plain
    cls = class_of(type_)

    def write_leaf(value: Any, out: bytearray) -> None:
        if converted is not None:
            value = converted.dump(value)
        if logical is not None:
            if type(value) is not cls and not isinstance(value, cls):
                raise TypeError(f"a {described(type_)} takes a {cls.__name__}, not {value!r:.40}")
            value = logical.dump(value)
        plain(value, out)

    return write_leaf
