"""The serde of keys whose type nobody named, in topics and stores that only kproc writes.

Owns the rule by which equal keys become equal bytes, and so meet in one partition.
"""

from collections.abc import Sequence
from math import isfinite
from types import NoneType
from typing import Any, cast

from msgspec.json import Decoder, Encoder

from processor.serdes.base import Serde

_to_bytes = Encoder(order="deterministic").encode
_from_bytes = Decoder().decode


# Values of exactly these types have one form only; nearly all keys are made of them.
_CANONICAL = frozenset({str, int, bool, NoneType})


def _encode(key: object) -> bytes:
    if type(key) in _CANONICAL:
        return _to_bytes(key)
    if type(key) is tuple and _CANONICAL.issuperset(map(type, cast("tuple[object, ...]", key))):
        return _to_bytes(cast("object", key))
    return _to_bytes(_canonical(cast("object", key)))


def _decode(data: bytes) -> Any:
    key = _from_bytes(data)
    return key if type(key) is str else _hashable(key)


def _encode_all(keys: Sequence[Any]) -> list[bytes] | None:
    return list(map(_to_bytes, keys)) if _CANONICAL.issuperset(map(type, keys)) else None


def _decode_all(column: Sequence[bytes]) -> list[Any]:
    keys = list(map(_from_bytes, column))
    return keys if _CANONICAL.issuperset(map(type, keys)) else list(map(_hashable, keys))


def _canonical(key: object) -> object:
    """The one form of all keys that are equal to this one."""
    if key is None or isinstance(key, bool):
        return key
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, int):
        return int.__int__(key)
    if isinstance(key, float):
        return _canonical_float(key)
    if isinstance(key, tuple | list):
        return [_canonical(item) for item in cast("tuple[object, ...]", key)]
    if isinstance(key, dict):
        items = cast("dict[object, object]", key).items()
        return {_field(name): _canonical(value) for name, value in items}
    raise TypeError(
        f"a key of type {type(key).__name__} needs its type named (key=TYPE): without that, keys "
        "are str, int, float, bool and tuples of these"
    )


def _canonical_float(key: float) -> int | float:
    if not isfinite(key):
        raise ValueError(f"{key} can't be a key: it has no JSON form")
    return int(key) if key.is_integer() else float.__float__(key)


def _field(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a dict in a key has str keys only, not {type(name).__name__}")
    return str.__str__(name)


def _hashable(key: object) -> object:
    """The key with tuples where JSON has arrays."""
    if isinstance(key, list):
        items = cast("list[object]", key)
        return tuple(items if _CANONICAL.issuperset(map(type, items)) else map(_hashable, items))
    if isinstance(key, dict):
        fields = cast("dict[str, object]", key).items()
        return {name: _hashable(value) for name, value in fields}
    return key


key_json: Serde[Any] = Serde(
    "json-key", _encode, _decode, encode_all=_encode_all, decode_all=_decode_all
)
"""Keys as JSON in one canonical form: equal keys give equal bytes, arrays come back as tuples.

Keys are str, int, float, bool, None inside of tuples, tuples of these, and dicts with str keys
(which come back as dicts, and so can't be grouped by). A float without a fraction is written, and
comes back, as the int that it equals: 1.0 and 1 are one key. A bool stays a bool, although Python
has `True == 1`: a stream must not mix both as keys.
"""
