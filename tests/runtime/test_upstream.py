"""What other tasks write waits until none of them can write anything earlier."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from processor.records import Batch, Headers, Offset, Partition, RawBatch, Timestamp, TopicPartition
from processor.runtime.progress import (
    Note,
    Progress,
    Reached,
    marker,
    note_text,
    read_note,
    split,
    stamped,
)
from processor.runtime.upstream import Queue, Upstream
from processor.topology.plan import TaskId

LAYOUT = 7
HERE = TopicPartition("between", Partition(0))
A, B = TaskId(0, Partition(0)), TaskId(0, Partition(1))
IN_A, IN_B = (TopicPartition("in", Partition(number)) for number in (0, 1))
WRITERS = {A: (IN_A,), B: (IN_B,)}


def rows(*times: int, first: int = 0) -> RawBatch:
    return Batch(
        [b"%d" % time for time in times],
        [b"v"] * len(times),
        [Timestamp(time) for time in times],
        [Offset(first + row) for row in range(len(times))],
    )


def reported(first: int, **progress: tuple[int, int]) -> RawBatch:
    """A marker at an offset: of each task its time and its offset."""
    known = {
        {"a": A, "b": B}[name]: Progress(Timestamp(time), (Offset(offset),))
        for name, (time, offset) in progress.items()
    }
    made = marker(known, LAYOUT, Timestamp(5))
    return Batch(made.keys, made.values, made.timestamps, [Offset(first)], made.headers)


def upstream(note: Note | None = None, position: int = 0) -> Upstream:
    return Upstream(HERE, WRITERS, LAYOUT, Offset(position), note)


def times(queue: Queue | None) -> list[int]:
    return [] if queue is None else list(queue.times)


def ends(a: int, b: int) -> Mapping[TopicPartition, Offset]:
    return {IN_A: Offset(a), IN_B: Offset(b)}


def test_nothing_is_released_until_all_writers_have_reported() -> None:
    made = upstream()
    assert made.add(rows(1, 5, 9)) == 3
    assert times(made.release()) == []
    assert made.add(reported(3, a=(9, 3))) == 0
    assert times(made.release()) == []
    made.add(reported(4, b=(6, 1)))
    assert times(made.release()) == [1, 5]
    assert (made.bound, made.reached, made.first) == (6, 5, 2)


def test_records_come_in_the_order_of_their_times_and_of_equal_ones_as_written() -> None:
    made = upstream()
    made.add(rows(10, 30, 20, 30))
    made.add(rows(5, 20, first=4))
    made.add(reported(6, a=(31, 9), b=(31, 9)))
    released = made.release()
    assert times(released) == [5, 10, 20, 20, 30, 30]
    assert released is not None
    assert list(released.records.offsets) == [4, 0, 2, 5, 1, 3]


RUNS = st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=30).map(sorted), max_size=30)
SHUFFLED = st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=12), max_size=30)


@given(RUNS | SHUFFLED, st.data())
def test_whatever_comes_is_given_on_in_order_and_the_first_left_is_known(
    batches: list[list[int]], data: st.DataObject
) -> None:
    made, left, given, first = upstream(), list[tuple[int, int]](), list[tuple[int, int]](), 0
    for batch in batches:
        made.add(rows(*batch, first=first))
        left += zip(batch, range(first, first + len(batch)), strict=True)
        first += len(batch) + 1
        bound = data.draw(st.integers(0, 41), label="bound")
        made.add(reported(first - 1, a=(bound, first), b=(bound, first)))
        before = [row for row in sorted(left) if row[0] < made.time]
        released = made.release()
        now = (
            []
            if released is None
            else list(zip(released.times, released.records.offsets, strict=True))
        )
        assert now == before
        given += now
        left = [row for row in left if row not in now]
        assert made.first == min((offset for _, offset in left), default=None)
    assert len(given) + len(left) == sum(map(len, batches))


def test_a_record_of_the_very_time_that_was_reported_waits() -> None:
    made = upstream()
    made.add(rows(6))
    made.add(reported(1, a=(6, 1), b=(6, 1)))
    assert times(made.release()) == []
    assert made.is_waiting


def test_a_writer_at_its_end_is_not_waited_for() -> None:
    made = upstream()
    made.add(rows(50))
    made.add(reported(1, a=(50, 4), b=(7, 2)))
    assert times(made.release()) == []
    assert set(made.ask()) == {IN_A, IN_B}
    assert times(made.release_at(ends(9, 2))) == []  # a has more to read: as of 50 it may write
    assert (made.bound, made.reached) == (50, 49)
    assert not made.is_drained
    made.add(reported(2, a=(60, 9)))
    made.release()
    assert made.ask()
    assert times(made.release_at(ends(9, 2))) == [50]
    assert made.is_drained
    assert made.reached == 60
    assert not made.is_waiting


def test_a_writer_that_is_known_to_have_more_is_not_asked_for_again() -> None:
    made = upstream()
    made.add(rows(50))
    made.add(reported(1, a=(50, 4), b=(7, 2)))
    made.release()
    assert made.ask()
    made.release_at(ends(4, 3))
    assert not made.ask()
    made.add(reported(2, b=(8, 3)))
    made.release()
    assert made.ask()


def test_what_has_come_since_it_was_asked_is_not_released_by_the_answer() -> None:
    made = upstream()
    made.add(rows(50))
    made.add(reported(1, a=(50, 4), b=(7, 2)))
    made.release()
    assert made.ask()
    made.add(rows(55, first=2))
    assert times(made.release_at(ends(4, 2))) == [50]
    assert not made.is_drained
    assert made.first == 2


def test_what_was_reported_by_another_topology_says_nothing() -> None:
    made = Upstream(HERE, WRITERS, LAYOUT + 1, Offset(0))
    assert made.add(reported(0, a=(9, 3), b=(9, 3))) == 0
    assert made.time == -1


def test_after_a_restart_nothing_is_worked_on_twice_and_nothing_left_out() -> None:
    before = upstream()
    before.add(rows(1, 9, 3))
    before.add(reported(3, a=(5, 3), b=(6, 1)))
    assert times(before.release()) == [1, 3]
    note = before.noted(Reached(before.bound, Offset(0)))
    text = note_text(note, Timestamp(4), Offset(1), LAYOUT)
    again = upstream(read_note(text, Timestamp(4), Offset(1), LAYOUT), position=1)
    assert again.noted(again.begin) == note
    again.add(rows(9, first=1))
    assert times(again.release()) == []  # not before all is there that was
    again.add(rows(3, first=2))
    again.add(reported(3, a=(5, 3), b=(6, 1)))
    again.add(reported(4, a=(20, 4), b=(20, 2)))
    assert times(again.release()) == [9]


def test_a_note_of_another_topology_is_none() -> None:
    note = Note(
        Offset(5), Reached(Timestamp(3), Offset(2)), {A: Progress(Timestamp(3), (Offset(1),))}
    )
    text = note_text(note, Timestamp(4), Offset(1), LAYOUT)
    assert read_note(text, Timestamp(4), Offset(1), LAYOUT) == note
    assert read_note(text, Timestamp(4), Offset(1), LAYOUT + 1) is None
    assert read_note("", Timestamp(4), Offset(1), LAYOUT) is None


def test_writers_that_say_nothing_are_left_out_when_that_is_wanted() -> None:
    made = upstream()
    made.add(rows(50))
    made.add(reported(1, a=(60, 4)))
    made.release()
    hold = made.hold(1000)
    assert hold is not None
    assert (hold.task, hold.since) == (B, 1000)
    assert made.hold(2000) == hold
    assert times(made.go_on_without(hold)) == [50]
    assert made.overtaken == 1
    made.add(reported(2, b=(55, 1)))
    assert made.time == 55  # it is heard of again


def test_only_what_is_behind_its_task_says_so() -> None:
    in_order = rows(1, 2)
    assert stamped(in_order, in_order.timestamps) is in_order
    behind = stamped(rows(1, 7, 3), [Timestamp(1), Timestamp(7), Timestamp(7)])
    assert behind.headers is not None
    assert [len(each) for each in behind.headers] == [0, 0, 1]
    records, known, markers = split(behind, LAYOUT)
    assert list(known) == [1, 7, 7]
    assert (records.headers, markers) == (None, [])


def test_headers_of_users_stay_and_those_that_look_like_ours_go() -> None:
    mine: Headers = (("trace", b"x"),)
    forged: Headers = (("kproc.progress", b"y"), ("trace", b"z"))
    made = rows(1, 2)
    given = Batch(made.keys, made.values, made.timestamps, made.offsets, [mine, forged])
    records, known, markers = split(stamped(given, [Timestamp(5), Timestamp(2)]), LAYOUT)
    assert list(known) == [5, 2]
    assert records.headers == [mine, (("trace", b"z"),)]
    assert markers == []
