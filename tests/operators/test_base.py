"""Context: stream time, row by row, and rows that are left out."""

from collections.abc import Callable
from typing import Any

import pytest

from processor.attempt import Fault
from processor.operators.base import (
    NO_TIME,
    Clocked,
    Holding,
    Operator,
    Reporting,
    Timed,
    encoded_keys,
)
from processor.records import NO_OFFSET, Timestamp
from processor.serdes import Serde, key_json, text
from tests.operators.rows import batch, context, failed, row, values

ROWS = batch(*(row(time, timestamp=time) for time in (5, 3, 9, 9, 7)), start=10)


def test_stream_time_is_the_highest_so_far() -> None:
    at = context()
    at.clock.enter([ROWS], advance=True)
    assert at.clock.times(ROWS) == [5, 5, 9, 9, 9]
    assert at.clock.times(ROWS.take([1, 1, 4])) == [5, 5, 9]
    assert at.clock.end_time == 9
    assert at.clock.stream_time == NO_TIME


def test_stream_time_never_goes_back() -> None:
    at = context(stream_time=8)
    at.clock.enter([ROWS], advance=True)
    assert at.clock.times(ROWS) == [8, 8, 9, 9, 9]


def test_rows_that_no_record_stands_for_let_no_time_pass() -> None:
    at = context(stream_time=8)
    at.clock.enter([ROWS], advance=False)
    assert list(at.clock.times(ROWS)) == [8] * 5
    assert at.clock.end_time == 8


def test_an_empty_batch_lets_no_time_pass() -> None:
    at = context(stream_time=8)
    at.clock.enter([batch()], advance=True)
    assert at.clock.end_time == 8
    assert list(at.clock.times(batch())) == []


def test_moments_and_crossings() -> None:
    at = context(stream_time=2)
    at.clock.enter([ROWS], advance=True)
    assert at.clock.moments(Timestamp(2), Timestamp(9)) == [5, 9]
    assert at.clock.moments(Timestamp(5), Timestamp(8)) == []
    assert [at.clock.crossing(Timestamp(time)) for time in (1, 5, 6, 9, 10)] == [
        10,
        10,
        12,
        12,
        NO_OFFSET,
    ]
    assert at.clock.reached_at(Timestamp(6)) == 9


def test_rejected_rows_are_named_by_their_offset() -> None:
    at = context()
    left = at.reject(ROWS, [Fault(1, ValueError("a")), Fault(3, ValueError("b"))], "why")
    assert left.offsets == [10, 12, 14]
    assert failed(at) == [(11, "why", "ValueError: a"), (13, "why", "ValueError: b")]
    at.begin()
    assert failed(at) == []


def test_call_gives_the_results_of_the_rows_left() -> None:
    at = context()
    results, left = at.call(lambda value: 10 // value, values(5, 0, 2), [5, 0, 2])
    assert (results, left.values) == ([2, 5], [5, 2])


class Odd:
    """As an array, its == gives no bool."""

    def __eq__(self, other: object) -> Any:
        raise ValueError("the truth value is ambiguous")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("key", "serde", "reason"),
    [(None, text, "null-key"), (Odd(), text, "key"), (Odd(), key_json, "key"), (b"b", text, "key")],
)
def test_encoded_keys(key: object, serde: Serde[Any], reason: str) -> None:
    at = context()
    keys, left = encoded_keys(serde, batch(row(1, "a"), row(2, key), row(3, "c")), at)
    assert list(keys) == [serde.encode("a"), serde.encode("c")]
    assert left.values == [1, 3]
    assert [each[:2] for each in failed(at)] == [(1, reason)]


@pytest.mark.parametrize(
    "act",
    [
        lambda: Operator().process(ROWS, context()),
        lambda: Reporting().changes(context()),
        lambda: Timed().advance(context()),
        lambda: Holding().held_until(context()),
        lambda: Clocked().tick(NO_TIME, context()),
    ],
    ids=["process", "changes", "advance", "held_until", "tick"],
)
def test_a_step_of_a_kind_has_what_makes_it_one(act: Callable[[], object]) -> None:
    with pytest.raises(NotImplementedError):
        act()
