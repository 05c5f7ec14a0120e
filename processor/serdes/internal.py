"""The internal form: how values stand in stores and in the topics between steps.

Owns the promise that a value comes back equal, of whatever type: nothing of a user runs on its way,
and what could not come back is refused when it is written, or with its type, when the topology is.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from processor.serdes.base import Serde
from processor.serdes.internal_models import Codec, Walk
from processor.serdes.internal_values import (
    are_kept,
    decoder_of,
    from_bytes,
    pack,
    plain_bytes,
    to_bytes,
    to_sorted_bytes,
)
from processor.serdes.shapes import shape_of
from processor.serdes.types import checked, checked_all, plain_type, type_name


def _encoder(packer: Callable[[Any], Any]) -> Callable[[Any], bytes]:
    """Writes what is packed; nearly all values need no second look."""

    def encode(value: Any) -> bytes:
        try:
            return plain_bytes(packer(value))
        except (OverflowError, UnicodeEncodeError):
            return to_bytes(packer(value))

    return encode


def _encode_all(trees: Sequence[Any]) -> list[bytes] | None:
    """A batch that msgpack keeps as it is, as the first one mostly shows; None if it would not."""
    return _encode_kept(trees) if _encode_kept(trees[:1]) else None


def _encode_kept(trees: Sequence[Any]) -> list[bytes] | None:
    """What has been encoded is finite and no larger than its bytes, so can be looked through."""
    encoded = list(map(plain_bytes, trees))
    return encoded if sum(map(len, encoded)) < _LARGE and are_kept(trees) else None


_LARGE: Final = 2**24

internal: Serde[Any] = Serde(
    "internal", _encoder(pack), from_bytes, type=Any, encode_all=_encode_all
)
"""Any value of Python's own types and of the standard library's usual ones, kept as it is."""


def internal_of(annotation: Any) -> Serde[Any]:
    """The internal form of values of a type.

    Raises:
        TopologyError: No form keeps values of the type.
    """
    model = plain_type(annotation)
    if model is Any or model is object:
        return internal
    walk = Walk()
    codec = walk.codec(annotation)
    unpacker, encode = codec.unpack, _encoder(codec.pack)

    def decode(data: bytes) -> Any:
        return unpacker(from_bytes(data))

    return Serde(
        f"internal({type_name(model)})",
        encode if codec.checks else checked(encode, model),
        decode if codec.typed else from_bytes,
        type=annotation,
        shape=shape_of(annotation),
        **_at_once(codec, model),
    )


def _at_once(codec: Codec, model: Any) -> dict[str, Any]:
    """How a batch is done of what needs no type, or of models whose fields need none."""
    if not codec.typed:
        return {"encode_all": checked_all(_encode_all, model)}
    batches = None if codec.flat is None else codec.flat.batches
    if batches is None:
        return {}
    read = decoder_of(batches.form)

    def encode_all(values: Sequence[Any]) -> list[bytes] | None:
        parts = batches.parts(values)
        return None if parts is None else _encode_all(parts)

    def decode_all(column: Sequence[bytes]) -> list[Any] | None:
        return batches.make(list(map(read, column)))

    return {"encode_all": encode_all, "decode_all": decode_all}


def internal_list(
    name: str,
    types: Sequence[Any],
    dumps: Sequence[Callable[[Any], Any]],
    loads: Sequence[Callable[[Any], Any]],
) -> Serde[list[Any]]:
    """The internal form of lists whose members have a type each; equal ones have equal bytes.

    Args:
        name: Says what the members are.
        types: Of the members, as they are kept.
        dumps: What is kept of each member.
        loads: Each member from what was kept.

    Raises:
        TopologyError: No form keeps values of a type.
    """
    walk = Walk()
    codecs: list[Codec] = [walk.codec(each) for each in types]
    packers = [(codec.pack, dump) for codec, dump in zip(codecs, dumps, strict=True)]
    unpackers = [(codec.unpack, load) for codec, load in zip(codecs, loads, strict=True)]

    def encode(members: list[Any]) -> bytes:
        pairs = zip(packers, members, strict=True)
        return to_sorted_bytes([packer(dump(member)) for (packer, dump), member in pairs])

    def decode(data: bytes) -> list[Any]:
        pairs = zip(unpackers, from_bytes(data), strict=True)
        return [load(unpacker(tree)) for (unpacker, load), tree in pairs]

    return Serde(f"internal {name}", encode, decode, shape=shape_of(tuple[tuple(types)]))
