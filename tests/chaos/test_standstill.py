"""Standstills: from looks at what is committed to the longest time without progress."""

from processor.chaos.standstill import Standstills
from processor.records import Offset, Partition, TopicPartition

P, Q = (TopicPartition("in", Partition(number)) for number in (0, 1))


def looks(*seen: tuple[int, int, int]) -> tuple[int, int] | None:
    """The longest one of a partition that was seen as (time, committed, end)."""
    watch = Standstills()
    for now, done, end in seen:
        watch.look(now, {P: Offset(done)}, {P: Offset(end)})
    return watch.longest and (watch.longest.since, watch.longest.until)


def test_what_is_done_does_not_stand_still() -> None:
    assert looks((0, 5, 5), (1000, 5, 5), (2000, 9, 9)) is None


def test_it_lasts_from_the_last_progress_to_the_next() -> None:
    assert looks((0, 5, 9), (100, 6, 9), (200, 6, 9), (900, 6, 12), (1000, 7, 12)) == (100, 1000)


def test_one_that_does_not_end_counts_up_to_the_last_look() -> None:
    assert looks((0, 0, 9), (100, 3, 9), (700, 3, 9)) == (100, 700)


def test_it_begins_when_there_is_something_to_do() -> None:
    assert looks((0, 5, 5), (1000, 5, 6), (1100, 6, 6)) == (1000, 1100)


def test_each_partition_counts_for_itself() -> None:
    watch = Standstills()
    for now in range(0, 500, 100):
        watch.look(now, {P: Offset(now)}, {P: Offset(900), Q: Offset(1)})
    assert watch.longest is not None
    assert (watch.longest.source, watch.longest.lasted) == (Q, 400)
