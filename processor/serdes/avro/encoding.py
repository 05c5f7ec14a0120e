"""Writes Avro's single values, strictly: what is not exactly what the schema says is refused."""

from collections.abc import Callable, Mapping
from struct import Struct
from struct import pack as pack_float
from typing import Any, Final, TypeAlias

from processor.serdes.avro.tree import EnumType, Fixed, Type
from processor.serdes.avro.types import described
from processor.serdes.base import nan_key

Write: TypeAlias = Callable[[Any, bytearray], None]

BITS: Final = {"int": 31, "long": 63}
"""The bits of a number without its sign."""

_ONE_BYTE: Final = 128


def plain_writer(type_: Type) -> Write:
    """A function that appends a single value."""
    if isinstance(type_, Fixed):
        return _fixed(type_)
    if isinstance(type_, EnumType):
        return _enum(type_)
    return _PLAIN[type_.kind]


def _fixed(type_: Fixed) -> Write:
    def write_fixed(value: Any, out: bytearray) -> None:
        if not isinstance(value, bytes) or len(value) != type_.size:
            raise ValueError(f"{described(type_)} takes {type_.size} bytes")
        out += value

    return write_fixed


def _enum(type_: EnumType) -> Write:
    numbers = {symbol: zigzag(number) for number, symbol in enumerate(type_.symbols)}

    def write_enum(value: Any, out: bytearray) -> None:
        if value not in numbers:
            raise ValueError(f"{type_.name} has {', '.join(type_.symbols)}; not {value!r:.40}")
        out += numbers[value]

    return write_enum


def _null(value: Any, _out: bytearray) -> None:
    if value is not None:
        raise TypeError(f"expected None, not {type(value).__name__}")


def _boolean(value: Any, out: bytearray) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"expected bool, not {type(value).__name__}")
    out.append(value)


def _integer(kind: str) -> Write:
    limit = 1 << BITS[kind]

    def write_integer(value: Any, out: bytearray) -> None:
        if type(value) is not int and (isinstance(value, bool) or not isinstance(value, int)):
            raise TypeError(f"expected int, not {type(value).__name__}")
        if not -limit <= value < limit:
            raise ValueError(f"{value} is out of the range of {kind}")
        number = value << 1 if value >= 0 else ~(value << 1)
        while number >= _ONE_BYTE:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)

    return write_integer


def zigzag(value: int) -> bytes:
    """A number, such as that of a branch of a union."""
    out = bytearray()
    _integer("long")(value, out)
    return bytes(out)


def _number(layout: str) -> Write:
    form = Struct(layout)
    pack, unpack = form.pack, form.unpack

    def write_number(value: Any, out: bytearray) -> None:
        if type(value) is not float and (
            isinstance(value, bool) or not isinstance(value, (int, float))
        ):
            raise TypeError(f"expected float, not {type(value).__name__}")
        data = pack(value)
        if type(value) is not float and unpack(data)[0] != value:
            raise ValueError(f"{value} has more digits than the schema's number")
        out += data

    return write_number


def key_number(kind: str) -> Write:
    """A function that writes a number of a key: equal ones have equal bytes."""
    write, size = _PLAIN[kind], len(_ZEROS[kind])

    def write_key(value: Any, out: bytearray) -> None:
        write(value, out)
        if value != value:  # noqa: PLR0124 - of all numbers NaN alone is not equal to itself
            raise nan_key()
        if not value or out.endswith(_ZEROS[kind]):
            out[-size:] = bytes(size)

    return write_key


write_long: Final = _integer("long")


def _bytes(value: Any, out: bytearray) -> None:
    if not isinstance(value, bytes):
        raise TypeError(f"expected bytes, not {type(value).__name__}")
    write_long(len(value), out)
    out += value


def write_text(value: Any, out: bytearray) -> None:
    """A text."""
    if not isinstance(value, str):
        raise TypeError(f"expected str, not {type(value).__name__}")
    data = value.encode()
    size = len(data)
    if size < _ONE_BYTE // 2:
        out.append(size << 1)
    else:
        write_long(size, out)
    out += data


_ZEROS: Final = {"float": pack_float("<f", -0.0), "double": pack_float("<d", -0.0)}
"""Zeros that are negative."""

_PLAIN: Final[Mapping[str, Write]] = {
    "null": _null,
    "boolean": _boolean,
    "int": _integer("int"),
    "long": write_long,
    "float": _number("<f"),
    "double": _number("<d"),
    "bytes": _bytes,
    "string": write_text,
}
