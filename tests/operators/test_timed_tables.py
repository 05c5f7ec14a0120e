"""Tables that act as time passes: expiry and suppression."""

from typing import Any

import pytest

from processor import Table, Topology
from processor.errors import TopologyError
from processor.operators.changes import Change
from processor.operators.tables.timed import Buffered, Wait, buffered_serde
from processor.records import Timestamp
from processor.serdes import json
from processor.testing import TopologyDriver


@pytest.mark.parametrize(
    ("wait", "begin", "end"),
    [(1, 5, 6), (99, 5, 104), (250, 0, 250), (1000, 3, 1010), (1000, 0, 1000)],
)
def test_a_wait_ends_at_most_a_hundredth_late(wait: int, begin: int, end: int) -> None:
    assert Wait(wait).end(begin) == end


def test_a_buffered_change_comes_back_as_it_was() -> None:
    serde = buffered_serde(json)
    held = Buffered(Timestamp(7), Timestamp(5), Change([1], None))
    assert serde.name == "buffered(change(json))"
    assert serde.decode(serde.encode(held)) == held


def emitted(make: Any, *puts: tuple[int, str, Any]) -> list[tuple[Any, Any, int]]:
    app = Topology("app")
    table: Table[str, Any] = app.table("in", name="t", emit="change")
    make(table).to("out")
    driver = TopologyDriver(app)
    for time, key, value in puts:
        driver.pipe("in", key=key, value=value, timestamp=time)
    return [(each.key, each.value, each.timestamp) for each in driver.read_records("out")]


def test_the_last_change_is_emitted_when_its_time_has_come() -> None:
    puts = [(0, "a", 1), (1, "a", 2), (2, "b", 3), (10, "c", 4), (12, "a", 5)]
    assert emitted(lambda table: table.suppress(until=0.01, max_records=9), *puts) == [
        ("a", 2, 1),
        ("b", 3, 2),
    ]


def test_a_change_at_the_very_end_of_the_wait_is_emitted_with_it() -> None:
    puts = [(0, "a", 1), (10, "a", 2)]
    assert emitted(lambda table: table.suppress(until=0.01, max_records=9), *puts) == [("a", 2, 10)]


def test_what_came_and_went_is_never_emitted() -> None:
    puts = [(0, "a", 1), (1, "a", None), (50, "b", 1)]
    assert emitted(lambda table: table.suppress(until=0.01, max_records=9), *puts) == []


def test_a_full_buffer_emits_what_is_due_first() -> None:
    puts = [(3, "a", 1), (2, "b", 2), (4, "c", 3)]
    assert emitted(lambda table: table.suppress(until=0.05, max_records=2), *puts) == [("b", 2, 2)]


def test_a_filter_downstream_of_a_suppression_takes_back_what_was_emitted() -> None:
    puts = [(0, "a", 8), (10, "z", 0), (11, "a", 3), (12, "a", 2), (30, "z", 0)]
    made = emitted(
        lambda table: table.suppress(until=0.01, max_records=9).filter(lambda value: value > 5),
        *puts,
    )
    assert made == [("a", 8, 0), ("a", None, 12)]


def test_a_bad_change_leaves_the_record_that_brought_its_time_alone() -> None:
    app = Topology("app")
    table = app.table("in", name="t", emit="change")
    table.suppress(until=0.01, max_records=9).map_values(lambda value: 6 // value).to("out")
    driver = TopologyDriver(app)
    for time, key, value in [(0, "a", 0), (1, "b", 3), (20, "c", 1), (50, "d", 1)]:
        driver.pipe("in", key=key, value=value, timestamp=time)
    assert driver.read("out") == [("b", 2), ("c", 6)]
    (letter,) = driver.dead_letters()
    assert letter[:2] == (b"a", b"0")
    assert driver.store("t") == {"a": 0, "b": 3, "c": 1, "d": 1}


def test_expired_values_are_tombstones_with_the_time_of_their_end() -> None:
    app = Topology("app")
    app.table("in", name="t", emit="change", ttl=0.01).to("out")
    app.stream("other").to("rest")
    driver = TopologyDriver(app)
    driver.pipe("in", key="a", value=1, timestamp=5)
    driver.pipe("in", key="b", value=1, timestamp=12)
    driver.pipe("in", key="c", value=1, timestamp=17)
    driver.pipe("in", key="late", value=1, timestamp=7)
    assert [(each.key, each.value, each.timestamp) for each in driver.read_records("out")] == [
        ("a", 1, 5),
        ("b", 1, 12),
        ("a", None, 17),
        ("c", 1, 17),
    ]
    assert driver.bad_records == {("t", "late"): 1}
    assert driver.dead_letters() == []


def test_what_does_not_fit_is_refused() -> None:
    stream = Topology("app").stream("in")
    with pytest.raises(TopologyError, match="give ttl= or versioned=, not both"):
        stream.to_table(name="t", ttl="1d", versioned="1h")
    table = stream.to_table(name="t")
    with pytest.raises(TopologyError, match="max_records=0: give 1 or more"):
        table.suppress(until="1s", max_records=0)
    held = table.suppress(until="1s", max_records=5)
    with pytest.raises(TopologyError, match="in no store that a join could read"):
        stream.join(held, lambda one, _: one)
