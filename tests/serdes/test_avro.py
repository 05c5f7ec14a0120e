"""Avro serdes: how data is framed, and what it makes of models."""

import math
from collections import namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pytest
from pydantic import BaseModel, Field

from processor.errors import TopologyError
from processor.serdes import avro, decode_column, encode_column, key_serde_for
from topologies.flights import Flight

FLIGHT = Flight("UA", 1545, None, "EWR", "IAH", 2, -11, 1400)


def record(name: str, **fields: Any) -> dict[str, Any]:
    made = [{"name": each, "type": kind} for each, kind in fields.items()]
    return {"type": "record", "name": name, "fields": made}


POINT = record("Point", x="int", y=["null", "double"])


@dataclass(frozen=True, slots=True)
class PointClass:
    x: int
    y: float | None


class PointStruct(msgspec.Struct, frozen=True):
    x: int
    y: float | None


class PointModel(BaseModel):
    x: int
    y: float | None


class PointDict(TypedDict):
    x: int
    y: float | None


class PointTuple(NamedTuple):
    x: int
    y: float | None


@pytest.mark.parametrize(
    "model", [PointClass, PointStruct, PointModel, PointDict, PointTuple, dict, Any]
)
def test_every_kind_of_model_goes_there_and_back(model: Any) -> None:
    serde = avro(POINT, model)
    made = dict if model is Any else model
    for value in (made(x=3, y=0.5), made(x=-1, y=None)):
        data = serde.encode(value)
        back = serde.decode(data)
        assert back == value
        assert type(back) is type(value)


def test_a_file_and_a_dataclass() -> None:
    serde = avro("schemas/flight.avsc", Flight)
    assert serde.name == "avro(kproc.flights.Flight as Flight, 0eb991fa32394a8e)"
    assert serde.decode(serde.encode(FLIGHT)) == FLIGHT
    assert avro("schemas/flight.avsc").decode(serde.encode(FLIGHT))["number"] == 1545


def test_names_of_fields_in_data() -> None:
    class Renamed(msgspec.Struct, rename="camel"):
        user_name: str

    class Aliased(BaseModel):
        user_name: str = Field(alias="userName")

    schema = record("User", userName="string")
    assert avro(schema, Renamed).encode(Renamed(user_name="ann")) == b"\x06ann"
    assert avro(schema, Renamed).decode(b"\x06ann").user_name == "ann"
    assert avro(schema, Aliased).encode(Aliased(userName="ann")) == b"\x06ann"
    assert avro(schema, Aliased).decode(b"\x06ann").user_name == "ann"


LOGICAL = record(
    "Logical",
    at={"type": "long", "logicalType": "timestamp-millis"},
    local={"type": "long", "logicalType": "local-timestamp-micros"},
    day={"type": "int", "logicalType": "date"},
    price={"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2},
    fixed={"type": "fixed", "name": "D", "size": 3, "logicalType": "decimal", "precision": 6},
    id={"type": "string", "logicalType": "uuid"},
    raw={"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"},
    nanos={"type": "long", "logicalType": "not-known"},
)


@dataclass
class LogicalClass:
    at: datetime
    local: datetime
    day: date
    price: Decimal
    fixed: Decimal
    id: UUID
    raw: UUID
    nanos: int


MOMENT = datetime(2013, 1, 1, 5, 15, 0, 123000, tzinfo=UTC)
VALUE = LogicalClass(
    MOMENT,
    datetime(2013, 1, 1, 5),  # noqa: DTZ001
    date(1969, 12, 31),
    Decimal("-1234.50"),
    Decimal(-7),
    UUID(int=5),
    UUID(int=6),
    8,
)


def test_logical_types() -> None:
    serde = avro(LOGICAL, LogicalClass)
    assert serde.decode(serde.encode(VALUE)) == VALUE
    earlier = MOMENT.astimezone(timezone(timedelta(hours=-5)))
    moved = LogicalClass(**{**vars(VALUE), "at": earlier})
    assert serde.decode(serde.encode(moved)).at == MOMENT


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("at", datetime(2013, 1, 1), "Logical.at: a timestamp takes a datetime with a time zone"),  # noqa: DTZ001
        ("local", MOMENT, "a local-timestamp one without"),
        ("price", Decimal("12345.00"), "does not fit a decimal of precision 6, scale 2"),
        ("price", Decimal("1E+1000000"), "does not fit"),
        ("price", Decimal("0.001"), "more than 2 digits after the point"),
        ("price", Decimal("1E-1000000"), "more than 2 digits after the point"),
        ("price", Decimal("NaN"), "does not fit"),
        ("price", 5, "takes a Decimal, not 5"),
        ("id", "5", "takes a UUID"),
        ("nanos", True, "expected int, not bool"),
        ("nanos", 2**63, "out of the range of long"),
    ],
)
def test_values_that_would_be_changed_are_refused(field: str, value: Any, why: str) -> None:
    serde = avro(LOGICAL, LogicalClass)
    with pytest.raises((ValueError, TypeError), match=why):
        serde.encode(LogicalClass(**{**vars(VALUE), field: value}))


