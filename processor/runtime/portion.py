"""Portion: records of a task's partitions that go through its dataflow in one pass.

Rows are known by their numbers in the order in which they are worked on, whichever partitions they
are from. Owns that order, and the way back from a row to its record.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import NamedTuple, cast

from processor.records import Batch, Offset, RawBatch, Timestamp, TopicPartition


class Share(NamedTuple):
    """What one partition gives to a portion.

    Attributes:
        source: The partition.
        records: In their order, with their own offsets.
        rows: The numbers that they have in the portion, ascending.
    """

    source: TopicPartition
    records: RawBatch
    rows: Sequence[int]

    def between(self, first: int, last: int) -> RawBatch:
        """The records that have the numbers from `first` to `last`, with these for offsets."""
        begin, end = bisect_left(self.rows, first), bisect_left(self.rows, last + 1)
        records = self.records
        if end - begin < len(records):
            records = records.take(range(begin, end))
        rows = cast("Sequence[Offset]", self.rows[begin:end])
        return Batch(records.keys, records.values, records.timestamps, rows, records.headers)

    def record(self, row: int) -> RawBatch:
        """The record that has this number, alone, as it was read."""
        return self.records.take([bisect_left(self.rows, row)])


class Portion(tuple[Share, ...]):
    """Shares whose rows have all numbers from 0, each once."""

    __slots__ = ()

    @property
    def rows(self) -> range:
        """The numbers of all rows."""
        return range(sum(len(share.records) for share in self))

    def share_of(self, row: int) -> Share:
        """The share that a row is from."""
        return next(
            share
            for share in self
            if (at := bisect_left(share.rows, row)) < len(share.rows) and share.rows[at] == row
        )


def portion_of(source: TopicPartition, records: RawBatch) -> Portion:
    """Records of one partition, in their order."""
    return Portion([Share(source, records, range(len(records)))])


def merged(
    parts: Sequence[tuple[TopicPartition, RawBatch, Sequence[Timestamp]]],
) -> Portion:
    """Records of several partitions, by times that do not fall within one.

    Of equal times those of the partition that comes first go first.
    """
    if len(parts) == 1:
        ((source, records, _),) = parts
        return portion_of(source, records)
    times = list(chain.from_iterable(times for _, _, times in parts))
    rows = [0] * len(times)
    for row, place in enumerate(sorted(range(len(times)), key=times.__getitem__)):
        rows[place] = row
    return Portion(
        Share(source, records, rows[begin:end])
        for (source, records, _), (begin, end) in zip(parts, _stretches(parts), strict=True)
    )


def _stretches(
    parts: Sequence[tuple[TopicPartition, RawBatch, Sequence[Timestamp]]],
) -> Iterator[tuple[int, int]]:
    return pairwise(accumulate((len(records) for _, records, _ in parts), initial=0))
