"""Which serde an annotation gets, for values and for keys, and the error where there is none."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict

import msgspec
import pydantic
import pytest
from typing_extensions import TypeAliasType

import processor.serdes
from processor.errors import TopologyError
from processor.serdes import (
    Serde,
    boolean,
    bytes_serde,
    float64,
    int64,
    json,
    kept_key_serde_for,
    key_json,
    key_serde_for,
    serde_for,
    text,
)
from processor.serdes.plain import float64_key

UserId = NewType("UserId", str)
Amount = TypeAliasType("Amount", int)


class Order(pydantic.BaseModel):
    user: str


class FrozenOrder(pydantic.BaseModel, frozen=True):
    user: str


@dataclass
class Total:
    amount: int


@dataclass(frozen=True)
class Place:
    city: str


class Flight(msgspec.Struct):
    carrier: str


class FrozenFlight(msgspec.Struct, frozen=True):
    carrier: str


class Weather(TypedDict):
    temperature: float


class Point(NamedTuple):
    x: int
    y: int


class Opaque:
    pass


def test_public_names() -> None:
    assert processor.serdes.__all__ == [
        "SchemaRegistry",
        "SchemasMissing",
        "Serde",
        "auto",
        "avro",
        "boolean",
        "bytes_serde",
        "decode_column",
        "encode_column",
        "field_type",
        "float64",
        "for_topic",
        "int64",
        "json",
        "json_of",
        "json_schema",
        "kept_key_serde_for",
        "kept_serde_for",
        "key_json",
        "key_serde_for",
        "lossless",
        "protobuf",
        "return_type",
        "serde_for",
        "text",
    ]


PLAIN = [
    (bytes, bytes_serde),
    (str, text),
    (int, int64),
    (float, float64),
    (bool, boolean),
    (UserId, text),
    (str | None, text),
    (Amount, int64),
    (Annotated[int, msgspec.Meta(ge=0)], int64),
    (Annotated[int, {"unhashable": "metadata"}], int64),
]


@pytest.mark.parametrize(("annotation", "serde"), PLAIN)
def test_plain_types(annotation: Any, serde: Serde[Any]) -> None:
    assert serde_for(annotation, what="value") is serde
    key = float64_key if annotation is float else serde
    assert key_serde_for(annotation, what="key") is key
    assert kept_key_serde_for(annotation, what="key") is key


@pytest.mark.parametrize("annotation", [Any, object, Any | None])
def test_untyped(annotation: Any) -> None:
    assert serde_for(annotation, what="value") is json
    assert key_serde_for(annotation, what="key") is key_json


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (Order, "json(Order)"),
        (Order | None, "json(Order)"),
        (Total, "json(Total)"),
        (Flight, "json(Flight)"),
        (Weather, "json(Weather)"),
        (list[Order], "json(list[Order])"),
        (dict[str, UserId], "json(dict[str, str])"),
        (int | str | None, "json(int | str)"),
    ],
)
def test_other_types_are_typed_json(annotation: Any, name: str) -> None:
    assert serde_for(annotation, what="value").name == name


def test_a_serde_stays_as_it_is() -> None:
    own: Serde[object] = Serde("own", lambda _: b"", lambda _: None)
    assert serde_for(own, what="value") is own
    assert key_serde_for(own, what="key") is own


def test_a_type_has_one_serde() -> None:
    assert serde_for(Order, what="value") is serde_for(Order, what="another value")


@pytest.mark.parametrize(
    ("annotation", "name", "key", "data"),
    [
        (tuple[str, int], "json(tuple[str, int])", ("a", 1), b'["a",1]'),
        (tuple[int, ...], "json(tuple[int, ...])", (1, 2), b"[1,2]"),
        (tuple[str, tuple[int, int]], "json(tuple[str, tuple[int, int]])", ("a", (1, 2)), None),
        (Place, "json(Place)", Place("Bern"), b'{"city":"Bern"}'),
        (FrozenFlight, "json(FrozenFlight)", FrozenFlight("UA"), b'{"carrier":"UA"}'),
        (FrozenOrder, "json(FrozenOrder)", FrozenOrder(user="a"), b'{"user":"a"}'),
        (Point, "json(Point)", Point(1, 2), b"[1,2]"),
        (frozenset[str], "json(frozenset[str])", frozenset({"b", "a", "c"}), b'["a","b","c"]'),
        (Literal["a", "b"], "json(Literal['a', 'b'])", "a", b'"a"'),
        (int | str, "json(int | str)", 1, b"1"),
        (tuple, "json-key", ("a", (1, 2)), b'["a",[1,2]]'),
    ],
)
def test_keys_come_back_equal_and_hashable(
    annotation: Any, name: str, key: Any, data: bytes | None
) -> None:
    serde = key_serde_for(annotation, what="key")
    assert serde.name == name
    if data is not None:
        assert serde.encode(key) == data
    back = serde.decode(serde.encode(key))
    assert back == key
    assert hash(back) == hash(key)


@pytest.mark.parametrize(
    "annotation",
    [
        list[int],
        dict,
        dict[str, int],
        set[int],
        Order,
        Total,
        Flight,
        Weather,
        tuple[str, list[int]],
        str | list[int],
    ],
)
def test_keys_that_have_no_hash_are_refused_with_advice(annotation: Any) -> None:
    with pytest.raises(TopologyError, match=r"the key of topic a: .*use a tuple, or make the"):
        key_serde_for(annotation, what="the key of topic a")


@pytest.mark.parametrize("annotation", [Opaque, complex, list[Opaque], None, "Order", 5, ...])
def test_types_without_serde_are_refused_with_advice(annotation: Any) -> None:
    with pytest.raises(TopologyError, match=r"^the value of topic a: .*"):
        serde_for(annotation, what="the value of topic a")


def test_the_error_in_full() -> None:
    with pytest.raises(TopologyError) as error:
        serde_for(Opaque, what="the value of topic a")
    assert str(error.value) == (
        "the value of topic a: no JSON can hold Opaque: Opaque has no JSON form. Possible are "
        "bytes, str, int, float, bool, a pydantic model, dataclass, msgspec Struct, TypedDict or "
        "NamedTuple, containers of these such as list[int], Any for untyped JSON, or a Serde"
    )
