"""The reference run: what it makes of recorded input, and that it passes only the same again."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from processor import Timestamp, Topology
from processor.chaos.compare import Compared
from processor.chaos.outside import Outside, tables_of
from processor.chaos.reference import Reference, State, make_reference
from processor.chaos.rules import Rule
from processor.errors import BadRecordError
from processor.records import Batch, Offset, Partition, RawBatch, TopicPartition
from processor.settings import Settings
from processor.topology.plan import lay_out, plan

Logs = dict[TopicPartition, RawBatch]


def source(topic: str, partition: int = 0) -> TopicPartition:
    return TopicPartition(topic, Partition(partition))


def log(*pairs: tuple[str, str]) -> RawBatch:
    return Batch(
        [key.encode() for key, _ in pairs],
        [value.encode() for _, value in pairs],
        [Timestamp(number) for number in range(len(pairs))],
        [Offset(2 * number) for number in range(len(pairs))],  # as where markers lie between
    )


def reference(topology: Topology, logs: Logs, unread: frozenset[str] = frozenset()) -> Reference:
    made = plan(topology)
    layout = lay_out(made, dict.fromkeys(made.inputs, 2))
    every = {source(topic, number): log() for topic in layout.partitions for number in (0, 1)}
    outside = Outside(tables_of(made, logs))
    return make_reference(
        layout, every | logs, unread, Settings().options.alone(), outside, lambda _done, _all: None
    )


def written(made: Reference) -> tuple[Logs, dict[str, dict[Partition, dict[bytes, bytes]]]]:
    """What the reference run itself made, as if it had been found."""
    found: Logs = {}
    state: dict[str, dict[Partition, dict[bytes, bytes]]] = {}
    for task, (one, _) in made.made.items():
        for topic, records in one.outputs.items():
            found[source(topic, task.partition)] = Batch(
                [record.key for record in records],
                [record.value for record in records],
                [record.timestamp for record in records],
                [Offset(row) for row in range(len(records))],
                [record.headers for record in records],
            )
        for store, values in one.state.items():
            state.setdefault(store, {})[task.partition] = values
    return found, state


def outcome(made: Reference, found: Logs, state: State) -> Mapping[str, Compared]:
    return {each.name: each for each in made.compare(found, state)}


def counting() -> Topology:
    topology = Topology("app")
    stream = topology.stream("in", value=int)
    stream.map_values(lambda value: 2 * value).to("twice")
    stream.group_by(lambda value: str(value % 10), name="digits").count(name="counts").to("counts")
    return topology


IN: Logs = {
    source("in"): Batch(
        [b"a", b"b", b"a"],
        [(n).to_bytes(8, "big") for n in (11, 12, 21)],
        [Timestamp(0), Timestamp(5), Timestamp(6)],
        [Offset(0), Offset(1), Offset(2)],
    )
}


def test_each_task_makes_what_its_own_partition_says() -> None:
    digits = "app-digits-repartition"
    into = {source(digits, 1): log(('"1"', "x" * 8), ('"1"', "x" * 8))}
    made = reference(counting(), IN | into)
    (first, other) = made.made[made.layout.task_of(source("in"))]
    assert other is None
    assert [record.timestamp for record in first.outputs["twice"]] == [1, 5, 6]
    assert [record.key for record in first.outputs[digits]] == [b'"1"', b'"2"', b'"1"']
    (counted, _) = made.made[made.layout.task_of(source(digits, 1))]
    changes = [record.value for record in counted.outputs["counts"]]
    assert changes == [b"1", b"2"], "every change is emitted"


def test_what_it_made_passes_and_nothing_else() -> None:
    made = reference(counting(), IN)
    found, state = written(made)
    assert not any(each.differences for each in made.compare(found, state))
    twice = found[source("twice")]
    lost = found | {source("twice"): twice.take([0, 1])}
    result = outcome(made, lost, state)
    assert [each.fate for each in result["twice"].differences] == ["lost"]
    assert (result["twice"].found, result["twice"].expected) == (2, 3)
    wrong = {"counts": {Partition(0): {b"1": b"?"}}}
    assert outcome(made, found, wrong)["counts"].differences


def test_topics_chosen_for_each_record_are_compared() -> None:
    topology = Topology("app")
    topology.stream("in", value=str).to(lambda record: f"to-{record.value}")
    made = reference(topology, {source("in"): log(("k", "x"), ("k", "y"))})
    assert made.topics == ["app-dead-letters", "to-x", "to-y"]
    found, state = written(made)
    del found[source("to-y")]
    result = outcome(made, found, state)
    assert [bool(result[name].differences) for name in ("to-x", "to-y")] == [False, True]


def test_dead_letters_are_compared_but_for_the_text_of_the_error() -> None:
    made = reference(counting(), {source("in"): log(("k", "no number"), ("k", "short"))})
    found, state = written(made)
    letters = found[source("app-dead-letters")]
    assert len(letters) == 2
    assert letters.headers is not None
    others = [(*headers[:-1], ("kproc.error", b"at 0x7f")) for headers in letters.headers]
    same = found | {source("app-dead-letters"): replace(letters, headers=others)}
    assert not outcome(made, same, state)["app-dead-letters"].differences
    fewer = found | {source("app-dead-letters"): letters.take([0])}
    assert outcome(made, fewer, state)["app-dead-letters"].differences


def test_the_order_of_reading_is_tried_both_ways() -> None:
    topology = Topology("app")
    both = topology.stream("one", value=str).merge(topology.stream("two", value=str))
    both.group_by_key().reduce(lambda _old, new: new, name="latest").to("out")
    made = reference(
        topology,
        {source("one"): log(("k", "x"), ("same", "z")), source("two"): log(("k", "y"))},
    )
    result = outcome(made, {}, {"latest": {}})
    assert result["out"].judgement.rule is Rule.LAST
    assert result["out"].undecided == result["latest"].undecided == 1
    assert [each.key for each in result["latest"].differences] == [b"same"]


def test_a_task_whose_input_could_not_be_read_is_left_out() -> None:
    digits = "app-digits-repartition"
    made = reference(counting(), IN, frozenset({digits}))
    result = outcome(made, written(made)[0], {"counts": {Partition(0): {b"1": b"?"}}})
    assert result["counts"].judgement.rule is Rule.NOTHING
    assert not result["counts"].differences
    assert not result["twice"].differences


def test_a_bad_record_ends_it_if_that_is_the_policy() -> None:
    topology = Topology("app")
    topology.stream("in", value=int, on_bad_record="fail").to("out")
    with pytest.raises(BadRecordError):
        reference(topology, {source("in"): log(("k", "no number"))})


def test_so_does_one_after_others_that_are_not_committed_yet() -> None:
    topology = Topology("app")
    topology.stream("in", "more", value=int, on_bad_record="fail").to("out")
    logs = {source("in"): log(("k", "1")), source("more"): log(("k", "no number"))}
    with pytest.raises(BadRecordError):
        reference(topology, logs)
