"""Protobuf, with messages' own classes; alone, or with their schemas in a registry.

Owns the wire format of Confluent's serializers: after the schema's id comes the message's place
in its file. Never imports protobuf before a message of it is met.
"""

import base64
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from processor.errors import TopologyError
from processor.serdes.base import Serde
from processor.serdes.protobuf_text import Declared, declared
from processor.serdes.registry import (
    BySubject,
    Reference,
    SchemaRegistry,
    SchemaText,
    with_registry,
)
from processor.serdes.types import mismatch

_BUILT_IN: Final = "google/protobuf/"
_MOST_INDEXES: Final = 32  # levels of messages in messages
_NUMBER_BITS: Final = 35
_ONE_BYTE: Final = 128


class Message(Protocol):
    """What a generated class of a message has, as far as it is needed."""

    DESCRIPTOR: Any

    def SerializeToString(self, *, deterministic: bool = False) -> bytes:  # noqa: N802 - its name
        """Its bytes; with maps in one order, so that equal keys have equal bytes."""
        ...


M = TypeVar("M", bound=Message)


def protobuf(message: type[M], *, registry: SchemaRegistry | None = None) -> Serde[M]:
    """Protobuf of one message, which protoc has made a class of.

    Without a registry a message is its bytes alone. With one it has the id of its writer's schema
    before it; what fields mean goes by their numbers, so that none is needed to read it.

    Example: `protobuf(orders_pb2.Order, registry=SchemaRegistry())`.

    Args:
        message: Its class, from a module `NAME_pb2`.
        registry: How the registry is used. Files that the message's own imports are registered
            under their names.

    Returns:
        The serde.

    Raises:
        TopologyError: It is no such class.
    """
    descriptor = getattr(message, "DESCRIPTOR", None)
    if descriptor is None or not hasattr(message, "FromString"):
        raise TopologyError(
            f"{message!r} is no message of Protobuf: give a class of a module that protoc wrote, "
            "such as orders_pb2.Order"
        )
    codec = _Protobuf(message, descriptor)
    if registry is not None:
        return with_registry(codec, registry)
    return Serde(codec.title, codec.encode, codec.decode, type=message)


class _Protobuf:
    """One message as serdes use it."""

    faithful = True
    has_several = False
    cuts = False

    def __init__(self, message: Any, descriptor: Any) -> None:
        self._message = self.type = message
        self._descriptor = descriptor
        self._place = _place(descriptor)
        self.title = f"protobuf({descriptor.full_name})"

    def name(self, schema: SchemaText) -> str:
        del schema
        return str(self._descriptor.full_name)

    def own_schema(self, registry: SchemaRegistry) -> SchemaText | None:
        return _schema(self._descriptor.file, registry)

    def decode(self, data: bytes) -> Any:
        try:
            return self._message.FromString(data)
        except Exception as error:  # its own class is not known before protobuf is imported
            raise ValueError(f"it is no {self._descriptor.full_name}: {error}") from error

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, self._message):
            raise TypeError(mismatch(self._message, value))
        return value.SerializeToString(deterministic=True)

    def decoder(self, writer: SchemaText) -> Callable[[bytes, int], Any]:
        _check_kind(writer)
        place_of = _places(writer.text)
        known: dict[bytes, None] = {}

        def read(data: bytes, start: int) -> Any:
            indexes, at = _indexes(data, start)
            place = data[start:at]
            if place not in known:
                self._check_name(place_of(indexes))
                known[place] = None
            return self.decode(data[at:])

        return read

    def _check_name(self, name: str) -> None:
        """Fields go by numbers, so that nearly any message could be read as any other."""
        own = self._descriptor.full_name
        if name != own.removeprefix(f"{self._descriptor.file.package}."):
            raise ValueError(
                f"the record is a {name}, not a {own}: read the topic with "
                "the class of that message, or the records that are others from a topic of theirs"
            )

    def encoder(self, writer: SchemaText, *, is_key: bool) -> Callable[[Any, bytes], bytes]:
        del is_key
        _check_kind(writer)

        def write(value: Any, before: bytes) -> bytes:
            return b"".join((before, self._place, self.encode(value)))

        return write


def _check_kind(schema: SchemaText) -> None:
    if schema.kind != "PROTOBUF":
        raise TopologyError(f"it is a schema of {schema.kind}, not of Protobuf")


def _schema(file: Any, registry: SchemaRegistry) -> SchemaText:
    """A file's schema; those that it imports are registered, or looked up, first."""
    references: list[Reference] = []
    for each in file.dependencies:
        if not each.name.startswith(_BUILT_IN):
            question = BySubject(each.name, _schema(each, registry), registry.auto_register)
            references.append(Reference(each.name, each.name, registry.get(question).version))
    text = base64.standard_b64encode(file.serialized_pb).decode()
    return SchemaText("PROTOBUF", text, tuple(references))


def _place(descriptor: Any) -> bytes:
    """The indexes of the message and those around it, from the outermost; a zero for the first."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto  # noqa: PLC0415 - see above

    names: list[str] = [descriptor.name]
    while descriptor.containing_type is not None:
        descriptor = descriptor.containing_type
        names.insert(0, descriptor.name)
    siblings: Any = FileDescriptorProto.FromString(descriptor.file.serialized_pb).message_type
    indexes: list[int] = []
    for name in names:
        indexes.append([each.name for each in siblings].index(name))
        siblings = siblings[indexes[-1]].nested_type
    if indexes == [0]:
        return b"\x00"
    return b"".join(map(_zigzag, (len(indexes), *indexes)))


def _indexes(data: bytes, at: int) -> tuple[list[int], int]:
    """Where in its file the message is that stands in the data, and where that begins."""
    count, at = _number(data, at)
    if not 0 <= count <= _MOST_INDEXES:
        raise ValueError(f"a message at {count} indexes: the data is no Protobuf of a registry")
    indexes: list[int] = []
    for _ in range(count):
        index, at = _number(data, at)
        indexes.append(index)
    return indexes or [0], at


def _places(schema: str) -> Callable[[list[int]], str]:
    """What says which message of a schema is at some indexes; its name goes without the package."""
    messages = _messages_of(schema)

    def name_at(indexes: list[int]) -> str:
        names: list[str] = []
        siblings = messages
        for index in indexes:
            if not 0 <= index < len(siblings):
                raise ValueError(f"its schema has no message at {indexes}")
            names.append(siblings[index].name)
            siblings = siblings[index].nested
        return ".".join(names)

    return name_at


def _number(data: bytes, at: int) -> tuple[int, int]:
    number, shift = 0, 0
    while shift < _NUMBER_BITS and at < len(data):
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < _ONE_BYTE:
            return (number >> 1) ^ -(number & 1), at
    raise ValueError("the data does not say which message of its file it is")


def _messages_of(schema: str) -> list[Declared]:
    """The messages of a schema, which is a file's text, or its descriptor."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto  # noqa: PLC0415 - see above

    try:
        file = FileDescriptorProto.FromString(base64.b64decode(schema, validate=True))
    except Exception:  # noqa: BLE001 - its own class is not known before protobuf is imported
        return declared(schema)
    return _declared_in(file.message_type)


def _declared_in(messages: Any) -> list[Declared]:
    return [Declared(each.name, _declared_in(each.nested_type)) for each in messages]


def _zigzag(number: int) -> bytes:
    number <<= 1
    out = bytearray()
    while number >= _ONE_BYTE:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
