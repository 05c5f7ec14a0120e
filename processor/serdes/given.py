"""Serdes that a user gives for what lies between steps: what they would change is refused.

Owns the question whether what comes back is what went in, where a format or code of the type may
change it. Costs a second way through the serde, for those that may lose something.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from processor.serdes.base import Part, Registered, Serde
from processor.serdes.types import runs_code


def is_kept(serde: Serde[Any]) -> bool:
    """Whether every value that the serde takes comes back equal."""
    return serde.faithful and not serde.cuts


def unchanged_key(serde: Serde[Any]) -> Serde[Any]:
    """The serde as it writes; a key that it would change, on either way, is refused."""
    encode, decode = serde.encode, serde.decode

    def decode_unchanged(data: bytes) -> Any:
        key = decode(data)
        if encode(key) != data:
            raise ValueError(changed("key", serde))
        return key

    return replace(unchanged(serde, "key"), decode=decode_unchanged, faithful=True)


def unchanged_value(serde: Serde[Any]) -> Serde[Any]:
    """The serde as it writes; a value that it would change, on either way, is refused."""
    encode, decode = serde.encode, serde.decode

    def decode_unchanged(data: bytes) -> Any:
        value = decode(data)
        if not comes_back(decode, encode(value), value):
            raise ValueError(changed("value", serde))
        return value

    checked = unchanged(serde, "value")
    return replace(checked, decode=decode_unchanged) if runs_code(serde.type) else checked


def unchanged(serde: Serde[Any], what: str) -> Serde[Any]:
    """The serde as it writes and reads; what would come back as another is not written.

    Args:
        serde: The serde.
        what: What it writes, as the error names it.
    """
    encode, decode = serde.encode, serde.decode

    def encode_unchanged(value: Any) -> bytes:
        data = encode(value)
        if not comes_back(decode, data, value):
            raise ValueError(changed(what, serde))
        return data

    registered = None if serde.registered is None else _Checked(serde.registered, what)
    return replace(
        serde, encode=encode_unchanged, registered=registered, encode_all=None, decode_all=None
    )


class _Checked:
    """A registry's serde whose uses in topics are checked as well."""

    def __init__(self, registered: Registered, what: str) -> None:
        self._what = what
        self._registered = registered
        self.require = registered.require
        self.be_ready = registered.be_ready

    def bound(self, topic: str, part: Part) -> Serde[Any]:
        return unchanged(self._registered.bound(topic, part), self._what)


def changed(what: str, serde: Serde[Any]) -> str:
    """What to say of a value that comes back as another."""
    return (
        f"the {what} would come back as another from {serde.name}: code of its type changes it, or "
        "the format does"
    )


def comes_back(decode: Callable[[bytes], Any], data: bytes, value: Any) -> bool:
    """Whether what is read of the data equals the value that it was made of."""
    try:
        return bool(decode(data) == value)
    except ValueError:
        return False
