"""What a reset leaves, and what comes again: pieces of each task's work."""

from processor import Topology
from processor.chaos.outside import Outside
from processor.chaos.reference import make_reference
from processor.chaos.replay import RawRecord, TaskResult
from processor.chaos.resets import Reset, joined, pieces, without_marks
from processor.records import Batch, Offset, Partition, RawBatch, Record, Timestamp, TopicPartition
from processor.settings import Settings
from processor.topology.plan import lay_out, plan

IN = TopicPartition("in", Partition(0))


def log(*offsets: int) -> RawBatch:
    count = len(offsets)
    places = [Offset(each) for each in offsets]
    return Batch([b"k"] * count, [b"v"] * count, [Timestamp(1)] * count, places)


def reset(until: int, end: int, since: int) -> Reset:
    return Reset({IN: Offset(until)}, {IN: Offset(end)}, {IN: Offset(since)})


def cut(of: RawBatch, *resets: Reset) -> list[list[int]]:
    return [list(piece[IN].offsets) for piece in pieces({IN: of}, resets)]


def test_without_a_reset_there_is_one_piece() -> None:
    assert cut(log(0, 1, 3)) == [[0, 1, 3]]


def test_what_is_read_again_is_in_both_pieces() -> None:
    assert cut(log(0, 1, 3, 4), reset(3, 5, 0)) == [[0, 1], [0, 1, 3, 4]]


def test_what_is_passed_over_is_in_none() -> None:
    assert cut(log(0, 1, 3, 4, 7), reset(3, 5, 5)) == [[0, 1], [7]]


def test_each_reset_begins_a_piece() -> None:
    resets = reset(2, 2, 0), reset(1, 4, 3)
    assert cut(log(0, 1, 2, 3, 4), *resets) == [[0, 1], [0], [3, 4]]


def test_what_a_reset_wrote_to_empty_a_topic_is_none_of_the_applications() -> None:
    kept = without_marks(IN, log(0, 1, 2, 5, 6), [reset(1, 2, 5)])
    assert list(kept.offsets) == [0, 1, 5, 6]


def test_outputs_stay_and_state_is_that_of_the_last_piece() -> None:
    one: RawRecord = Record(b"k", b"1", Timestamp(1))
    other: RawRecord = Record(b"k", b"2", Timestamp(2))
    made = joined(
        [
            TaskResult({"out": [one]}, {"counts": {b"k": b"1"}}),
            TaskResult({"out": [other], "more": [other]}, {"counts": {}}),
        ]
    )
    assert made.outputs == {"out": [one, other], "more": [other]}
    assert made.state == {"counts": {}}


def test_an_application_counts_from_the_beginning_after_a_reset() -> None:
    topology = Topology("app")
    counts = topology.stream("in", value=str).group_by_key().count(name="counts")
    counts.to("out")
    layout = lay_out(plan(topology), {"in": 1}, {})
    made = make_reference(
        layout,
        {IN: log(0, 1, 2)},
        frozenset(),
        Settings().options.alone(),
        Outside(),
        lambda _done, _total: None,
        [reset(2, 2, 1)],
    )
    (one, _other), *_ = made.made.values()
    assert [record.value for record in one.outputs["out"]] == [b"1", b"2", b"1", b"2"]
    assert len(one.state["counts"]) == 1
