"""Serdes of Avro, with a schema of one's own or with those of a schema registry.

Owns how data is framed. Knows nothing of what a schema says.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, TypeVar, overload

from processor.errors import TopologyError
from processor.serdes.avro.reader import reader
from processor.serdes.avro.schema import (
    AvroSchema,
    Source,
    read_schema,
    schema_of_text,
    schema_of_writer,
)
from processor.serdes.avro.tree import cuts, has_floats
from processor.serdes.avro.types import is_untyped
from processor.serdes.avro.writer import writer
from processor.serdes.base import Serde
from processor.serdes.registry import SchemaRegistry, SchemaText, with_registry
from processor.serdes.types import plain_type, runs_code, type_name

T = TypeVar("T")

Framing: TypeAlias = Literal["plain", "single-object"]

_MARKER: Final = b"\xc3\x01"
_HEAD_BYTES: Final = 10
_KEPT: Final = 1000


@overload
def avro(
    schema: Source,
    *,
    framing: Framing = "plain",
    older: Sequence[Source] = (),
    registry: SchemaRegistry | None = None,
) -> Serde[Any]: ...
@overload
def avro(
    schema: Source,
    type: type[T],
    *,
    framing: Framing = "plain",
    older: Sequence[Source] = (),
    registry: SchemaRegistry | None = None,
) -> Serde[T]: ...
@overload
def avro(*, registry: SchemaRegistry) -> Serde[Any]: ...
def avro(
    schema: Source | None = None,
    type: Any = Any,  # noqa: A002 - the word for it
    *,
    framing: Framing = "plain",
    older: Sequence[Source] = (),
    registry: SchemaRegistry | None = None,
) -> Serde[Any]:
    """Avro, checked against its schema when it is read and when it is written.

    Without a registry a message is its bytes alone (`plain`), which nothing but this very schema
    reads, or has the schema's fingerprint before them (`single-object`), so that messages of
    `older` schemas are known and read, too. With a registry it has the id of its writer's schema
    before it; data of every schema that is compatible is read.

    Example: `avro("schemas/order.avsc", Order)`.

    Args:
        schema: A file's path (`schemas/flight.avsc`), or the schema as JSON or as a dict. Without
            one, data is read as it was written, and written with the subject's latest schema.
        type: What records become: a dataclass, pydantic model, msgspec Struct, TypedDict or
            NamedTuple; by default dicts.
        framing: What stands before the bytes; only without a registry.
        older: Other schemas that messages may have been written with; `single-object` only.
        registry: How the registry is used.

    Returns:
        The serde.

    Raises:
        TopologyError: The schema is invalid, or does not fit the type.
    """
    if schema is None:
        if registry is None:
            raise TopologyError("avro() takes a schema, such as schemas/flight.avsc, or a registry")
        return with_registry(_Avro(None, type), registry)
    own = read_schema(schema)
    if registry is not None:
        if framing != "plain" or older:
            raise TopologyError("framing= and older= are for Avro without a registry")
        return with_registry(_Avro(own, type), registry)
    if framing == "single-object":
        return _single_object(own, type, list(map(read_schema, older)))
    if older:
        raise TopologyError(
            'plain Avro does not carry its schema: give framing="single-object" with older='
        )
    name = f"avro({_named(own, type)}, {own.fingerprint.hex()})"
    serde = Serde(
        name,
        _framed(own, type, b""),
        reader(own, None, type),
        type=_described(type),
        faithful=not runs_code(type),
        cuts=cuts(own.root),
    )
    return _with_keys(serde, own, b"")


def _described(annotation: Any) -> Any:
    return None if is_untyped(plain_type(annotation)) else annotation


def _named(schema: AvroSchema, annotation: Any) -> str:
    typed = "" if is_untyped(plain_type(annotation)) else f" as {type_name(annotation)}"
    return f"{schema.name}{typed}"


def _with_keys(serde: Serde[Any], own: AvroSchema, head: bytes) -> Serde[Any]:
    """The serde with its like for keys, where equal ones need to be written alike."""
    if not has_floats(own.root):
        return serde
    encode = _framed(own, Any if serde.type is None else serde.type, head, is_key=True)
    return replace(serde, for_keys=replace(serde, name=f"key-{serde.name}", encode=encode))


def _framed(
    schema: AvroSchema, annotation: Any, head: bytes, *, is_key: bool = False
) -> Callable[[Any], bytes]:
    write = writer(schema, annotation, is_key=is_key)

    def encode(value: Any) -> bytes:
        return write(value, head)

    return encode


def _single_object(own: AvroSchema, annotation: Any, older: Sequence[AvroSchema]) -> Serde[Any]:
    known = {_head(each): reader(each, own, annotation) for each in (*older, own)}

    def decode(data: bytes) -> Any:
        read = known.get(data[:_HEAD_BYTES])
        if read is None:
            raise ValueError(_unknown(data))
        return read(data, _HEAD_BYTES)

    name = f"avro({_named(own, annotation)}, single-object)"
    serde = Serde(
        name,
        _framed(own, annotation, _head(own)),
        decode,
        type=_described(annotation),
        faithful=not runs_code(annotation),
        cuts=cuts(own.root),
    )
    return _with_keys(serde, own, _head(own))


def _head(schema: AvroSchema) -> bytes:
    return _MARKER + schema.fingerprint


def _unknown(data: bytes) -> str:
    if data[:2] != _MARKER:
        return "the data does not begin as single-object encoding does, with the bytes c3 01"
    return (
        f"the fingerprint {data[2:_HEAD_BYTES].hex()} is of no schema that is known here: add the "
        "schema that it was written with to older="
    )


class _Avro:
    """Avro as a registry's serdes use it."""

    def __init__(self, schema: AvroSchema | None, annotation: Any) -> None:
        self._schema = schema
        self._annotation = annotation
        if schema is not None:
            reader(schema, None, annotation)  # raises what is wrong with the type, now
            self._own = SchemaText("AVRO", schema.text)
        self.type = _described(annotation)
        self.faithful = schema is not None and not runs_code(annotation)
        self.cuts = schema is not None and cuts(schema.root)
        self.has_several = schema is not None and has_floats(schema.root)
        self.title = f"avro({'' if schema is None else _named(schema, annotation)})"

    def name(self, schema: SchemaText) -> str:
        return _avro_schema(schema).name

    def own_schema(self, registry: SchemaRegistry) -> SchemaText | None:
        del registry
        return None if self._schema is None else self._own

    def decoder(self, writer: SchemaText) -> Callable[[bytes, int], Any]:
        return reader(_avro_schema(writer, _written), self._schema, self._annotation)

    def encoder(self, writer: SchemaText, *, is_key: bool) -> Callable[[Any, bytes], bytes]:
        return _write_with(_avro_schema(writer), self._annotation, is_key=is_key)


def _write_with(
    schema: AvroSchema, annotation: Any, *, is_key: bool
) -> Callable[[Any, bytes], bytes]:
    return writer(schema, annotation, is_key=is_key)


def _avro_schema(
    schema: SchemaText, parse: Callable[[SchemaText], AvroSchema] | None = None
) -> AvroSchema:
    if schema.kind != "AVRO":
        raise TopologyError(f"it is a schema of {schema.kind}, not of Avro")
    return (parse or _parsed)(schema)


@lru_cache(_KEPT)
def _written(schema: SchemaText) -> AvroSchema:
    return schema_of_writer(schema.text, schema.used)


@lru_cache(_KEPT)
def _parsed(schema: SchemaText) -> AvroSchema:
    return schema_of_text(schema.text, schema.used)
