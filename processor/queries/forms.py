"""How keys and values stand in URLs and in JSON answers.

A key of text stands as it is, every other one as JSON: `42`, `true`, `["eu", 7]`. Values are as
JSON has them: a Decimal, a date or an enum as text or what it is made of, bytes in base64, a model
of pydantic by its aliases. What JSON has no form for is its `str`.
"""

import base64
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec

from processor.errors import QueryError, TopologyError
from processor.serdes import Serde, json, json_of
from processor.serdes.types import plain_type

_TYPES: Final[Mapping[str, Any]] = {
    "text": str,
    "bytes": bytes,
    "int64": int,
    "float64": float,
    "boolean": bool,
}
"""Of keys whose serde has no annotation."""


def key_of(serde: Serde[Any], text: str) -> Any:
    """The key that a text means.

    Raises:
        QueryError: It means none.
    """
    annotation = _TYPES.get(serde.name, serde.type)
    model = Any if annotation is None else plain_type(annotation)
    if model is str:
        return text
    if model is Any or model is object:
        return _guessed(text)
    try:
        decode = json_of(annotation).decode
    except TopologyError as error:
        raise QueryError(f"keys of {serde.name} can't be given as text: {error}") from error
    try:
        return decode(text.encode())
    except Exception:  # noqa: BLE001 - whatever a model raises
        # A date, a UUID or an enum needs no quotes.
        return _quoted(serde, decode, text)


def json_form(value: Any) -> Any:
    """What stands for a value in JSON, as `msgspec.json` writes it."""
    try:
        return msgspec.Raw(json.encode(value))
    except Exception:  # noqa: BLE001 - such as dicts with other keys than text
        return _otherwise(value)


def time_of(text: str, name: str) -> int:
    """Milliseconds since 1970: as they are, or of a time in ISO 8601, in UTC unless it says more.

    Raises:
        QueryError: It is malformed.
    """
    if text.removeprefix("-").isdecimal():
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise QueryError(
            f"{name}={text} is no time: give one such as 2026-01-31T12:00Z, or milliseconds since "
            "1970"
        ) from None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return round(found.timestamp() * 1000)


def cursor_text(key: bytes) -> str:
    """A place in a store, as it goes from one page to the next."""
    return base64.urlsafe_b64encode(key).decode().rstrip("=")


def cursor_of(text: str) -> bytes:
    """The place that a text means.

    Raises:
        QueryError: It means none.
    """
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except ValueError:
        raise QueryError(f"after={text}: give what `next` was in the page before") from None


def _guessed(text: str) -> Any:
    """JSON, or else text as it is; as keys are of which no type is known."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text


def _quoted(serde: Serde[Any], decode: Callable[[bytes], Any], text: str) -> Any:
    try:
        return decode(msgspec.json.encode(text))
    except Exception as error:
        raise QueryError(
            f"{text!r} is no key of {serde.name}: text stands as it is, every other key as JSON "
            f"({error})"
        ) from error


def _otherwise(value: Any) -> Any:
    if hasattr(value, "DESCRIPTOR"):
        from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - where it is used

        return MessageToDict(value, preserving_proto_field_name=True)
    if isinstance(value, dict):
        pairs = cast("Mapping[Any, Any]", value).items()
        return {str(name): json_form(each) for name, each in pairs}
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(map(json_form, cast("Iterable[Any]", value)))
    return str(value)
