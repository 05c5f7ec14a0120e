"""Reads Avro's single values from bytes that anybody may have written.

Each function takes the data and a position, and returns the value and the position after it; a
length is compared with what is left before anything is done with it.
"""

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, Final, TypeAlias

from processor.serdes.avro.tree import EnumType, Fixed, Type

Read: TypeAlias = Callable[[bytes, int], tuple[Any, int]]

_INT_LIMIT: Final = 2**31
_LONG_BITS: Final = 64
_ONE_BYTE: Final = 128
"""A byte from here on says that the number goes on."""


class UnreadableError(ValueError):
    """The data is not what its schema says."""


def plain_reader(writer: Type, reader: Type) -> Read:
    """A function that reads a single value as it is written; an enum as the reader knows it."""
    if isinstance(writer, Fixed):
        return _fixed(writer.size)
    if isinstance(writer, EnumType) and isinstance(reader, EnumType):
        return _enum(writer, reader)
    return _PLAIN[writer.kind]


def _fixed(size: int) -> Read:
    def read_fixed(data: bytes, at: int) -> tuple[bytes, int]:
        return _slice(data, at, size)

    return read_fixed


def _enum(writer: EnumType, reader: EnumType) -> Read:
    known = frozenset(reader.symbols)
    symbols = [each if each in known else reader.default for each in writer.symbols]
    count = len(symbols)

    def read_enum(data: bytes, at: int) -> tuple[str, int]:
        index, at = read_long(data, at)
        if not 0 <= index < count:
            raise UnreadableError(f"enum {writer.name} has no symbol number {index}")
        symbol = symbols[index]
        if symbol is None:
            raise UnreadableError(
                f"enum {reader.name} does not have {writer.symbols[index]}: add it to the reader's "
                "schema, or a default"
            )
        return symbol, at

    return read_enum


def _null(_data: bytes, at: int) -> tuple[None, int]:
    return None, at


def _boolean(data: bytes, at: int) -> tuple[bool, int]:
    value = data[at]
    if value > 1:
        raise UnreadableError(f"a boolean is 0 or 1, not {value}")
    return value == 1, at + 1


def read_long(data: bytes, at: int) -> tuple[int, int]:
    """A number of up to 64 bits."""
    byte = data[at]
    at += 1
    if byte < _ONE_BYTE:
        return (byte >> 1) ^ -(byte & 1), at
    number, shift = byte & 127, 7
    while byte >= _ONE_BYTE:
        if shift >= _LONG_BITS:
            raise UnreadableError("a number has more than 64 bits")
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
    if number >> _LONG_BITS:
        raise UnreadableError("a number has more than 64 bits")
    return (number >> 1) ^ -(number & 1), at


def _int(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < _ONE_BYTE:
        return (byte >> 1) ^ -(byte & 1), at + 1
    number, at = read_long(data, at)
    if not -_INT_LIMIT <= number < _INT_LIMIT:
        raise UnreadableError(f"{number} is out of the range of int")
    return number, at


def _slice(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    end = at + size
    if size < 0 or end > len(data):
        raise UnreadableError(f"{size} bytes are announced, and {len(data) - at} are there")
    return data[at:end], end


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = read_long(data, at)
    return _slice(data, at, size)


def read_text(data: bytes, at: int) -> tuple[str, int]:
    """A text."""
    size = data[at]
    if size < _ONE_BYTE and not size & 1:
        start = at + 1
        end = start + (size >> 1)
        if end <= len(data):
            return data[start:end].decode(), end
    size, at = read_long(data, at)
    text, at = _slice(data, at, size)
    return text.decode(), at


def _number(layout: str) -> Read:
    form = Struct(layout)
    unpack, size = form.unpack_from, form.size

    def read_number(data: bytes, at: int) -> tuple[float, int]:
        return unpack(data, at)[0], at + size

    return read_number


_PLAIN: Final[Mapping[str, Read]] = {
    "null": _null,
    "boolean": _boolean,
    "int": _int,
    "long": read_long,
    "float": _number("<f"),
    "double": _number("<d"),
    "bytes": _bytes,
    "string": read_text,
}
