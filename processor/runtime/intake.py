"""Intake: what a task has been given to read, and in which order it works on it.

Records of several partitions are taken in the order of their timestamps as far as they are there,
as in Kafka Streams (KIP-353, KIP-695). Those of a repartition topic that carries progress come out
of `Upstream` in the order of the stream times that they count for. Knows nothing of what is done
with them.
"""

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from processor.operators.base import NO_TIME
from processor.records import (
    LATEST,
    Offset,
    Partition,
    RawBatch,
    Timestamp,
    TopicPartition,
    highest_so_far,
)
from processor.runtime.progress import Note, Reached
from processor.runtime.task_batch import Taken, TaskBatch, merged
from processor.runtime.upstream import Hold, Queue, Upstream, in_time

_MOST = 20_000
"""Records of one batch at most."""

_FULL, _FULL_BYTES = 100_000, 32 * 2**20
"""Records of one partition that wait; then no more of it is fetched until a quarter is left."""

_FRESH = 100
"""Milliseconds for which it counts that the tasks upstream had nothing left to read.

They count from the answer: a broker that takes longer for each would hold everything up for good.
"""

_BEFORE_ALL = TopicPartition("", Partition(-1))


@dataclass(slots=True)
class Intake:
    """The partitions of one task.

    Args:
        sources: All of them.
        max_idle: Milliseconds to wait for records of a partition whose end is reached, while others
            have some; None: records are taken as they come.
        upstream: Those of repartition topics that carry progress.
    """

    sources: frozenset[TopicPartition]
    max_idle: int | None
    upstream: Mapping[TopicPartition, Upstream] = field(
        default_factory=dict[TopicPartition, Upstream]
    )
    _waiting: dict[TopicPartition, list[Queue]] = field(
        default_factory=dict[TopicPartition, list[Queue]]
    )
    _done: dict[TopicPartition, Reached] = field(default_factory=dict[TopicPartition, Reached])
    """Of what comes from upstream, all that is before that has been taken."""
    _ended: dict[TopicPartition, Offset] = field(default_factory=dict[TopicPartition, Offset])
    _lacking: dict[TopicPartition, int] = field(default_factory=dict[TopicPartition, int])
    """Since when partitions at their ends have been waited for."""
    _drained_at: dict[TopicPartition, int] = field(default_factory=dict[TopicPartition, int])
    """When it was known last that the tasks upstream have nothing left to read."""
    _idle_since: int | None = None
    is_idle_reported: bool = False
    """Whether `is_idle` has said so and nothing has come since."""
    has_more: bool = False
    """Whether `take` has left something for the next time, which was more than it might take."""

    def __post_init__(self) -> None:
        self._done = {source: each.begin for source, each in self.upstream.items()}

    @property
    def is_ordered(self) -> bool:
        """Whether the order of several partitions' records matters."""
        return self.max_idle is not None and len(self.sources) > 1

    def needs_times(self, source: TopicPartition) -> bool:
        """Whether `add` has to know for which times the records of this partition count."""
        return self.is_ordered and source not in self.upstream

    def next(self, source: TopicPartition, position: Offset) -> Offset:
        """The next offset to be given; `position` is how far the task has worked."""
        if (upstream := self.upstream.get(source)) is not None:
            return upstream.seen
        waiting = self._waiting.get(source)
        return Offset(waiting[-1].records.offsets[-1] + 1) if waiting else position

    def add(
        self, source: TopicPartition, records: RawBatch, times: Sequence[Timestamp] | None = None
    ) -> int:
        """Records that follow those that were given before, and the times that they count for.

        Returns:
            How many of them are to be worked on.
        """
        self._ended.pop(source, None)
        upstream = self.upstream.get(source)
        if upstream is None:
            count = len(records)
            tops = self._tops(times or records.timestamps) if self.is_ordered else ()
            self._waiting.setdefault(source, []).append(Queue(records, tops))
        else:
            count = upstream.add(records)
            self._queue(source, upstream.release())
        if count:
            self._lacking.pop(source, None)
            self._idle_since, self.is_idle_reported = None, False
        return count

    def _queue(self, source: TopicPartition, released: Queue | None) -> None:
        """Puts what is released after what was before, or among it where it came too late."""
        if released is None:
            return
        queues = self._waiting.setdefault(source, [])
        if queues and released.times[0] < queues[-1].times[-1]:
            parts = [each.take(len(each.times)) for each in queues]
            queues[:] = [in_time([*parts, released.take(len(released.times))])]
        else:
            queues.append(released)

    def _tops(self, times: Sequence[Timestamp]) -> Sequence[Timestamp]:
        """What no valid time is counts for none: the record is a bad one, and holds up nothing."""
        if max(times) >= LATEST:
            times = [time if time < LATEST else Timestamp(0) for time in times]
        return highest_so_far(times, NO_TIME)

    def surplus(self, paused: frozenset[TopicPartition]) -> frozenset[TopicPartition]:
        """The partitions of which nothing more is to be fetched for now, as so much waits.

        What tasks upstream write is always fetched: it has their progress.

        Args:
            paused: Those that are paused already.
        """
        found: set[TopicPartition] = set()
        for source in self._waiting.keys() - self.upstream.keys():
            queues = self._waiting[source]
            share = 4 if source in paused else 1
            count, size = sum(map(len, queues)), sum(each.bytes for each in queues)
            if count * share > _FULL or size * share > _FULL_BYTES:
                found.add(source)
        return frozenset(found)

    @property
    def is_at_end(self) -> bool:
        """Whether all that there is to read has been worked on."""
        if self._waiting or any(each.is_waiting for each in self.upstream.values()):
            return False
        return self.sources <= self._ended.keys()

    def end(self, source: TopicPartition, offset: Offset) -> None:
        """There is nothing more of this partition for now, up to the offset of its end."""
        self._ended[source] = offset
        if (upstream := self.upstream.get(source)) is not None:
            upstream.seen = max(upstream.seen, offset)
            self._queue(source, upstream.release())

    def ask(self) -> Sequence[TopicPartition]:
        """The partitions whose ends are to be known before more can be worked on."""
        awaited = self._awaited()
        return [
            asked
            for source, upstream in self.upstream.items()
            for asked in upstream.ask(is_awaited=source in awaited)
        ]

    def look_at(self, ends: Mapping[TopicPartition, Offset], elapsed: int) -> None:
        """The ends that were asked for, which are known from now on."""
        for source, upstream in self.upstream.items():
            if all(each in ends for known in upstream.writers.values() for each in known):
                self._drained_at[source] = elapsed
                self._queue(source, upstream.release_at(ends))

    def holds(self, elapsed: int, longest: int) -> list[Hold]:
        """What holds the task back.

        Args:
            elapsed: Milliseconds after any moment.
            longest: How long to wait for a task that says nothing; 0: as long as need be.
        """
        holds: list[Hold] = []
        awaited = self._awaited()
        for source, upstream in self.upstream.items():
            hold = upstream.hold(elapsed, is_awaited=source in awaited)
            if hold is not None and longest and elapsed - hold.since >= longest:
                self._queue(source, upstream.go_on_without(hold))
            elif hold is not None:
                holds.append(hold)
        return holds

    def _awaited(self) -> frozenset[TopicPartition]:
        """The partitions that have nothing, and of which earlier records may come than wait."""
        heads = (queues[0] for queues in self._waiting.values())
        upstream = filter(None, (each.head for each in self.upstream.values()))
        times = [queue.reached.time for queue in chain(heads, upstream)] if self.is_ordered else []
        lowest = min(times, default=NO_TIME - 1)
        empty = self.upstream.keys() - self._waiting
        return frozenset(each for each in empty if self.upstream[each].bound <= lowest)

    @property
    def overtaken(self) -> int:
        """How often it was gone on without tasks upstream."""
        return sum(each.overtaken for each in self.upstream.values())

    def positions(self, before: Mapping[TopicPartition, Offset]) -> Mapping[TopicPartition, Offset]:
        """The next offset of each partition, all before being worked on, from what it was before.

        It may be past the last record, as what ends a transaction has an offset, too.
        """
        ends = {each: end for each, end in self._ended.items() if each not in self._waiting}
        found = {each: max(offset, ends.get(each, offset)) for each, offset in before.items()}
        for source, upstream in self.upstream.items():
            queued = (each.lowest for each in self._waiting.get(source, ()))
            first = upstream.seen if upstream.first is None else upstream.first
            found[source] = min((first, *queued))
        return found

    def notes(self) -> Mapping[TopicPartition, Note]:
        """What is to be committed besides the offsets of `positions`."""
        return {source: each.noted(self._done[source]) for source, each in self.upstream.items()}

    def time(self) -> Timestamp:
        """How far stream time may go on without a record, all that could be taken being taken."""
        if not self.upstream:
            return NO_TIME
        limits: list[Timestamp] = []
        for source in self.sources:
            upstream = self.upstream.get(source)
            if waiting := self._waiting.get(source):
                limits += waiting[0].times[waiting[0].done : waiting[0].done + 1]
            elif upstream is not None:
                limits += [] if upstream.is_drained else [upstream.reached]
            elif self.max_idle is not None and source not in self._ended:
                return NO_TIME
        reached = (each.reached for each in self.upstream.values())
        return min(limits) if limits else max(reached)

    def take(self, elapsed: int, most: int = sys.maxsize) -> Iterator[TaskBatch]:
        """What is to be worked on now.

        Args:
            elapsed: Milliseconds after any moment.
            most: Records; of those that come too late for the order there may be more.
        """
        while most > 0 and self._waiting and (taken := self._next(elapsed, min(most, _MOST))):
            parts = [self._take_from(source, end) for source, end in taken.items()]
            for source, upstream in self.upstream.items():
                left = self._waiting.get(source)
                done = left[0].reached if left else Reached(upstream.bound, Offset(0))
                self._done[source] = max(self._done[source], done)
            most -= sum(len(part.records) for part in parts)
            yield merged(parts)
        self.has_more = most <= 0 and bool(self._waiting and self._next(elapsed, 1))

    def _next(self, elapsed: int, most: int) -> Mapping[TopicPartition, int]:
        """Up to which record of its first queue each partition is to be worked on."""
        if overtaken := self._overtaken():
            return overtaken
        if not self.is_ordered:
            return self._next_of_one(most)
        return self._next_in_order(elapsed, most) if self._is_ready(elapsed) else {}

    def _overtaken(self) -> Mapping[TopicPartition, int]:
        """What has come too late for the order; it is worked on at once, and all of it.

        A position can't say that some of it is done.
        """
        ends = {
            source: self._waiting[source][0].before(done.time)
            for source, done in self._done.items()
            if source in self._waiting
        }
        return {each: end for each, end in ends.items() if end > self._waiting[each][0].done}

    def _next_of_one(self, most: int) -> Mapping[TopicPartition, int]:
        """What has come at once of one partition."""
        source = next(iter(self._waiting))
        queue = self._waiting[source][0]
        return {source: min(len(queue.records), queue.done + most)}

    def is_idle(self, elapsed: int, timeout: int) -> bool:
        """Whether nothing has come for so long, all ends being reached; reported once."""
        if self.is_idle_reported or self._waiting or not self.sources <= self._ended.keys():
            return False
        if any(each.is_waiting for each in self.upstream.values()):
            return False
        if self._idle_since is None:
            self._idle_since = elapsed
        self.is_idle_reported = elapsed - self._idle_since >= timeout
        return self.is_idle_reported

    def _is_ready(self, elapsed: int) -> bool:
        assert self.max_idle is not None
        lacking = self.sources - self._waiting.keys() - self.upstream.keys()
        if not lacking:
            return True
        if not lacking <= self._ended.keys():
            return False
        since = [self._lacking.setdefault(each, elapsed) for each in lacking]
        return all(elapsed - time >= self.max_idle for time in since)

    def _next_in_order(self, elapsed: int, most: int) -> Mapping[TopicPartition, int]:
        """As much as can be put in order, until the first partition may lack more.

        Of equal times those of the partition that sorts first come first, however many at once: a
        replay that is fetched in other pieces does the same.
        """
        heads = {source: self._waiting[source][0] for source in sorted(self._waiting)}
        limits = [(head.times[-1], source) for source, head in heads.items()]
        limits += [
            (each.bound, _BEFORE_ALL)
            for source, each in self.upstream.items()
            if source not in heads and not (each.is_drained and self._is_fresh(source, elapsed))
        ]
        last, first = min(limits)
        ends = {
            source: (bisect_right if source <= first else bisect_left)(head.times, last, head.done)
            for source, head in heads.items()
        }
        if sum(ends[each] - head.done for each, head in heads.items()) > most:
            ends = _first(heads, ends, most)
        return {source: end for source, end in ends.items() if end > heads[source].done}

    def _is_fresh(self, source: TopicPartition, elapsed: int) -> bool:
        return elapsed - self._drained_at.get(source, -_FRESH - 1) <= _FRESH

    def _take_from(self, source: TopicPartition, end: int) -> Taken:
        waiting = self._waiting[source]
        records, times = waiting[0].take(end)
        if not len(waiting[0]):
            del waiting[0]
        if not waiting:
            del self._waiting[source]
        return Taken(source, records, times, source in self.upstream)


def _first(
    heads: Mapping[TopicPartition, Queue], ends: Mapping[TopicPartition, int], most: int
) -> dict[TopicPartition, int]:
    """Up to which record each partition has those that come first of all, so many together.

    Args:
        heads: The queues, in the order of their partitions.
        ends: Up to which record each may be worked on; together these are more.
        most: Records.
    """
    near = {each: min(ends[each], head.done + most) for each, head in heads.items()}
    times = (head.times[head.done : near[each]] for each, head in heads.items())
    last = sorted(chain.from_iterable(times))[most - 1]
    found = {
        each: bisect_left(head.times, last, head.done, near[each]) for each, head in heads.items()
    }
    left = most - sum(found[each] - head.done for each, head in heads.items())
    for each, head in heads.items():
        more = min(left, bisect_right(head.times, last, found[each], near[each]) - found[each])
        found[each], left = found[each] + more, left - more
    return found
