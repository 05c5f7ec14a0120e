"""JSON round trips for every kind of type, and one clear error for whatever does not fit."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.errors import TopologyError
from processor.serdes import Serde, auto, json, json_of

T = TypeVar("T")


class Order(pydantic.BaseModel):
    user: str
    amount: int


class Renamed(pydantic.BaseModel):
    user_id: str = pydantic.Field(alias="userId")


class Cancel(pydantic.BaseModel):
    kind: Literal["cancel"] = "cancel"


class Place(pydantic.BaseModel):
    kind: Literal["place"] = "place"
    order: Order


@pydantic.dataclasses.dataclass
class Checked:
    amount: int


class Flight(msgspec.Struct):
    carrier: str
    delay: int | None = None


class Tree(msgspec.Struct):
    branches: "list[Tree]" = []


class Box(msgspec.Struct, Generic[T]):
    content: T


@dataclass
class Total:
    amount: int
    since: datetime


@dataclass
class Basket:
    orders: list[Order]


class Mixed(msgspec.Struct):
    order: Order


class Weather(TypedDict):
    temperature: float


class Point(NamedTuple):
    x: int
    y: int


class Colour(Enum):
    RED = "red"


class Size(IntEnum):
    SMALL = 1


class Text(str):
    __slots__ = ()


class Amount(float):
    pass


NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Surrogates have no UTF-8, and so no JSON.
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(derandomize=True)
@given(json_values)
def test_untyped_round_trip(value: Any) -> None:
    back = json.decode(json.encode(value))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ((1, 2), b"[1,2]"),
        ({1}, b"[1]"),
        ({1: "a"}, b'{"1":"a"}'),
        (NOON, b'"2013-01-01T12:00:00Z"'),
        (Decimal("1.10"), b'"1.10"'),
        (UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
        (Flight("UA"), b'{"carrier":"UA","delay":null}'),
        (Total(1, NOON), b'{"amount":1,"since":"2013-01-01T12:00:00Z"}'),
        (Point(1, 2), b"[1,2]"),
        (Colour.RED, b'"red"'),
        (Order(user="a", amount=1), b'{"user":"a","amount":1}'),
        ([Renamed(userId="a")], b'[{"userId":"a"}]'),
        (Text("a"), b'"a"'),
        ([Size.SMALL, Amount(1.5)], b"[1,1.5]"),
        (2**70, b"1180591620717411303424"),
        (float("nan"), b"null"),
        (float("inf"), b"null"),
    ],
)
def test_untyped_writes_what_has_a_json_form(value: Any, data: bytes) -> None:
    assert json.encode(value) == data


@pytest.mark.parametrize("value", [1j, object(), {(1, 2): 3}, lambda: None])
def test_untyped_refuses_what_has_none(value: Any) -> None:
    with pytest.raises(TypeError):
        json.encode(value)


def test_the_refusal_names_the_type() -> None:
    with pytest.raises(TypeError, match="complex has no JSON form"):
        json.encode({"a": [1j]})


@pytest.mark.parametrize(
    ("annotation", "name", "value"),
    [
        (Order, "json(Order)", Order(user="a", amount=1)),
        (Renamed, "json(Renamed)", Renamed(userId="a")),
        (Checked, "json(Checked)", Checked(5)),
        (list[Order], "json(list[Order])", [Order(user="a", amount=1)]),
        (Basket, "json(Basket)", Basket([Order(user="a", amount=1)])),
        (Cancel | Place, "json(Cancel | Place)", Place(order=Order(user="a", amount=1))),
        (Flight, "json(Flight)", Flight("UA", 5)),
        (Tree, "json(Tree)", Tree([Tree(), Tree([Tree()])])),
        (Box[Flight], "json(Box[Flight])", Box(Flight("UA"))),
        (Total, "json(Total)", Total(1, NOON)),
        (Weather, "json(Weather)", {"temperature": 1.5}),
        (Point, "json(Point)", Point(1, 2)),
        (Colour, "json(Colour)", Colour.RED),
        (datetime, "json(datetime)", NOON),
        (date, "json(date)", date(2013, 1, 1)),
        (timedelta, "json(timedelta)", timedelta(seconds=1)),
        (Decimal, "json(Decimal)", Decimal("1.10")),
        (UUID, "json(UUID)", UUID(int=1)),
        (bool, "json(bool)", True),
        (float, "json(float)", 1.0),
        (list[int], "json(list[int])", [1, 2]),
        (dict[str, Flight], "json(dict[str, Flight])", {"a": Flight("UA")}),
        (dict[int, str], "json(dict[int, str])", {1: "a"}),
        (set[int], "json(set[int])", {1, 2}),
        (tuple[str, int], "json(tuple[str, int])", ("a", 1)),
        (tuple[int, ...], "json(tuple[int, ...])", (1, 2)),
        (Sequence[int], "json(Sequence[int])", [1]),
        (int | str, "json(int | str)", "a"),
        (str | int, "json(int | str)", 1),
        (list[int | None], "json(list[int | None])", [1, None]),
        (Flight | None, "json(Flight)", Flight("UA")),
        (Literal["a", 1], "json(Literal['a', 1])", "a"),
        (list[Any], "json(list[Any])", [1, "a"]),
        (dict, "json(dict)", {"a": 1}),
    ],
)
def test_typed_round_trip(annotation: Any, name: str, value: Any) -> None:
    serde = json_of(annotation)
    assert serde.name == name
    back = serde.decode(serde.encode(value))
    assert back == value
    assert type(back) is type(value)


def test_a_name_does_not_depend_on_where_the_type_is_defined() -> None:
    @dataclass
    class Inner:
        amount: int

    assert json_of(Inner).name == "json(Inner)"
    assert json_of(list[Inner]).name == "json(list[Inner])"


@settings(derandomize=True)
@given(st.text(), st.integers())
def test_models_of_pydantic_round_trip(user: str, amount: int) -> None:
    serde = json_of(Order)
    order = Order(user=user, amount=amount)
    assert serde.decode(serde.encode(order)) == order


@settings(derandomize=True)
@given(st.text(), st.none() | st.integers())
def test_structs_round_trip(carrier: str, delay: int | None) -> None:
    serde = json_of(Flight)
    assert serde.decode(serde.encode(Flight(carrier, delay))) == Flight(carrier, delay)


def test_models_of_pydantic_read_and_write_by_alias() -> None:
    assert json_of(Renamed).encode(Renamed(userId="a")) == b'{"userId":"a"}'


def test_metadata_of_annotated_is_kept() -> None:
    positive = json_of(Annotated[list[int], msgspec.Meta(max_length=1)])
    assert positive.name == "json(list[int])"
    with pytest.raises(msgspec.ValidationError, match="length <= 1"):
        positive.decode(b"[1,2]")
    either = json_of(Annotated[Cancel | Place, pydantic.Field(discriminator="kind")])
    assert either.decode(b'{"kind":"cancel"}') == Cancel()
    with pytest.raises(ValueError, match="does not match any of the expected tags"):
        either.decode(b'{"kind":"other"}')


@pytest.mark.parametrize(
    ("annotation", "data", "message"),
    [
        (Order, b'{"user":"a","amount":"x"}', "amount: Input should be a valid integer"),
        (Order, b"{}", "user: Field required; amount: Field required"),
        (Order, b"[]", r"\$: Input should be an object"),
        (Order, b"null", r"\$: Input should be an object"),
        (Order, b"{", "Invalid JSON"),
        (list[Order], b"[{}]", "0.user: Field required"),
        (Checked, b'{"amount":"x"}', "amount: Input should be a valid integer"),
        (Flight, b'{"carrier":5}', "Expected `str`, got `int`"),
        (Flight, b"{}", "missing required field `carrier`"),
        (Flight, b"null", "Expected `object`, got `null`"),
        (Flight | None, b"null", "Expected `object`, got `null`"),
        (Total, b'{"amount":"1","since":"2013-01-01"}', "Expected `int`, got `str`"),
        (Total, b'{"amount":1,"since":"yesterday"}', "Invalid RFC3339 encoded datetime"),
        (Weather, b'{"temperature":"hot"}', "Expected `float`, got `str`"),
        (Point, b"[1]", "Expected `array` of length 2"),
        (Colour, b'"blue"', "Invalid enum value 'blue'"),
        (Decimal, b'"x"', "Invalid decimal string"),
        (list[int], b'[1,"2"]', "Expected `int`, got `str`"),
        (int | str, b"1.5", "Expected `int | str`, got `float`"),
        (list[int], b"", "Input data was truncated"),
    ],
)
def test_what_does_not_fit_the_type_is_refused(annotation: Any, data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        json_of(annotation).decode(data)


def test_the_refusal_does_not_repeat_the_data() -> None:
    with pytest.raises(ValueError, match="amount") as error:
        json_of(Order).decode(b'{"user":"a","amount":"secret"}')
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (Order, {"user": "a", "amount": 1}, "expected Order, not dict"),
        (Order, Cancel(), "expected Order, not Cancel"),
        (Flight, Total(1, NOON), "expected Flight, not Total"),
        (Total, "a", "expected Total, not str"),
        (Weather, [("temperature", 1.5)], "expected Weather, not list"),
        (list[int], (1, 2), r"expected list\[int\], not tuple"),
        (tuple[int, int], [1, 2], r"expected tuple\[int, int\], not list"),
        (Point, (1, 2), "expected Point, not tuple"),
        (datetime, "2013-01-01", "expected datetime, not str"),
        (int | list[str], 1.5, r"expected int \| list\[str\], not float"),
        (Cancel | Place, Order(user="a", amount=1), r"expected Cancel \| Place, not Order"),
    ],
)
def test_values_of_another_class_are_not_written(annotation: Any, value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        json_of(annotation).encode(value)


class Opaque:
    """A plain class: nobody knows its fields."""


@dataclass
class Unknown:
    field: "Missing"  # type: ignore[name-defined] # noqa: F821 - that is the point


class UnknownModel(pydantic.BaseModel):
    field: "Missing"  # type: ignore[name-defined] # noqa: F821 - that is the point


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Opaque, "no JSON can hold Opaque: Opaque has no JSON form"),
        (complex, "complex has no JSON form"),
        (list[Opaque], r"no JSON can hold list\[Opaque\]: Opaque has no JSON form"),
        (Mixed, "no JSON can hold Mixed: Unable to generate pydantic-core schema"),
        (list[int] | tuple[int], "may not contain more than one array-like"),
        (None, "None is outside of serdes"),
        ("Order", "no JSON can hold Order: Type ''Order'' is not supported"),
        (5, "no JSON can hold 5"),
        (Unknown, "no JSON can hold Unknown: name 'Missing' is not defined"),
        (UnknownModel, "no JSON can hold UnknownModel: .*UnknownModel.* is not fully defined"),
    ],
)
def test_types_without_json_are_refused_at_once(annotation: Any, message: str) -> None:
    with pytest.raises(TopologyError, match=message):
        json_of(annotation)


def test_sorted_json_is_the_same_for_equal_values() -> None:
    serde = json_of(dict[str, set[str]], sort=True)
    assert serde.encode({"b": {"y", "x", "z"}, "a": set()}) == b'{"a":[],"b":["x","y","z"]}'


SERDES = [json, auto, json_of(list[Any]), json_of(Tree), json_of(Order), json_of(list[Order])]


@pytest.mark.parametrize("serde", SERDES, ids=[serde.name for serde in SERDES])
@pytest.mark.parametrize(
    "data",
    [
        b"[" * 1_000_000,
        b"[" * 1_000_000 + b"]" * 1_000_000,
        b'{"branches":[' * 1_000_000,
        b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000,
    ],
    ids=["open", "arrays", "typed", "objects"],
)
def test_deep_nesting_raises_and_the_process_lives(serde: Serde[Any], data: bytes) -> None:
    try:
        value = serde.decode(data)
    except (ValueError, RecursionError):
        return
    assert serde is auto  # where it is text like any other
    assert isinstance(value, str)


def test_deep_values_raise_and_the_process_lives() -> None:
    value: list[Any] = []
    for _ in range(1_000_000):  # Python 3.14 goes as deep as the stack allows
        value = [value]
    with pytest.raises(RecursionError):
        json.encode(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"1 2",
        b"NaN",
        b"1e400",
        b"9" * 5_000,
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b"\x00",
        b"{'a': 1}",
        b'{"a":1,}',
    ],
)
def test_malformed_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        json.decode(data)
    with pytest.raises(ValueError):
        json_of(Order).decode(data)


def test_lone_surrogates_are_not_written() -> None:
    with pytest.raises(UnicodeEncodeError):
        json.encode("\ud800")


@pytest.mark.parametrize(
    ("value", "data", "back"),
    [
        ("a", b"a", "a"),
        ("ä", "ä".encode(), "ä"),
        ("", b"", ""),
        (b"\x00a", b"\x00a", "\x00a"),
        (5, b"5", 5),
        ({"a": 1}, b'{"a":1}', {"a": 1}),
        (Order(user="a", amount=1), b'{"user":"a","amount":1}', {"user": "a", "amount": 1}),
        (True, b"true", True),
        # Reading guesses.
        ("5", b"5", 5),
        ("NaN", b"NaN", "NaN"),
    ],
)
def test_auto(value: Any, data: bytes, back: Any) -> None:
    assert auto.name == "auto"
    assert auto.encode(value) == data
    assert auto.decode(data) == back


def test_auto_refuses_what_is_neither_json_nor_text() -> None:
    with pytest.raises(UnicodeDecodeError):
        auto.decode(b"\xff")


def test_pydantic_is_not_imported_for_types_of_others() -> None:
    program = """
import sys
from dataclasses import dataclass
from processor.serdes import json, key_serde_for, serde_for, field_type
@dataclass
class Total:
    amount: int
serde = serde_for(Total, what="value")
assert serde.decode(serde.encode(Total(1))) == Total(1)
json.decode(json.encode({"a": {1}}))
key_serde_for(tuple[str, int], what="key")
field_type(Total, "amount")
assert "pydantic" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
