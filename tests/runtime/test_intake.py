"""Records of several partitions are taken in the order of their timestamps, as far as is known."""

from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from processor.operators.base import NO_TIME
from processor.records import Batch, Offset, Partition, RawBatch, Timestamp, TopicPartition
from processor.runtime import intake as module
from processor.runtime.intake import Intake
from processor.runtime.progress import Progress, marker, note_text, read_note
from processor.runtime.task_batch import TaskBatch
from processor.runtime.upstream import Upstream
from processor.topology.plan import TaskId

A, B, C, D = (TopicPartition(name, Partition(0)) for name in "abcd")


def batch(*times: int, first: int = 0) -> RawBatch:
    return Batch(
        [None] * len(times),
        [None] * len(times),
        [Timestamp(time) for time in times],
        [Offset(first + row) for row in range(len(times))],
    )


def in_rows(one: TaskBatch) -> list[tuple[TopicPartition, int]]:
    """What a batch has, row by row."""
    rows = {
        row: (source, time)
        for source, records, rows in one.slices
        for row, time in zip(rows, records.timestamps, strict=True)
    }
    assert sorted(rows) == list(one.rows)
    return [rows[row] for row in one.rows]


def taken(intake: Intake, elapsed: int = 0) -> list[tuple[str, list[int]]]:
    """What is worked on, in runs of one partition."""
    rows = (row for one in intake.take(elapsed) for row in in_rows(one))
    return [
        (source.topic, [time for _, time in run]) for source, run in groupby(rows, itemgetter(0))
    ]


def test_one_partition_is_taken_as_it_comes() -> None:
    intake = Intake(frozenset({A}), 0)
    intake.add(A, batch(5, 3, 9))
    assert taken(intake) == [("a", [5, 3, 9])]
    assert taken(intake) == []


def test_the_lower_timestamp_goes_first() -> None:
    intake = Intake(frozenset({A, B}), 0)
    intake.add(A, batch(1, 4, 5, 9))
    intake.add(B, batch(2, 3, 5, 7))
    intake.end(A, Offset(9))
    intake.end(B, Offset(9))
    assert taken(intake) == [
        ("a", [1]),
        ("b", [2, 3]),
        ("a", [4, 5]),
        ("b", [5, 7]),
        ("a", [9]),
    ]


def test_what_may_still_come_is_waited_for() -> None:
    intake = Intake(frozenset({A, B}), 0)
    intake.add(A, batch(1, 4))
    assert taken(intake) == []  # nothing is known of b
    intake.add(B, batch(2))
    assert taken(intake) == [("a", [1]), ("b", [2])]
    intake.end(B, Offset(9))
    assert taken(intake) == [("a", [4])]


def test_a_partition_at_its_end_is_waited_for_as_long_as_is_said() -> None:
    intake = Intake(frozenset({A, B}), 100)
    intake.end(B, Offset(9))
    intake.add(A, batch(1))
    assert taken(intake, 1000) == []
    assert taken(intake, 1099) == []
    assert taken(intake, 1100) == [("a", [1])]
    intake.add(A, batch(5, first=1))
    assert taken(intake, 1200) == [("a", [5])]  # it is missing since then
    intake.add(B, batch(2))
    intake.add(A, batch(6, first=2))
    assert taken(intake, 1300) == [("b", [2])]
    assert taken(intake, 1400) == []
    intake.end(B, Offset(9))
    assert taken(intake, 1400) == []
    assert taken(intake, 1500) == [("a", [6])]


def test_each_partition_is_waited_for_by_itself() -> None:
    intake = Intake(frozenset({A, B}), 100)
    intake.end(A, Offset(9))
    intake.end(B, Offset(9))
    intake.add(A, batch(1))
    assert taken(intake, 0) == []
    assert taken(intake, 100) == [("a", [1])]
    intake.end(A, Offset(9))
    intake.add(B, batch(2))
    assert taken(intake, 5000) == []
    assert taken(intake, 5100) == [("b", [2])]


def test_equal_times_come_in_one_order_however_they_are_fetched() -> None:
    for pieces in ([(3, 5)], [(3,), (5,)]):
        intake = Intake(frozenset({A, B}), 0)
        intake.add(A, batch(5, 5, 6))
        for number, piece in enumerate(pieces):
            intake.add(B, batch(*piece, first=number))
        intake.end(A, Offset(9))
        intake.end(B, Offset(9))
        found = [(name, time) for name, times in taken(intake) for time in times]
        assert found == [("b", 3), ("a", 5), ("a", 5), ("b", 5), ("a", 6)]


def test_without_a_wait_there_is_no_order() -> None:
    intake = Intake(frozenset({A, B}), None)
    intake.add(A, batch(9))
    intake.add(B, batch(1))
    assert taken(intake) == [("a", [9]), ("b", [1])]
    intake.add(A, batch(9, 2, first=1))
    assert taken(intake) == [("a", [9, 2])]


