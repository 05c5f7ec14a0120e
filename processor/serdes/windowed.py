"""Keys of windows: what they are, and their bytes in stores and in topics.

Owns the rule that the bytes of a store's keys are in the order in which windows end.
"""

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from struct import Struct
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from processor.serdes.base import Serde, decoded, encoded

K_co = TypeVar("K_co", covariant=True)

_SPAN = Struct(">QQ")
_SHIFT = 2**63  # negative times come before positive ones
PREFIX = _SPAN.size
"""How many bytes of a window's key stand before the bytes of the key itself."""


class Windowed(NamedTuple, Generic[K_co]):
    """A key and one of its windows: from `start` to before `end`, milliseconds."""

    key: K_co
    start: int
    end: int


class _Read(msgspec.Struct):
    key: msgspec.Raw
    start: int
    end: int


def span_bytes(start: int, end: int) -> bytes:
    """What the bytes of a window's key begin with: its end, then its start."""
    return _SPAN.pack(end + _SHIFT, start + _SHIFT)


def span_of(data: bytes) -> tuple[int, int]:
    """Start and end of a window from the bytes of its key."""
    end, start = _SPAN.unpack_from(data)
    return start - _SHIFT, end - _SHIFT


def until(end: int) -> bytes:
    """The bytes that come after those of all windows that end before `end`, and before others."""
    return (end + _SHIFT).to_bytes(8, "big")


def windowed(key: Serde[Any]) -> Serde[Windowed[Any]]:
    """For stores: in order of end, start and the key's bytes, so that closing is a range scan."""
    encode, decode = key.encode, key.decode

    def encode_windowed(window: Windowed[Any]) -> bytes:
        return span_bytes(window.start, window.end) + encode(window.key)

    def decode_windowed(data: bytes) -> Windowed[Any]:
        return Windowed(decode(data[PREFIX:]), *span_of(data))

    def decode_all(column: Sequence[bytes]) -> list[Windowed[Any]]:
        prefixes = list(map(_prefix, column))
        spans = {prefix: span_of(prefix) for prefix in set(prefixes)}
        keys = decoded(key, list(map(_after_prefix, column)))
        starts, ends = ([spans[prefix][part] for prefix in prefixes] for part in (0, 1))
        return list(map(_window, zip(keys, starts, ends, strict=True)))

    name = f"windowed({key.name})"
    return Serde(name, encode_windowed, decode_windowed, shape=key.shape, decode_all=decode_all)


_prefix, _after_prefix = itemgetter(slice(PREFIX)), itemgetter(slice(PREFIX, None))
_window: Callable[[tuple[Any, int, int]], Windowed[Any]] = partial(
    tuple.__new__,  # pyright: ignore[reportUnknownMemberType]
    Windowed,
)
"""Makes a window of its three parts, for less than its class does."""


def windowed_json(key: Serde[Any]) -> Serde[Windowed[Any]]:
    """For topics: `{"key":"ann","start":0,"end":10000}`; `key` is a serde that writes JSON."""
    encode, read = key.encode, msgspec.json.Decoder(_Read).decode
    decode: Callable[[bytes], Any] = key.decode

    def encode_windowed(window: Windowed[Any]) -> bytes:
        if not isinstance(window, Windowed):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"expected Windowed, not {type(window).__name__}")
        return _JSON % (encode(window.key), window.start, window.end)

    def encode_all(column: Sequence[Windowed[Any]]) -> list[bytes] | None:
        if {*map(type, column)} != {Windowed}:
            return None
        keys, starts, ends = zip(*column, strict=True)
        return list(map(_JSON.__mod__, zip(encoded(key, keys), starts, ends, strict=True)))

    def decode_windowed(data: bytes) -> Windowed[Any]:
        found = read(data)
        return Windowed(decode(bytes(found.key)), found.start, found.end)

    name = f"windowed-json({key.name})"
    return Serde(
        name,
        encode_windowed,
        decode_windowed,
        faithful=key.faithful,
        shape=key.shape,
        encode_all=encode_all,
    )


_JSON = b'{"key":%b,"start":%d,"end":%d}'
