import pytest

from processor import Topology
from processor.cluster.rescale import Rescaling
from processor.errors import TopicMismatch
from processor.topology.plan import TaskId, check_existing, lay_out, plan


def change(
    old: tuple[int, int], new: tuple[int, int], topology: Topology | None = None
) -> Rescaling:
    """From (slots, partitions of the input `in`) to others."""
    made = plan(topology or copying())
    before, after = (lay_out(made, {"in": count}, {}, slots) for slots, count in (old, new))
    return Rescaling(before, after)


def copying() -> Topology:
    topology = Topology("app")
    topology.stream("in").to("out")
    return topology


def tasks(*partitions: int) -> set[TaskId]:
    return {TaskId(0, partition) for partition in partitions}  # pyright: ignore[reportArgumentType]


def test_each_slot_s_tasks_before_and_after() -> None:
    assert change((2, 4), (4, 4)).shares == (
        (tasks(0, 1), tasks(0)),
        (tasks(2, 3), tasks(1)),
        (set(), tasks(2)),
        (set(), tasks(3)),
    )


def test_tasks_that_get_another_slot() -> None:
    assert change((2, 4), (4, 4)).moved == tasks(1, 2, 3)
    assert change((4, 4), (2, 4)).moved == tasks(1, 2, 3)
    assert not change((2, 4), (2, 4)).moved


def test_an_input_that_grows_has_new_tasks() -> None:
    grown = change((2, 4), (2, 6))
    assert grown.grown == {"in": (4, 6)}
    assert grown.new == tasks(4, 5)
    assert grown.moved == tasks(2)


def test_slots_with_nothing_to_do_and_uneven_ones() -> None:
    assert change((1, 4), (6, 4)).idle == (4, 5)
    assert change((1, 4), (3, 4)).uneven == (1, 2)
    assert change((1, 4), (2, 4)).uneven is None


def test_members_of_the_group_that_are_no_slots_any_more() -> None:
    fewer = change((4, 4), (2, 4))
    assert not any(map(fewer.retired, ["app-00", "app-01"]))
    assert all(map(fewer.retired, ["app-02", "app-03", "a-member-without-a-name"]))
    # Names are equally long: a third digit makes others of all.
    assert change((100, 200), (101, 200)).retired("app-07")


def counting(*, apart: int | None) -> Topology:
    topology = Topology("app")
    stream = topology.stream("in")
    placed = stream.repartition(name="r", partitions=apart) if apart else stream
    placed.group_by_key().count(name="n").to("out")
    return topology


def test_keys_with_state_can_t_be_moved_by_a_growing_input() -> None:
    layout = lay_out(plan(counting(apart=None)), {"in": 6})
    with pytest.raises(TopicMismatch, match=r"n-changelog has 4 .*repartition\(partitions=4\)"):
        check_existing(layout, {"app-n-changelog": 4})


def test_as_the_text_says_a_repartition_with_the_old_number_keeps_them() -> None:
    layout = lay_out(plan(counting(apart=4)), {"in": 6})
    check_existing(layout, {"app-n-changelog": 4})
    assert len(layout.tasks) == 6 + 4


def test_a_repartition_topic_that_is_there_keeps_its_number() -> None:
    topology = Topology("app")
    topology.stream("in", value=str).group_by(lambda v: v).count(name="n").to("out")
    made = plan(topology)
    [name] = made.repartitions
    there = {name: 4, "app-n-changelog": 4}
    layout = lay_out(made, {"in": 6}, there)
    check_existing(layout, there)
    assert layout.partitions == {"in": 6, name: 4}
