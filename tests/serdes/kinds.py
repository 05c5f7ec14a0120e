"""Models of every kind that values may be of, with code in them that must not run twice."""

from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntFlag
from fractions import Fraction
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import PurePosixPath
from typing import Annotated, Any, Generic, NamedTuple, NotRequired, TypedDict, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from pydantic import (
    AliasChoices,
    AnyUrl,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    RootModel,
    SecretBytes,
    SecretStr,
    computed_field,
    field_validator,
)
from pydantic.dataclasses import dataclass as pydantic_dataclass

from processor.serdes import Serde, avro, protobuf
from tests.serdes.messages import Money, Order

T = TypeVar("T")


class Color(Enum):
    RED = "r"
    BLUE = 2


class Rights(IntFlag):
    READ = 1
    WRITE = 2


class Cents(BaseModel):
    """Its validator must see a value once."""

    v: float

    @field_validator("v")
    @classmethod
    def whole(cls, value: float) -> float:
        return value / 100


class Aliased(BaseModel):
    model_config = ConfigDict(extra="forbid")

    one: int = Field(validation_alias="uno", serialization_alias="eins")
    two: int = Field(default=2, validation_alias=AliasChoices("dos", "zwei"))
    hidden: str = Field(default="", exclude=True)

    @computed_field
    @property
    def both(self) -> int:
        return self.one + self.two

    @cached_property
    def cached(self) -> int:
        return self.one


class Secrets(BaseModel):
    text: SecretStr
    data: SecretBytes
    url: AnyUrl
    mail: Annotated[str, Field(max_length=50)]


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    a: int = 1
    _seen: list[int] = PrivateAttr(default_factory=list[int])


class Nested(BaseModel):
    color: Color
    rights: Rights
    inner: Cents | Aliased | None
    many: list[Cents]
    by_name: dict[str, Cents]
    by_date: dict[date, Cents]
    pair: tuple[int, Cents]
    children: list["Nested"] = []


class Root(RootModel[list[Cents]]):
    pass


class Page(BaseModel, Generic[T]):
    items: list[T]


@dataclass
class Halved:
    v: float
    when: datetime | None = None
    tags: list[str] = field(default_factory=list[str])
    total: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.v /= 2


@dataclass(frozen=True, slots=True)
class Slotted:
    a: int
    b: Decimal


@pydantic_dataclass
class Checked:
    a: int
    color: Color = Color.RED


@dataclass
class Box(Generic[T]):
    item: T
    others: list[T]


class Struct(msgspec.Struct, rename="camel", omit_defaults=True):
    some_field: int
    other_field: str | None = None

    def __post_init__(self) -> None:
        self.some_field += 1


class Frozen(msgspec.Struct, frozen=True, tag=True):
    a: tuple[int, ...]
    b: frozenset[str] = frozenset()


class Point(NamedTuple):
    x: int
    color: Color = Color.RED


class Typed(TypedDict):
    a: int
    point: Point
    note: NotRequired[str]


def cents(v: float) -> Cents:
    return Cents(v=v)


def _open() -> Open:
    made = Open.model_validate({"more": (1, "x")})
    made._seen.append(3)
    return made


def _nested() -> Nested:
    return Nested(
        color=Color.BLUE,
        rights=Rights.READ | Rights.WRITE,
        inner=Aliased.model_validate({"uno": 1, "zwei": 5}),
        many=[cents(10000), cents(float("inf"))],
        by_name={"a": cents(1)},
        by_date={date(2026, 1, 2): cents(3)},
        pair=(1, cents(2)),
        children=[
            Nested.model_construct(
                color=Color.RED, rights=Rights(0), inner=cents(7), many=[], by_name={},
                by_date={}, pair=(1, cents(2)),
            )
        ],
    )  # fmt: skip


BERLIN = ZoneInfo("Europe/Berlin")

