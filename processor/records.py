"""What flows: records, and batches of them.

Owns the shapes that every layer passes on. Knows nothing of topics' contents, serdes or clients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, compress, pairwise
from operator import itemgetter
from typing import Final, Generic, Literal, NamedTuple, NewType, TypeAlias, TypeVar

K = TypeVar("K")
V = TypeVar("V")
K2 = TypeVar("K2")
V2 = TypeVar("V2")
V3 = TypeVar("V3")

Offset = NewType("Offset", int)
"""A position in one partition; as a position to go on from it is the next offset to read."""

Timestamp = NewType("Timestamp", int)
"""Milliseconds since 1970-01-01 UTC. Negative means: the record has none."""

LATEST: Final = Timestamp(253_339_228_800_000)
"""Event times are before this, the year 9998: what comes after it would close everything."""

Partition = NewType("Partition", int)
"""The number of a topic's partition, from 0."""

Headers: TypeAlias = tuple[tuple[str, bytes | None], ...]
"""A record's headers in order; names may repeat."""

Policy: TypeAlias = Literal["fail", "skip", "dead-letter"]
"""What happens to a record that fails: stop the worker, drop it, or keep it in a topic."""

_FEW = 2
"""Fewer indices than that, and `itemgetter` gives no tuple."""

NO_OFFSET = Offset(-1)
"""The offset of a row that no input record stands for, such as a punctuation's output."""


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: Partition

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


class Record(NamedTuple, Generic[K, V]):
    """One record, as functions given to `Stream.process` see it and return it."""

    key: K
    value: V
    timestamp: Timestamp
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Batch(Generic[K, V]):
    """Records of one partition in order, column by column; all columns have the same length.

    `offsets` names the input record that each row comes from, so that a row that fails can be
    traced back. `headers` is None when no row has any.
    """

    keys: Sequence[K]
    values: Sequence[V]
    timestamps: Sequence[Timestamp]
    offsets: Sequence[Offset]
    headers: Sequence[Headers] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def select(self, mask: Sequence[object]) -> "Batch[K, V]":
        """The rows for which the mask is true."""
        return Batch(
            list(compress(self.keys, mask)),
            list(compress(self.values, mask)),
            list(compress(self.timestamps, mask)),
            list(compress(self.offsets, mask)),
            None if self.headers is None else list(compress(self.headers, mask)),
        )

    def without(self, rows: Sequence[int]) -> "Batch[K, V]":
        """All rows but the few with these indices, which ascend."""
        kept = [slice(a + 1, b) for a, b in pairwise((-1, *rows, len(self)))]
        return Batch(
            _pieces(self.keys, kept),
            _pieces(self.values, kept),
            _pieces(self.timestamps, kept),
            _pieces(self.offsets, kept),
            None if self.headers is None else _pieces(self.headers, kept),
        )

    def take(self, rows: Sequence[int]) -> "Batch[K, V]":
        """The rows with these indices, in this order; an index may repeat."""
        return Batch(
            taken(self.keys, rows),
            taken(self.values, rows),
            taken(self.timestamps, rows),
            taken(self.offsets, rows),
            None if self.headers is None else taken(self.headers, rows),
        )

    def between(self, begin: int, end: int) -> "Batch[K, V]":
        """The rows from one index up to, and without, another."""
        return Batch(
            self.keys[begin:end],
            self.values[begin:end],
            self.timestamps[begin:end],
            self.offsets[begin:end],
            None if self.headers is None else self.headers[begin:end],
        )

    def with_values(self, values: Sequence[V2]) -> "Batch[K, V2]":
        """The same rows with other values."""
        return Batch(self.keys, values, self.timestamps, self.offsets, self.headers)

    def with_keys(self, keys: Sequence[K2]) -> "Batch[K2, V]":
        """The same rows with other keys."""
        return Batch(keys, self.values, self.timestamps, self.offsets, self.headers)

    def with_timestamps(self, timestamps: Sequence[Timestamp]) -> "Batch[K, V]":
        """The same rows with other timestamps."""
        return Batch(self.keys, self.values, timestamps, self.offsets, self.headers)

    def numbered(self) -> "Batch[K, V]":
        """The same rows, with their numbers for offsets."""
        numbers = [Offset(row) for row in range(len(self))]
        return Batch(self.keys, self.values, self.timestamps, numbers, self.headers)

    def records(self) -> list[Record[K, V]]:
        """The rows as records."""
        headers = self.headers or ((),) * len(self)
        rows = zip(self.keys, self.values, self.timestamps, headers, strict=True)
        return list(map(Record[K, V]._make, rows))


def taken(column: Sequence[K], rows: Sequence[int]) -> list[K]:
    """The elements with these indices, in this order."""
    if len(rows) < _FEW:
        return [column[row] for row in rows]
    return list(itemgetter(*rows)(column))


def _pieces(column: Sequence[K], slices: Sequence[slice]) -> list[K]:
    return list(chain.from_iterable(column[each] for each in slices))


def in_order(batches: Sequence[Batch[K, V]]) -> Batch[K, V]:
    """All rows in the order of their records; of one record, those of earlier batches first."""
    if len(batches) == 1:
        return batches[0]
    with_headers = any(batch.headers is not None for batch in batches)
    joined: Batch[K, V] = Batch(
        [key for batch in batches for key in batch.keys],
        [value for batch in batches for value in batch.values],
        [timestamp for batch in batches for timestamp in batch.timestamps],
        [offset for batch in batches for offset in batch.offsets],
        [one for batch in batches for one in batch.headers or ((),) * len(batch)]
        if with_headers
        else None,
    )
    return joined.take(sorted(range(len(joined)), key=joined.offsets.__getitem__))


def highest_so_far(times: Sequence[Timestamp], before: Timestamp) -> Sequence[Timestamp]:
    """For each time the highest of it, those in front of it and `before`.

    Mostly times are in order already, which is much cheaper to see than to bring about.
    """
    if not times or (times[0] >= before and sorted(times) == list(times)):
        return times
    return list(accumulate(times, max, initial=before))[1:]


RawBatch: TypeAlias = Batch[bytes | None, bytes | None]
"""Records as Kafka holds them."""
