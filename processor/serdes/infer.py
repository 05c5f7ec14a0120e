"""The serde for an annotation.

Owns the table of plain types; everything else is JSON.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final, cast, get_args, get_origin

from processor.errors import TopologyError
from processor.serdes.base import Serde
from processor.serdes.given import is_kept, unchanged_key, unchanged_value
from processor.serdes.internal import internal_of
from processor.serdes.json import json, json_of
from processor.serdes.keys import key_json
from processor.serdes.plain import boolean, bytes_serde, float64, float64_key, int64, text
from processor.serdes.typed_keys import own_key
from processor.serdes.types import UNIONS, plain_type, type_name

_PLAIN: Final[dict[Any, Serde[Any]]] = {
    bytes: bytes_serde,
    str: text,
    int: int64,
    float: float64,
    bool: boolean,
}
_POSSIBLE = (
    "bytes, str, int, float, bool, a pydantic model, dataclass, msgspec Struct, TypedDict or "
    "NamedTuple, containers of these such as list[int], Any for untyped JSON, or a Serde"
)


def serde_for(annotation: Any, *, what: str) -> Serde[Any]:
    """The serde for values of a type; a Serde is returned as it is.

    bytes, str, int, float and bool become what Kafka's own serializers write, Any and object
    untyped JSON, and all other types JSON that is checked. `X | None` is X: null is outside of
    serdes. What `Annotated` demands of one of these plain types is not checked.

    Args:
        annotation: The type or the Serde.
        what: What it is for, as the error names it: `the value of topic orders`.

    Raises:
        TopologyError: there is no serde for the type.
    """
    return _named(_value_serde, annotation, what)


def kept_serde_for(annotation: Any, *, what: str) -> Serde[Any]:
    """The serde for values of a type in stores and in topics between steps.

    As `serde_for`, with the internal form in place of JSON: what goes in comes back equal. A Serde
    that would make another value of one raises where it meets it.

    Raises:
        TopologyError: The type has no serde.
    """
    if isinstance(annotation, Serde):
        given = cast("Serde[Any]", annotation)
        return given if is_kept(given) else unchanged_value(given)
    return _named(_kept_serde, annotation, what)


def key_serde_for(annotation: Any, *, what: str) -> Serde[Any]:
    """The serde for keys of a type: as `serde_for`, but equal keys give equal bytes.

    Any, object and a bare tuple become `key_json`. Keys must be hashable: frozen models and tuples,
    not dicts and lists. Equal keys of different types, such as 1 and 1.0, are one key only in
    `key_json`; in other types a key has to be of the type that was named.

    Raises:
        TopologyError: there is no serde for the type, or its values can't be hashed.
    """
    if isinstance(annotation, Serde):
        return _for_keys(cast("Serde[Any]", annotation))
    return _named(_key_serde, annotation, what)


def kept_key_serde_for(annotation: Any, *, what: str) -> Serde[Any]:
    """The serde for keys of a type in stores and in topics between steps.

    As `key_serde_for`, and a key comes back equal: no code of its type runs on the way. A Serde
    that would make another key of one raises where it meets it.

    Raises:
        TopologyError: The type has no serde.
    """
    if isinstance(annotation, Serde):
        given = _for_keys(cast("Serde[Any]", annotation))
        return given if is_kept(given) else unchanged_key(given)
    return _named(_kept_key_serde, annotation, what)


def _for_keys(serde: Serde[Any]) -> Serde[Any]:
    return serde.for_keys or serde


def _named(find: Callable[[Any], Serde[Any]], annotation: Any, what: str) -> Serde[Any]:
    if isinstance(annotation, Serde):
        return cast("Serde[Any]", annotation)
    try:
        return _once(find, annotation) if _can_hash(annotation) else find(annotation)
    except TopologyError as error:
        raise TopologyError(f"{what}: {error}. Possible are {_POSSIBLE}") from error


@cache
def _once(find: Callable[[Any], Serde[Any]], annotation: Any) -> Serde[Any]:
    return find(annotation)


def _can_hash(annotation: Any) -> bool:
    """Metadata in `Annotated` need not be hashable."""
    try:
        hash(annotation)
    except TypeError:
        return False
    return True


def _value_serde(annotation: Any) -> Serde[Any]:
    model = plain_type(annotation)
    if model is Any or model is object:
        return json
    return _plain_serde(model) or json_of(annotation)


def _kept_serde(annotation: Any) -> Serde[Any]:
    return _plain_serde(plain_type(annotation)) or internal_of(annotation)


def _key_serde(annotation: Any) -> Serde[Any]:
    model = plain_type(annotation)
    if model is Any or model is object or model is tuple:
        return key_json
    if not _has_hash(model):
        raise TopologyError(
            f"{type_name(model)} can't be a key, as its values can't be hashed: use a tuple, or "
            "make the model frozen (frozen=True)"
        )
    return _plain_key_serde(model) or json_of(annotation, sort=True)


def _kept_key_serde(annotation: Any) -> Serde[Any]:
    known = _key_serde(annotation)
    return known if known.faithful else own_key(annotation)


def _plain_key_serde(model: Any) -> Serde[Any] | None:
    return float64_key if model is float else _plain_serde(model)


def _plain_serde(model: Any) -> Serde[Any] | None:
    return _PLAIN.get(model) if isinstance(model, type) else None


def _has_hash(model: Any) -> bool:
    origin = get_origin(model) or model
    if origin in UNIONS or origin is tuple:
        return all(_has_hash(plain_type(part)) for part in get_args(model))
    config = getattr(origin, "__struct_config__", None)
    if config is not None:  # a Struct has a __hash__ even if that raises
        return config.frozen or not config.eq
    return getattr(origin, "__hash__", None) is not None
