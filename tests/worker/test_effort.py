import time
from itertools import pairwise
from pathlib import Path

from processor.worker.effort import Effort, Size, cpu_seconds, size_of, starved_seconds


def spin(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_waiting_for_records_is_not_busy() -> None:
    effort = Effort(1000, 256)
    began = time.monotonic()
    effort.begin()
    time.sleep(0.2)
    effort.fetched(3)
    effort.done(3)
    assert effort.busy <= time.monotonic() - began - 0.2
    assert effort.limit > 0


def test_work_without_new_records_is_busy() -> None:
    effort = Effort(1000, 256)
    effort.begin()
    effort.fetched(0)
    time.sleep(0.05)  # as waiting for the acknowledgement of a commit
    effort.done(0)
    assert effort.busy >= 0.05
    assert effort.limit == 256


def test_taking_over_as_many_records_as_may_come_is_busy() -> None:
    effort = Effort(10, 256)
    effort.begin()
    time.sleep(0.05)
    effort.fetched(10)
    effort.done(10)
    assert effort.busy >= 0.05


def test_what_the_processor_does_while_records_are_fetched_is_busy() -> None:
    effort = Effort(1000, 256)
    effort.begin()
    spin(0.05)
    effort.fetched(3)
    effort.done(3)
    assert effort.busy >= 0.05


def test_batches_grow_to_the_most_that_is_allowed() -> None:
    effort = Effort(1000, 256)
    for _ in range(5):
        effort.begin()
        effort.fetched(effort.limit)
        effort.done(effort.limit)
    assert effort.limit <= 1000  # grows only while a turn is short, which a slow machine's isn't


def test_batches_shrink_when_they_take_long() -> None:
    effort = Effort(1000, 256)
    effort.begin()
    effort.fetched(256)
    time.sleep(0.25)
    effort.done(256)
    assert effort.limit == 128


def test_batches_stay_as_large_however_long_brokers_take() -> None:
    effort = Effort(1000, 256)
    effort.begin()
    effort.fetched(256)
    with effort.waiting():
        time.sleep(0.25)
    effort.done(256)
    assert effort.limit >= 256
    assert effort.busy >= 0.25


def test_processor_time_passes_with_work() -> None:
    before, starved = cpu_seconds(), starved_seconds()
    spin(0.05)
    assert cpu_seconds() - before >= 0.05
    assert starved_seconds() >= starved >= 0


def test_the_size_of_folders(tmp_path: Path) -> None:
    (tmp_path / "one" / "data").mkdir(parents=True)
    (tmp_path / "one" / "lock").write_bytes(b"12")
    (tmp_path / "one" / "data" / "file").write_bytes(b"123")
    assert size_of(tmp_path) == 5
    assert size_of(tmp_path / "nonesuch") == 0
    assert Size(lambda: [tmp_path]).bytes == 5
    assert Size(list).bytes == 0


def test_a_new_worker_begins_with_one_record_and_goes_on_with_four_times_as_many() -> None:
    effort = Effort(1000)
    limits: list[int] = []
    for _ in range(7):
        limits.append(effort.limit)
        effort.begin()
        effort.fetched(effort.limit)
        effort.done(effort.limit)
    assert limits[0] == 1
    assert all(after <= 4 * before for before, after in pairwise(limits))
    assert limits[-1] > 1


def test_few_records_that_were_fast_say_nothing_of_many() -> None:
    effort = Effort(1000)
    for _ in range(5):
        effort.begin()
        effort.fetched(1)
        effort.done(1)
    assert effort.limit <= 4


def test_after_a_turn_that_took_very_long_the_next_takes_a_second_at_most() -> None:
    effort = Effort(1000, 256)
    effort.begin()
    effort.fetched(256)
    time.sleep(2.1)
    effort.done(256)
    assert effort.limit <= 256 / 2.1


def test_the_slowest_step_of_a_turn_is_known() -> None:
    effort = Effort(1000)
    effort.begin()
    effort.entered("fast")
    effort.entered("slow")
    time.sleep(0.05)
    effort.entered("fast")
    step, seconds = effort.slowest
    assert step == "slow"
    assert seconds >= 0.05


def test_among_records_of_which_one_took_too_long_each_is_worked_on_alone() -> None:
    effort = Effort(1000, suspects=3)
    for limit in (1, 1, 1):
        assert effort.limit == limit
        effort.begin()
        effort.fetched(1)
        effort.done(1)
    assert effort.limit in (1, 4)  # of a slow machine's turn nothing follows


def test_what_each_step_has_worked() -> None:
    effort = Effort(1000, 256)
    for _ in range(2):
        effort.begin()
        effort.entered("slow")
        spin(0.02)
        effort.entered("other")
        effort.entered("")
    assert list(effort.steps) == ["slow", "other"], "up to the turn that is under way"
    assert effort.steps["slow"] >= 0.02
    effort.begin()
    assert effort.steps["slow"] >= 0.04