def test_a_zero_may_have_any_exponent() -> None:
    serde = avro({"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2})
    for zero in ("0", "0E+1000000", "0E-1000000", "-0.0"):
        assert serde.decode(serde.encode(Decimal(zero))) == 0


class Suit(StrEnum):
    SPADES = "SPADES"
    HEARTS = "HEARTS"


SUIT = {"type": "enum", "name": "Suit", "symbols": ["SPADES", "HEARTS"]}
CARDS = record(
    "Cards",
    suit=SUIT,
    hand={"type": "array", "items": "Suit"},
    counts={"type": "map", "values": "long"},
    kind="string",
    points={"type": "array", "items": POINT},
)


@dataclass
class Cards:
    suit: Suit
    hand: tuple[Suit, ...]
    counts: dict[str, int]
    kind: Literal["open", "closed"]
    points: list[PointClass]


def test_enums_collections_and_nested_models() -> None:
    serde = avro(CARDS, Cards)
    cards = Cards(Suit.HEARTS, (Suit.SPADES, Suit.HEARTS), {"a": 1}, "open", [PointClass(1, None)])
    back = serde.decode(serde.encode(cards))
    assert back == cards
    assert isinstance(back.suit, Suit)
    assert avro(CARDS).decode(serde.encode(cards))["hand"] == ["SPADES", "HEARTS"]
    with pytest.raises(ValueError, match="Invalid enum value"):
        serde.decode(avro(CARDS).encode({**avro(CARDS).decode(serde.encode(cards)), "kind": "no"}))


@dataclass
class Created:
    id: int


@dataclass
class Deleted:
    id: int


@dataclass
class Event:
    what: Created | Deleted | str | None


EVENT = record(
    "Event", what=["null", "string", record("Created", id="int"), record("Deleted", id="int")]
)


def test_unions_of_records_are_distinguished_by_their_classes() -> None:
    serde = avro(EVENT, Event)
    for what in (Created(1), Deleted(1), "text", None):
        event = Event(what)
        assert serde.decode(serde.encode(event)) == event


def test_unions_of_records_in_dicts_have_a_tag() -> None:
    serde = avro(EVENT)
    data = avro(EVENT, Event).encode(Event(Deleted(7)))
    assert serde.decode(data) == {"what": {"-type": "Deleted", "id": 7}}
    assert serde.encode(serde.decode(data)) == data
    with pytest.raises(TypeError, match="it does not say which record it is"):
        serde.encode({"what": {"id": 7}})


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (namedtuple("Less", "x"), "Less lacks y"),  # noqa: PYI024
        (namedtuple("More", "x y z"), "the schema lacks z"),  # noqa: PYI024
        (int, "is a record: name a dataclass"),
        (msgspec.defstruct("Wrong", [("x", str), ("y", float)]), "int is int in Python"),
    ],
)
def test_models_that_do_not_fit_are_refused_at_once(model: Any, why: str) -> None:
    with pytest.raises(TopologyError, match=why):
        avro(POINT, model)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"x": 1}, "Point.y: it is missing"),
        ({"x": 1, "y": None, "z": 1}, "lacks z"),
        ({"x": "1", "y": None}, r"Point.x: expected int, not str"),
        ({"x": 2**31, "y": None}, "out of the range of int"),
        ({"x": 1, "y": "far"}, r"Point.y: expected float"),
        ([1, 2], "Point is a dict, not list"),
    ],
)
def test_dicts_that_do_not_fit(value: Any, why: str) -> None:
    with pytest.raises((ValueError, TypeError), match=why):
        avro(POINT).encode(value)


