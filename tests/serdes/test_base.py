"""Columns: nulls pass by, bad rows are left out and explained; lossless finds what JSON changes."""

from datetime import UTC, datetime
from typing import Any

import pytest

from processor.errors import UsageError
from processor.serdes import (
    Serde,
    bytes_serde,
    decode_column,
    encode_column,
    int64,
    json,
    json_of,
    lossless,
    text,
)


def test_a_column_goes_both_ways() -> None:
    encoded, faults = encode_column(text, ["a", "ä"])
    assert (encoded, faults) == ([b"a", "ä".encode()], [])
    assert decode_column(text, encoded) == (["a", "ä"], [])


def test_empty_columns() -> None:
    assert encode_column(text, []) == ([], [])
    assert decode_column(text, []) == ([], [])


@pytest.mark.parametrize("column", [[None], [None, None], ["a", None], [None, "a", None]])
def test_nulls_stay_null_and_no_serde_sees_them(column: list[str | None]) -> None:
    encoded, faults = encode_column(text, column)
    assert encoded == [None if value is None else b"a" for value in column]
    assert faults == []
    assert decode_column(text, encoded) == (column, [])


def test_an_empty_value_is_no_null() -> None:
    assert encode_column(text, ["", None]) == ([b"", None], [])
    assert decode_column(text, [b"", None]) == (["", None], [])


def test_rows_that_do_not_decode_are_left_out_and_explained() -> None:
    decoded, faults = decode_column(int64, [bytes(8), b"short", None, b"", bytes(7) + b"\x05"])
    assert decoded == [0, None, 5]
    assert [fault.row for fault in faults] == [1, 3]
    assert [str(fault.error) for fault in faults] == [
        "can't decode 5 bytes as int64: int64 takes 8 bytes, not 5",
        "can't decode 0 bytes as int64: int64 takes 8 bytes, not 0",
    ]
    assert isinstance(faults[0].error.__cause__, ValueError)


def test_rows_that_do_not_encode_are_left_out_and_explained() -> None:
    encoded, faults = encode_column(text, ["a", 5, None, "b"])
    assert encoded == [b"a", None, b"b"]
    assert [fault.row for fault in faults] == [1]
    assert str(faults[0].error).startswith("can't encode int as text: ")
    assert isinstance(faults[0].error.__cause__, TypeError)


class Array:
    """Answers == with something that has no truth, as arrays do."""

    def __eq__(self, other: object) -> Any:
        return self

    def __hash__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        raise ValueError("the truth of an array is ambiguous")


def test_values_are_not_compared_to_find_nulls() -> None:
    serde: Serde[Array] = Serde("array", lambda _: b"array", lambda _: Array())
    assert encode_column(serde, [Array(), None]) == ([b"array", None], [])
    assert encode_column(serde, [Array()]) == ([b"array"], [])


@pytest.mark.parametrize(
    "value",
    ["a", 5, 1.5, True, [1, "a", None], {"a": {"b": [1.5]}}, {}, []],
)
def test_plain_json_values_are_lossless(value: object) -> None:
    lossless(json, value)


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ((1, 2), "a tuple written as json comes back as a list"),
        ({1: "a"}, "a dict written as json comes back changed"),
        ([(1, 2)], "a list written as json comes back changed"),
        ({1}, "a set written as json comes back as a list"),
        (datetime(2013, 1, 1, tzinfo=UTC), "a datetime written as json comes back as a str"),
        (float("nan"), "a float written as json comes back as a NoneType"),
        (b"a", "a bytes written as json comes back as a str"),
    ],
)
def test_what_json_changes_is_refused_with_advice(value: object, change: str) -> None:
    with pytest.raises(UsageError) as error:
        lossless(json, value)
    assert str(error.value) == (
        f"{change}: name the type (value=TYPE), or write values of exactly these types: str, int, "
        "float, bool, lists of these and dicts with str keys"
    )


def test_the_types_named_are_lossless() -> None:
    lossless(json_of(tuple[int, int]), (1, 2))
    lossless(json_of(dict[int, str]), {1: "a"})
    lossless(int64, 5)
    lossless(bytes_serde, b"a")
