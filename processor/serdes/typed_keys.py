"""Serdes of keys whose type is named, where equal keys have to meet and come back equal.

Owns the choice between JSON, in which topics of others have such keys, and the internal form, which
runs no code of the type.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from processor.serdes.base import Serde
from processor.serdes.canonical import canonical_of
from processor.serdes.given import changed, comes_back
from processor.serdes.internal import internal_of
from processor.serdes.internal_fields import fields_of
from processor.serdes.json import json_of
from processor.serdes.types import parts, plain_type, runs_code, type_name


def own_key(annotation: Any) -> Serde[Any]:
    """For stores and topics of kproc's own.

    The name is another than JSON's where equal keys have not always had these bytes.

    Raises:
        TopologyError: No form keeps keys of the type, or equal keys would have other bytes.
    """
    if not runs_code(annotation):
        return own_json_key(annotation)
    form, canonical = internal_of(annotation), canonical_of(annotation)
    encode, encode_all = form.encode, form.encode_all

    def encode_canonical(key: Any) -> bytes:
        return encode(canonical(key))

    def encode_canonical_all(keys: Sequence[Any]) -> list[bytes] | None:
        return None if encode_all is None else encode_all(list(map(canonical, keys)))

    return replace(
        form,
        name=f"internal-key({type_name(annotation)})",
        encode=encode_canonical,
        encode_all=encode_canonical_all,
    )


def own_json_key(annotation: Any) -> Serde[Any]:
    """JSON for topics and stores of kproc's own; as `own_key`, of a type that runs no code."""
    found = exact(json_of(annotation, sort=True))
    return found if _one_form(annotation) else replace(found, name=f"key-{found.name}")


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
    canonical, has_one_form = canonical_of(serde.type), _one_form(serde.type)
    encode, decode, parts = serde.encode, serde.decode, _parts_of(serde.type)

    def encode_exact(key: Any) -> bytes:
        one = canonical(key)
        data = encode(one)
        if not comes_back(decode, data, one):
            raise ValueError(changed("key", serde))
        return data

    def encode_all_exact(keys: Sequence[Any]) -> list[bytes] | None:
        ones = keys if has_one_form else list(map(canonical, keys))
        encoded = list(map(encode, ones))
        back = list(map(decode, encoded))
        held = parts(ones)
        if held is None or parts(back) != held:
            return None
        # What was read is of the type in all its parts, so that equal ones have equal bytes.
        return encoded if not has_one_form or list(map(encode, back)) == encoded else None

    return Serde(
        serde.name,
        encode_exact,
        decode,
        serde.registered,
        type=serde.type,
        shape=serde.shape,
        encode_all=encode_all_exact,
    )


def _parts_of(annotation: Any) -> Callable[[Sequence[Any]], Any]:
    """What to compare objects by, if all are of the class: their `==` may be written in Python."""
    fields = fields_of(plain_type(annotation))
    return list if fields is None or fields.batches is None else fields.batches.parts
