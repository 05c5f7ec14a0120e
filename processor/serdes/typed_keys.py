"""Serdes of keys whose type is named, where equal keys have to meet and come back equal.

Owns the choice between JSON, in which topics of others have such keys, and the internal form, which
runs no code of the type.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from processor.serdes.base import Serde
from processor.serdes.canonical import canonical_of
from processor.serdes.internal import internal_of
from processor.serdes.json import json_of
from processor.serdes.types import parts, runs_code, type_name


def own_key(annotation: Any) -> Serde[Any]:
    """For stores and topics of kproc's own.

    The name is another than JSON's where equal keys have not always had these bytes.

    Raises:
        TopologyError: No form keeps keys of the type, or `==` tells apart what their bytes do not.
    """
    if not runs_code(annotation):
        found = exact(json_of(annotation, sort=True))
        return found if _one_form(annotation) else replace(found, name=f"key-{found.name}")
    form, canonical = internal_of(annotation), canonical_of(annotation)
    encode = form.encode

    def encode_canonical(key: Any) -> bytes:
        return encode(canonical(key))

    name = f"internal-key({type_name(annotation)})"
    return Serde(name, encode_canonical, form.decode, type=annotation, shape=form.shape)


def _one_form(annotation: Any) -> bool:
    """Whether equal values of the type had equal bytes all along, when JSON alone wrote them."""
    return not any(part is each for part in parts(annotation) for each in _SEVERAL)


_SEVERAL: Final[tuple[Any, ...]] = (
    float, Decimal, Fraction, datetime, time, tuple, object, Any,
)  # fmt: skip


def exact(serde: Serde[Any]) -> Serde[Any]:
    """A serde of a type as it writes what meets topics of others: a key that changes is refused.

    Raises:
        TopologyError: As `own_key`.
    """
    canonical = canonical_of(serde.type)
    encode, decode = serde.encode, serde.decode

    def encode_exact(key: Any) -> bytes:
        one = canonical(key)
        data = encode(one)
        if not _comes_back(decode, data, one):
            raise ValueError(
                f"the key would come back as another from {serde.name}: code of its type changes "
                "it, or JSON does"
            )
        return data

    return Serde(
        serde.name, encode_exact, decode, serde.registered, type=serde.type, shape=serde.shape
    )


def _comes_back(decode: Callable[[bytes], Any], data: bytes, key: Any) -> bool:
    try:
        return bool(decode(data) == key)
    except ValueError:
        return False
