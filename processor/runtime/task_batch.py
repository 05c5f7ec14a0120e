"""TaskBatch: records of a task's partitions that go through its dataflow in one pass.

Rows are known by their numbers in the order in which they are worked on, whichever partitions they
are from. Owns that order, and the way back from a row to its record.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, pairwise
from typing import NamedTuple, cast

from processor.records import Batch, Offset, RawBatch, Timestamp, TopicPartition


class PartitionSlice(NamedTuple):
    """What one partition gives to a batch.

    Attributes:
        source: The partition.
        records: In their order, with their own offsets.
        rows: The numbers that they have in the batch, ascending.
    """

    source: TopicPartition
    records: RawBatch
    rows: Sequence[int]

    def between(self, first: int, last: int) -> RawBatch:
        """The records that have the numbers from `first` to `last`, with these for offsets."""
        begin, end = bisect_left(self.rows, first), bisect_left(self.rows, last + 1)
        records = self.records
        if end - begin < len(records):
            records = records.between(begin, end)
        rows = cast("Sequence[Offset]", self.rows[begin:end])
        return Batch(records.keys, records.values, records.timestamps, rows, records.headers)

    def record(self, row: int) -> RawBatch:
        """The record that has this number, alone, as it was read."""
        return self.records.take([bisect_left(self.rows, row)])


class Taken(NamedTuple):
    """Records of one partition that are taken for a batch.

    Attributes:
        source: The partition.
        records: In the order in which they are worked on.
        times: By which they are put in order with those of others, ascending.
        is_upstream: Whether the times are those of the tasks that wrote the records.
    """

    source: TopicPartition
    records: RawBatch
    times: Sequence[Timestamp]
    is_upstream: bool = False


@dataclass(frozen=True, slots=True)
class TaskBatch:
    """Slices of partitions whose rows have all numbers from 0, each once.

    Attributes:
        slices: Of the partitions.
        times: For each row the stream time that it brings, where that is known before it is
            decoded; None: all have their own timestamps.
    """

    slices: tuple[PartitionSlice, ...]
    times: Sequence[Timestamp | None] | None = None

    def __str__(self) -> str:
        parts = (
            f"{each.source} offset {each.records.offsets[0]}"
            + (f" to {each.records.offsets[-1]}" if len(each.records) > 1 else "")
            for each in self.slices
            if len(each.records)
        )
        return ", ".join(parts)

    @property
    def rows(self) -> range:
        """The numbers of all rows."""
        return range(sum(len(each.records) for each in self.slices))

    def slice_of(self, row: int) -> PartitionSlice:
        """The slice that a row is from."""
        return next(
            each
            for each in self.slices
            if (at := bisect_left(each.rows, row)) < len(each.rows) and each.rows[at] == row
        )


def task_batch(source: TopicPartition, records: RawBatch) -> TaskBatch:
    """Records of one partition, in their order."""
    return TaskBatch((PartitionSlice(source, records, range(len(records))),))


def merged(parts: Sequence[Taken]) -> TaskBatch:
    """Records of several partitions, by their times.

    Of equal times those of the partition that comes first go first.
    """
    if len(parts) == 1:
        ((source, records, _, _),) = parts
        batch = task_batch(source, records)
    else:
        batch = TaskBatch(tuple(_in_order(parts)))
    if not any(map(_brings_other_times, parts)):
        return batch
    times: list[Timestamp | None] = [None] * len(batch.rows)
    for each, part in zip(batch.slices, parts, strict=True):
        if part.is_upstream:
            for row, time in zip(each.rows, part.times, strict=True):
                times[row] = time
    return replace(batch, times=times)


def _in_order(parts: Sequence[Taken]) -> Iterator[PartitionSlice]:
    times = list(chain.from_iterable(part.times for part in parts))
    rows = [0] * len(times)
    for row, place in enumerate(sorted(range(len(times)), key=times.__getitem__)):
        rows[place] = row
    stretches = pairwise(accumulate((len(part.records) for part in parts), initial=0))
    for part, (begin, end) in zip(parts, stretches, strict=True):
        yield PartitionSlice(part.source, part.records, rows[begin:end])


def _brings_other_times(part: Taken) -> bool:
    return part.is_upstream and list(part.times) != list(part.records.timestamps)
