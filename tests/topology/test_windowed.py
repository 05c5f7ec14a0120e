"""Windows as a topology has them: what is emitted when, what is late, and what happens to that."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from processor import JoinWindow, Record, Timestamp, Topology, Windowed, session, sliding, tumbling
from processor.errors import BadRecordError, TopologyError
from processor.operators.windows.kinds import Session, Sliding, hopping
from processor.operators.windows.windowed import WindowEmit
from processor.testing import TopologyDriver
from processor.topology.describe import describe
from processor.topology.grouped import GroupedStream
from processor.topology.plan import plan

Row = tuple[str, int, int]  # key, time in seconds, value
Grouped = GroupedStream[str, int]


def driver(make: Callable[[Grouped], Any], **options: Any) -> TopologyDriver:
    topology = Topology("app")
    make(topology.stream("in", value=int).group_by_key())
    return TopologyDriver(topology, **options)


def pipe(driver: TopologyDriver, *rows: Row) -> None:
    records = [Record(key, value, Timestamp(time * 1000)) for key, time, value in rows]
    driver.pipe("in", *records)


def read(driver: TopologyDriver, topic: str = "out") -> list[tuple[str, int, int, Any]]:
    """Key, start and end in seconds, value."""
    return [
        (key.key, key.start // 1000, key.end // 1000, value) for key, value in driver.read(topic)
    ]


def test_a_window_is_emitted_once_when_it_closes() -> None:
    test = driver(lambda s: s.window(tumbling("10s", grace="2s")).count().to("out"))
    pipe(test, ("a", 1, 0), ("b", 9, 0), ("a", 11, 0), ("a", 8, 0))
    assert read(test) == []
    pipe(test, ("c", 12, 0))
    assert read(test) == [("a", 0, 10, 2), ("b", 0, 10, 1)]
    pipe(test, ("c", 100, 0))
    assert read(test) == [("a", 10, 20, 1), ("c", 10, 20, 1)]
    assert test.store("in-count") == {Windowed("c", 100_000, 110_000): 1}


def test_a_result_has_the_highest_time_of_its_records() -> None:
    test = driver(lambda s: s.window(tumbling("10s")).count().to("out"))
    pipe(test, ("a", 7, 0), ("a", 2, 0), ("a", 10, 0))
    assert [record.timestamp for record in test.read_records("out")] == [7000]


def test_results_come_in_order_of_end_start_and_key() -> None:
    test = driver(lambda s: s.window(hopping("10s", every="5s")).count(name="c").to("out"))
    pipe(test, ("b", 1, 0), ("a", 6, 0), ("a", 30, 0), ("b", 31, 0), ("a", 99, 0))
    assert read(test) == [
        ("a", 0, 10, 1),
        ("b", 0, 10, 1),
        ("a", 5, 15, 1),
        ("a", 25, 35, 1),
        ("b", 25, 35, 1),
        ("a", 30, 40, 1),
        ("b", 30, 40, 1),
    ]


def test_results_come_before_the_record_that_brings_their_time() -> None:
    topology = Topology("app")
    stream = topology.stream("in", value=int)
    counts = stream.group_by_key().window(tumbling("10s")).count().to_stream()
    counts.map(lambda window, count: (window.key, -count)).merge(stream).to("out")
    test = TopologyDriver(topology)
    pipe(test, ("a", 1, 1), ("b", 12, 2), ("b", 13, 3), ("c", 20, 4))
    assert test.read("out") == [("a", 1), ("a", -1), ("b", 2), ("b", 3), ("b", -2), ("c", 4)]


def test_every_change_can_be_emitted() -> None:
    test = driver(lambda s: s.window(tumbling("10s"), emit="change").reduce(add).to("out"))
    pipe(test, ("a", 1, 5), ("a", 2, 6), ("a", 11, 7))
    assert read(test) == [("a", 0, 10, 5), ("a", 0, 10, 11), ("a", 10, 20, 7)]


def test_changes_can_be_emitted_at_checkpoints() -> None:
    test = driver(
        lambda s: s.window(tumbling("10s"), emit="checkpoint").reduce(add).to("out"),
    )
    pipe(test, ("a", 1, 5), ("a", 2, 6))
    assert read(test) == [("a", 0, 10, 11)]
    pipe(test, ("a", 3, 1), ("a", 14, 2), ("a", 25, 3))  # two of them are closed by now
    assert sorted(read(test)) == [("a", 0, 10, 12), ("a", 10, 20, 2), ("a", 20, 30, 3)]
    pipe(test, ("b", 99, 3))
    assert read(test) == [("b", 90, 100, 3)]


def add(one: int, other: int) -> int:
    return one + other


def add_or_delete(total: int, value: int) -> int | None:
    return total + value if value else None


def test_a_deleted_state_gives_no_result() -> None:
    def make(stream: Grouped) -> None:
        stream.window(tumbling("10s")).aggregate(int, add_or_delete, name="x").to("out")
        stream.window(tumbling("10s"), emit="checkpoint").aggregate(int, add_or_delete).to("live")

    test = driver(make)
    pipe(test, ("a", 1, 5), ("a", 2, 0), ("b", 3, 1))
    assert sorted(read(test, "live"), key=str) == [("a", 0, 10, None), ("b", 0, 10, 1)]
    pipe(test, ("c", 10, 1))
    assert read(test) == [("b", 0, 10, 1)]


def test_a_result_that_was_deleted_before_its_window_closed_is_emitted_as_such() -> None:
    def make(stream: Grouped) -> None:
        stream.window(tumbling("10s"), emit="checkpoint").aggregate(int, add_or_delete).to("live")

    test = driver(make)
    pipe(test, ("a", 1, 5))
    assert read(test, "live") == [("a", 0, 10, 5)]
    pipe(test, ("a", 2, 0), ("b", 30, 1))
    assert sorted(read(test, "live"), key=str) == [("a", 0, 10, None), ("b", 30, 40, 1)]


def test_a_window_that_is_kept_can_be_read_after_it_has_closed() -> None:
    test = driver(lambda s: s.window(tumbling("10s"), retention="20s").count().to("out"))
    pipe(test, ("a", 1, 0), ("b", 10, 0))
    assert read(test) == [("a", 0, 10, 1)]
    assert test.store("in-count")[Windowed("a", 0, 10_000)] == 1
    pipe(test, ("a", 2, 0))
    assert test.bad_records == {("in-count", "late"): 1}
    pipe(test, ("b", 29, 0))
    assert Windowed("a", 0, 10_000) in test.store("in-count")
    pipe(test, ("b", 30, 0))
    assert Windowed("a", 0, 10_000) not in test.store("in-count")
    assert read(test) == [("b", 10, 20, 1), ("b", 20, 30, 1)]


# Late records


def test_late_records_are_dead_letters() -> None:
    test = driver(lambda s: s.window(tumbling("10s")).count().to("out"))
    pipe(test, ("a", 5, 0), ("a", 10, 1), ("a", 9, 2), ("a", 11, 3), ("b", 8, 4))
    assert read(test) == [("a", 0, 10, 1)]
    first, second = test.dead_letters()
    assert (first.key, first.timestamp, second.key) == (b"a", 9000, b"b")
    headers = {name: (value or b"").decode() for name, value in first.headers}
    assert headers["kproc.reason"] == "late"
    assert headers["kproc.offset"] == "2"
    assert "1000 ms behind the stream time" in headers["kproc.error"]
    assert test.bad_records == {("in-count", "late"): 2}


def test_late_records_are_judged_one_by_one_wherever_batches_end() -> None:
    rows = [("a", time, 1) for time in (1, 12, 9, 3, 25, 19, 18, 31, 5)]
    together, apart = (
        driver(lambda s: s.window(tumbling("10s", grace="5s")).reduce(add).to("out"))
        for _ in range(2)
    )
    pipe(together, *rows)
    for row in rows:
        pipe(apart, row)
    assert read(together) == read(apart) == [("a", 0, 10, 3), ("a", 10, 20, 1)]
    assert together.bad_records == apart.bad_records == {("in-reduce", "late"): 3}


def test_late_records_can_be_skipped() -> None:
    test = driver(lambda s: s.window(tumbling("10s"), late="skip").count().to("out"))
    pipe(test, ("a", 10, 1), ("a", 9, 2))
    assert test.dead_letters() == []
    assert test.bad_records == {("in-count", "late"): 1}


def test_late_records_can_stop_the_worker() -> None:
    test = driver(lambda s: s.window(tumbling("10s"), late="fail").count().to("out"))
    pipe(test, ("a", 10, 1))
    with pytest.raises(BadRecordError, match=r"in\[0\] offset 1: LateError"):
        pipe(test, ("a", 9, 2))


def test_late_records_can_be_a_stream() -> None:
    def make(stream: Grouped) -> None:
        counts = stream.window(tumbling("10s")).count()
        counts.to("out")
        counts.late().map_values(lambda value: value * 10).to("late")

    test = driver(make)
    pipe(test, ("a", 10, 1), ("a", 9, 2), ("a", 11, 3), ("b", 8, 4))
    assert test.read("late") == [("a", 20), ("b", 40)]
    assert test.dead_letters() == []
    assert test.bad_records == {}


def test_a_record_that_some_of_its_windows_still_take_is_not_late() -> None:
    test = driver(lambda s: s.window(hopping("10s", every="5s")).reduce(add).to("out"))
    pipe(test, ("a", 8, 1), ("a", 12, 2), ("a", 9, 4), ("a", 100, 0))
    assert read(test) == [("a", 0, 10, 1), ("a", 5, 15, 7), ("a", 10, 20, 2)]
    assert test.bad_records == {("in-reduce", "partly-late"): 1}
    assert test.dead_letters() == []


# What fails


def fails_on_two(count: int) -> int:
    if count == 2:
        raise ValueError("two")
    return count


def test_a_result_that_fails_on_its_way_is_a_dead_letter_and_nothing_else_is() -> None:
    def make(stream: Grouped) -> None:
        counts = stream.window(tumbling("10s")).count().to_stream()
        counts.map_values(fails_on_two, name="check").to("out")

    test = driver(make)
    rows = [("a", 1, 0), ("a", 2, 0), ("b", 3, 0), ("c", 4, 0), ("c", 5, 0), ("d", 10, 0)]
    pipe(test, *rows, ("d", 11, 0), ("e", 20, 0))
    assert read(test) == [("b", 0, 10, 1)]
    letters = test.dead_letters()
    assert [json.loads(letter.key or b"") for letter in letters] == [
        ["a", 0, 10_000],
        ["c", 0, 10_000],
        ["d", 10_000, 20_000],
    ]
    assert [letter.value for letter in letters] == [b"2"] * 3
    headers = {name: (value or b"").decode() for name, value in letters[0].headers}
    assert (headers["kproc.topic"], headers["kproc.step"]) == ("in-count", "check")
    assert test.bad_records == {("check", "function"): 3}
    assert test.store("in-count") == {Windowed("e", 20_000, 30_000): 1}


def test_a_bad_record_closes_nothing() -> None:
    def make(stream: Grouped) -> None:
        stream.window(tumbling("10s")).aggregate(int, refuse_nine).to("out")

    test = driver(make)
    pipe(test, ("a", 1, 1), ("b", 10, 9), ("a", 2, 1), ("b", 11, 1))
    assert read(test) == [("a", 0, 10, 2)]
    assert test.bad_records == {("in-aggregate", "function"): 1}


def refuse_nine(total: int, value: int) -> int:
    if value == 9:
        raise ValueError("nine")
    return total + value


def test_null_keys_and_times_beyond_calendars_are_bad_records() -> None:
    test = driver(lambda s: s.window(tumbling("10s")).count().to("out"))
    test.pipe("in", key=None, value=1, timestamp=1)
    test.pipe("in", key="a", value=1, timestamp=10**15)
    pipe(test, ("a", 1, 0))
    assert test.bad_records == {("in-count", "null-key"): 1, ("source-in", "timestamp"): 1}
    assert len(test.store("in-count")) == 1


# Topics, stores, restarts


def test_windowed_keys_are_json_in_topics() -> None:
    test = driver(lambda s: s.window(tumbling("10s")).count().to("out"))
    pipe(test, ("a", 1, 0), ("a", 10, 0))
    (log,) = [log for log in test._kafka.logs if log.topic == "out"]
    assert test._kafka.logs[log].committed()[0].key == b'{"key":"a","start":0,"end":10000}'


def test_results_can_be_grouped_again() -> None:
    def make(stream: Grouped) -> None:
        counts = stream.window(tumbling("10s")).count(name="c").to_stream()
        counts.map(lambda window, count: (window.start, count)).group_by_key().reduce(
            max, name="most"
        ).to("out")

    test = driver(make, partitions=1)
    pipe(test, ("a", 1, 0), ("a", 2, 0), ("b", 3, 0), ("b", 10, 0))
    assert test.read("out") == [(0, 2)]


@pytest.mark.parametrize("times", [(10, 30), (12, 22, 24, 40), (99,)])
def test_windows_of_windows_take_what_has_waited(times: Sequence[int]) -> None:
    def make(stream: Grouped) -> None:
        first = stream.window(tumbling("10s", grace="2s")).count(name="c").to_stream()
        again = first.group_by_key().window(tumbling("10s"))
        again.reduce(max, name="again").to_stream().map(outer).to("out")

    test = driver(make)
    pipe(test, ("a", 1, 0), ("b", 2, 0), ("a", 9, 0))
    for time in times:
        pipe(test, ("c", time, 0))
    assert test.bad_records == {}
    assert [row for row in test.read("out") if row[0] != "c"] == [("a", [0, 2]), ("b", [0, 1])]


def outer(window: Windowed[Windowed[str]], count: int) -> tuple[str, list[int]]:
    assert (window.start, window.end) == (window.key.start, window.key.end)
    return window.key.key, [window.start, count]


@pytest.mark.parametrize("windows", [session("4s"), sliding("4s")])
@pytest.mark.parametrize("first", [True, False])
def test_what_waits_meets_what_did_not(windows: Session | Sliding, *, first: bool) -> None:
    topology = Topology("app")
    left, right = (topology.stream(name, value=int) for name in ("in", "other"))
    joined = left.left_join(right, lambda one, _: one, within="10s", name="j")
    merged = left.merge(joined) if first else joined.merge(left)
    merged.group_by_key().window(windows).count(name="c").to("out")
    test = TopologyDriver(topology)
    pipe(test, ("a", 5, 1), ("a", 100, 1), ("a", 1000, 1))
    assert test.bad_records == {}
    assert [value for *_, value in read(test)] == [2, 2]


def test_a_time_to_live_behind_what_idle_inputs_lead_to() -> None:
    def make(stream: Grouped) -> None:
        visits = stream.window(session("30m")).count(name="visits")
        visits.to_stream().to_table(name="kept", ttl="10m").to("out")

    test = driver(make)
    pipe(test, ("a", 0, 1), ("b", 1200, 1))
    test.idle()
    assert sorted(read(test), key=str) == [("a", 0, 0, None), ("b", 1200, 1200, 1)]


def test_what_waits_in_vain_is_in_time_for_what_follows() -> None:
    topology = Topology("app")
    left, right = (topology.stream(name, value=int) for name in ("in", "other"))
    joined = left.left_join(
        right, lambda one, _: one, within=JoinWindow("10s", grace="5s"), name="j"
    )
    joined.group_by_key().window(tumbling("10s")).count(name="c").to("out")
    test = TopologyDriver(topology)
    pipe(test, ("a", 1, 1), ("a", 100, 1), ("a", 200, 1))
    assert test.bad_records == {}
    assert read(test) == [("a", 0, 10, 1), ("a", 100, 110, 1)]


@pytest.mark.parametrize("emit", ["change", "checkpoint"])
def test_tables_of_equal_windows_can_be_joined(emit: WindowEmit) -> None:
    topology = Topology("app")
    left, right = (
        topology.stream(topic, value=int)
        .group_by_key()
        .window(tumbling("10s"), emit=emit)
        .reduce(add, name=f"{topic}-sums")
        for topic in ("in", "other")
    )
    left.join(right, lambda one, other: [one, other], name="both").to("out")
    test = TopologyDriver(topology, partitions=1)
    pipe(test, ("a", 1, 1), ("b", 2, 2))
    test.pipe("other", key="a", value=10, timestamp=3000)
    test.pipe("other", key="a", value=10, timestamp=11_000)
    pipe(test, ("a", 12, 3))
    assert read(test) == [("a", 0, 10, [1, 10]), ("a", 10, 20, [3, 10])]


def test_what_closed_windows_emitted_is_a_table_where_it_is_kept() -> None:
    topology = Topology("app")
    sums = topology.stream("in", value=int).group_by_key().window(tumbling("10s")).reduce(add)
    kept = sums.to_stream().to_table(name="kept")
    kept.filter(lambda total: total > 1).to("big")
    kept.group_by(lambda _: "all", name="all").reduce(
        add, lambda total, value: total - value, name="total"
    ).to("out")
    test = TopologyDriver(topology, partitions=1)
    pipe(test, ("a", 1, 1), ("b", 2, 2), ("a", 10, 3), ("a", 20, 4))
    assert read(test, "big") == [("b", 0, 10, 2), ("a", 10, 20, 3)]
    assert test.read("out")[-1] == ("all", 6)


@pytest.mark.parametrize("emit", ["close", "change", "checkpoint"])
def test_windows_are_no_tables_of_which_others_can_be_made(emit: WindowEmit) -> None:
    stream = Topology("app").stream("in", value=int)
    sums = stream.group_by_key().window(tumbling("10s"), emit=emit).reduce(add)
    way_out = r"put \.to_stream\(\)\.to_table\(name=\.\.\.\)"
    offered = ("filter", "filter_not", "map_values", "group_by", "suppress")
    assert not any(hasattr(sums, name) for name in offered)
    if emit == "close":
        for join in (
            lambda: sums.join(sums, add, name="j"),
            lambda: sums.to_stream().join(sums, add, name="k"),
        ):
            with pytest.raises(TopologyError, match=way_out):
                join()


def test_a_restart_goes_on_with_open_windows() -> None:
    test = driver(lambda s: s.window(tumbling("10s")).count().to("out"))
    pipe(test, ("a", 1, 0), ("a", 2, 0))
    test.restart()
    pipe(test, ("a", 3, 0), ("a", 10, 0))
    assert read(test) == [("a", 0, 10, 3)]


def test_windows_that_a_shorter_grace_has_closed_are_emitted_after_the_restart() -> None:
    long = driver(lambda s: s.window(tumbling("10s", grace="1h")).count().to("out"))
    pipe(long, ("a", 1, 0), ("a", 50, 0))
    short = driver(lambda s: s.window(tumbling("10s")).count().to("out"))
    short._kafka, short._disk = long._kafka, long._disk
    short.restart()
    pipe(short, ("b", 51, 0))
    assert read(short) == [("a", 0, 10, 1)]


def test_what_does_not_go_together_is_refused() -> None:
    grouped = Topology("app").stream("in", value=int).group_by_key()
    with pytest.raises(TopologyError, match="retention"):
        grouped.window(tumbling("10s", grace="5s"), retention="4s")
    with pytest.raises(TopologyError, match="emit='later'"):
        grouped.window(tumbling("10s"), emit="later")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TopologyError, match="late='drop'"):
        grouped.window(tumbling("10s"), late="drop")  # pyright: ignore[reportArgumentType]


def test_a_window_that_is_kept_is_not_emitted_again_after_a_restart() -> None:
    test = driver(lambda s: s.window(tumbling("10s"), retention="1h").count().to("out"))
    pipe(test, ("a", 1, 0), ("a", 10, 0))
    assert read(test) == [("a", 0, 10, 1)]
    test.restart()
    pipe(test, ("a", 11, 0), ("a", 20, 0))
    assert read(test) == [("a", 10, 20, 2)]


def test_the_description_says_what_the_windows_are() -> None:
    topology = Topology("app")
    stream = topology.stream("in", value=int).group_by_key()
    counts = stream.window(tumbling("10s", grace="1s")).count()
    counts.to("out")
    counts.late().to("late")
    shown = describe(plan(topology))
    assert "count per tumbling 10s, grace 1s, emit close" in shown
    assert "store, windowed(text) → stamped(int64)" in shown
    assert "late: → late  topic, text → int64" in shown