EXAMPLES: list[tuple[Any, Any]] = [
    (Cents, cents(10000)),
    (Cents, cents(5)),
    (Aliased, Aliased.model_validate({"uno": 1, "dos": 4, "hidden": "x"})),
    (
        Secrets,
        Secrets(text=SecretStr("s"), data=SecretBytes(b"\xff"), url=AnyUrl("http://a/b"), mail="m"),
    ),
    (Open, _open()),
    (Nested, _nested()),
    (Root, Root([cents(100)])),
    (Page[Cents], Page[Cents](items=[cents(100)])),
    (Halved, Halved(10.0, datetime(2026, 1, 2, 3, 4, 5, 678901, BERLIN), ["a"])),
    (Slotted, Slotted(2**70, Decimal("0.12345678901234567890"))),
    (Checked, Checked(5, Color.BLUE)),
    (Box[Cents], Box(cents(1), [cents(2)])),
    (Struct, Struct(5, "x")),
    (Frozen, Frozen((1, 2), frozenset("a"))),
    (Point, Point(1, Color.BLUE)),
    (Typed, Typed(a=1, point=Point(2))),
    (Typed, Typed(a=1, point=Point(2), note="n")),
    (list[Point], [Point(1), Point(2, Color.BLUE)]),
    (set[Frozen], {Frozen((1,))}),
    (dict[Point, list[Frozen]], {Point(1): [Frozen((1,))]}),
    (Point | Frozen, Point(1)),
    (Point | Frozen | Decimal, Decimal("-0.0")),
    (Color, Color.BLUE),
    (Decimal, Decimal("1234567890123456789.123456789")),
    (datetime, datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN)),
]

AVRO = {
    "type": "record",
    "name": "v2.Order",
    "fields": [
        {"name": "user", "type": "string"},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9,
                                   "scale": 2}},
        {"name": "when", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "rate", "type": ["null", "float", "double"], "default": None},
        {"name": "number", "type": ["int", "long", "string"]},
    ],
}  # fmt: skip
EITHER = [
    {"type": "record", "name": "v1.Order", "fields": [{"name": "id", "type": "int"}]},
    {"type": "record", "name": "v2.Order", "fields": [{"name": "name", "type": "string"}]},
]


@dataclass
class AvroOrder:
    user: str
    price: Decimal
    when: datetime
    rate: float | None
    number: int | str


class AvroModel(BaseModel):
    user: str = Field(max_length=9)
    price: Decimal
    when: datetime
    rate: float | None
    number: int | str

    @field_validator("price")
    @classmethod
    def less(cls, value: Decimal) -> Decimal:
        return value - 1


_NOON = datetime(2026, 1, 2, 12, 0, 0, 123456, UTC)
_ORDER: dict[str, Any] = {
    "user": "ann", "price": Decimal("12.30"), "when": _NOON, "rate": 1.1, "number": 2**40,
}  # fmt: skip

FROM_TOPICS: list[tuple[str, Serde[Any], Any]] = [
    ("avro", avro(AVRO), _ORDER),
    ("avro-union", avro(EITHER), {"-type": "v2.Order", "name": "q"}),
    ("avro-dataclass", avro(AVRO, AvroOrder), AvroOrder(**_ORDER)),
    ("avro-model", avro(AVRO, AvroModel), AvroModel(**_ORDER)),
    ("protobuf", protobuf(Order), Order(id=5, total=Money(cents=70), next=Order(id=6))),
]
"""What is read of topics, by serdes of these formats."""

PLAIN_EXAMPLES: list[Any] = [
    {"a": None, "b": [1, 2.0, "x", b"\x00", True]},
    {1: "a", "1": "b", (1, 2): "c", None: 0, 1.5: 1, "t": 2},
    (1, (2, [3, ()])),
    {1, 2, "x"},
    frozenset({("a", 1)}),
    2**64,
    -(2**63) - 1,
    {2**100: [2**100]},
    "\ud800",
    {"\ud800": 1},
    Decimal("12.340"),
    Decimal("-Infinity"),
    datetime(1, 1, 1),  # noqa: DTZ001
    datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
    datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=-3, seconds=7))),
    date(2026, 2, 28),
    time(1, 2, 3, 4, fold=1),
    time(1, 2, tzinfo=UTC),
    timedelta(days=-1, microseconds=1),
    UUID(int=5),
    Fraction(1, 3),
    complex(1, -2),
    IPv4Address("10.0.0.1"),
    PurePosixPath("a/b"),
    deque([1, 2], maxlen=3),
    OrderedDict([("b", 1), ("a", 2)]),
    Counter("abca"),
    defaultdict(int, {"a": 1}),
    bytearray(b"ab"),
    range(1, 9, 2),
    msgspec.UNSET,
]

# Apart from the others: in which order a set shows its members differs between processes.
FROZEN_SET = {Frozen((1,)), Frozen((2,), frozenset("abc"))}


def name_of(each: Any) -> str:
    """What a test calls an example: the same in each process."""
    return each.__name__ if isinstance(each, type) else type(each).__name__


__all__ = ["EXAMPLES", "FROM_TOPICS", "FROZEN_SET", "PLAIN_EXAMPLES", "name_of"]
