"""What a serde is, and how a whole column goes through it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from processor.attempt import Fault, attempt

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Serde(Generic[T]):
    """How values of one type become bytes and values again.

    `name` tells what the bytes mean, in full (`json(Order)`): stores keep it, so that state written
    with one serde is never read with another. None is never given to either function: a null key or
    value stays null.
    """

    name: str
    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]


def encode_column(
    serde: Serde[Any], column: Sequence[Any]
) -> tuple[list[bytes | None], list[Fault]]:
    """Every value as bytes; rows that fail are left out and named."""
    return _through(serde.encode, column)


def decode_column(
    serde: Serde[Any], column: Sequence[bytes | None]
) -> tuple[list[Any], list[Fault]]:
    """Every value from its bytes; rows that fail are left out and named."""
    return _through(serde.decode, column)


def _through(
    function: Callable[[Any], Any], column: Sequence[Any]
) -> tuple[list[Any], list[Fault]]:
    if None not in column:
        return attempt(function, column)
    return attempt(lambda value: None if value is None else function(value), column)
