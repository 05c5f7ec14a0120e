"""What functions say they return, what fields say they are, and how types are called."""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypedDict, TypeVar

import msgspec
import pydantic
import pytest

from processor.serdes import field_type, return_type
from processor.serdes.types import mismatch

if TYPE_CHECKING:
    from nowhere import Missing

T = TypeVar("T")


class Order(pydantic.BaseModel):
    user: str
    note: str | None = None


class Page(pydantic.BaseModel, Generic[T]):
    content: T


@dataclass
class Total:
    amount: int
    unit: ClassVar[str] = "EUR"


class Flight(msgspec.Struct):
    carrier: str


class LongFlight(Flight):
    miles: int


class Box(msgspec.Struct, Generic[T]):
    content: T


class Weather(TypedDict, total=False):
    temperature: float


class Point(NamedTuple):
    x: int


class Unresolved(msgspec.Struct):
    field: Missing


def annotated(order: Order) -> Total:
    raise NotImplementedError


def returns_none(order: Order) -> None:
    raise NotImplementedError


def unannotated(order):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
    raise NotImplementedError


def unresolved(order: Order) -> Missing:
    raise NotImplementedError


def generic(value: T) -> T:
    return value


@functools.wraps(annotated)
def wrapped(*args: Any) -> Any:
    raise NotImplementedError


class Scorer:
    weight: int

    def __call__(self, order: Order) -> float:
        raise NotImplementedError

    def method(self, order: Order) -> dict[str, int]:
        raise NotImplementedError

    @staticmethod
    def static(order: Order) -> int:
        raise NotImplementedError

    @classmethod
    def of(cls, order: Order) -> Total | None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("function", "annotation"),
    [
        (annotated, Total),
        (returns_none, NoneType),
        (unannotated, None),
        (unresolved, None),
        (generic, None),
        (wrapped, Total),
        (functools.partial(annotated, 1), Total),
        (functools.partial(functools.partial(Scorer().method)), dict[str, int]),
        (functools.lru_cache(annotated), Total),
        (lambda order: order, None),
        (Scorer(), float),
        (Scorer().method, dict[str, int]),
        (Scorer.static, int),
        (Scorer.__dict__["static"], int),
        (Scorer.of, Total | None),
        (Scorer, Scorer),
        (int, int),
        (dict[str, int], dict[str, int]),
        (len, None),
        (str.upper, None),
        ("a".join, None),
        (operator.itemgetter("a"), None),
        (msgspec.json.Decoder().decode, None),
    ],
)
def test_return_type(function: Any, annotation: Any) -> None:
    assert return_type(function) == annotation


@pytest.mark.parametrize(
    ("model", "field", "annotation"),
    [
        (Order, "user", str),
        (Order, "note", str | None),
        (Order | None, "user", str),
        (Order, "model_config", None),
        (Order, "missing", None),
        (Page[int], "content", int),
        (Total, "amount", int),
        (Total, "unit", None),
        (Flight, "carrier", str),
        (LongFlight, "carrier", str),
        (LongFlight, "miles", int),
        (Box[int], "content", None),
        (Weather, "temperature", float),
        (Point, "x", int),
        (Unresolved, "field", None),
        (dict[str, int], "user", None),
        (int, "user", None),
        (int | str, "user", None),
        (Any, "user", None),
        (None, "user", None),
        ("Order", "user", None),
    ],
)
def test_field_type(model: Any, field: str, annotation: Any) -> None:
    assert field_type(model, field) == annotation


def test_classes_of_one_name_are_distinguished_by_their_modules() -> None:
    other = type("Flight", (), {"__module__": "topologies.flights"})
    assert mismatch(Flight, Point(1)) == "expected Flight, not Point"
    assert mismatch(list[int], ()) == "expected list[int], not tuple"
    said = mismatch(Flight, other())
    assert f"expected {__name__}.Flight, not topologies.flights.Flight: two classes of" in said
