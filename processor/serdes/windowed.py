"""Keys of windows: what they are, and their bytes in stores and in topics.

Owns the rule that the bytes of a store's keys are in the order in which windows end.
"""

from collections.abc import Callable
from struct import Struct
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from processor.serdes.base import Serde

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

    return Serde(f"windowed({key.name})", encode_windowed, decode_windowed, shape=key.shape)


def windowed_json(key: Serde[Any]) -> Serde[Windowed[Any]]:
    """For topics: `{"key":"ann","start":0,"end":10000}`; `key` is a serde that writes JSON."""
    encode, read = key.encode, msgspec.json.Decoder(_Read).decode
    decode: Callable[[bytes], Any] = key.decode

    def encode_windowed(window: Windowed[Any]) -> bytes:
        if not isinstance(window, Windowed):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"expected Windowed, not {type(window).__name__}")
        return b'{"key":%b,"start":%d,"end":%d}' % (encode(window.key), window.start, window.end)

    def decode_windowed(data: bytes) -> Windowed[Any]:
        found = read(data)
        return Windowed(decode(bytes(found.key)), found.start, found.end)

    name = f"windowed-json({key.name})"
    return Serde(name, encode_windowed, decode_windowed, faithful=key.faithful, shape=key.shape)
