from collections.abc import Callable

import pytest

from processor import Stream, Topology
from processor.errors import TopicMismatch, TopologyError
from processor.records import Partition, TopicPartition
from processor.topology.plan import (
    CHANGELOG_CONFIG,
    DEAD_LETTERS_CONFIG,
    LEDGER_CONFIG,
    REPARTITION_CONFIG,
    SLOTS_CONFIG,
    StoreId,
    TaskId,
    lay_out,
    plan,
)


@pytest.fixture
def app() -> Topology:
    return Topology("app")


def by(
    stream: Stream[str, object], name: str, partitions: int | None = None
) -> Stream[str, object]:
    return stream.key_by(str, name=name).repartition(partitions=partitions)


def test_nodes_are_together_unless_a_topic_is_between(app: Topology) -> None:
    app.stream("a").merge(app.stream("b"), name="ab").to("out")
    app.stream("c").through("d").to("e")
    made = plan(app)
    assert [part.topics for part in made.subtopologies] == [("a", "b"), ("c",), ("d",)]
    assert [part.number for part in made.subtopologies] == [0, 1, 2]
    assert [part.written for part in made.subtopologies] == [("out",), ("d",), ("e",)]


def test_subtopologies_are_numbered_by_their_first_node(app: Topology) -> None:
    a, b = app.stream("a"), app.stream("b")
    c = app.stream("c")
    c.to("c2")
    b.to("b2")
    a.merge(c, name="ac").to("a2")
    assert [part.topics for part in plan(app).subtopologies] == [("a", "c"), ("b",)]


def test_parents_come_before_children(app: Topology) -> None:
    a, b = app.stream("a"), app.stream("b")
    b.filter(bool).merge(a.filter(bool), name="ab").to("out")
    for part in plan(app).subtopologies:
        seen: set[object] = set()
        for node in part.nodes:
            assert {parent.node for parent in node.parents} <= seen
            seen.add(node)


def test_inputs_and_outputs_are_the_users_topics(app: Topology) -> None:
    by(app.stream("in"), "keyed").group_by_key().count().to("counts")
    app.stream("b").to(lambda record: str(record.value))
    made = plan(app)
    assert made.inputs == ("in", "b")
    assert made.outputs == ("counts",)
    assert list(made.repartitions) == ["app-keyed-repartition"]


def test_one_topic_may_be_written_in_several_places(app: Topology) -> None:
    a = app.stream("a")
    a.filter(bool).to("out")
    a.filter_not(bool).to("out")
    assert plan(app).outputs == ("out",)


def test_task_and_store_ids_are_short() -> None:
    assert str(TaskId(0, Partition(3))) == "0_3"
    assert str(StoreId("counts", Partition(3))) == "counts[3]"


def test_tasks_are_as_many_as_partitions(app: Topology) -> None:
    app.stream("a", "b").to("out")
    by(app.stream("c"), "keyed").to("out")
    layout = lay_out(plan(app), {"a": 1, "b": 3, "c": 2})
    assert list(map(str, layout.tasks)) == ["0_0", "0_1", "0_2", "1_0", "1_1", "2_0", "2_1"]
    assert layout.task_of(TopicPartition("b", Partition(2))) == (0, 2)
    assert layout.task_of(TopicPartition("app-keyed-repartition", Partition(1))) == (2, 1)


def counts(app: Topology, **inputs: int) -> dict[str, int]:
    """The partitions of repartition topics, by the names given in the topology."""
    layout = lay_out(plan(app), inputs)
    return {
        name.removeprefix("app-").removesuffix("-repartition"): count
        for name, count in layout.partitions.items()
        if name not in inputs
    }


def test_a_repartition_topic_has_as_many_partitions_as_the_largest_input(app: Topology) -> None:
    merged = app.stream("a").merge(app.stream("b"), name="ab")
    by(merged, "r").group_by_key().count()
    assert counts(app, a=3, b=5) == {"r": 5}


def test_or_as_many_as_are_asked_for(app: Topology) -> None:
    by(app.stream("a"), "r", partitions=7).group_by_key().count()
    assert counts(app, a=3) == {"r": 7}


def test_counts_go_on_along_a_chain(app: Topology) -> None:
    first = by(app.stream("a"), "one")
    second = by(by(first, "two", partitions=6), "three")
    by(second, "four").to("out")
    assert counts(app, a=3) == {"one": 3, "two": 6, "three": 6, "four": 6}


def test_a_topic_of_the_users_between_has_its_own_count(app: Topology) -> None:
    by(app.stream("a").through("b"), "r").to("out")
    assert counts(app, a=3, b=8) == {"r": 8}


def test_it_lines_up_with_the_topics_that_it_is_read_with(app: Topology) -> None:
    moved = by(app.stream("a"), "r")
    moved.merge(app.stream("b"), name="rb").group_by_key().count(name="n")
    assert counts(app, a=9, b=2) == {"r": 2}


