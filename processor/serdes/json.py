"""Serdes that write JSON: untyped, and for every type that is known from its annotation.

Owns the choice between msgspec, which does everything, and pydantic for its own models. Never
imports pydantic before a model of it is met.
"""

from collections.abc import Callable, Sequence
from types import NoneType
from typing import Annotated, Any, TypeVar, get_origin, overload

import msgspec
from msgspec.json import Decoder, Encoder

from processor.errors import TopologyError
from processor.serdes.base import Serde
from processor.serdes.shapes import shape_of
from processor.serdes.types import checked, plain_type, type_name, uses_pydantic

T = TypeVar("T")

_PLAIN: tuple[tuple[type, Callable[[Any], object]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
)


def _to_json(value: object) -> object:
    """What msgspec can't encode by itself: models of pydantic, subclasses of str, int and float."""
    serializer: Any = getattr(type(value), "__pydantic_serializer__", None)
    if serializer is not None:
        return msgspec.Raw(serializer.to_json(value, by_alias=True))
    for base, plain in _PLAIN:
        if isinstance(value, base):
            return plain(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_encode = Encoder(enc_hook=_to_json).encode
_encode_sorted = Encoder(enc_hook=_to_json, order="deterministic").encode
_decode = Decoder().decode


def _encode_auto(value: object) -> bytes:
    if isinstance(value, str):
        return str.encode(value)
    if isinstance(value, bytes):
        return value
    return _encode(value)


def _encode_auto_all(values: Sequence[Any]) -> list[bytes] | None:
    kinds = {*map(type, values)}
    if kinds == {str}:
        return list(map(str.encode, values))
    return list(map(_encode, values)) if kinds <= _NEITHER else None


_NEITHER = frozenset({int, float, bool, dict, list})
"""Types that are no str or bytes."""


def _decode_auto(data: bytes) -> Any:
    try:
        return _decode(data)
    except msgspec.DecodeError:
        return data.decode()


json: Serde[Any] = Serde("json", _encode, _decode, faithful=False)
"""Any value as JSON, and what JSON makes of it: dict, list, str, int, float, bool, None.

Models, dataclasses, sets, tuples, dates and the like can be written; they come back as JSON has
them. JSON has no NaN and no infinity: they become null, as msgspec and pydantic have it.
The text `null` reads as None, which every step takes for a null value.
"""

auto: Serde[Any] = Serde(
    "auto", _encode_auto, _decode_auto, faithful=False, encode_all=_encode_auto_all
)
"""For what a function computed: str and bytes as they are, everything else as JSON.

Made for writing. Reading guesses: what parses as JSON is JSON, so that the text `5` comes back as a
number; everything else is text in UTF-8.
"""


@overload
def json_of(annotation: type[T], *, sort: bool = False) -> Serde[T]: ...
@overload
def json_of(annotation: Any, *, sort: bool = False) -> Serde[Any]: ...
def json_of(annotation: Any, *, sort: bool = False) -> Serde[Any]:
    """JSON that holds values of one type, checked when it is read.

    The type may be a pydantic model, dataclass, msgspec Struct, TypedDict, NamedTuple, Enum,
    datetime, Decimal, UUID, a container of these such as `dict[str, Order]`, or a union. A pydantic
    model reads and writes by its aliases and is as lenient as its own settings say; all else is
    strict: "5" is no int. Writing checks the outermost type only: what a field holds is the model's
    business.

    Args:
        annotation: The type. `X | None` is X, as null is outside of serdes.
        sort: Whether dicts and sets are written in sorted order, so that equal values give equal
            bytes, which keys need. Keys of dicts must be str then.

    Raises:
        TopologyError: there is no JSON for the type.
    """
    model = plain_type(annotation)
    # The metadata of Annotated holds what else to check, and how to distinguish a union's members.
    demanded = annotation if get_origin(annotation) is Annotated else model
    if model is NoneType:
        raise TopologyError("None is outside of serdes: there is no value to name a type for")
    if uses_pydantic(model):
        encode, decode = _pydantic_codec(demanded)
    else:
        encode, decode = _encode_sorted if sort else _encode, _msgspec_decoder(demanded)
    return Serde(
        f"json({type_name(model)})",
        checked(encode, model),
        decode,
        type=annotation,
        faithful=False,
        shape=shape_of(model),
    )


def _msgspec_decoder(model: Any) -> Callable[[bytes], Any]:
    try:
        msgspec.json.schema(model, schema_hook=_no_json)
        return Decoder(model).decode
    except (TypeError, NameError) as error:
        raise _no_serde(model, error) from error


def _no_serde(model: Any, error: Exception) -> TopologyError:
    return TopologyError(f"no JSON can hold {type_name(model)}: {str(error).splitlines()[0]}")


def _no_json(model: type) -> dict[str, Any]:
    raise TypeError(f"{type_name(model)} has no JSON form")


def _pydantic_codec(model: Any) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    import pydantic  # noqa: PLC0415 - the model's module has imported it already

    try:
        adapter = pydantic.TypeAdapter[Any](model)
        validate, to_json = adapter.validator.validate_json, adapter.serializer.to_json
    except (pydantic.errors.PydanticUserError, NameError) as error:
        raise _no_serde(model, error) from error

    def encode(value: object) -> bytes:
        return to_json(value, by_alias=True)

    def decode(data: bytes) -> Any:
        try:
            return validate(data)
        except pydantic.ValidationError as error:
            raise ValueError(_summary(error)) from error

    return encode, decode


def _summary(error: Any) -> str:
    """What is wrong where, in one line and without the data itself."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or '$'}: {problem['msg']}" for problem in problems
    )
