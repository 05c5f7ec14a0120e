"""Equal keys give equal bytes, and what comes back is hashable and equal."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.serdes import key_json

keys = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    # Both kinds of number, often equal.
    | st.integers(-5, 5)
    | st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0, 2.0, 1e300])
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4).map(tuple),
    max_leaves=10,
)


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    SMALL = 1


class Kind(Enum):
    BIG = "big"


class Point(NamedTuple):
    x: int
    y: int


@dataclass(frozen=True)
class Place:
    city: str


def without_bools(key: Any) -> Any:
    """True == 1 in Python only, and is documented as two keys."""
    if isinstance(key, tuple):
        return tuple(map(without_bools, key))
    return f"bool {key}" if isinstance(key, bool) else key


@settings(derandomize=True, max_examples=300)
@given(keys)
def test_round_trip(key: Any) -> None:
    back = key_json.decode(key_json.encode(key))
    assert back == key
    assert hash(back) == hash(key)
    assert without_bools(back) == without_bools(key)


@settings(derandomize=True, max_examples=300)
@given(keys, keys)
def test_keys_are_equal_if_and_only_if_their_bytes_are(one: Any, other: Any) -> None:
    equal = without_bools(one) == without_bools(other)
    assert (key_json.encode(one) == key_json.encode(other)) is equal


@pytest.mark.parametrize(
    ("key", "data"),
    [
        ("a", b'"a"'),
        (1, b"1"),
        (1.0, b"1"),
        (-0.0, b"0"),
        (0.5, b"0.5"),
        (1e20, b"100000000000000000000"),
        (True, b"true"),
        (("a", (1, None)), b'["a",[1,null]]'),
        ((), b"[]"),
        ({"b": 1.0, "a": (1, 2)}, b'{"a":[1,2],"b":1}'),
        # Equal to the plain values that they stand for.
        (Colour.RED, b'"red"'),
        (Size.SMALL, b"1"),
        (Point(1, 2), b"[1,2]"),
        ({Colour.RED: 1}, b'{"red":1}'),
    ],
)
def test_golden(key: Any, data: bytes) -> None:
    assert key_json.name == "json-key"
    assert key_json.encode(key) == data


def test_arrays_come_back_as_tuples_at_every_depth() -> None:
    assert key_json.decode(b'[1,["a",[]]]') == (1, ("a", ()))
    assert key_json.decode(b'{"a":[1,{"b":[]}]}') == {"a": (1, {"b": ()})}


@pytest.mark.parametrize(
    "key",
    [b"a", Kind.BIG, Decimal(1), datetime(2013, 1, 1, tzinfo=UTC), Place("a"), {1}, ("a", b"a")],
)
def test_other_types_are_refused_with_advice(key: Any) -> None:
    with pytest.raises(TypeError, match=r"needs its type named \(key=TYPE\)"):
        key_json.encode(key)


@pytest.mark.parametrize("key", [float("nan"), float("inf"), ("a", -float("inf"))])
def test_numbers_without_json_are_refused(key: Any) -> None:
    with pytest.raises(ValueError, match="can't be a key: it has no JSON form"):
        key_json.encode(key)


def test_dicts_have_str_keys_only() -> None:
    with pytest.raises(TypeError, match="str keys only, not int"):
        key_json.encode({1: 2})


@pytest.mark.parametrize("data", [b"", b"a", b"[1", b'"\xff"', b"[" * 100_000, b"9" * 5_000])
def test_malformed_keys_are_refused(data: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        key_json.decode(data)


def test_deep_keys_raise_and_the_process_lives() -> None:
    key: Any = ()
    for _ in range(100_000):
        key = (key,)
    with pytest.raises(RecursionError):
        key_json.encode(key)


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        key_json.encode("\ud800")
