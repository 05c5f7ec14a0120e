"""The worker's core as a table: each event, and all commands that it leads to."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from processor import Topology, every, key_value, tumbling
from processor.errors import BadRecordError, PermissionDenied, RecordRefused, TopicMismatch
from processor.operators.base import NO_TIME
from processor.options import TopicLimits
from processor.records import Batch, Offset, Partition, RawBatch, Record, Timestamp, TopicPartition
from processor.runtime.commands import (
    Abort,
    Aborted,
    Assigned,
    Begin,
    CloseTask,
    Command,
    Commit,
    CommitFailed,
    Committed,
    Fetch,
    Fetched,
    Finish,
    Lost,
    OpenTask,
    Persist,
    Position,
    Produce,
    Purge,
    ReachedEnd,
    Refused,
    Revoked,
    SendOffsets,
    Stop,
    TaskOpened,
    Tick,
    Turn,
)
from processor.runtime.worker import Worker
from processor.settings import Settings
from processor.state.store import MemoryStore, Store
from processor.topology.plan import StoreId, TaskId, lay_out, plan

INPUT = TopicPartition("in", Partition(0))
OPTIONS = replace(Settings().options.alone(), follows_progress=False)
OTHER = TopicPartition("in", Partition(1))
TASK = TaskId(0, Partition(0))
STORE = StoreId("count", Partition(0))
CHANGELOG = "app-count-changelog"
CRASHED = RuntimeError("no answer")


def counting(emit: Any = "checkpoint") -> Topology:
    """Writes each value to "copies", and counts by key."""
    topology = Topology("app")
    stream = topology.stream("in")
    stream.to("copies")
    stream.group_by_key().count(name="count", emit=emit).to("counts", value=int)
    return topology


def failing() -> Topology:
    def check(value: int) -> int:
        if value < 0:
            raise ValueError("negative")
        return value

    topology = Topology("app")
    topology.stream("in").map_values(check, name="check").to("copies")
    return topology


def make(
    topology: Topology | None = None, *, partitions: int = 1, own: int = 1, **options: Any
) -> Worker:
    layout = lay_out(plan(topology or counting()), {"in": partitions})
    mine = frozenset(TopicPartition("in", Partition(number)) for number in range(own))
    return Worker(layout, mine, replace(OPTIONS, **options))


def opened(
    *, offset: int = 0, time: int = -1, task: TaskId = TASK, stores: Sequence[str] = ("count",)
) -> TaskOpened:
    empty: dict[str, Store] = {name: MemoryStore() for name in stores}
    source = TopicPartition("in", task.partition)
    return TaskOpened(task, empty, {source: Position(Offset(offset), Timestamp(time))})


def running(topology: Topology | None = None, **options: Any) -> Worker:
    """A worker with one task, open and assigned, at offset 0."""
    worker = make(topology, **options)
    names = [
        spec.name for part in plan(topology or counting()).subtopologies for spec in part.stores
    ]
    worker.handle(opened(stores=names))
    worker.handle(Assigned(frozenset({INPUT})))
    worker.handle(Tick(Timestamp(1000), 0))
    return worker


def raw(*records: tuple[str, object], start: int = 0) -> RawBatch:
    return Batch(
        [key.encode() for key, _ in records],
        [f"{value}".encode() for _, value in records],
        [Timestamp(100 + start + row) for row in range(len(records))],
        [Offset(start + row) for row in range(len(records))],
    )


def fetched(*records: tuple[str, object], start: int = 0) -> Fetched:
    return Fetched(INPUT, raw(*records, start=start))


def due(worker: Worker, clock: int = 1000) -> list[Command]:
    """What a tick leads to when a checkpoint is due."""
    return worker.handle(Tick(Timestamp(clock), worker._now.elapsed + 100))


def copies(*records: tuple[str, object], start: int = 0) -> Produce:
    """What is written of records; their rows are numbers from 0 there."""
    made = raw(*records, start=start)
    rows = cast("Sequence[Offset]", range(len(made)))
    return Produce("copies", replace(made, offsets=rows))


def at(offset: int, time: int) -> dict[TopicPartition, Position]:
    return {INPUT: Position(Offset(offset), Timestamp(time))}


def packed(time: int, count: int) -> bytes:
    return time.to_bytes(8, "big") + count.to_bytes(8, "big")


def changelog(clock: int, **changes: bytes | None) -> Produce:
    count = len(changes)
    records: RawBatch = Batch(
        [key.encode() for key in changes],
        list(changes.values()),
        [Timestamp(clock)] * count,
        [Offset(0)] * count,
    )
    return Produce(CHANGELOG, records, 0, STORE)


def results(*rows: tuple[str, int, int]) -> Produce:
    records: RawBatch = Batch(
        [key.encode() for key, _, _ in rows],
        [value.to_bytes(8, "big") for _, value, _ in rows],
        [Timestamp(time) for _, _, time in rows],
        [Offset(row) for row in range(len(rows))],
    )
    return Produce("counts", records)


# Start


def test_start_opens_all_own_tasks() -> None:
    worker = make(partitions=3, own=2)
    assert worker.start() == [OpenTask(TaskId(0, Partition(0))), OpenTask(TaskId(0, Partition(1)))]


def test_a_task_opened_before_its_partition_is_assigned_waits() -> None:
    worker = make()
    assert worker.handle(opened(offset=7)) == []
    assert worker.handle(Assigned(frozenset({INPUT}))) == [Fetch({INPUT: Offset(7)})]


def test_a_partition_assigned_before_its_task_is_open_waits() -> None:
    worker = make()
    assert worker.handle(Assigned(frozenset({INPUT}))) == []
    assert worker.active == frozenset()
    assert worker.handle(opened(offset=7)) == [Fetch({INPUT: Offset(7)})]
    assert worker.active == {INPUT}


def test_a_partition_that_is_not_the_slots_own_is_left_alone() -> None:
    worker = make(partitions=2, own=1)
    worker.handle(opened())
    assert worker.handle(Assigned(frozenset({INPUT, OTHER}))) == [Fetch({INPUT: Offset(0)})]
    assert worker.handle(Fetched(OTHER, raw(("a", 1)))) == []


def test_a_task_that_is_ready_works_while_another_is_restored() -> None:
    worker = make(partitions=2, own=2)
    worker.handle(Assigned(frozenset({INPUT, OTHER})))
    worker.handle(opened())
    assert worker.handle(fetched(("a", 1))) == [Begin(), copies(("a", 1))]
    later = opened(offset=5, task=TaskId(0, Partition(1)))
    fetches = [each for each in worker.handle(later) if isinstance(each, Fetch)]
    assert any(each.offsets.get(OTHER) == 5 for each in fetches)


# Work


def test_begin_comes_once_before_the_first_output() -> None:
    worker = running()
    assert worker.handle(fetched(("a", 1))) == [Begin(), copies(("a", 1))]
    assert worker.handle(fetched(("b", 2), start=1)) == [copies(("b", 2), start=1)]


def test_without_output_no_transaction_is_begun_until_the_checkpoint() -> None:
    topology = Topology("app")
    topology.stream("in").group_by_key().count(name="count")
    worker = running(topology)
    assert worker.handle(fetched(("a", 1))) == []
    assert due(worker) == [
        Begin(),
        changelog(1000, a=packed(100, 1)),
        SendOffsets(at(1, 100)),
        Commit(),
    ]


def test_fetched_records_of_an_inactive_partition_are_ignored() -> None:
    worker = running()
    worker.handle(Revoked())
    assert worker.handle(fetched(("a", 1))) == []
    assert worker.handle(ReachedEnd(INPUT, Offset(9))) == []
    worker.handle(Assigned(frozenset({INPUT})))
    assert due(worker) == []


def test_records_from_before_the_position_are_passed_over() -> None:
    worker = running()
    worker.handle(fetched(("a", 1), ("a", 2)))
    again = worker.handle(Fetched(INPUT, raw(("a", 1), ("a", 2), ("a", 3))))
    assert again == [copies(("a", 3), start=2)]
    assert worker.handle(fetched(("a", 1))) == []


def test_nothing_fetched_is_nothing_done() -> None:
    worker = running()
    assert worker.handle(fetched()) == []
    assert due(worker) == []


# Checkpoints


def test_the_order_of_a_checkpoint() -> None:
    worker = running()
    worker.handle(fetched(("a", 1), ("b", 2), ("a", 3)))
    assert due(worker) == [
        results(("a", 2, 102), ("b", 1, 101)),
        changelog(1000, a=packed(102, 2), b=packed(101, 1)),
        SendOffsets(at(3, 102)),
        Commit(),
    ]


def test_with_every_change_emitted_the_checkpoint_emits_none() -> None:
    worker = running(counting("change"))
    produced = worker.handle(fetched(("a", 1), ("a", 3)))
    assert [each.topic for each in produced if isinstance(each, Produce)] == ["copies", "counts"]
    assert [type(each) for each in due(worker)] == [Produce, SendOffsets, Commit]


def test_committed_changes_are_persisted_up_to_the_last_changelog_record() -> None:
    worker = running()
    worker.handle(fetched(("a", 1), ("b", 2)))
    due(worker)
    assert worker.handle(Committed({STORE: Offset(41)})) == [
        Persist(STORE, {b"a": packed(100, 1), b"b": packed(101, 1)}, Offset(42))
    ]
    assert worker.checkpoints == 1
    assert due(worker) == []
    assert worker.handle(fetched(("a", 5), start=2)) == [Begin(), copies(("a", 5), start=2)]
    assert due(worker)[1:] == [
        changelog(1000, a=packed(102, 2)),
        SendOffsets(at(3, 102)),
        Commit(),
    ]


def test_stores_are_written_when_the_interval_has_passed_with_all_that_is_committed() -> None:
    worker = running(persist_interval=300)
    for offset, key in enumerate("aba"):
        worker.handle(fetched((key, 1), start=offset))
        assert Commit() in due(worker)
        persisted = worker.handle(Committed({STORE: Offset(10 + offset)}))
    assert persisted == [
        Persist(STORE, {b"a": packed(102, 2), b"b": packed(101, 1)}, Offset(13)),
    ]
    worker.handle(fetched(("b", 1), start=3))
    due(worker)
    assert worker.handle(Committed({STORE: Offset(20)})) == []
    assert due(worker) == []
    assert due(worker) == [Persist(STORE, {b"b": packed(103, 2)}, Offset(21))]
    assert due(worker) == []


def test_stop_writes_what_waits_for_the_stores() -> None:
    worker = running(persist_interval=10_000)
    worker.handle(fetched(("a", 1)))
    due(worker)
    assert worker.handle(Committed({STORE: Offset(7)})) == []
    assert worker.handle(Stop()) == [
        Persist(STORE, {b"a": packed(100, 1)}, Offset(8)),
        CloseTask(TASK),
        Finish(),
    ]


def test_a_checkpoint_comes_when_its_interval_has_passed() -> None:
    worker = running(checkpoint_interval=100)
    worker.handle(fetched(("a", 1)))
    assert worker.handle(Tick(Timestamp(1000), 99)) == []
    assert Commit() in worker.handle(Tick(Timestamp(1000), 100))
    worker.handle(Committed({STORE: Offset(0)}))
    worker.handle(fetched(("a", 1), start=1))
    assert worker.handle(Tick(Timestamp(1000), 199)) == []
    assert Commit() in worker.handle(Tick(Timestamp(1000), 200))


def test_how_long_the_next_checkpoint_is_to_be_waited_for() -> None:
    worker = running(checkpoint_interval=100)
    worker.handle(Tick(Timestamp(1000), 30))
    assert worker.due is None
    worker.handle(fetched(("a", 1)))
    assert worker.due == 70
    assert Commit() in worker.handle(Tick(Timestamp(1000), 130))
    assert worker.due is None
    worker.handle(Committed({STORE: Offset(0)}))
    assert worker.due is None
    worker.handle(fetched(("a", 1), start=1))
    assert worker.due == 100


def test_what_comes_after_a_quiet_time_is_committed_at_once() -> None:
    worker = running(checkpoint_interval=100)
    assert worker.handle(Tick(Timestamp(1000), 150)) == []
    worker.handle(fetched(("a", 1)))
    assert Commit() in worker.handle(Tick(Timestamp(1000), 151))
    worker.handle(Committed({STORE: Offset(0)}))
    worker.handle(fetched(("a", 1), start=1))
    assert worker.handle(Tick(Timestamp(1000), 250)) == []
    assert Commit() in worker.handle(Tick(Timestamp(1000), 251))


def test_memory_forces_a_checkpoint() -> None:
    worker = running(cache_bytes=0, uncommitted_bytes=2_000)
    assert Commit() not in worker.handle(fetched(("a", 1)))
    records = [(f"key-{number}", number) for number in range(30)]
    commands = worker.handle(fetched(*records, start=1))
    assert [type(each) for each in commands] == [Produce, Produce, Produce, SendOffsets, Commit]
    worker.handle(Committed({STORE: Offset(30)}))
    assert worker._set.memory_bytes == 0


def test_markers_at_the_end_are_committed_as_well() -> None:
    worker = running()
    assert worker.handle(ReachedEnd(INPUT, Offset(3))) == []
    assert due(worker) == [Begin(), SendOffsets(at(3, -1)), Commit()]
    worker.handle(Committed({}))
    assert worker.handle(ReachedEnd(INPUT, Offset(3))) == []
    assert worker.handle(ReachedEnd(INPUT, Offset(2))) == []
    assert due(worker) == []


def test_markers_behind_records_that_waited_are_committed_as_well() -> None:
    topology = Topology("app")
    topology.stream("in", "other", value=bytes).merge().group_by_key().count(name="count")
    other = TopicPartition("other", Partition(0))
    layout = lay_out(plan(topology), {"in": 1, "other": 1})
    worker = Worker(layout, frozenset({INPUT, other}), replace(OPTIONS, max_task_idle=0))
    places = {source: Position(Offset(0), Timestamp(-1)) for source in (INPUT, other)}
    worker.handle(TaskOpened(TASK, {"count": MemoryStore()}, places))
    worker.handle(Assigned(frozenset({INPUT, other})))
    worker.handle(Tick(Timestamp(0), 0))
    worker.handle(fetched(("a", 1)))
    worker.handle(ReachedEnd(INPUT, Offset(2)))  # the record waits until the other topic is known
    worker.handle(ReachedEnd(other, Offset(1)))
    (sent,) = [each for each in due(worker) if isinstance(each, SendOffsets)]
    assert {source: place.offset for source, place in sent.positions.items()} == {
        INPUT: 2,
        other: 1,
    }


def test_where_a_fresh_partition_begins_is_committed() -> None:
    worker = make()
    begin = TaskOpened(TASK, {"count": MemoryStore()}, at(7, NO_TIME), frozenset({INPUT}))
    worker.handle(begin)
    worker.handle(Assigned(frozenset({INPUT})))
    commit = [Begin(), SendOffsets(at(7, NO_TIME)), Commit()]
    assert due(worker) == commit
    worker.handle(CommitFailed(CRASHED))
    worker.handle(Aborted())
    assert due(worker) == commit
    worker.handle(Committed({}))
    assert due(worker) == []


def test_what_is_done_again_after_an_abort_is_counted_once() -> None:
    topology = Topology("app")
    windows = topology.stream("in").group_by_key().window(tumbling("1ms"))
    windows.count(name="count").to("out")
    worker = running(topology)
    for _ in range(2):
        worker.handle(fetched(("a", 1), ("b", 2), ("c", 3)))
        worker.handle(Fetched(INPUT, replace(raw(("a", 4)), offsets=[Offset(3)])))
        assert not worker.bad_records.committed
        assert not worker.judged
        assert worker.bad_records.counts == {("count", "late"): 1}
        worker.handle(CommitFailed(CRASHED))
        worker.handle(Aborted())
    worker.handle(fetched(("a", 1), ("b", 2), ("c", 3)))
    worker.handle(Fetched(INPUT, replace(raw(("a", 4)), offsets=[Offset(3)])))
    due(worker)
    worker.handle(Committed({store: Offset(1) for store in worker._set.overlays}))
    assert worker.bad_records.committed == {("count", "late"): 1}
    assert worker.judged == {("count", "judged"): 4, ("count", "late"): 1}


def test_changes_by_the_wall_clock_alone_are_committed() -> None:
    seen = key_value("seen", key=str, value=int)
    topology = Topology("app")
    topology.stream("in").process(
        lambda r, _: [r],
        stores=[seen],
        punctuators=[
            every("1s", lambda time, context: context.store(seen).put("at", time), clock="wall")
        ],
        name="step",
    )
    worker = running(topology)
    commands = due(worker, clock=2_500)
    assert [type(each) for each in commands] == [Begin, Produce, SendOffsets, Commit]
    name = StoreId("seen", Partition(0))
    assert worker.handle(Committed({name: Offset(0)})) == [
        Persist(name, {b"at": (2000).to_bytes(8, "big")}, Offset(1))
    ]
    assert due(worker, clock=2_600) == []


def test_the_wall_clock_waits_for_an_assignment() -> None:
    topology = Topology("app")
    topology.stream("in").process(
        lambda r, _: [r],
        punctuators=[every("1s", lambda time, _: [Record("k", 1, time)], clock="wall")],
        name="step",
    ).to("out")
    worker = running(topology)
    worker.handle(Revoked())
    assert due(worker, clock=2_500) == []
    worker.handle(Assigned(frozenset({INPUT})))
    commands = worker.handle(Tick(Timestamp(3_000), 100))
    assert [type(each) for each in commands] == [Begin, Produce, SendOffsets, Commit]


def test_repartition_topics_are_purged_up_to_what_is_committed() -> None:
    topology = Topology("app")
    topology.stream("in").repartition(name="again").to("out")
    layout = lay_out(plan(topology), {"in": 1})
    again = TopicPartition("app-again-repartition", Partition(0))
    worker = Worker(layout, frozenset({INPUT, again}), OPTIONS)
    for task, source in ((TASK, INPUT), (TaskId(1, Partition(0)), again)):
        worker.handle(TaskOpened(task, {}, {source: Position(Offset(0), NO_TIME)}))
    worker.handle(Assigned(frozenset({INPUT, again})))
    worker.handle(Fetched(again, raw(("a", 1))))
    worker.handle(Fetched(INPUT, raw(("a", 1))))
    worker.handle(Tick(Timestamp(0), 40_000))
    assert worker.handle(Committed({})) == [Purge({again: Offset(1)})]
    worker.handle(Fetched(again, raw(("a", 1), start=1)))
    worker.handle(Tick(Timestamp(0), 69_999))
    assert worker.handle(Committed({})) == []


# Failures


def test_a_failed_commit_is_aborted_and_the_input_fetched_again() -> None:
    worker = running()
    worker.handle(fetched(("a", 1)))
    due(worker)
    worker.handle(Committed({STORE: Offset(0)}))
    worker.handle(fetched(("a", 2), ("b", 3), start=1))
    due(worker)
    assert worker.handle(CommitFailed(CRASHED)) == [Abort()]
    assert worker.handle(Aborted()) == [Fetch({INPUT: Offset(1)})]
    assert due(worker) == []
    assert worker.handle(fetched(("a", 2), start=1)) == [Begin(), copies(("a", 2), start=1)]


def test_after_an_abort_the_stream_time_is_the_committed_one() -> None:
    worker = running()
    worker.handle(fetched(("a", 1)))
    due(worker)
    worker.handle(Committed({STORE: Offset(0)}))
    worker.handle(fetched(("a", 1), start=50))
    worker.handle(CommitFailed(CRASHED))
    worker.handle(Aborted())
    worker.handle(fetched(("a", 1), start=1))
    assert SendOffsets(at(2, 101)) in due(worker)


def test_a_bad_record_with_policy_fail_finishes_and_nothing_of_it_is_committed() -> None:
    worker = running(failing(), on_bad_record="fail")
    worker.handle(fetched(("a", 1)))
    assert worker.handle(fetched(("a", 2), ("a", -1), start=1)) == [Abort()]
    assert worker.handle(CommitFailed(CRASHED)) == [Abort()]  # until nothing is left open
    close, finish = worker.handle(Aborted())
    assert close == CloseTask(TASK)
    assert isinstance(finish, Finish)
    assert isinstance(finish.error, BadRecordError)
    assert "in[0] offset 2" in str(finish.error)
    assert due(worker) == []


def test_a_bad_record_before_any_output_leaves_nothing_to_abort() -> None:
    worker = running(failing(), on_bad_record="fail")
    assert [type(each) for each in worker.handle(fetched(("a", -1)))] == [CloseTask, Finish]


def test_a_bad_change_in_the_last_checkpoint_finishes_with_its_error_only() -> None:
    topology = Topology("app")
    table = topology.table("in", name="table")
    table.to_stream().map_values(lambda value: 1 // value, name="check").to("out")
    worker = running(topology, on_bad_record="fail")
    worker.handle(fetched(("a", 0)))
    assert worker.handle(Stop()) == [Abort()]
    close, finish = worker.handle(Aborted())
    assert close == CloseTask(TASK)
    assert isinstance(finish, Finish)
    assert isinstance(finish.error, BadRecordError)


# The group


def test_a_rebalance_keeps_what_is_uncommitted() -> None:
    worker = running()
    worker.handle(fetched(("a", 1)))
    assert worker.handle(Revoked()) == []
    assert due(worker) == []
    assert worker.handle(Assigned(frozenset({INPUT}))) == [Fetch({INPUT: Offset(1)})]
    assert due(worker) == [
        results(("a", 1, 100)),
        changelog(1000, a=packed(100, 1)),
        SendOffsets(at(1, 100)),
        Commit(),
    ]


def test_lost_partitions_drop_what_is_uncommitted() -> None:
    worker = running()
    worker.handle(fetched(("a", 1)))
    assert worker.handle(Lost()) == [Abort()]
    assert worker.handle(Aborted()) == [CloseTask(TASK), OpenTask(TASK)]
    assert due(worker) == []
    assert worker.handle(opened(offset=5, time=200)) == []
    assert worker.handle(Assigned(frozenset({INPUT}))) == [Fetch({INPUT: Offset(5)})]
    worker.handle(fetched(("a", 1), start=5))
    assert changelog(1000, a=packed(105, 1)) in due(worker)


def test_an_abort_that_fails_drops_nothing_of_what_follows() -> None:
    worker = running()
    worker.handle(fetched(("a", 1)))
    assert worker.handle(Lost()) == [Abort()]
    assert worker.handle(CommitFailed(CRASHED)) == [Abort()]
    assert worker.handle(CommitFailed(CRASHED)) == [Abort()]
    assert worker.handle(Aborted()) == [CloseTask(TASK), OpenTask(TASK)]
    assert worker.handle(opened()) == []
    assert worker.handle(Assigned(frozenset({INPUT}))) == [Fetch({INPUT: Offset(0)})]


def test_lost_partitions_without_open_work() -> None:
    worker = running()
    assert worker.handle(Lost()) == [CloseTask(TASK), OpenTask(TASK)]


# Stop


def test_stop_without_open_work() -> None:
    assert running().handle(Stop()) == [CloseTask(TASK), Finish()]


def test_stop_before_anything_is_open() -> None:
    assert make().handle(Stop()) == [Finish()]


def test_stop_with_open_work_commits_it_first() -> None:
    worker = running()
    worker.handle(fetched(("a", 1)))
    assert [type(each) for each in worker.handle(Stop())] == [Produce, Produce, SendOffsets, Commit]
    assert worker.handle(Committed({STORE: Offset(0)})) == [
        Persist(STORE, {b"a": packed(100, 1)}, Offset(1)),
        CloseTask(TASK),
        Finish(),
    ]


def test_stop_without_assignment_leaves_no_transaction_open() -> None:
    worker = running()
    worker.handle(fetched(("a", 1)))
    worker.handle(Revoked())
    assert worker.handle(Stop()) == [Abort()]
    assert worker.handle(Aborted()) == [CloseTask(TASK), Finish()]


def test_stop_while_a_checkpoint_is_under_way_waits_for_it() -> None:
    worker = running()
    worker.handle(fetched(("a", 1)))
    due(worker)
    assert worker.handle(Stop()) == []
    commands = worker.handle(Committed({STORE: Offset(0)}))
    assert [type(each) for each in commands] == [Persist, CloseTask, Finish]


def test_a_last_checkpoint_that_fails_is_aborted_and_ends_the_worker() -> None:
    worker = running()
    worker.handle(fetched(("a", 1)))
    worker.handle(Stop())
    assert worker.handle(CommitFailed(CRASHED)) == [Abort()]
    assert worker.handle(Aborted()) == [CloseTask(TASK), Finish()]


# At least once


def test_at_least_once_begins_no_transaction() -> None:
    worker = running(guarantee="at-least-once")
    assert worker.handle(fetched(("a", 1))) == [copies(("a", 1))]
    assert due(worker) == [
        results(("a", 1, 100)),
        changelog(1000, a=packed(100, 1)),
        SendOffsets(at(1, 100)),
        Commit(),
    ]
    assert worker.handle(Committed({STORE: Offset(3)})) == [
        Persist(STORE, {b"a": packed(100, 1)}, Offset(4))
    ]
    assert due(worker) == []


@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
def test_a_failed_commit_drops_what_is_uncommitted_in_both_guarantees(guarantee: str) -> None:
    worker = running(guarantee=guarantee)
    worker.handle(fetched(("a", 1)))
    due(worker)
    assert worker.handle(CommitFailed(CRASHED)) == [Abort()]
    assert worker.handle(Aborted()) == [Fetch({INPUT: Offset(0)})]
    assert worker.tasks[TASK].overlays["count"].changes == {}


def test_a_record_far_ahead_of_the_clock_moves_the_stream_time_no_further_than_that() -> None:
    worker = running(max_time_ahead=500)
    far = raw(("a", 1), ("b", 2))
    times = [Timestamp(900), Timestamp(99_000)]
    worker.handle(Fetched(INPUT, replace(far, timestamps=times)))
    assert worker.tasks[TASK].time == 1500  # the clock is at 1000
    assert worker.ahead() == [(INPUT, Offset(1), Timestamp(99_000))]
    assert worker.ahead() == []
    worker.handle(Tick(Timestamp(2000), 10))
    worker.handle(fetched(("c", 3), start=2))
    assert worker.tasks[TASK].time == 1500


def test_no_more_is_worked_on_in_a_turn_than_may_be() -> None:
    worker = running()
    assert worker.handle(Turn(2)) == []
    first = worker.handle(fetched(("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)))
    assert first == [Begin(), copies(("a", 1), ("b", 2))]
    assert worker.is_exhausted
    assert worker.handle(Tick(Timestamp(1000), 0)) == []
    worker.handle(Turn(2))
    assert worker.handle(fetched(("f", 6), start=5)) == []  # others have waited for longer
    assert copies(("c", 3), ("d", 4), start=2) in worker.handle(Tick(Timestamp(1000), 0))
    worker.handle(Turn(9))
    third = worker.handle(Tick(Timestamp(1000), 1))
    assert [each for each in third if isinstance(each, Produce)] == [
        copies(("e", 5), start=4),
        copies(("f", 6), start=5),
    ]
    assert not worker.is_exhausted
    assert worker.worked == 6


def test_of_several_tasks_none_waits_for_ever() -> None:
    """Each takes its turn, though the first one has more than may be worked on."""
    worker = make(partitions=2, own=2)
    other = TaskId(0, Partition(1))
    worker.handle(opened())
    worker.handle(opened(task=other))
    worker.handle(Assigned(frozenset({INPUT, OTHER})))
    worker.handle(Turn(0))
    worker.handle(fetched(*(("a", number) for number in range(9))))
    worker.handle(Fetched(OTHER, raw(("b", 9))))
    for _ in range(3):
        worker.handle(Turn(1))
        worker.handle(Tick(Timestamp(1000), 0))
    assert worker.tasks[other].records == 1


def refused(worker: Worker, commands: Sequence[Command], row: int) -> list[Command]:
    (command,) = (each for each in commands if isinstance(each, Produce))
    error = RecordRefused("it is too large")
    assert worker.handle(Refused(command, row, error)) == [Abort()]
    return worker.handle(Aborted())


def test_a_record_that_is_refused_is_a_bad_one_when_all_is_done_again() -> None:
    worker = running()
    records = ("a", 1), ("b", 2), ("c", 3)
    first = worker.handle(fetched(*records))
    assert refused(worker, first, 1) == [Fetch({INPUT: Offset(0)})]
    again = worker.handle(fetched(*records))
    produced = {each.topic: each.records for each in again if isinstance(each, Produce)}
    assert produced["copies"].values == [b"1", b"3"]
    headers = dict((produced["app-dead-letters"].headers or [()])[0])
    assert (headers["kproc.offset"], headers["kproc.reason"]) == (b"1", b"refused")
    assert worker.bad_records.counts == {("sink-1", "refused"): 1}
    commit = due(worker)
    assert Commit() in commit
    worker.handle(Committed({STORE: Offset(1)}))
    assert not len(worker.bad_records.refusals)


def test_a_record_that_is_refused_though_it_is_left_out_ends_the_work() -> None:
    worker = running()
    commands = worker.handle(fetched(("a", 1)))
    refused(worker, commands, 0)
    (command,) = (each for each in commands if isinstance(each, Produce))
    worker.handle(fetched(("a", 1)))
    error = RecordRefused("again")
    assert worker.handle(Refused(command, 0, error)) == [Abort()]
    assert worker.handle(Aborted())[-1] == Finish(error)


@pytest.mark.parametrize("topic", ["app-dead-letters", "counts"])
def test_what_has_to_be_taken_ends_the_work(topic: str) -> None:
    """Dead letters, and records of a topic that the topology names, if it takes none at all."""
    worker = running()
    worker.handle(fetched(("a", 1)))
    error = PermissionDenied("no")
    assert worker.handle(Refused(Produce(topic, raw(("a", 1))), None, error)) == [Abort()]
    assert worker.handle(Aborted())[-1] == Finish(error)


def test_a_topic_that_takes_nothing_is_asked_again_after_half_a_minute() -> None:
    topology = Topology("app")
    topology.stream("in").to(lambda record: f"to-{record.value}")
    worker = running(topology)
    (_, command) = worker.handle(fetched(("a", 1)))
    assert isinstance(command, Produce)
    assert worker.handle(Refused(command, None, TopicMismatch("no"))) == [Abort()]
    worker.handle(Aborted())
    commands = worker.handle(fetched(("a", 1), ("b", 2)))
    assert {each.topic for each in commands if isinstance(each, Produce)} == {
        "to-2",
        "app-dead-letters",
    }
    worker.handle(Tick(Timestamp(1000), 40_000))
    worker.handle(Committed({}))
    commands = worker.handle(fetched(("c", 1), start=2))
    assert [each.topic for each in commands if isinstance(each, Produce)] == ["to-1"]


def test_records_that_an_output_is_known_to_refuse_are_bad_ones() -> None:
    topology = Topology("app")
    topology.stream("in", value=bytes).to("out")
    limits = {"out": TopicLimits(bytes=150, before=1000, after=500)}
    worker = running(topology, limits=limits)
    worker.handle(Tick(Timestamp(5000), 1))
    times = (3999, 4000, 5500, 5501, 5000)
    values = (b"", b"", b"", b"", b"x" * 100)
    columns = [b"k"] * 5, values, [Timestamp(time) for time in times], [*map(Offset, range(5))]
    commands = worker.handle(Fetched(INPUT, Batch(*columns)))
    produced = [each for each in commands if isinstance(each, Produce)]
    assert [each.records.timestamps for each in produced if each.topic == "out"] == [[4000, 5500]]
    letters = [dict((each.records.headers or [()])[0]) for each in produced[1:]]
    assert [each["kproc.reason"] for each in letters] == [b"timestamp", b"timestamp", b"too-large"]
    said = [(each["kproc.error"] or b"").decode() for each in letters]
    assert "message.timestamp.before.max.ms" in said[0]
    assert "message.timestamp.after.max.ms" in said[1]
    assert "out takes 150" in said[2]


def test_a_result_that_no_record_stands_for_and_is_refused_is_left_out_alone() -> None:
    worker = running()
    worker.handle(fetched(("a", 1), ("b", 2)))
    (command,) = (each for each in due(worker) if isinstance(each, Produce) and not each.store)
    assert command.topic == "counts"
    assert worker.handle(Refused(command, 0, RecordRefused("no"))) == [Abort()]
    worker.handle(Aborted())
    again = worker.handle(fetched(("a", 1), ("b", 2)))
    assert [each.topic for each in again if isinstance(each, Produce)] == ["copies"]
    made = {each.topic: each.records for each in due(worker) if isinstance(each, Produce)}
    assert made["counts"].keys == [b"b"]
    assert made["app-dead-letters"].keys == [b"a"]
    assert sorted(made[CHANGELOG].keys) == [b"a", b"b"]
