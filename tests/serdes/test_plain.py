"""The bytes are those of Kafka's serializers; everything of another type is refused."""

import math
from decimal import Decimal
from enum import IntEnum, StrEnum
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.serdes import Serde, boolean, bytes_serde, float64, int64, text


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    SMALL = 1


def test_names() -> None:
    names = [serde.name for serde in (bytes_serde, text, int64, float64, boolean)]
    assert names == ["bytes", "text", "int64", "float64", "boolean"]


@settings(derandomize=True)
@given(st.binary())
def test_bytes_round_trip(value: bytes) -> None:
    assert bytes_serde.decode(bytes_serde.encode(value)) == value


@settings(derandomize=True)
@given(st.text())
def test_text_round_trip(value: str) -> None:
    assert text.encode(value) == value.encode("utf-8")
    assert text.decode(text.encode(value)) == value


@settings(derandomize=True)
@given(st.integers(-(2**63), 2**63 - 1))
def test_int64_round_trip(value: int) -> None:
    assert int64.encode(value) == value.to_bytes(8, "big", signed=True)
    assert int64.decode(int64.encode(value)) == value


@settings(derandomize=True)
@given(st.floats())
def test_float64_round_trip(value: float) -> None:
    back = float64.decode(float64.encode(value))
    assert back == value or (math.isnan(back) and math.isnan(value))
    assert math.copysign(1, back) == math.copysign(1, value)


@pytest.mark.parametrize(
    ("serde", "value", "data"),
    [
        (bytes_serde, b"\x00\xff", b"\x00\xff"),
        (text, "aä€😀", b"a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
        (int64, 1, b"\x00\x00\x00\x00\x00\x00\x00\x01"),
        (int64, -2, b"\xff\xff\xff\xff\xff\xff\xff\xfe"),
        (float64, 1.0, b"\x3f\xf0\x00\x00\x00\x00\x00\x00"),
        (float64, -0.0, b"\x80\x00\x00\x00\x00\x00\x00\x00"),
        (boolean, True, b"\x01"),
        (boolean, False, b"\x00"),
    ],
)
def test_bytes_as_kafka_writes_them(serde: Serde[Any], value: object, data: bytes) -> None:
    assert serde.encode(value) == data
    assert serde.decode(data) == value
    assert type(serde.decode(data)) is type(value)


def test_what_is_of_the_type_is_accepted() -> None:
    assert text.encode(Colour.RED) == b"red"
    assert int64.encode(Size.SMALL) == int64.encode(1)
    assert float64.encode(2) == float64.encode(2.0)


@pytest.mark.parametrize("value", ["a", 5, [1], bytearray(b"a"), memoryview(b"a")])
def test_bytes_refuse_other_types(value: Any) -> None:
    with pytest.raises(TypeError, match="bytes"):
        bytes_serde.encode(value)


@pytest.mark.parametrize("value", [b"a", 5, ["a"]])
def test_text_refuses_other_types(value: Any) -> None:
    with pytest.raises(TypeError, match="'str'"):
        text.encode(value)


@pytest.mark.parametrize("value", [1.0, True, "1", b"1", Decimal(1)])
def test_int64_refuses_other_types(value: Any) -> None:
    with pytest.raises(TypeError, match=f"int64 takes a number, not {type(value).__name__}"):
        int64.encode(value)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**4000])
def test_int64_refuses_what_is_out_of_range(value: int) -> None:
    with pytest.raises(ValueError, match="out of the range of int64"):
        int64.encode(value)


@pytest.mark.parametrize("value", [True, "1", Decimal(1), Fraction(1, 2), 1j])
def test_float64_refuses_other_types(value: Any) -> None:
    with pytest.raises(TypeError, match=f"float64 takes a number, not {type(value).__name__}"):
        float64.encode(value)


@pytest.mark.parametrize("value", [2**53 + 1, -(2**60) - 1, 10**300])
def test_float64_refuses_a_whole_number_whose_digits_it_does_not_hold(value: int) -> None:
    assert float64.decode(float64.encode(2**70)) == 2**70
    with pytest.raises(ValueError, match="float64 does not hold all digits"):
        float64.encode(value)


def test_float64_refuses_what_is_out_of_range() -> None:
    with pytest.raises(ValueError, match="out of the range of float64"):
        float64.encode(10**400)


@pytest.mark.parametrize("value", [1, 0, "true", [True]])
def test_boolean_refuses_other_types(value: Any) -> None:
    with pytest.raises(TypeError, match=f"boolean takes a bool, not {type(value).__name__}"):
        boolean.encode(value)


@pytest.mark.parametrize("data", [b"", b"\x02", b"\x00\x00", b"true"])
def test_boolean_refuses_other_bytes(data: bytes) -> None:
    with pytest.raises(ValueError, match="boolean takes one byte, 0 or 1"):
        boolean.decode(data)


@pytest.mark.parametrize("serde", [int64, float64])
@pytest.mark.parametrize("size", [0, 4, 7, 9, 16])
def test_numbers_refuse_other_sizes(serde: Serde[Any], size: int) -> None:
    with pytest.raises(ValueError, match=f"{serde.name} takes 8 bytes, not {size}"):
        serde.decode(bytes(size))


@pytest.mark.parametrize("data", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc0\x80"])
def test_text_refuses_invalid_utf_8(data: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        text.decode(data)


def test_text_refuses_lone_surrogates() -> None:
    with pytest.raises(UnicodeEncodeError):
        text.encode("\ud800")
