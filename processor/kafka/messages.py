"""Messages of the client as columns; everything here runs at the speed of `map`."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, cast

from confluent_kafka import Message

from processor.records import Batch, Headers, Offset, Partition, RawBatch, Timestamp, TopicPartition

_SECOND = itemgetter(1)

UNKNOWN = -1
"""The leader epoch of a position after a transaction's marker, which nobody gets to see, or from
elsewhere."""


class Span(NamedTuple):
    """A stretch of records of one leader epoch: the first offset and the last one."""

    first: int
    last: int
    epoch: int


class Run(NamedTuple):
    """Records of one partition in order, at least one, and which leader epochs they are of."""

    source: TopicPartition
    records: RawBatch
    spans: Sequence[Span]


def split_errors(messages: list[Message]) -> tuple[list[Message], list[Message]]:
    """The messages that are records, and those that stand for an error or an end."""
    if not any(map(Message.error, messages)):
        return messages, []
    records = [message for message in messages if message.error() is None]
    return records, [message for message in messages if message.error() is not None]


def runs(messages: Sequence[Message]) -> Iterator[tuple[TopicPartition, Sequence[Message]]]:
    """The messages in runs of one partition each, in order."""
    sources = zip(map(Message.topic, messages), map(Message.partition, messages), strict=True)
    first = 0
    for (topic, partition), run in groupby(sources):
        last = first + len(list(run))
        yield TopicPartition(topic or "", Partition(partition or 0)), messages[first:last]
        first = last


def source_of(message: Message) -> TopicPartition:
    """Where a message comes from."""
    return TopicPartition(message.topic() or "", Partition(message.partition() or 0))


def raw_batch(messages: Sequence[Message]) -> RawBatch:
    """Messages as a batch."""
    headers = cast("list[Headers | None]", list(map(Message.headers, messages)))
    return Batch(
        list(map(Message.key, messages)),
        list(map(Message.value, messages)),
        cast("list[Timestamp]", list(map(_SECOND, map(Message.timestamp, messages)))),
        cast("list[Offset]", list(map(Message.offset, messages))),
        [tuple(each) if each else () for each in headers] if any(headers) else None,
    )


def bare_batch(messages: Sequence[Message]) -> RawBatch:
    """The same for who needs neither timestamps nor headers; there is 0, and none."""
    return Batch(
        list(map(Message.key, messages)),
        list(map(Message.value, messages)),
        [Timestamp(0)] * len(messages),
        cast("list[Offset]", list(map(Message.offset, messages))),
    )


def spans(messages: Sequence[Message]) -> Sequence[Span]:
    """The stretches of one leader epoch that messages of one partition are in."""
    first, last = messages[0], messages[-1]
    if first.leader_epoch() == last.leader_epoch():
        return [_span([first, last])]
    return [_span(list(same)) for _, same in groupby(messages, lambda each: each.leader_epoch())]


def _span(run: Sequence[Message]) -> Span:
    epoch = run[0].leader_epoch()
    first, last = (message.offset() or 0 for message in (run[0], run[-1]))
    return Span(first, last, UNKNOWN if epoch is None else epoch)
