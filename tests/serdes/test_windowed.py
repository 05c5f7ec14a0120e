"""Keys of windows: a batch goes through their serdes as each of its keys does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.serdes import Serde, json, text
from processor.serdes.base import decode_column, encode_column
from processor.serdes.windowed import Windowed, windowed, windowed_json

times = st.integers(-(2**40), 2**40)
windows = st.builds(Windowed, st.text(max_size=3), times, times)
"""Whole columns of few keys: most have their time in common with others."""


@pytest.mark.parametrize("serde", [windowed(text), windowed_json(json)], ids=["store", "topic"])
@given(column=st.lists(windows, max_size=8).map(lambda some: some * 2))
def test_a_column_is_as_its_rows(serde: Serde[Windowed[str]], column: list[Windowed[str]]) -> None:
    written, faults = encode_column(serde, column)
    assert not faults
    assert written == list(map(serde.encode, column))
    back, faults = decode_column(serde, written)
    assert not faults
    assert back == column
    assert {*map(type, back)} <= {Windowed}


def test_what_is_no_window_fails_alone() -> None:
    column = [Windowed("a", 0, 10), ("a", 0, 10), Windowed("b", 0, 10)]
    written, faults = encode_column(windowed_json(json), column)
    assert written == [b'{"key":"a","start":0,"end":10}', b'{"key":"b","start":0,"end":10}']
    assert [(fault.row, str(fault.error)) for fault in faults] == [
        (1, "can't encode tuple as windowed-json(json): expected Windowed, not tuple")
    ]


def test_a_short_key_fails_alone() -> None:
    serde = windowed(text)
    whole = serde.encode(Windowed("a", 0, 10))
    back, faults = decode_column(serde, [whole, b"short", whole])
    assert back == [Windowed("a", 0, 10)] * 2
    assert [fault.row for fault in faults] == [1]
