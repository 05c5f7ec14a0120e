"""Early results: what is emitted of windows before they close, and what is final."""

from collections.abc import Callable
from typing import Any

import pytest

from processor import Topology, Windowed, counted, hopping, session, sliding, tumbling
from processor.errors import TopologyError
from processor.records import Record, Timestamp
from processor.testing import TopologyDriver
from processor.topology.describe import describe
from processor.topology.grouped import GroupedStream
from processor.topology.plan import plan

Row = tuple[str, int]  # key, time in seconds
Grouped = GroupedStream[str, int]


def driver(make: Callable[[Grouped], Any], **options: Any) -> TopologyDriver:
    topology = Topology("app")
    make(topology.stream("in", value=int).group_by_key())
    return TopologyDriver(topology, partitions=1, **options)


def pipe(driver: TopologyDriver, *rows: Row) -> None:
    driver.pipe("in", *(Record(key, 1, Timestamp(time * 1000)) for key, time in rows))


def read(driver: TopologyDriver, topic: str = "out") -> list[tuple[str, int, int, Any]]:
    """Key, start and end in seconds, value."""
    return [
        (key.key, key.start // 1000, key.end // 1000, value) for key, value in driver.read(topic)
    ]


def per_minute(stream: Grouped) -> None:
    counts = stream.window(tumbling("1m"), early="10s").count()
    counts.to("out")
    counts.final().to("final")


ROWS = [("a", 1), ("b", 2), ("a", 9), ("c", 10), ("a", 11), ("a", 19), ("a", 45), ("b", 61)]
EMITTED = [
    ("a", 0, 60, 2),  # at 10
    ("b", 0, 60, 1),
    ("a", 0, 60, 4),  # at 45
    ("c", 0, 60, 1),
    ("a", 0, 60, 5),  # at 61: final
    ("b", 0, 60, 1),
    ("c", 0, 60, 1),
]


def test_windows_that_have_changed_are_emitted_at_each_interval() -> None:
    test = driver(per_minute)
    pipe(test, *ROWS)
    assert read(test) == EMITTED
    assert read(test, "final") == EMITTED[-3:]


def test_wherever_batches_end_and_workers_restart() -> None:
    test = driver(per_minute)
    for row in ROWS:
        pipe(test, row)
        test.restart()
    assert read(test) == EMITTED
    assert read(test, "final") == EMITTED[-3:]


def test_records_that_do_not_reach_the_windows_bring_time_as_well() -> None:
    topology = Topology("app")
    stream = topology.stream("in", value=int)
    counts = stream.filter(lambda value: value > 0).group_by_key()
    counts.window(tumbling("1m"), early="10s").count(name="c").to("out")
    test = TopologyDriver(topology, partitions=1)
    rows = [("a", 1, 1), ("a", 2, 12_000), ("b", 0, 25_000), ("b", 0, 36_000)]
    test.pipe("in", *(Record(key, value, Timestamp(time)) for key, value, time in rows))
    assert read(test) == [("a", 0, 60, 1), ("a", 0, 60, 2)]


def test_an_early_result_comes_before_the_record_that_brings_its_time() -> None:
    topology = Topology("app")
    stream = topology.stream("in", value=int)
    counts = stream.group_by_key().window(tumbling("1m"), early="10s").count().to_stream()
    counts.map(lambda window, count: (window.key, -count)).merge(stream).to("out")
    test = TopologyDriver(topology)
    pipe(test, ("a", 1), ("b", 12), ("b", 13), ("c", 20))
    assert test.read("out") == [("a", 1), ("a", -1), ("b", 1), ("b", 1), ("b", -2), ("c", 1)]


def test_a_session_that_grows_is_taken_back_if_it_was_emitted() -> None:
    test = driver(lambda s: s.window(session("8s"), early="10s").count().to("out"))
    pipe(test, ("a", 1), ("a", 3), ("a", 9), ("b", 10), ("a", 15), ("a", 20))
    assert read(test) == [
        ("a", 1, 9, 3),
        ("a", 1, 9, None),
        ("b", 10, 10, 1),
        ("a", 1, 15, 4),
    ]
    pipe(test, ("b", 40))
    assert read(test) == [("a", 1, 15, None), ("a", 1, 20, 5)]


def test_a_session_is_taken_back_at_the_latest_when_it_would_have_closed() -> None:
    test = driver(lambda s: s.window(session("8s"), early="20s").count().to("out"))
    pipe(test, ("a", 15), ("b", 20), ("a", 22), ("c", 25))
    assert read(test) == [("a", 15, 15, 1), ("a", 15, 15, None)]
    pipe(test, ("c", 31))
    assert read(test) == [("b", 20, 20, 1), ("a", 15, 22, 2)]


def test_overlapping_windows_are_emitted_each() -> None:
    test = driver(lambda s: s.window(hopping("20s", every="10s"), early="5s").count().to("out"))
    pipe(test, ("a", 11), ("b", 16))
    assert read(test) == [("a", 0, 20, 1), ("a", 10, 30, 1)]


def test_sliding_windows_are_emitted_as_well() -> None:
    test = driver(lambda s: s.window(sliding("20s"), early="10s").count().to("out"))
    pipe(test, ("a", 1), ("a", 5), ("b", 10))
    assert read(test) == [("a", -19, 1, 1), ("a", -15, 5, 2), ("a", 1, 21, 1)]


def test_windows_that_close_are_emitted_once() -> None:
    test = driver(lambda s: s.window(tumbling("10s"), early="10s").count().to("out"))
    pipe(test, ("a", 1), ("a", 10), ("a", 20))
    assert read(test) == [("a", 0, 10, 1), ("a", 10, 20, 1)]


def test_a_deleted_state_is_taken_back_if_it_was_emitted() -> None:
    topology = Topology("app")
    stream = topology.stream("in", value=int).group_by_key()
    windows = stream.window(tumbling("1m"), early="10s")
    windows.reduce(lambda total, value: total + value if value else None, name="r").to("out")
    test = TopologyDriver(topology, partitions=1)
    rows = [("a", 5, 1), ("b", 1, 2), ("b", 0, 3), ("a", 1, 10_000), ("a", 0, 11_000)]
    test.pipe("in", *(Record(key, value, Timestamp(time)) for key, value, time in rows))
    assert read(test) == [("a", 0, 60, 5)]
    test.pipe("in", key="c", value=1, timestamp=20_000)
    assert read(test) == [("a", 0, 60, None)]


def test_an_early_result_that_fails_on_its_way_is_a_dead_letter_of_its_own() -> None:
    def refuse_two(count: int) -> int:
        if count == 2:
            raise ValueError("two")
        return count

    def make(stream: Grouped) -> None:
        counts = stream.window(tumbling("1m"), early="10s").count().to_stream()
        counts.map_values(refuse_two, name="check").to("out")

    test = driver(make)
    pipe(test, ("a", 1), ("a", 2), ("b", 3), ("a", 10), ("a", 20), ("a", 60))
    assert read(test) == [("b", 0, 60, 1), ("a", 0, 60, 3), ("a", 0, 60, 4), ("b", 0, 60, 1)]
    assert test.bad_records == {("check", "function"): 1}


def test_idle_input_closes_windows_without_another_early_result() -> None:
    test = driver(per_minute)
    pipe(test, ("a", 1), ("a", 12))
    assert read(test) == [("a", 0, 60, 1)]
    test.idle()
    assert read(test) == [("a", 0, 60, 2)]
    assert read(test, "final") == [("a", 0, 60, 2)]
    assert test.store("in-count-early") == {}


def test_where_it_makes_no_sense_it_is_refused() -> None:
    grouped = Topology("app").stream("in", value=int).group_by_key()
    with pytest.raises(TopologyError, match="early='10s': windows with emit='change'"):
        grouped.window(tumbling("1m"), emit="change", early="10s")
    with pytest.raises(TopologyError, match="close by count"):
        grouped.window(counted(2), early="10s")
    with pytest.raises(TopologyError, match="emit nothing when they close"):
        grouped.window(tumbling("1m"), emit="change").count().final()


def test_all_results_are_final_without_early_ones() -> None:
    test = driver(lambda s: s.window(tumbling("10s")).count().final().to("out"))
    pipe(test, ("a", 1), ("a", 10))
    assert test.read("out") == [(Windowed("a", 0, 10_000), 1)]


def test_the_description_says_how_often() -> None:
    topology = Topology("app")
    per_minute(topology.stream("in", value=int).group_by_key())
    assert "count per tumbling 1m, emit close, early every 10s" in describe(plan(topology))


def test_what_is_emitted_of_a_window_that_is_gone_is_not_ahead_of_the_stream_time() -> None:
    def fold(so_far: int | None, value: int) -> int | None:
        return None if value == 0 else (so_far or 0) + value

    topology = Topology("app")
    grouped = topology.stream("in", value=int).group_by_key()
    windows = grouped.window(tumbling("1m"), early="10s")
    windows.aggregate(int, fold, name="a").to("out")
    test = TopologyDriver(topology, partitions=1)
    rows = [("a", 1, 1), ("b", 1, 11), ("a", 0, 12), ("b", 1, 23)]
    test.pipe("in", *(Record(key, value, Timestamp(time * 1000)) for key, value, time in rows))
    emitted = [(each.key.key, each.value, each.timestamp) for each in test.read_records("out")]
    assert emitted == [("a", 1, 1000), ("a", None, 23_000), ("b", 1, 11_000)]