def test_columns_name_the_rows_that_fail() -> None:
    serde = avro(POINT, PointClass)
    data, faults = encode_column(serde, [PointClass(1, None), PointClass("1", None), None])  # type: ignore[arg-type]
    assert data == [b"\x02\x00", None]
    (fault,) = faults
    assert fault.row == 1
    assert "can't encode PointClass as avro(Point as PointClass" in str(fault.error)
    values, (fault,) = decode_column(serde, [b"\x02\x00", b"\x02"])
    assert values == [PointClass(1, None)]
    assert "can't decode 1 bytes as avro(Point" in str(fault.error)


def test_single_objects_name_their_schema() -> None:
    old = record("Point", x="int")
    new = {**POINT, "fields": [POINT["fields"][0], {**POINT["fields"][1], "default": None}]}
    before, after = avro(old, framing="single-object"), avro(new, framing="single-object")
    data = before.encode({"x": 1})
    assert data[:2] == b"\xc3\x01"
    with pytest.raises(ValueError, match=r"add the schema that it was written with to older="):
        after.decode(data)
    both = avro(new, PointClass, framing="single-object", older=[old])
    assert both.decode(data) == PointClass(1, None)
    assert both.decode(both.encode(PointClass(2, 0.5))) == PointClass(2, 0.5)
    with pytest.raises(ValueError, match="does not begin as single-object encoding"):
        both.decode(b"\x02")


def test_options_that_contradict_each_other() -> None:
    with pytest.raises(TopologyError, match="takes a schema"):
        avro()  # type: ignore[call-overload]
    with pytest.raises(TopologyError, match="single-object"):
        avro(POINT, older=[POINT])


def test_keys() -> None:
    serde = key_serde_for(avro(POINT, PointClass), what="the key")
    assert serde.encode(PointClass(1, 2)) == serde.encode(PointClass(1, 2.0))
    tags = avro({"type": "array", "items": "string"}, frozenset[str])
    some = [f"tag-{number}" for number in range(50)]
    assert tags.encode(frozenset(some)) == tags.encode(frozenset(reversed(some)))
    assert tags.decode(tags.encode(frozenset(some))) == frozenset(some)


NUMBERS = record(
    "Place", lat="double", alt="float", either=["null", "int", "double"], floats=["float", "double"]
)


@dataclass(frozen=True)
class Spot:
    lat: float
    alt: float
    either: int | float | None = None
    floats: float = 0.5


@pytest.mark.parametrize("model", [Any, Spot])
@pytest.mark.parametrize("framing", ["plain", "single-object"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Spot(0.0, 0.0), Spot(-0.0, -0.0)),
        (Spot(0.0, 0.0), Spot(0, 0)),
        (Spot(1.5, 1e-60), Spot(1.5, -1e-60)),
        (Spot(1, 1, 1), Spot(1.0, 1.0, 1.0)),
        (Spot(1, 1, 2**40), Spot(1, 1, 2.0**40)),
        (Spot(1, 1, 0), Spot(1, 1, -0.0)),
        (Spot(1, 1, None, 1), Spot(1, 1, None, 1.0)),
        (Spot(1, 1, None, 2**30 + 1), Spot(1, 1, None, 2.0**30 + 1)),
    ],
)
def test_keys_that_are_equal_have_equal_bytes(
    model: Any, framing: Any, one: Spot, other: Spot
) -> None:
    serde = key_serde_for(avro(NUMBERS, model, framing=framing), what="the key")
    keys = [one, other] if model is Spot else [vars(one), vars(other)]
    encoded = [serde.encode(key) for key in keys]
    assert encoded[0] == encoded[1]
    if abs(one.alt) != 1e-60:  # of which a float holds nothing
        assert all(serde.decode(data) == keys[0] == keys[1] for data in encoded)


def test_values_keep_the_sign_of_zero_and_nan() -> None:
    serde = avro(NUMBERS, Spot)
    back = serde.decode(serde.encode(Spot(-0.0, math.nan, -0.0)))
    assert str(back) == "Spot(lat=-0.0, alt=nan, either=-0.0, floats=0.5)"


def test_nan_is_no_key() -> None:
    serde = key_serde_for(avro(NUMBERS, Spot), what="the key")
    with pytest.raises(ValueError, match=r"Place.alt: NaN can't be a key"):
        serde.encode(Spot(0.0, math.nan))


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        ("double", 2**53 + 1, "more digits"),
        ("float", 2**24 + 1, "more digits"),
        ({"type": "int", "logicalType": "time-millis"}, time(1, tzinfo=UTC), "time zone"),
    ],
)
def test_what_a_schema_does_not_hold_is_refused(kind: Any, value: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        avro(kind).encode(value)
