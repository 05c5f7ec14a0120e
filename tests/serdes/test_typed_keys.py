"""Equal keys of a type have equal bytes and come back equal, and no code of the type runs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from fractions import Fraction
from functools import partial
from itertools import chain, combinations
from math import inf
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, PrivateAttr, computed_field, field_validator
from pydantic import Field as PydanticField

from processor.errors import TopologyError
from processor.serdes import (
    Serde,
    decode_column,
    encode_column,
    json,
    json_of,
    kept_key_serde_for,
)
from processor.serdes.typed_keys import exact

BERLIN, TOKYO = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo")


class Color(Enum):
    RED = "r"


class Word(StrEnum):
    ONE = "one"


class Cents(BaseModel, frozen=True):
    """Its validator must see a key once."""

    v: float
    hidden: int = PydanticField(default=0, exclude=True)
    name: str = PydanticField(default="", alias="Name")

    @field_validator("v")
    @classmethod
    def whole(cls, value: float) -> float:
        return value / 100

    @computed_field
    @property
    def twice(self) -> float:
        return 2 * self.v


class Open(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")

    a: int = 1
    _seen: int = PrivateAttr(default=0)


class Nested(BaseModel, frozen=True):
    inner: Cents | Color | None
    when: datetime
    prices: tuple[Decimal, ...]
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Place:
    lat: float
    name: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Slotted:
    price: Decimal
    color: Color = Color.RED


@dataclass(frozen=True)
class Halved:
    v: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "v", self.v / 2)


@attrs.frozen
class Converted:
    v: int = attrs.field(converter=lambda value: value + 1)


class Flight(msgspec.Struct, frozen=True, rename="camel", tag=True):
    flight_number: int
    weight: float = 0.0


class Point(NamedTuple):
    x: float
    y: Any = None


@dataclass(frozen=True)
class Loose:
    a: Any


def cents(v: float, **more: Any) -> Cents:
    return Cents(v=100 * v, **more)


MOMENT = datetime(2026, 7, 1, 12, tzinfo=UTC)
MOMENTS = [
    MOMENT,
    MOMENT.astimezone(BERLIN),
    MOMENT.astimezone(TOKYO),
    MOMENT.astimezone(timezone(timedelta(hours=-3))),
]
DECIMALS = [Decimal("1.0"), Decimal("1.00"), Decimal(1), Decimal("0.1E1")]

EQUAL: list[tuple[Any, list[Any]]] = [
    (str, ["a", Word("one").value[:0] + "a"]),
    (int, [5, 5]),
    (float, [0.0, -0.0, 0]),
    (float, [1.0, 1]),
    (bytes, [b"a", b"a"]),
    (datetime, MOMENTS),
    (datetime, [datetime(2026, 1, 1, fold=0), datetime(2026, 1, 1, fold=1)]),  # noqa: DTZ001
    (Decimal, DECIMALS),
    (Decimal, [Decimal(0), Decimal("-0.00"), Decimal("0E9")]),
    (Decimal, [Decimal("12345678901234567890123456789012345678901.50"),
               Decimal("12345678901234567890123456789012345678901.5")]),
    (tuple[str, float], [("a", 0.0), ("a", -0.0), ("a", 0)]),
    (tuple[Decimal, ...], [(DECIMALS[0], DECIMALS[1]), (DECIMALS[1], DECIMALS[2])]),
    (frozenset[Decimal], [frozenset({DECIMALS[0]}), frozenset({DECIMALS[1]})]),
    (frozenset[str], [frozenset("abcdefgh"), frozenset("hgfedcba")]),
    (int | str, [7, 7]),
    (date | int, [date(2026, 1, 1)]),
    (Color, [Color.RED]),
    (UUID, [UUID(int=7)]),
    (time, [time(1, 2), time(1, 2, fold=1)]),
    (Place, [Place(0.0), Place(-0.0), Place(0)]),
    (Place, [Place(1.5, "a", each) for each in MOMENTS]),
    (Slotted, [Slotted(each) for each in DECIMALS]),
    (Halved, [Halved(10.0), Halved(10)]),
    (Converted, [Converted(1), Converted(1)]),
    (Flight, [Flight(1, 0.0), Flight(1, -0.0), Flight(1, 0)]),
    (Point, [Point(1.0, 2), Point(1, 2.0), Point(1, Decimal("2.0")), Point(1, Fraction(2))]),
    (Point, [Point(1.0, 0.5), Point(1, Decimal("0.50"))]),
    (Cents, [cents(1.5), cents(1.5, Name="")]),
    (Cents, [cents(0.0, hidden=5, Name="n"), cents(-0.0, hidden=5, Name="n")]),
    (Cents, [cents(5), Cents.model_construct(name="", v=5.0, hidden=0)]),
    (Open, [Open(a=1, b=2), Open.model_validate({"b": 2})]),
    (Nested, [
        Nested(inner=cents(-0.0), when=when, prices=(price,), tags=frozenset("ab"))
        for when, price in zip(MOMENTS, DECIMALS, strict=True)
    ]),
    (Nested, [Nested(inner=Color.RED, when=MOMENT, prices=())]),
]  # fmt: skip
DIFFERENT: list[tuple[Any, list[Any]]] = [
    (float, [0.0, 1e-300, 1.0]),
    (Decimal, [Decimal(1), Decimal("1.01"), Decimal(10), Decimal(-1)]),
    (datetime, [MOMENT, MOMENT.replace(tzinfo=None), MOMENT.replace(tzinfo=BERLIN)]),
    (datetime, [datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=fold) for fold in (0, 1)]),
    (Place, [Place(0), Place(0, "0"), Place(0, at=MOMENT)]),
    (Cents, [cents(1), cents(1, hidden=1), cents(1, Name="a"), cents(100)]),
    (Open, [Open(a=1), Open(a=1, b=1), Open(a=1, b=2)]),
    (Point, [Point(1, 1), Point(1, "1"), Point(1, None)]),
    (int | str, [1, "1"]),
]


def named(each: Any) -> str:
    return getattr(each, "__name__", str(each)) if not isinstance(each, list) else ""


def key_of(annotation: Any) -> Serde[Any]:
    return kept_key_serde_for(annotation, what="the key")


@pytest.mark.parametrize(("annotation", "keys"), EQUAL, ids=named)
def test_equal_keys_have_equal_bytes_and_come_back_equal(annotation: Any, keys: list[Any]) -> None:
    serde = key_of(annotation)
    for key in keys:
        assert key == keys[0]
        assert serde.encode(key) == serde.encode(keys[0])
        back = serde.decode(serde.encode(key))
        assert type(back) is type(serde.decode(serde.encode(keys[0])))
        assert (back, hash(back)) == (key, hash(key))
        assert serde.encode(back) == serde.encode(key)


@pytest.mark.parametrize(("annotation", "keys"), [*EQUAL, *DIFFERENT], ids=named)
def test_a_batch_of_keys_has_the_bytes_that_each_of_them_has(
    annotation: Any, keys: list[Any]
) -> None:
    serde = key_of(annotation)
    for column in (keys[:1], keys, keys * 3, list(reversed(keys))):
        encoded, faults = encode_column(serde, column)
        assert (encoded, faults) == (list(map(serde.encode, column)), [])
        assert decode_column(serde, encoded) == (list(map(serde.decode, encoded)), [])


@dataclass(frozen=True)
class Simple:
    text: str
    number: int
    day: date | None = None


OFF = st.sampled_from(
    ["a", "1", 1, 1.0, True, None, Decimal(1), Decimal("1.5"), Word.ONE, (1,), b"a"]
)


@given(st.lists(st.tuples(OFF, OFF), min_size=1, max_size=6), st.booleans())
def test_a_batch_with_members_of_other_types_has_the_bytes_that_each_has(
    pairs: list[Any],
    as_model: bool,  # noqa: FBT001
) -> None:
    serde = key_of(Simple if as_model else tuple[str, int])
    column = [Simple(*pair) if as_model else pair for pair in pairs]
    one_by_one = [encode_column(serde, [key])[0] for key in column]
    encoded, faults = encode_column(serde, column)
    assert encoded == list(chain.from_iterable(one_by_one))
    assert [fault.row for fault in faults] == [
        row for row, made in enumerate(one_by_one) if not made
    ]
    left = [key for key, made in zip(column, one_by_one, strict=True) if made]
    assert decode_column(serde, encoded) == (left, [])
    for (one, data), (other, more) in combinations(zip(left, encoded, strict=True), 2):
        assert (one == other) is (data == more)


@pytest.mark.parametrize(("annotation", "keys"), DIFFERENT, ids=named)
def test_different_keys_have_different_bytes(annotation: Any, keys: list[Any]) -> None:
    serde = key_of(annotation)
    for one, other in combinations(keys, 2):
        assert serde.encode(one) != serde.encode(other)


def test_a_moment_that_a_clock_shows_twice_comes_back_as_the_same_moment() -> None:
    serde = key_of(datetime)
    for fold in (0, 1):
        moment = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=fold)
        assert serde.decode(serde.encode(moment)).timestamp() == moment.timestamp()


NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 0.5, 1.0, 2.0**53, 2.0**70]),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.sampled_from([Decimal("1.0"), Decimal("0.50"), Decimal("-0"), Decimal("1E+400")]),
)
ZONES = st.sampled_from([UTC, BERLIN, TOKYO, timezone(timedelta(minutes=-90))])
MOMENT_KEYS = st.builds(
    lambda seconds, zone: (MOMENT + timedelta(seconds=seconds)).astimezone(zone),
    st.integers(-2, 2) | st.integers(-(10**8), 10**8),
    ZONES,
)


class Measured(BaseModel, frozen=True):
    a: float
    b: Decimal
    c: Any
    d: tuple[float, Any]
    when: datetime

    @field_validator("a")
    @classmethod
    def more(cls, value: float) -> float:
        return value + 1


MEASURED = st.builds(
    lambda a, b, c, d, when: Measured.model_construct(a=a, b=b, c=c, d=(a, d), when=when),
    st.floats(allow_nan=False) | st.integers(-3, 3),
    st.decimals(allow_nan=False, allow_infinity=False) | st.integers(-3, 3),
    NUMBERS,
    NUMBERS,
    MOMENT_KEYS,
)


def moments_apart(key: Any) -> Any:
    """Moments compare as such, also where a clock shows one twice."""
    return (key.a, key.b, key.c, key.d, key.when.timestamp())


@given(MEASURED, MEASURED, st.booleans())
def test_keys_meet_if_and_only_if_they_are_equal(one: Any, other: Any, same: bool) -> None:  # noqa: FBT001
    if same:
        other = other.model_copy(update={"a": one.a, "b": one.b, "c": one.c, "d": one.d})
    serde = key_of(Measured)
    data = serde.encode(one)
    assert (data == serde.encode(other)) is (moments_apart(one) == moments_apart(other))
    assert moments_apart(serde.decode(data)) == moments_apart(one)


@given(NUMBERS, NUMBERS, st.sampled_from([float, Decimal]))
def test_numbers_of_one_type_meet_if_they_are_equal(one: Any, other: Any, kind: Any) -> None:
    serde = key_of(tuple[kind, str])
    try:
        keys = [(kind(each), "a") for each in (one, other)]
    except OverflowError:
        keys = []
    assume(keys and inf not in chain(*keys) and -inf not in chain(*keys))
    assert (serde.encode(keys[0]) == serde.encode(keys[1])) is (keys[0] == keys[1])


@pytest.mark.parametrize(
    ("annotation", "key", "data"),
    [
        (tuple[str, int], ("a", 1), b'["a",1]'),
        (tuple[str, float], ("a", 1.5), b'["a",1.5]'),
        (Place, Place(1.5, "a"), b'{"lat":1.5,"name":"a","at":null}'),
        (Point, Point(1.5, "a"), b'[1.5,"a"]'),
        (Flight, Flight(1, 1.5), b'{"type":"Flight","flightNumber":1,"weight":1.5}'),
        (date, date(2026, 1, 2), b'"2026-01-02"'),
    ],
)
def test_types_without_code_are_written_as_in_topics_of_others(
    annotation: Any, key: Any, data: bytes
) -> None:
    serde = key_of(annotation)
    assert serde.encode(key) == data == json_of(annotation, sort=True).encode(key)


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (tuple[str, int], "json(tuple[str, int])"),
        (date | int, "json(date | int)"),
        (Color, "json(Color)"),
        (Decimal, "key-json(Decimal)"),
        (tuple[str, datetime | None], "key-json(tuple[str, datetime | None])"),
        (Place, "key-json(Place)"),
        (Loose, "key-json(Loose)"),
        (Cents, "internal-key(Cents)"),
    ],
)
def test_what_did_not_always_have_these_bytes_has_another_name(annotation: Any, name: str) -> None:
    assert key_of(annotation).name == name


@dataclass(frozen=True)
class Partly:
    a: int
    note: str = field(compare=False, default="")


@dataclass(frozen=True, eq=False)
class Alone:
    a: int


class AnyCaseEquality:
    a: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.a.lower() == other.a.lower()

    def __hash__(self) -> int:
        return hash(self.a.lower())


@dataclass(frozen=True, eq=False)
class AnyCase(AnyCaseEquality):
    a: str


class AnyCaseModel(BaseModel, frozen=True):
    a: str
    __eq__ = AnyCaseEquality.__eq__
    __hash__ = AnyCaseEquality.__hash__


class AnyCaseStruct(msgspec.Struct, frozen=True):
    a: str
    __eq__ = AnyCaseEquality.__eq__
    __hash__ = AnyCaseEquality.__hash__


class AnyCaseTuple(NamedTuple):
    a: str
    __eq__ = AnyCaseEquality.__eq__
    __hash__ = AnyCaseEquality.__hash__


@attrs.frozen
class PartlyAttrs:
    a: int
    note: str = attrs.field(eq=False, default="")


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Partly, "its field note plays no part in =="),
        (PartlyAttrs, "its field note plays no part in =="),
        (tuple[int, Partly], "Partly can't be a key"),
        (Alone, "equal to nothing but themselves"),
        (AnyCase, "it has an == of its own"),
        (AnyCaseModel, "AnyCaseModel can't be a key, as it has an == of its own"),
        (tuple[int, AnyCaseStruct], "it has an == of its own"),
        (AnyCaseTuple, "it has an == of its own"),
    ],
)
def test_types_whose_equality_is_not_that_of_fields_are_refused(
    annotation: Any, message: str
) -> None:
    with pytest.raises(TopologyError, match=f"the key of store s: .*{message}"):
        kept_key_serde_for(annotation, what="the key of store s")


@pytest.mark.parametrize(
    ("serde", "key"),
    [
        (key_of(Place), Place(float("nan"))),
        (key_of(Loose), Loose((1, 2))),
        (key_of(Loose), Loose(Place(1))),
        (exact(json_of(Cents, sort=True)), cents(5)),
        (exact(json_of(Halved, sort=True)), Halved(5)),
        (key_of(float), float("nan")),
        (key_of(Decimal), Decimal("sNaN")),
        (key_of(Measured), Measured.model_construct(a=float("nan"))),
        (key_of(json_of(Cents, sort=True)), cents(5)),
        (key_of(json_of(Halved, sort=True)), Halved(5)),
        (key_of(json), (1, 2)),
    ],
    ids=[
        "nan",
        "tuple",
        "model",
        "pydantic",
        "dataclass",
        "float",
        "Decimal",
        "field",
        "given",
        "given dataclass",
        "untyped",
    ],
)
def test_keys_that_would_come_back_as_others_are_refused(serde: Serde[Any], key: Any) -> None:
    with pytest.raises(ValueError, match="would come back as another"):
        serde.encode(key)


@pytest.mark.parametrize("type_", [Cents, Halved])
def test_what_was_kept_of_keys_that_a_given_serde_changes_is_not_read(type_: Any) -> None:
    serde = key_of(json_of(type_, sort=True))
    with pytest.raises(ValueError, match="would come back as another"):
        serde.decode(b'{"v":500.0}')
    assert serde.decode(serde.encode(type_(v=0.0))) == type_(v=0.0)


def test_models_that_change_nothing_meet_topics_of_others() -> None:
    serde = exact(json_of(Nested, sort=True))
    key = Nested(inner=Color.RED, when=MOMENTS[1], prices=(Decimal("1.0"),))
    other = Nested(inner=Color.RED, when=MOMENTS[2], prices=(Decimal(1),))
    assert serde.encode(key) == serde.encode(other)
    assert serde.decode(serde.encode(key)) == other


def test_a_time_with_an_offset_is_no_key() -> None:
    with pytest.raises(TypeError, match="a time with an offset can't be a key"):
        key_of(time).encode(time(1, tzinfo=UTC))


def test_other_types_are_refused_as_keys() -> None:
    encode: Callable[[Any], bytes] = key_of(Cents).encode
    for key in (Open(), ("a",), partial(int)):
        with pytest.raises(TypeError, match="expected Cents"):
            encode(key)
