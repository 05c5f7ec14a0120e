"""Serdes of single values, in the very bytes that Kafka's own serializers write.

Knows nothing of JSON or of models.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import repeat
from operator import add, ne
from struct import Struct
from struct import error as StructError  # noqa: N812 - a class, by a name like one
from typing import Any

from processor.serdes.base import Serde, nan_key


def _number(name: str, layout: str, kind: type) -> Serde[Any]:
    """A serde of numbers of a fixed size; an int is any kind of number, a bool is not a number."""
    form = Struct(layout)
    pack, unpack = form.pack, form.unpack

    def encode(value: object) -> bytes:
        if type(value) is not kind and (
            isinstance(value, bool) or not isinstance(value, (kind, int))
        ):
            raise TypeError(f"{name} takes a number, not {type(value).__name__}")
        try:
            data = pack(value)
        except (StructError, OverflowError) as error:
            raise ValueError(f"the number is out of the range of {name}: {error}") from None
        if kind is float and type(value) is not float and unpack(data)[0] != value:
            raise ValueError(f"{name} does not hold all digits of the number")
        return data

    def decode(data: bytes) -> Any:
        try:
            (value,) = unpack(data)
        except StructError:
            raise ValueError(f"{name} takes {form.size} bytes, not {len(data)}") from None
        return value

    def encode_all(values: Sequence[Any]) -> list[bytes] | None:
        return list(map(pack, values)) if {*map(type, values)} <= {kind} else None

    return Serde(name, encode, decode, encode_all=encode_all)


def _encode_boolean(value: bool) -> bytes:  # noqa: FBT001 - the value is the whole input
    if value is True:
        return b"\x01"
    if value is False:
        return b"\x00"
    raise TypeError(f"boolean takes a bool, not {type(value).__name__}")


def _decode_boolean(data: bytes) -> bool:
    if data == b"\x01":
        return True
    if data == b"\x00":
        return False
    raise ValueError("boolean takes one byte, 0 or 1")


# Methods of built-in types: C functions that refuse every other type.
_same: Callable[[bytes], bytes] = bytes.__bytes__

bytes_serde: Serde[bytes] = Serde("bytes", _same, _same)
"""Bytes as they are."""

text: Serde[str] = Serde("text", str.encode, bytes.decode)
"""Text in UTF-8, strictly: invalid bytes and lone surrogates are refused."""

int64: Serde[int] = _number("int64", ">q", int)
"""A signed integer in 8 bytes, big end first; Kafka's LongSerializer."""

float64: Serde[float] = _number("float64", ">d", float)
"""A float in 8 bytes, IEEE 754, big end first; Kafka's DoubleSerializer."""


def _encode_key(key: Any) -> bytes:
    if key != key:  # noqa: PLR0124 - of all numbers NaN alone is not equal to itself
        raise nan_key()
    return float64.encode(key + 0.0 if type(key) is float else key)


def _encode_keys(keys: Sequence[Any]) -> list[bytes] | None:
    encode_all = float64.encode_all
    if encode_all is None or {*map(type, keys)} != {float} or any(map(ne, keys, keys)):
        return None
    return encode_all(list(map(add, keys, repeat(0.0))))


float64_key: Serde[float] = replace(float64, encode=_encode_key, encode_all=_encode_keys)
"""The same for keys: 0.0 and -0.0 are equal, and so are their bytes."""

boolean: Serde[bool] = Serde("boolean", _encode_boolean, _decode_boolean)
"""One byte, 0 or 1; Kafka's BooleanSerializer (KIP-907)."""