def test_what_waits_for_another_partition_is_fetched_no_more_until_most_is_gone() -> None:
    intake = Intake(frozenset({A, B}), 0)
    many = module._FULL + 1
    intake.add(A, batch(*range(many)))
    assert taken(intake) == []
    nothing = frozenset[TopicPartition]()
    assert intake.surplus(nothing) == {A}
    intake.add(B, batch(many // 2))
    assert [(name, len(times)) for name, times in taken(intake)] == [("a", 50_001), ("b", 1)]
    assert intake.surplus(nothing) == nothing
    assert intake.surplus(frozenset({A})) == {A}
    intake.add(B, batch(many - many // 5, first=1))
    assert sum(len(times) for _, times in taken(intake)) == many - many // 5 - 50_001 + 2
    assert intake.surplus(frozenset({A})) == nothing


def test_a_batch_is_no_larger_than_what_may_be_at_work_at_once() -> None:
    intake = Intake(frozenset({A, B}), 0)
    intake.add(A, batch(*range(module._MOST)))
    intake.add(B, batch(*range(module._MOST)))
    intake.end(A, Offset(9))
    intake.end(B, Offset(9))
    passes = list(intake.take(0))
    assert all(len(one.rows) <= module._MOST + 2 for one in passes)
    rows = [row for one in passes for row in in_rows(one)]
    assert [time for _, time in rows] == [time for time in range(module._MOST) for _ in "ab"]


def test_a_time_that_is_none_holds_up_nothing() -> None:
    intake = Intake(frozenset({A, B}), 0)
    intake.add(A, batch(10**16, 2))
    intake.add(B, batch(1, 3))
    assert taken(intake) == [("a", [10**16]), ("b", [1]), ("a", [2])]


def test_the_next_offset_is_behind_what_waits() -> None:
    intake = Intake(frozenset({A, B}), 0)
    assert intake.next(A, Offset(7)) == 7
    intake.add(A, batch(1, 2, first=7))
    assert intake.next(A, Offset(7)) == 9
    assert taken(intake) == []


def test_an_end_is_reached_when_nothing_waits_before_it() -> None:
    intake = Intake(frozenset({A, B}), 0)
    intake.add(A, batch(1, 4))
    intake.end(A, Offset(3))
    begun = {A: Offset(0), B: Offset(0)}
    assert intake.positions(begun) == begun
    intake.end(B, Offset(7))
    assert intake.positions(begun) == {A: Offset(0), B: Offset(7)}
    assert taken(intake) == [("a", [1, 4])]
    assert intake.positions(begun) == {A: Offset(3), B: Offset(7)}
    intake.add(A, batch(5, first=3))
    assert intake.positions(begun) == {A: Offset(0), B: Offset(7)}


def test_it_is_idle_once_all_ends_are_reached_for_long() -> None:
    intake = Intake(frozenset({A, B}), 0)
    assert not intake.is_idle(0, 100)
    intake.end(A, Offset(9))
    assert not intake.is_idle(500, 100)
    intake.end(B, Offset(9))
    assert not intake.is_idle(1000, 100)
    assert not intake.is_idle(1099, 100)
    assert intake.is_idle(1100, 100)
    assert not intake.is_idle(5000, 100)
    intake.add(A, batch(1))
    assert taken(intake) == [("a", [1])]
    assert not intake.is_idle(6000, 100)
    intake.end(A, Offset(9))
    assert not intake.is_idle(6000, 100)
    assert intake.is_idle(6100, 100)


def test_what_alternates_is_one_batch() -> None:
    intake = Intake(frozenset({A, B}), 0)
    intake.add(A, batch(1, 4, 5, 9))
    intake.add(B, batch(2, 3, 5, 7))
    (one,) = intake.take(0)
    assert [time for _, time in in_rows(one)] == [1, 2, 3, 4, 5, 5, 7]
    assert [one.slice_of(row).source.topic for row in one.rows] == [*"abbaabb"]
    assert one.slice_of(3).record(3).offsets == [1]
    first, second = (share.between(2, 4) for share in one.slices)
    assert (first.timestamps, first.offsets) == ([4, 5], [3, 4])
    assert (second.timestamps, second.offsets) == ([3], [2])


def test_the_order_is_that_of_event_times() -> None:
    intake = Intake(frozenset({A, B}), 0)
    intake.add(A, batch(1, 2, 3), [Timestamp(7), Timestamp(5), Timestamp(9)])
    intake.add(B, batch(4), [Timestamp(6)])
    intake.end(B, Offset(9))
    assert taken(intake) == [("b", [4]), ("a", [1, 2, 3])]


@given(st.lists(st.lists(st.integers(0, 50), max_size=20), min_size=3, max_size=3), st.randoms())
def test_whatever_comes_in_whatever_pieces(times: list[list[int]], random: Random) -> None:
    """Nothing is lost, the order within a partition stays, and sorted input comes out sorted."""
    sources = dict(zip((A, B, C), map(sorted, times), strict=True))
    intake = Intake(frozenset(sources), 0)
    found: list[tuple[TopicPartition, int]] = []
    left = {source: list(enumerate(rows)) for source, rows in sources.items()}
    while any(left.values()):
        source = random.choice([each for each in left if left[each]])
        count = random.randint(1, len(left[source]))
        piece, left[source] = left[source][:count], left[source][count:]
        intake.add(source, batch(*(time for _, time in piece), first=piece[0][0]))
        if not left[source]:
            intake.end(source, Offset(9))
        for each, rows in sources.items():
            if not rows:
                intake.end(each, Offset(9))
        for one in intake.take(0):
            found += in_rows(one)
    assert [time for _, time in found] == sorted(time for rows in times for time in rows)
    for source, rows in sources.items():
        assert [time for each, time in found if each == source] == rows


def test_what_waits_for_tasks_upstream_is_not_passed_over() -> None:
    writers = {TaskId(0, Partition(0)): (B,)}
    upstream = Upstream(A, writers, 0, Offset(0))
    intake = Intake(frozenset({A}), 0, {A: upstream})
    intake.add(A, batch(5, 9))
    assert taken(intake) == []
    assert intake.next(A, Offset(0)) == 2
    assert intake.positions({A: Offset(0)}) == {A: Offset(0)}
    report = marker(
        {TaskId(0, Partition(0)): Progress(Timestamp(7), (Offset(1),))}, 0, Timestamp(1)
    )
    intake.add(A, replace(report, offsets=[Offset(2)]))
    assert taken(intake) == [("a", [5])]
    assert intake.positions({A: Offset(0)}) == {A: Offset(1)}
    assert intake.notes()[A].done == (7, 0)
    assert intake.time() == 6


def test_what_waits_for_a_partition_that_is_empty_is_taken_once_its_writers_have_read_all() -> None:
    first, second = TaskId(0, Partition(0)), TaskId(1, Partition(0))
    done = {first: Progress(Timestamp(9), (Offset(2),))}
    none = {second: Progress(NO_TIME, (Offset(0),))}
    upstream = {
        A: Upstream(A, {first: (C,)}, 0, Offset(0), reported=done),
        B: Upstream(B, {second: (D,)}, 0, Offset(0), reported=none),
    }
    intake = Intake(frozenset({A, B}), 0, upstream)
    intake.add(A, batch(5, 8))
    assert taken(intake) == []
    assert intake.ask() == [D]
    assert [hold.task for hold in intake.holds(1000, 0)] == [second]
    intake.look_at({C: Offset(2), D: Offset(1)}, 1000)
    assert taken(intake, 1001) == []  # there is a record that the second has not read
    intake.add(B, marker({second: Progress(Timestamp(6), (Offset(1),))}, 0, Timestamp(1)))
    assert taken(intake, 1002) == [("a", [5])]
    intake.look_at({C: Offset(2)}, 1003)
    assert taken(intake, 1004) == []  # that says nothing of what the second may have got since
    intake.ask()
    intake.look_at({C: Offset(2), D: Offset(1)}, 1005)
    assert taken(intake, 1006) == [("a", [8])]


@given(
    st.lists(st.lists(st.integers(0, 5), max_size=20), min_size=3, max_size=3), st.integers(1, 7)
)
def test_what_is_taken_in_pieces_comes_in_the_same_order(times: list[list[int]], most: int) -> None:
    """However many have the same time, a piece has no more records than it may."""
    found: list[list[tuple[TopicPartition, int]]] = []
    for limit in (most, module._MOST):
        intake = Intake(frozenset({A, B, C}), 0)
        for source, rows in zip((A, B, C), map(sorted, times), strict=True):
            if rows:
                intake.add(source, batch(*rows))
            intake.end(source, Offset(99))
        rows_of = list[tuple[TopicPartition, int]]()
        while passes := list(intake.take(0, limit)):
            assert sum(len(one.rows) for one in passes) <= limit
            rows_of += (row for one in passes for row in in_rows(one))
        found.append(rows_of)
    assert found[0] == found[1]


def test_of_many_records_with_one_time_a_restart_repeats_none() -> None:
    task = TaskId(0, Partition(0))
    writers, reported = {task: (B,)}, {task: Progress(Timestamp(8), (Offset(1),))}
    records = batch(7, 7, 7, 7, 6)
    upstream = Upstream(A, writers, 0, Offset(0), reported=dict(reported))
    intake = Intake(frozenset({A}), 0, {A: upstream})
    intake.add(A, records)
    (one,) = intake.take(0, 3)
    assert [share.records.offsets for share in one.slices] == [[4, 0, 1]]
    at, note = intake.positions({A: Offset(0)})[A], intake.notes()[A]
    text = note_text(note, Timestamp(7), at, 5)
    assert read_note(text, Timestamp(7), at, 5) == note
    again = Intake(frozenset({A}), 0, {A: Upstream(A, writers, 0, at, note)})
    again.add(A, records.select([offset >= at for offset in records.offsets]))
    assert taken_offsets(again) == [2, 3]


def taken_offsets(intake: Intake) -> list[int]:
    passes = intake.take(0)
    return [each for one in passes for share in one.slices for each in share.records.offsets]
