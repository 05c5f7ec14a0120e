"""Which leader epoch a position has: that of the record before it, if it was seen."""

from typing import cast

import pytest
from confluent_kafka import Message

from processor.kafka.messages import UNKNOWN, spans
from processor.records import Offset, Partition, TopicPartition
from processor.worker.epochs import Epochs

IN = TopicPartition("in", Partition(0))


class Read:
    """What of a message counts here."""

    def __init__(self, offset: int, epoch: int | None) -> None:
        self._offset, self._epoch = offset, epoch

    def offset(self) -> int:
        return self._offset

    def leader_epoch(self) -> int | None:
        return self._epoch


def known(*runs: list[tuple[int, int | None]]) -> Epochs:
    epochs = Epochs()
    for run in runs:
        epochs.read(IN, spans(cast("list[Message]", [Read(*each) for each in run])))
    return epochs


@pytest.mark.parametrize(
    ("position", "epoch"), [(0, -1), (5, -1), (6, 3), (8, 3), (9, 3), (10, -1)]
)
def test_of_one_epoch(position: int, epoch: int) -> None:
    """The last record is 8: what is behind it may be a marker of another leader's."""
    assert known([(5, 3), (6, 3), (8, 3)]).of(IN, Offset(position)) == epoch


def test_of_several_epochs_in_one_run() -> None:
    epochs = known([(5, 3), (6, 4), (7, 4), (9, 6)])
    assert [epochs.of(IN, Offset(each)) for each in (6, 7, 8, 9, 10)] == [3, 4, 4, UNKNOWN, 6]


def test_runs_of_one_epoch_are_one() -> None:
    epochs = known([(5, 3)], [(6, 3)], [(9, 3)], [(10, 4)])
    assert [epochs.of(IN, Offset(each)) for each in (6, 8, 10, 11)] == [3, 3, 3, 4]


def test_what_is_read_again_counts_as_it_was_read_last() -> None:
    epochs = known([(5, 3), (9, 3)], [(6, 5), (7, 5)])
    assert [epochs.of(IN, Offset(each)) for each in (6, 7, 8)] == [3, 5, 5]


def test_of_what_was_committed() -> None:
    epochs = Epochs()
    epochs.know(IN, Offset(7), 2)
    epochs.know(IN, Offset(-1001), None)
    assert [epochs.of(IN, Offset(each)) for each in (6, 7, 8)] == [UNKNOWN, 2, UNKNOWN]


def test_the_record_before_a_committed_position_is_compared_once() -> None:
    epochs = Epochs()
    epochs.know(IN, Offset(7), 2)
    assert epochs.to_compare(IN, Offset(5)) is None
    assert epochs.to_compare(IN, Offset(7)) == 2
    epochs.compared(IN)
    assert epochs.to_compare(IN, Offset(7)) is None


def test_brokers_that_report_none() -> None:
    assert known([(5, None), (6, None)]).of(IN, Offset(6)) == UNKNOWN
