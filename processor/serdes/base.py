"""What a serde is, how a whole column goes through it, and whether it gives back what it got.

Knows nothing of formats or of the types that they carry.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import repeat
from operator import is_
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

from processor.attempt import Fault, attempt
from processor.errors import UsageError

T = TypeVar("T")

Part: TypeAlias = Literal["key", "value"]


@dataclass(frozen=True, slots=True)
class Serde(Generic[T]):
    """How values of one type become bytes and values again.

    None is never given to either function: a null key or value stays null. Both raise an
    `Exception` for what they can't do, and nothing worse but `SchemasMissing`, if they use a schema
    registry.

    Example: `Serde("upper", lambda text: text.upper().encode(), bytes.decode, faithful=False)`.
    In Kafka Streams: `Serde`.

    Args:
        name: What the bytes mean, in full (`json(Order)`): stores keep it, so that state written
            with one serde is never read with another.
        encode: Makes bytes of a value.
        decode: Makes a value of bytes.
        registered: What it can do besides where it uses a schema registry.
        type: That of the values, if it is known: fields are checked against it when a topology is
            written.
        faithful: Whether a value comes back as it was, and no code of its type runs on the way:
            stores and internal topics may use the serde as it is.
        shape: The fields of the models in the type, see `serdes.shapes`: where they change, what
            was kept may not fit.
        encode_all: Does a batch for less, of values that are not null; where it raises, or gives
            None, that is done one by one.
        decode_all: The same for bytes.
        for_keys: Writes keys, if those that are equal have other bytes otherwise.
        cuts: Whether some values lose digits or microseconds, as in a `float` of Avro.
    """

    name: str
    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]
    registered: "Registered | None" = None
    type: Any = field(default=None, compare=False)
    faithful: bool = field(default=True, compare=False)
    shape: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Any], compare=False)
    encode_all: "AllAtOnce | None" = field(default=None, compare=False)
    decode_all: "AllAtOnce | None" = field(default=None, compare=False)
    for_keys: "Serde[T] | None" = field(default=None, compare=False)
    cuts: bool = field(default=False, compare=False)


AllAtOnce: TypeAlias = Callable[[Sequence[Any]], list[Any] | None]


class Registered(Protocol):
    """What a serde with a schema registry can do besides."""

    def bound(self, topic: str, part: Part) -> Serde[Any]:
        """The serde for the keys or values of a topic, which say under which subject they are."""
        ...

    def require(self, column: Sequence[bytes | None]) -> None:
        """Raises SchemasMissing with all that is to be known before the column is decoded."""
        ...

    def be_ready(self) -> None:
        """Raises SchemasMissing with what is to be known before anything is encoded."""
        ...


def for_topic(serde: Serde[Any], topic: str, part: Part) -> Serde[Any]:
    """The serde as the keys or values of a topic need it; most are the same for all."""
    return serde if serde.registered is None else serde.registered.bound(topic, part)


def encode_column(
    serde: Serde[Any], column: Sequence[Any]
) -> tuple[list[bytes | None], list[Fault]]:
    """Every value as bytes; rows that fail are left out and named."""
    encoded, faults = _through(serde.encode, column, serde.encode_all)
    return encoded, [
        _explain(fault, f"can't encode {type(column[fault.row]).__name__} as {serde.name}")
        for fault in faults
    ]


def decode_column(
    serde: Serde[Any], column: Sequence[bytes | None]
) -> tuple[list[Any], list[Fault]]:
    """Every value from its bytes; rows that fail are left out and named."""
    if serde.registered is not None:
        serde.registered.require(column)
    decoded, faults = _through(serde.decode, column, serde.decode_all)
    return decoded, [
        _explain(fault, f"can't decode {len(column[fault.row] or b'')} bytes as {serde.name}")
        for fault in faults
    ]


def attempt_all(serde: Serde[Any], column: Sequence[Any]) -> tuple[list[bytes], list[Fault]]:
    """As `encode_column`, of values none of which is null, and with the errors as they are."""
    done = _all_at_once(serde.encode_all, column)
    return attempt(serde.encode, column) if done is None else (done, [])


def encoded(serde: Serde[T], column: Sequence[T]) -> list[bytes]:
    """Every value as bytes; none is null. It raises what the serde raises."""
    done = _all_at_once(serde.encode_all, column)
    return list(map(serde.encode, column)) if done is None else done


def decoded(serde: Serde[T], column: Sequence[bytes]) -> list[T]:
    """Every value from its bytes; none is null. It raises what the serde raises."""
    done = _all_at_once(serde.decode_all, column)
    return list(map(serde.decode, column)) if done is None else done


def nan_key() -> ValueError:
    """What to raise for a key that has NaN in it."""
    return ValueError(
        "NaN can't be a key: it is equal to nothing, and would come back as another; leave the "
        "record out"
    )


def lossless(serde: Serde[Any], value: object) -> None:
    """Makes sure that a value comes back from its bytes as it went in.

    Meant for what goes through a topic whose type is not known: JSON turns a tuple into a list and
    an int key of a dict into text.

    Raises:
        UsageError: another value, or one of another type, came back.
    """
    back: object = serde.decode(serde.encode(value))
    if type(back) is type(value) and back == value:
        return
    given, got = type(value).__name__, type(back).__name__
    change = f"comes back as a {got}" if given != got else "comes back changed"
    raise UsageError(
        f"a {given} written as {serde.name} {change}: name the type (value=TYPE), or write values "
        "of exactly these types: str, int, float, bool, lists of these and dicts with str keys"
    )


def _through(
    function: Callable[[Any], Any], column: Sequence[Any], all_at_once: AllAtOnce | None
) -> tuple[list[Any], list[Fault]]:
    # By identity: `None in column` asks values for ==, and arrays answer that with an array.
    if not any(map(is_, column, repeat(None))):
        done = _all_at_once(all_at_once, column)
        return attempt(function, column) if done is None else (done, [])

    def present(value: object) -> object:
        return None if value is None else function(value)

    return attempt(present, column)


def _all_at_once(function: AllAtOnce | None, column: Sequence[Any]) -> list[Any] | None:
    """None where it is to be done one by one, which also says which row fails, and why."""
    with suppress(Exception):
        return None if function is None else function(column)
    return None


def _explain(fault: Fault, what: str) -> Fault:
    error = ValueError(f"{what}: {fault.error}")
    error.__cause__ = fault.error
    return Fault(fault.row, error)
