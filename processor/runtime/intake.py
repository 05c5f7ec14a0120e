"""Intake: what a task has been given to read, and in which order it works on it.

Records of several partitions are taken in the order of their timestamps as far as they are there,
as in Kafka Streams (KIP-353, KIP-695). Knows nothing of what is done with them.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain

from processor.records import LATEST, Offset, RawBatch, Timestamp, TopicPartition
from processor.runtime.portion import Portion, merged, portion_of

_MOST = 20_000
"""Records at work at once, about: as many as have the same time go together."""

_FULL, _FULL_BYTES = 200_000, 32 * 2**20
"""Records waiting for those of another partition, at most; then the order has to give way."""


@dataclass(slots=True)
class _Waiting:
    """Records of one partition, in order; the first `done` are gone.

    `tops` has for each record the highest time so far: records stay in the order of their
    partition, so one that comes too late goes right behind the one before it.
    """

    records: RawBatch
    tops: Sequence[Timestamp]
    done: int = 0
    _bytes: int | None = None

    @property
    def bytes(self) -> int:
        """Of all of its values."""
        if self._bytes is None:
            self._bytes = sum(map(len, filter(None, self.records.values)))
        return self._bytes

    def __len__(self) -> int:
        return len(self.records) - self.done

    def take(self, end: int) -> tuple[RawBatch, Sequence[Timestamp]]:
        """The next records, up to the one with this number."""
        begin, self.done = self.done, end
        if end - begin == len(self.records):
            return self.records, self.tops
        return self.records.take(range(begin, end)), self.tops[begin:end]


@dataclass(slots=True)
class Intake:
    """The partitions of one task.

    Args:
        sources: All of them.
        max_idle: Milliseconds to wait for records of a partition whose end is reached, while others
            have some; None: records are taken as they come.
    """

    sources: frozenset[TopicPartition]
    max_idle: int | None
    _waiting: dict[TopicPartition, list[_Waiting]] = field(
        default_factory=dict[TopicPartition, list[_Waiting]]
    )
    _ended: dict[TopicPartition, Offset] = field(default_factory=dict[TopicPartition, Offset])
    _lacking: dict[TopicPartition, int] = field(default_factory=dict[TopicPartition, int])
    """Since when partitions at their ends have been waited for."""
    _idle_since: int | None = None
    is_idle_told: bool = False
    """Whether `is_idle` has said so and nothing has come since."""

    @property
    def is_ordered(self) -> bool:
        """Whether the order of several partitions' records matters."""
        return self.max_idle is not None and len(self.sources) > 1

    def restart(self) -> None:
        """All is fetched again from where the task is."""
        self._waiting.clear()
        self._ended.clear()
        self._lacking.clear()
        self._idle_since = None
        self.is_idle_told = False  # what was told is perhaps undone

    def next(self, source: TopicPartition, position: Offset) -> Offset:
        """The next offset to be given; `position` is how far the task has worked."""
        waiting = self._waiting.get(source)
        return Offset(waiting[-1].records.offsets[-1] + 1) if waiting else position

    def add(
        self, source: TopicPartition, records: RawBatch, times: Sequence[Timestamp] | None = None
    ) -> None:
        """Records that follow those that were given before, and the times that they count for."""
        tops = self._tops(times or records.timestamps) if self.is_ordered else ()
        self._waiting.setdefault(source, []).append(_Waiting(records, tops))
        self._ended.pop(source, None)
        self._lacking.pop(source, None)
        self._idle_since, self.is_idle_told = None, False

    def _tops(self, times: Sequence[Timestamp]) -> Sequence[Timestamp]:
        """What no valid time is counts for none: the record is a bad one, and holds up nothing."""
        if max(times) >= LATEST:
            times = [time if time < LATEST else Timestamp(0) for time in times]
        return list(accumulate(times, max))

    def end(self, source: TopicPartition, offset: Offset) -> None:
        """There is nothing more of this partition for now, up to the offset of its end."""
        self._ended[source] = offset

    def ends(self) -> Iterator[tuple[TopicPartition, Offset]]:
        """The ends that are reached with nothing waiting before them.

        They may be past the last record, as what ends a transaction has an offset, too.
        """
        return (each for each in self._ended.items() if each[0] not in self._waiting)

    def take(self, elapsed: int) -> Iterator[Portion]:
        """What is to be worked on now, `elapsed` milliseconds after any moment."""
        while self._waiting and self._is_ready(elapsed):
            yield self._take() if self.is_ordered else self._take_one()

    def is_idle(self, elapsed: int, timeout: int) -> bool:
        """Whether nothing has come for so long, all ends being reached; told once."""
        if self.is_idle_told or self._waiting or not self.sources <= self._ended.keys():
            return False
        if self._idle_since is None:
            self._idle_since = elapsed
        self.is_idle_told = elapsed - self._idle_since >= timeout
        return self.is_idle_told

    def _is_ready(self, elapsed: int) -> bool:
        if self.max_idle is None:
            return True
        lacking = self.sources - self._waiting.keys()
        if not lacking or self._is_full():
            return True
        if not lacking <= self._ended.keys():
            return False
        since = [self._lacking.setdefault(each, elapsed) for each in lacking]
        return all(elapsed - time >= self.max_idle for time in since)

    def _is_full(self) -> bool:
        waiting = [each for many in self._waiting.values() for each in many]
        return sum(map(len, waiting)) > _FULL or sum(each.bytes for each in waiting) > _FULL_BYTES

    def _take_one(self) -> Portion:
        """All that has come at once of one partition."""
        source = next(iter(self._waiting))
        records, _ = self._take_from(source, len(self._waiting[source][0].records))
        return portion_of(source, records)

    def _take(self) -> Portion:
        """As much as can be put in order, until the first partition may lack more.

        Of equal times those of the partition that sorts first come first, however many at once: a
        replay that is fetched in other pieces does the same.
        """
        heads = {source: self._waiting[source][0] for source in sorted(self._waiting)}
        last, first = min((head.tops[-1], source) for source, head in heads.items())
        ends = {
            source: (bisect_right if source <= first else bisect_left)(head.tops, last, head.done)
            for source, head in heads.items()
        }
        if sum(ends[each] - head.done for each, head in heads.items()) > _MOST:
            tops = (head.tops[head.done : ends[each]] for each, head in heads.items())
            cut = sorted(chain.from_iterable(tops))[_MOST]
            if cut < last:
                ends = {
                    each: bisect_right(head.tops, cut, head.done) for each, head in heads.items()
                }
        taken = {source: end for source, end in ends.items() if end > heads[source].done}
        return merged([(source, *self._take_from(source, end)) for source, end in taken.items()])

    def _take_from(self, source: TopicPartition, end: int) -> tuple[RawBatch, Sequence[Timestamp]]:
        waiting = self._waiting[source]
        taken = waiting[0].take(end)
        if not len(waiting[0]):
            del waiting[0]
        if not waiting:
            del self._waiting[source]
        return taken
