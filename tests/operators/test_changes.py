"""Changes of tables: the bytes in which they travel."""

import pytest

from processor.operators.changes import Change, change_serde
from processor.serdes import int64, json, text


@pytest.mark.parametrize(
    "change", [Change("old", "new"), Change("", ""), Change(None, "new"), Change("old", None)]
)
def test_a_change_comes_back_as_it_was(change: Change) -> None:
    serde = change_serde(text)
    assert serde.name == "change(text)"
    assert serde.decode(serde.encode(change)) == change


def test_there_may_be_nothing_on_both_sides() -> None:
    serde = change_serde(json)
    assert serde.decode(serde.encode(Change(None, None))) == Change(None, None)


@pytest.mark.parametrize(
    "data", [b"", b"\x03", b"\x03\x00\x00\x00\x08abc", b"\x02\x00\x00\x00\x00"]
)
def test_what_is_no_change_is_refused(data: bytes) -> None:
    with pytest.raises(Exception):  # noqa: B017
        change_serde(int64).decode(data)
