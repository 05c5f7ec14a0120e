"""The reader of committed records, against what a client may answer, without a broker."""

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError as ClientError
from confluent_kafka import Message
from confluent_kafka import TopicPartition as ClientPartition

from processor.errors import KafkaError
from processor.kafka.reader import Reader
from processor.records import Partition, TopicPartition

ONE, OTHER = (TopicPartition("in", Partition(number)) for number in range(2))


class Client:
    """A consumer that answers what the test says, then nothing."""

    def __init__(self, *answers: list[Message]) -> None:
        self.answers: Iterator[list[Message]] = iter(answers)
        self.assigned: list[tuple[str, int, int]] = []

    def assign(self, partitions: list[ClientPartition]) -> None:
        self.assigned = [(each.topic, each.partition, each.offset) for each in partitions]

    def consume(self, _most: int, _timeout: float) -> list[Message]:
        return next(self.answers, [])


def record(source: TopicPartition, offset: int) -> Message:
    return Message(*source, offset, value=b"%d" % offset)


def said(source: TopicPartition, code: int, offset: int = 0) -> Message:
    return Message(*source, offset, error=ClientError(code))


def end(source: TopicPartition, offset: int) -> Message:
    return said(source, ClientError._PARTITION_EOF, offset)


def reader(client: Any, starts: dict[TopicPartition, int], **options: Any) -> Reader:
    return Reader(client, starts, **options)


def values(batches: Iterator[list[Message]]) -> list[tuple[int, bytes]]:
    return [(each.partition() or 0, each.value() or b"") for batch in batches for each in batch]


def test_it_begins_where_it_is_to() -> None:
    client = Client()
    reader(client, {ONE: 3, OTHER: -2})
    assert client.assigned == [("in", 0, 3), ("in", 1, -2)]


def test_what_comes_after_the_ends_is_left_out() -> None:
    client = Client(
        [record(ONE, 0), record(OTHER, 0), record(OTHER, 1)], [record(ONE, 1), record(ONE, 2)]
    )
    found = reader(client, {ONE: 0, OTHER: 0}).until({ONE: 2, OTHER: 1})
    assert values(found) == [(0, b"0"), (1, b"0"), (0, b"1")]


def test_a_partition_that_had_nothing_at_first_has_nothing_before_the_ends() -> None:
    client = Client([record(OTHER, 0), record(ONE, 0)], [record(ONE, 1)])
    found = reader(client, {ONE: 0, OTHER: 0}).until({ONE: 2})
    assert values(found) == [(0, b"0"), (0, b"1")]


def test_markers_and_aborted_records_at_the_end_are_never_seen_but_read() -> None:
    client = Client([record(ONE, 0)], [end(ONE, 3)])
    assert values(reader(client, {ONE: 0}).until({ONE: 3})) == [(0, b"0")]


def test_an_empty_partition_needs_no_answer() -> None:
    assert values(reader(Client(), {ONE: 5}).until({ONE: 5})) == []


def test_an_end_that_was_reached_before_a_transaction_was_committed_is_none() -> None:
    client = Client([record(ONE, 0), end(ONE, 1)], [], [record(ONE, 1)])
    assert values(reader(client, {ONE: 0}).until({ONE: 2})) == [(0, b"0"), (0, b"1")]


def test_what_resolves_itself_passes() -> None:
    client = Client([said(ONE, ClientError._TRANSPORT)], [record(ONE, 0)])
    assert values(reader(client, {ONE: 0}).until({ONE: 1})) == [(0, b"0")]


@pytest.mark.parametrize(
    ("code", "passing"),
    [(ClientError._TRANSPORT, ()), (ClientError.TOPIC_AUTHORIZATION_FAILED, {-195})],
)
def test_other_errors_end_it(code: int, passing: Any) -> None:
    client = Client([record(ONE, 0)], [said(ONE, code)])
    found = reader(client, {ONE: 0}, passing=passing)
    with pytest.raises(KafkaError, match="read in"):
        list(found.until({ONE: 2}))


def test_records_that_are_gone_are_noted_and_not_waited_for() -> None:
    client = Client([said(ONE, ClientError._AUTO_OFFSET_RESET)], [record(OTHER, 0)])
    found = reader(client, {ONE: 0, OTHER: 0})
    assert values(found.until({ONE: 9, OTHER: 1})) == [(1, b"0")]
    assert found.gone == {ONE}


def test_nothing_for_too_long_names_what_is_missing() -> None:
    found = reader(Client([record(ONE, 0)]), {ONE: 0, OTHER: 0})
    with pytest.raises(KafkaError, match="nothing more came for 0 s before the end"):
        list(found.until({ONE: 1, OTHER: 1}, patience=0.01))


def test_an_empty_list_comes_while_there_is_nothing() -> None:
    found = reader(Client([], [record(ONE, 0)]), {ONE: 0}).until({ONE: 1})
    assert next(found) == []
    assert len(next(found)) == 1
