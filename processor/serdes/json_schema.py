"""JSON with its schema in a registry, as Confluent's JSON Schema serializers write it.

Owns the schema that a type has. What is read is checked against the type, as all JSON is.
"""

import json as stdlib_json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast, overload

import msgspec

from processor.errors import TopologyError
from processor.serdes.base import Serde
from processor.serdes.json import json, json_of
from processor.serdes.registry import SchemaRegistry, SchemaText, with_registry
from processor.serdes.types import plain_type, type_name, uses_pydantic
from processor.wording import adding

T = TypeVar("T")


@overload
def json_schema(
    type: type[T], *, registry: SchemaRegistry, schema: str | Path | dict[str, Any] | None = None
) -> Serde[T]: ...
@overload
def json_schema(
    type: Any = Any, *, registry: SchemaRegistry, schema: str | Path | dict[str, Any] | None = None
) -> Serde[Any]: ...
def json_schema(
    type: Any = Any,  # noqa: A002 - the word for it
    *,
    registry: SchemaRegistry,
    schema: str | Path | dict[str, Any] | None = None,
) -> Serde[Any]:
    """JSON with the id of its schema before it.

    Example: `json_schema(Order, registry=SchemaRegistry())`.

    Args:
        type: What values are, as for `json_of`; by default whatever JSON there is.
        registry: How the registry is used.
        schema: A file, or the schema as a dict; by default that of the type.

    Returns:
        The serde.

    Raises:
        TopologyError: The type has no JSON Schema, or there is no such file.
    """
    untyped = plain_type(type) in (Any, object)
    if schema is None:
        text = None if untyped else _text(_schema_of(type))
    else:
        text = _text(_read(schema) if isinstance(schema, str | Path) else schema)
    serde = json if untyped else json_of(type)
    return with_registry(_JsonSchema(serde, text, is_own=schema is None), registry)


def _schema_of(annotation: Any) -> dict[str, Any]:
    model = plain_type(annotation)
    try:
        if uses_pydantic(model):
            import pydantic  # noqa: PLC0415 - the model's module has imported it already

            made = pydantic.TypeAdapter[Any](model).json_schema(by_alias=True)
        else:
            made = msgspec.json.schema(model)
    except (TypeError, NameError) as error:
        raise TopologyError(f"{type_name(model)} has no JSON Schema: {error}") from error
    return {"title": type_name(model), **made}


def _read(path: str | Path) -> dict[str, Any]:
    try:
        read = stdlib_json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TopologyError(f"{path} can't be read as a JSON Schema: {error}") from error
    if not isinstance(read, dict):
        raise TopologyError(f"{path} is no JSON Schema: it has to be an object")
    return cast("dict[str, Any]", read)


def _text(schema: dict[str, Any]) -> str:
    return stdlib_json.dumps(schema, separators=(",", ":"))


class _JsonSchema:
    """JSON as a registry's serdes use it."""

    faithful = False
    has_several = False
    cuts = False

    def __init__(self, serde: Serde[Any], text: str | None, *, is_own: bool) -> None:
        self._serde = serde
        self._own = None if text is None else SchemaText("JSON", text)
        self._of_type = text if is_own else None
        self.title = serde.name
        self.type = serde.type

    def name(self, schema: SchemaText) -> str:
        """The title, which is what JSON Schema has for a name."""
        title = stdlib_json.loads(schema.text).get("title")
        if not title:
            raise TopologyError("the JSON Schema has no title, after which its subject is called")
        return str(title)

    def own_schema(self, registry: SchemaRegistry) -> SchemaText | None:
        del registry
        return self._own

    def decoder(self, writer: SchemaText) -> Callable[[bytes, int], Any]:
        _check_kind(writer)
        decode = self._serde.decode

        def read(data: bytes, start: int) -> Any:
            return decode(data[start:])

        return read

    def encoder(self, writer: SchemaText, *, is_key: bool) -> Callable[[Any, bytes], bytes]:
        del is_key
        _check_kind(writer)
        encode = self._serde.encode
        check = None if writer.text == self._of_type else _validator(writer)

        def write(value: Any, before: bytes) -> bytes:
            data = encode(value)
            if check is not None:
                check(data)
            return before + data

        return write


def _validator(schema: SchemaText) -> Callable[[bytes], None] | None:
    """Refuses data that a schema forbids which is not made of the type.

    One that refers to other schemas of the registry is not checked.
    """
    if schema.references:
        return None
    try:
        from jsonschema.exceptions import SchemaError  # noqa: PLC0415 - where there is a schema
        from jsonschema.validators import validator_for  # noqa: PLC0415
    except ImportError as error:
        raise TopologyError(
            f"to write with a JSON Schema needs the package jsonschema: {adding('schemas')}"
        ) from error
    form = stdlib_json.loads(schema.text)
    kind: Any = validator_for(form)
    try:
        kind.check_schema(form)
    except SchemaError as error:
        raise TopologyError(f"it is no JSON Schema: {error.message}") from error
    errors_of: Callable[[Any], Any] = kind(form).iter_errors

    def check(data: bytes) -> None:
        for error in errors_of(msgspec.json.decode(data)):
            place = "".join(f".{each}" for each in error.absolute_path)
            raise ValueError(f"the schema forbids it: ${place}: {error.validator} is violated")

    return check


def _check_kind(schema: SchemaText) -> None:
    if schema.kind != "JSON":
        raise TopologyError(f"it is a schema of {schema.kind}, not a JSON Schema")