def test_it_lines_up_with_another_whose_count_is_given(app: Topology) -> None:
    given = by(app.stream("a"), "given", partitions=6)
    given.merge(by(app.stream("b"), "r"), name="both").group_by_key().count(name="n")
    assert counts(app, a=2, b=4) == {"given": 6, "r": 6}


def test_two_that_are_read_together_are_as_the_larger_one_needs(app: Topology) -> None:
    left, right = by(app.stream("a"), "left"), by(app.stream("b"), "right")
    left.merge(right, name="both").group_by_key().count(name="n")
    assert counts(app, a=2, b=4) == {"left": 4, "right": 4}


def test_a_subtopology_may_read_what_it_writes(app: Topology) -> None:
    a = app.stream("a")
    by(a, "r").merge(a, name="both").group_by_key().count(name="n")
    assert counts(app, a=3) == {"r": 3}


def test_two_subtopologies_may_read_from_each_other(app: Topology) -> None:
    one, other = by(app.stream("a"), "one"), by(app.stream("b"), "other")
    there = by(one.filter(bool), "there")
    back = by(other.merge(there, name="m1"), "back")
    one.merge(back, name="m2").group_by_key().count(name="n")
    assert counts(app, a=3, b=4) == {"one": 4, "other": 4, "there": 4, "back": 4}


@pytest.mark.parametrize(
    "join",
    [
        lambda app: app.stream("a", "b"),
        lambda app: app.stream("a").merge(app.stream("b"), name="ab"),
        lambda app: by(app.stream("a"), "r", 3).merge(by(app.stream("b"), "s", 2), name="rs"),
    ],
)
def test_topics_that_meet_in_a_store_have_equally_many_partitions(
    join: Callable[[Topology], Stream[str, object]],
) -> None:
    app = Topology("app")
    join(app).group_by_key().count(name="n")
    made = plan(app)
    with pytest.raises(TopicMismatch, match=r"meet in n, but .* has 3, .* has 2: put"):
        lay_out(made, {"a": 3, "b": 2})


def test_topics_that_meet_in_no_store_may_differ(app: Topology) -> None:
    a = app.stream("a")
    a.group_by_key().count(name="n")
    a.merge(app.stream("b"), name="ab").to("out")
    layout = lay_out(plan(app), {"a": 3, "b": 5})
    assert len(layout.tasks) == 5


def test_a_repartition_makes_topics_meet_that_differ(app: Topology) -> None:
    moved = app.stream("a").repartition()
    moved.merge(app.stream("b"), name="ab").group_by_key().count(name="n")
    assert counts(app, a=3, b=2) == {"a": 2}


def test_a_count_that_is_not_given_is_missed(app: Topology) -> None:
    app.stream("a", "b").to("out")
    with pytest.raises(TopicMismatch, match="no partition count is given for b"):
        lay_out(plan(app), {"a": 3})


def test_internal_topics_and_their_settings(app: Topology) -> None:
    by(app.stream("a"), "r", partitions=6).group_by_key().count(name="n")
    app.table("b", name="t")
    layout = lay_out(plan(app), {"a": 3, "b": 2})
    assert layout.internal_topics == (
        ("app-r-repartition", 6, REPARTITION_CONFIG),
        ("app-n-changelog", 6, CHANGELOG_CONFIG),
        ("app-t-changelog", 2, CHANGELOG_CONFIG),
        ("app-dead-letters", 1, DEAD_LETTERS_CONFIG),
        ("app-slots", 1, SLOTS_CONFIG),
        ("app-topology", 1, CHANGELOG_CONFIG),
        ("app-positions", 1, LEDGER_CONFIG),
    )
    assert CHANGELOG_CONFIG["cleanup.policy"] == "compact"
    assert REPARTITION_CONFIG["retention.ms"] == "-1"
    assert {**REPARTITION_CONFIG, **CHANGELOG_CONFIG, **DEAD_LETTERS_CONFIG}[
        "message.timestamp.type"
    ] == "CreateTime"


def test_dead_letters_may_be_read_by_the_application_itself(app: Topology) -> None:
    app.stream("app-dead-letters", value=bytes).to("out")
    assert plan(app).inputs == ("app-dead-letters",)


def test_what_is_read_and_written_is_called_otherwise_than_internal_topics(app: Topology) -> None:
    app.stream("a").group_by_key().count(name="n")
    app.stream("app-n-changelog").to("out")
    with pytest.raises(TopologyError, match=r"^app-n-changelog: internal topics"):
        plan(app)


def test_topics_written_count_for_that_too(app: Topology) -> None:
    app.stream("a").group_by_key().count(name="n").to("app-n-changelog")
    with pytest.raises(TopologyError, match=r"^app-n-changelog: internal topics"):
        plan(app)


def test_a_topology_that_reads_nothing(app: Topology) -> None:
    with pytest.raises(TopologyError, match="reads no topic"):
        plan(app)
