"""Intake: what a task has been given to read, and in which order it works on it.

Records of several partitions are taken in the order of their timestamps as far as they are there,
as in Kafka Streams (KIP-353, KIP-695). Knows nothing of what is done with them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from processor.records import Offset, RawBatch, Timestamp, TopicPartition

_FULL, _FULL_BYTES = 200_000, 32 * 2**20
"""Records waiting for those of another partition, at most; then the order has to give way."""


@dataclass(slots=True)
class _Waiting:
    """Records of one partition, in order; the first `done` are gone."""

    records: RawBatch
    done: int = 0
    _bytes: int | None = None

    @property
    def bytes(self) -> int:
        """Of all of its values."""
        if self._bytes is None:
            self._bytes = sum(map(len, filter(None, self.records.values)))
        return self._bytes

    @property
    def first(self) -> Timestamp:
        return self.records.timestamps[self.done]

    def __len__(self) -> int:
        return len(self.records) - self.done

    def take(self, limit: float | None) -> RawBatch:
        """The leading records before a timestamp, and always the first; all without a limit."""
        begin, times = self.done, self.records.timestamps
        if limit is None:
            self.done = len(self.records)
        else:
            later = (row for row in range(begin + 1, len(times)) if times[row] >= limit)
            self.done = next(later, len(times))
        if self.done - begin == len(self.records):
            return self.records
        return self.records.take(range(begin, self.done))


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
    _is_idle_told: bool = False

    def restart(self) -> None:
        """All is fetched again from where the task is."""
        self._waiting.clear()
        self._ended.clear()
        self._lacking.clear()
        self._idle_since = None
        self._is_idle_told = False  # what was told is perhaps undone

    def next(self, source: TopicPartition, position: Offset) -> Offset:
        """The next offset to be given; `position` is how far the task has worked."""
        waiting = self._waiting.get(source)
        return Offset(waiting[-1].records.offsets[-1] + 1) if waiting else position

    def add(self, source: TopicPartition, records: RawBatch) -> None:
        """Records that follow those that were given before."""
        self._waiting.setdefault(source, []).append(_Waiting(records))
        self._ended.pop(source, None)
        self._lacking.pop(source, None)
        self._idle_since, self._is_idle_told = None, False

    def end(self, source: TopicPartition, offset: Offset) -> None:
        """There is nothing more of this partition for now, up to the offset of its end."""
        self._ended[source] = offset

    def ends(self) -> Iterator[tuple[TopicPartition, Offset]]:
        """The ends that are reached with nothing waiting before them.

        They may be past the last record, as what ends a transaction has an offset, too.
        """
        return (each for each in self._ended.items() if each[0] not in self._waiting)

    def take(self, elapsed: int) -> Iterator[tuple[TopicPartition, RawBatch]]:
        """What is to be worked on now, `elapsed` milliseconds after any moment."""
        while self._waiting and self._is_ready(elapsed):
            source = min(self._waiting, key=lambda each: (self._waiting[each][0].first, each))
            yield source, self._take(source)

    def is_idle(self, elapsed: int, timeout: int) -> bool:
        """Whether nothing has come for so long, all ends being reached; told once."""
        if self._is_idle_told or self._waiting or not self.sources <= self._ended.keys():
            return False
        if self._idle_since is None:
            self._idle_since = elapsed
        self._is_idle_told = elapsed - self._idle_since >= timeout
        return self._is_idle_told

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

    def _take(self, source: TopicPartition) -> RawBatch:
        limit: float | None = None
        if self.max_idle is not None and len(self._waiting) > 1:
            others = ((many[0].first, each) for each, many in self._waiting.items())
            time, other = min(pair for pair in others if pair[1] != source)
            # Of equal times those of the partition that sorts first come first, however many at
            # once: a replay that is fetched in other pieces does the same.
            limit = time + 0.5 if source < other else time
        waiting = self._waiting[source]
        taken = waiting[0].take(limit)
        if not len(waiting[0]):
            del waiting[0]
        if not waiting:
            del self._waiting[source]
        return taken
