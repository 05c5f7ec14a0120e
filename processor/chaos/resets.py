"""What a reset means for the comparison: a task's work is cut into pieces, each from empty stores.

What was written before a reset stays where it is; what is read again gives results again.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from processor.chaos.replay import TaskResult
from processor.records import Offset, RawBatch, TopicPartition

_BEGINNING, _END = Offset(0), Offset(2**63 - 1)


class Reset(NamedTuple):
    """Where a reset has cut the work.

    Attributes:
        until: Up to where each partition had been processed.
        ends: Where the partitions ended before it.
        since: From where they were read afterwards.
    """

    until: Mapping[TopicPartition, Offset]
    ends: Mapping[TopicPartition, Offset]
    since: Mapping[TopicPartition, Offset]


def pieces(
    logs: Mapping[TopicPartition, RawBatch], resets: Sequence[Reset]
) -> list[Mapping[TopicPartition, RawBatch]]:
    """What was processed between resets, the first piece from the beginning on."""
    begins = [dict[TopicPartition, Offset](), *(reset.since for reset in resets)]
    ends = [*(reset.until for reset in resets), dict[TopicPartition, Offset]()]
    return [
        {
            source: _between(log, begin.get(source, _BEGINNING), end.get(source, _END))
            for source, log in logs.items()
        }
        for begin, end in zip(begins, ends, strict=True)
    ]


def without_marks(source: TopicPartition, log: RawBatch, resets: Sequence[Reset]) -> RawBatch:
    """A repartition topic's records without those that resets wrote to empty it."""
    marks = [(reset.ends[source], reset.since[source]) for reset in resets]
    rows = [
        row
        for row, offset in enumerate(log.offsets)
        if not any(first <= offset < end for first, end in marks)
    ]
    return log if len(rows) == len(log) else log.take(rows)


def joined(made: Sequence[TaskResult]) -> TaskResult:
    """What a task wrote in all pieces together, and the state that it has in the end."""
    outputs = {topic: list(records) for topic, records in made[0].outputs.items()}
    for each in made[1:]:
        for topic, records in each.outputs.items():
            outputs.setdefault(topic, []).extend(records)
    return TaskResult(outputs, made[-1].state)


def _between(log: RawBatch, begin: Offset, end: Offset) -> RawBatch:
    rows = [row for row, offset in enumerate(log.offsets) if begin <= offset < end]
    return log if len(rows) == len(log) else log.take(rows)
