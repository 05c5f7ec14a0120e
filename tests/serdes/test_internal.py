from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from enum import StrEnum
from functools import partial
from math import isnan
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from processor.errors import TopologyError
from processor.serdes import decode_column, encode_column, kept_serde_for
from processor.serdes.internal import internal, internal_of
from tests.serdes import kinds


def through(serde: Any, value: Any) -> Any:
    return serde.decode(serde.encode(value))


def alike(one: Any, other: Any) -> bool:
    """Equal, and of the same types all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return one == other or (isnan(one) and isnan(other))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return all(alike(a, b) for a, b in zip(one.items(), other.items(), strict=True))
    return bool(one == other)


@pytest.mark.parametrize(("annotation", "value"), kinds.EXAMPLES)
def test_values_of_every_kind_come_back_equal(annotation: Any, value: Any) -> None:
    back = through(internal_of(annotation), value)
    assert type(back) is type(value)
    assert back == value
    assert repr(back) == repr(value)


def test_sets_of_several_come_back_equal() -> None:
    back = through(internal_of(set[kinds.Frozen]), kinds.FROZEN_SET)
    assert type(back) is set
    assert back == kinds.FROZEN_SET
    assert {type(each.b) for each in back} == {frozenset}


@pytest.mark.parametrize("value", kinds.PLAIN_EXAMPLES, ids=kinds.name_of)
def test_plain_values_come_back_as_they_are_without_a_type(value: Any) -> None:
    back = through(internal, value)
    assert type(back) is type(value)
    assert back == value


def test_what_equality_does_not_see_comes_back_too() -> None:
    (moment,) = (value for kind, value in kinds.EXAMPLES if kind is datetime)
    back = through(internal, moment)
    assert (back.fold, back.tzinfo, back.utcoffset()) == (1, kinds.BERLIN, moment.utcoffset())
    queue, table, seen = (through(internal, kinds.PLAIN_EXAMPLES[n]) for n in (-7, -4, 4))
    assert (queue.maxlen, table["new"], seen) == (3, 0, frozenset({("a", 1)}))
    opened = through(internal_of(kinds.Open), kinds.EXAMPLES[4][1])
    assert (opened._seen, opened.model_extra, opened.model_fields_set) == (
        [3], {"more": (1, "x")}, {"more"},
    )  # fmt: skip
    assert isnan(through(internal_of(kinds.Cents), kinds.cents(float("nan"))).v)


def test_an_object_that_comes_back_works_on() -> None:
    model = through(internal_of(kinds.Aliased), kinds.EXAMPLES[2][1])
    assert (model.both, model.cached, model.model_copy(update={"one": 7}).both) == (5, 1, 11)
    struct = through(internal_of(kinds.Struct), kinds.Struct(5))
    assert msgspec.json.encode(struct) == b'{"someField":6}'
    frozen = through(internal_of(kinds.Frozen), kinds.Frozen((1,)))
    assert len({frozen, kinds.Frozen((1,))}) == 1
    with pytest.raises(AttributeError):
        frozen.a = ()


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),
    st.binary(),
    st.decimals(allow_nan=False),
    st.datetimes(),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.fractions(),
    st.complex_numbers(allow_nan=False),
    st.ip_addresses(),
)
HASHABLE = st.recursive(
    st.one_of(st.integers(), st.text(), st.binary(), st.dates()),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=3,
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(HASHABLE, inner, max_size=4),
        st.sets(HASHABLE, max_size=4),
    ),
    max_leaves=12,
)


@given(ANYTHING)
def test_any_value_comes_back_alike(value: Any) -> None:
    assert alike(through(internal, value), value)


@given(ANYTHING)
def test_fields_come_back_alike_whatever_their_type_says(value: Any) -> None:
    box, halved = kinds.Box(value, [value]), kinds.Halved(1.0)
    halved.v = halved.tags = value
    back = through(internal_of(kinds.Box[str]), box)
    assert alike((back.item, back.others), (value, [value]))
    back = through(internal_of(kinds.Halved), halved)
    assert alike((back.v, back.tags), (value, value))


@given(st.sets(st.text()))
def test_equal_sets_have_equal_bytes(members: set[str]) -> None:
    assert internal.encode(members) == internal.encode({*sorted(members, reverse=True)})


class Plain:
    pass


class Text(str):
    __slots__ = ()


class Base(BaseModel):
    a: int


class Derived(Base):
    b: int


class HasPlain(BaseModel, arbitrary_types_allowed=True):
    plain: Plain


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (HasPlain, "HasPlain.plain is of type Plain"),
        (list[Plain], "it is of type Plain"),
        (Callable[[int], int], "it is of type Callable"),
        (list[kinds.Point] | list[kinds.Frozen], "which no value distinguishes"),
        (Text, "it is of type Text"),
    ],
)
def test_types_that_can_not_be_kept_are_refused(annotation: Any, message: str) -> None:
    with pytest.raises(TopologyError, match=message):
        kept_serde_for(annotation, what="the value of store s")


class Pacific(tzinfo):
    def utcoffset(self, _: datetime | None, /) -> None:
        return None


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (Base, Derived(a=1, b=2), "expected Base, not Derived"),
        (Base, {"a": 1}, "expected Base, not dict"),
        (Any, Plain(), "Plain can't be kept without its type"),
        (Any, [Text("a")], "Text can't be kept"),
        (Any, datetime(2026, 1, 1, tzinfo=Pacific()), "zoneinfo"),
        (Decimal, "1.0", "expected Decimal, not str"),
    ],
)
def test_values_that_would_not_come_back_are_refused(
    annotation: Any, value: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        kept_serde_for(annotation, what="x").encode(value)


def test_scalars_of_other_libraries_are_refused_with_what_to_do() -> None:
    numpy = pytest.importorskip("numpy")
    for value in (numpy.float64(1.5), numpy.int64(1), numpy.array([1])):
        with pytest.raises(TypeError, match=r"numpy\.\w+ can't be kept: .*\.item\(\)"):
            internal.encode({"a": value})


def test_what_was_kept_goes_on_in_a_type_that_has_changed() -> None:
    before = make_dataclass("Order", [("a", int), ("gone", str)])
    after = make_dataclass("Order", [("b", str, "new"), ("a", int, 0)])
    needed = make_dataclass("Order", [("a", int), ("more", int)])
    data = internal_of(before).encode(before(1, "x"))
    assert internal_of(after).decode(data) == after("new", 1)
    with pytest.raises(ValueError, match="what was kept of Order lacks more"):
        internal_of(needed).decode(data)


@dataclass
class Tree:
    name: str
    parts: "list[Tree] | None" = None


def test_shapes_have_the_fields_of_all_models() -> None:
    assert internal_of(dict[str, list[Tree] | kinds.Point]).shape == {
        "Tree": {"name": "str", "parts?": "list[Tree] | None"},
        "Point": {"x": "int", "color?": "Color"},
        "Color": {"RED": "", "BLUE": ""},
    }
    assert through(internal_of(Tree), Tree("a", [Tree("b", [])])) == Tree("a", [Tree("b", [])])


def test_messages_of_protobuf_are_kept_and_compared() -> None:
    _, _, message = kinds.FROM_TOPICS[-1]
    serde = internal_of(type(message))
    assert through(serde, message) == message
    assert serde.shape["test.Order"] == {
        "id?": "3 as 1",
        "total?": "test.Money as 2",
        "first?": "test.Order.Line as 3",
        "next?": "test.Order as 4",
    }
    assert serde.shape["test.Money"] == {"cents?": "3 as 1"}
    with pytest.raises(TypeError, match="expected Order, not Money"):
        serde.encode(message.total)


@pytest.mark.parametrize(("annotation", "value"), kinds.EXAMPLES)
def test_batches_come_back_as_values_do(annotation: Any, value: Any) -> None:
    serde = internal_of(annotation)
    for column in ([value] * 3, [value, None, value]):
        encoded, faults = encode_column(serde, column)
        assert faults == []
        assert encoded[0] == serde.encode(value)
        decoded, faults = decode_column(serde, encoded)
        assert (faults, decoded) == ([], column)
        assert list(map(repr, decoded)) == list(map(repr, column))


def test_what_is_not_alike_in_a_batch_is_done_one_by_one() -> None:
    serde = internal_of(kinds.Checked)
    values = [kinds.Checked(1), Plain(), kinds.Checked(2**70), kinds.Checked(3)]
    encoded, faults = encode_column(serde, values)
    assert [row for row, _ in faults] == [1]
    assert decode_column(serde, encoded)[0] == [values[0], values[2], values[3]]
    odd = [{"a": 1}, {1: (2,)}, "x", {"a": "\ud800"}]
    encoded, faults = encode_column(internal, odd)
    assert (decode_column(internal, encoded)[0], faults) == (odd, [])


class Shade(StrEnum):
    DARK = "dark"


@dataclass
class Bag:
    a: Any
    b: Any = 0


@pytest.mark.parametrize(
    "odd",
    [
        (1,), {1}, OrderedDict(a=1), Counter("a"), Decimal(1), datetime(2026, 1, 1, tzinfo=UTC),
        date(2026, 1, 1), UUID(int=1), bytearray(b"a"), {(1,): 2}, {1: 2}, {Decimal(1): 2},
        kinds.PLAIN_EXAMPLES[5], kinds.PLAIN_EXAMPLES[8], vars(Bag(Decimal(1))), vars(Bag((1,))),
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("around", [lambda it: it, lambda it: {"a": [{"b": it}]}], ids=["", "in"])
def test_a_batch_keeps_what_msgpack_alone_would_lose(odd: Any, around: Any) -> None:
    values = [around(each) for each in ("x", odd, 1)]
    for column, serde in ((values, internal), ([Bag(each) for each in values], internal_of(Bag))):
        for rows in (column, column[1:], [*column, *column[::-1]]):
            encoded, faults = encode_column(serde, rows)
            assert faults == []
            back = decode_column(serde, encoded)[0]
            assert all(map(alike, map(unwrapped, back), map(unwrapped, rows)))


def unwrapped(value: Any) -> Any:
    return value.a if isinstance(value, Bag) else value


@given(st.lists(ANYTHING | st.dictionaries(st.text(), LEAVES), min_size=1, max_size=4))
def test_batches_of_any_values_come_back_alike(values: list[Any]) -> None:
    encoded, faults = encode_column(internal, values)
    assert faults == []
    assert alike(decode_column(internal, encoded)[0], values)


def test_a_batch_refuses_what_is_refused_alone() -> None:
    endless: list[Any] = []
    endless.append(endless)
    values = ["a", {Shade.DARK: 1}, [Shade.DARK], endless, {"dark": 1}]
    encoded, faults = encode_column(internal, values)
    assert [row for row, _ in faults] == [1, 2, 3]
    assert decode_column(internal, encoded)[0] == ["a", {"dark": 1}]


class Bare(msgspec.Struct, rename="kebab", tag="t", forbid_unknown_fields=True, kw_only=True):
    some_field: Any
    other: int = 5

    def __post_init__(self) -> None:
        self.other += 1


@dataclass(slots=True)
class Tight:
    a: Any
    b: int = 5

    def __post_init__(self) -> None:
        self.b += 1


def test_batches_of_structs_and_of_objects_with_slots_run_no_code() -> None:
    for value in (Tight([1]), Bare(some_field={"a": 1}, other=7)):
        serde = internal_of(type(value))
        encoded, faults = encode_column(serde, [value] * 3)
        assert (faults, decode_column(serde, encoded)[0]) == ([], [value] * 3)
        assert encoded[0] == serde.encode(value)


def test_a_batch_goes_on_in_a_type_that_has_changed() -> None:
    for make in (make_dataclass, partial(make_dataclass, slots=True), msgspec.defstruct):
        before = make("Order", [("a", int), ("gone", str)])
        after = make("Order", [("a", int), ("b", str, "new")])
        column = encode_column(internal_of(before), [before(1, "x"), before(2, "y")])[0]
        assert decode_column(internal_of(after), column)[0] == [after(1), after(2)]
        fewer = make("Order", [("a", int), ("gone", str), ("b", int, 3)])
        assert decode_column(internal_of(fewer), column)[0] == [fewer(1, "x"), fewer(2, "y")]
