"""Sessions, sliding windows and windows by count; among them the cases of Kafka Streams' tests."""

from collections.abc import Callable
from typing import Any

import pytest

from processor import Record, Timestamp, Topology, counted, session, sliding
from processor.errors import TopologyError
from processor.testing import TopologyDriver
from processor.topology.grouped import GroupedStream

Grouped = GroupedStream[str, str]


def driver(make: Callable[[Grouped], Any], **options: Any) -> TopologyDriver:
    topology = Topology("app")
    make(topology.stream("in", value=str).group_by_key())
    return TopologyDriver(topology, **options)


def pipe(driver: TopologyDriver, *rows: tuple[str, int, str]) -> None:
    """Key, time in milliseconds, value."""
    driver.pipe("in", *(Record(key, value, Timestamp(time)) for key, time, value in rows))


def read(driver: TopologyDriver) -> list[tuple[str, int, int, Any]]:
    return [(*key, value) for key, value in driver.read("out")]


def joined(so_far: str, value: str) -> str:
    return f"{so_far}+{value}"


def sessions(grace: float = 0, **options: Any) -> TopologyDriver:
    windows = session(0.01, grace=grace)
    return driver(lambda s: s.window(windows, **options).reduce(joined, name="s").to("out"))


# Sessions


def test_records_within_the_gap_are_one_session() -> None:
    test = sessions()
    pipe(test, ("a", 0, "1"), ("a", 10, "2"), ("a", 21, "3"))
    assert read(test) == [("a", 0, 11, "1+2")]
    assert list(test.store("s").values()) == ["3"]


def test_a_record_between_two_sessions_joins_them() -> None:
    test = sessions(grace=1, emit="change")
    pipe(test, ("a", 0, "1"), ("a", 11, "2"))
    pipe(test, ("a", 5, "3"))
    assert read(test) == [
        ("a", 0, 1, "1"),
        ("a", 11, 12, "2"),
        ("a", 0, 1, None),
        ("a", 11, 12, None),
        ("a", 0, 12, "1+2+3"),
    ]
    assert list(test.store("s").values()) == ["1+2+3"]


def test_records_of_the_same_time_are_one_session() -> None:
    test = sessions(emit="change")
    pipe(test, ("a", 5, "1"), ("a", 5, "2"))
    assert read(test) == [("a", 5, 6, "1"), ("a", 5, 6, "1+2")]


def test_sessions_of_keys_are_apart() -> None:
    test = sessions()
    pipe(test, ("a", 0, "1"), ("b", 0, "2"), ("a", 5, "3"), ("c", 99, "4"))
    assert read(test) == [("b", 0, 1, "2"), ("a", 0, 6, "1+3")]


@pytest.mark.parametrize("grace", [0, 1])
def test_a_session_takes_records_until_gap_and_grace_are_over(grace: int) -> None:
    test = sessions(grace=grace / 1000)
    pipe(test, ("on", 0, "0"), ("on", 10 + grace, "1"), ("a", 0, "in time"))
    assert test.bad_records == {}
    pipe(test, ("on", 11 + grace, "2"), ("a", 0, "late"))
    assert test.bad_records == {("s", "late"): 1}
    assert ("a", 0, 1, "in time") in read(test)


def test_a_session_that_has_closed_joins_no_other() -> None:
    test = sessions(retention=1)
    pipe(test, ("a", 0, "1"), ("b", 11, "2"), ("a", 5, "3"), ("b", 99, "4"))
    assert read(test) == [("a", 0, 1, "1"), ("a", 5, 6, "3"), ("b", 11, 12, "2")]


def test_sessions_go_on_after_a_restart() -> None:
    test = sessions()
    pipe(test, ("a", 0, "1"))
    test.restart()
    pipe(test, ("a", 9, "2"))
    test.restart()
    pipe(test, ("b", 50, "3"))
    assert read(test) == [("a", 0, 10, "1+2")]
    assert set(test.store("s-windows")) == {"b"}


# Sliding windows


def sliding_results(*rows: tuple[str, int, str], grace: float = 0.05) -> dict[int, str]:
    """The value of each window by its start."""
    windows = sliding(0.01, grace=grace)
    test = driver(lambda s: s.window(windows).reduce(joined).to("out"))
    pipe(test, *rows, ("end", 10_000, ""))
    together = {start: value for _, start, end, value in read(test) if end < 10_000}
    test = driver(lambda s: s.window(windows, emit="change").reduce(joined).to("out"))
    for row in rows:
        pipe(test, row)
    assert {start: value for _, start, _, value in read(test)} == together
    return together


def test_sliding_windows_of_records_in_order() -> None:
    rows = [("a", 110, "1"), ("a", 115, "2"), ("a", 120, "3"), ("a", 122, "4"), ("a", 130, "5")]
    assert sliding_results(*rows) == {
        100: "1",
        105: "1+2",
        110: "1+2+3",
        111: "2+3",
        112: "2+3+4",
        116: "3+4",
        120: "3+4+5",
        121: "4+5",
        123: "5",
    }


def test_sliding_windows_of_a_record_out_of_order() -> None:
    assert sliding_results(("a", 110, "1"), ("a", 115, "2"), ("a", 112, "3")) == {
        100: "1",
        102: "1+3",
        105: "1+2+3",
        111: "2+3",
        113: "2",
    }


def test_sliding_windows_of_records_of_the_same_time() -> None:
    rows = [("a", 110, "1"), ("a", 110, "2"), ("a", 121, "3"), ("a", 120, "4"), ("a", 110, "5")]
    assert sliding_results(*rows) == {
        100: "1+2+5",
        110: "1+2+4+5",
        111: "3+4",
        121: "3",
    }


def test_a_record_is_late_when_the_window_that_it_ends_has_closed() -> None:
    test = driver(lambda s: s.window(sliding(0.01, grace=0.005)).reduce(joined).to("out"))
    pipe(test, ("a", 100, "1"), ("a", 105, "2"), ("a", 100, "3"), ("a", 99, "4"))
    assert test.bad_records == {("in-reduce", "late"): 1}
    pipe(test, ("b", 10_000, ""))
    assert read(test) == [
        ("a", 90, 101, "1+3"),
        ("a", 95, 106, "1+2+3"),
        ("a", 101, 112, "2"),
    ]


# Windows by count


def test_windows_by_count_close_with_their_last_record() -> None:
    test = driver(lambda s: s.window(counted(3)).reduce(joined).to("out"))
    rows = [("a", 30, "1"), ("b", 1, "2"), ("a", 10, "3"), ("a", 20, "4"), ("a", 5, "5")]
    pipe(test, *rows)
    assert read(test) == [("a", 10, 31, "1+3+4")]
    pipe(test, ("a", 5, "6"))
    test.restart()
    pipe(test, ("a", 7, "7"))
    assert read(test) == [("a", 5, 8, "5+6+7")]
    assert list(test.store("in-reduce").values()) == ["2"]


def test_what_does_not_go_together_is_refused() -> None:
    grouped = Topology("app").stream("in", value=str).group_by_key()
    with pytest.raises(TopologyError, match=r"merge=function\(earlier, later\)"):
        grouped.window(session("1s")).aggregate(str, joined)
    with pytest.raises(TopologyError, match="close by count"):
        grouped.window(counted(2), emit="change")
    with pytest.raises(TopologyError, match="close by count"):
        grouped.window(counted(2), late="skip")
