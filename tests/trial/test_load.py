"""The load of a trial: the same records round by round, with times that go on."""

import time
from itertools import islice

import pytest

from processor.errors import UsageError
from processor.kafka.transfer import Row
from processor.records import Timestamp
from processor.trial.load import rounds


def times(*given: int, count: int) -> list[int | None]:
    rows = [Row(b"k", b"v", Timestamp(each)) for each in given]
    return [row.timestamp for row in islice(rounds(lambda: rows, "in"), count)]


def test_times_go_on_with_each_round() -> None:
    assert times(10, 30, 20, count=7) == [10, 30, 20, 31, 51, 41, 52]


def test_times_start_over_before_they_reach_the_future() -> None:
    now = int(time.time() * 1000)
    assert times(0 + 1, now - 1000, count=4) == [1, now - 1000, 1, now - 1000]


def test_records_without_a_time_have_none_in_any_round() -> None:
    rows = [Row(b"k", b"v")]
    assert list(islice(rounds(lambda: rows, "in"), 3)) == rows * 3


def test_no_records_at_all_are_refused() -> None:
    with pytest.raises(UsageError, match="no records for in"):
        next(rounds(list, "in"))
