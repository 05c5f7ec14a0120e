"""A task rests while it is far ahead of others that write for the same tasks."""

from processor import Topology, tumbling
from processor.records import Offset, Partition, Timestamp, TopicPartition
from processor.runtime.alignment import Alignment, State
from processor.runtime.commands import Position
from processor.topology.plan import Layout, TaskId, lay_out, plan

A, B = TaskId(0, Partition(0)), TaskId(0, Partition(1))
IN_B = TopicPartition("in", Partition(1))


def layout() -> Layout:
    topology = Topology("app")
    topology.stream("in").group_by(str, name="by").window(tumbling("1s")).count().to("out")
    return lay_out(plan(topology), {"in": 2})


def alignment(lead: int = 10) -> Alignment:
    made = layout()
    return Alignment(made, made.plan.followed, lead)


def at(time: int, *, is_at_end: bool = False) -> State:
    return State(Timestamp(time), is_at_end)


def test_a_task_waits_for_another_of_its_slot() -> None:
    made = alignment()
    for time in range(0, 100, 5):
        made.note(A, Timestamp(time), time)
    assert made.is_ahead(A, {A: at(95), B: at(20)})
    assert made.is_ahead(A, {A: at(95), B: at(80)})
    assert not made.is_ahead(A, {A: at(95), B: at(85)})


def test_one_that_has_read_everything_holds_nobody_back() -> None:
    made = alignment()
    for time in range(0, 100, 5):
        made.note(A, Timestamp(time), time)
    assert not made.is_ahead(A, {A: at(95), B: at(20, is_at_end=True)})


def test_tasks_of_other_slots_are_looked_at_now_and_then() -> None:
    made = alignment()
    assert made.ask(0, {A: at(-1)}) == frozenset()
    for time in range(0, 100, 5):
        made.note(A, Timestamp(time), time)
    assert made.ask(0, {A: at(95)}) == {IN_B}
    assert made.ask(100, {A: at(95)}) == frozenset()
    assert made.is_ahead(A, {A: at(95)})  # nothing is known of the other
    made.see({IN_B: Position(Offset(3), Timestamp(20))}, {IN_B: Offset(9)})
    assert made.is_ahead(A, {A: at(95)})
    assert made.ask(300, {A: at(95)}) == {IN_B}
    made.see({IN_B: Position(Offset(9), Timestamp(20))}, {IN_B: Offset(9)})
    assert not made.is_ahead(A, {A: at(95)})


def test_any_lead_is_allowed_when_that_is_wanted() -> None:
    made = alignment(0)
    for time in range(0, 100, 5):
        made.note(A, Timestamp(time), time)
    assert not made.is_ahead(A, {A: at(95), B: at(20)})
    assert made.ask(0, {A: at(95)}) == frozenset()
