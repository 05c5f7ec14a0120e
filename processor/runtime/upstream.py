"""Upstream: one partition of a repartition topic, and how far the tasks are that write it.

Records wait here until no task upstream can write an earlier one: until all of them have said that
they are further, or are known to have nothing left to read. What is given on is in the order of the
stream times that records count for, whichever of these tasks was faster. Of equal times those go
first that were written first.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress, filterfalse, islice, pairwise, takewhile
from operator import attrgetter, gt
from typing import NamedTuple

from processor.operators.base import NO_TIME
from processor.records import Batch, Offset, RawBatch, Timestamp, TopicPartition, taken
from processor.runtime.progress import BEGINNING, Note, Progress, Reached, split
from processor.topology.plan import TaskId

_SHORT = 8
"""Records in a run on average; what comes in shorter ones is put in order at once."""


_NOTHING: RawBatch = Batch((), (), (), ())


@dataclass(slots=True)
class Queue:
    """Records in the order of their times; the first `done` are gone.

    Attributes:
        records: Of one partition.
        times: What each counts for, ascending.
        is_run: Whether the records' offsets ascend, too.
    """

    records: RawBatch
    times: Sequence[Timestamp]
    is_run: bool = True
    done: int = 0
    _bytes: int | None = None
    _lowest: tuple[int, Offset] | None = None

    @property
    def bytes(self) -> int:
        """Of all of its values."""
        if self._bytes is None:
            self._bytes = sum(map(len, filter(None, self.records.values)))
        return self._bytes

    @property
    def lowest(self) -> Offset:
        """The lowest offset of the records that are left."""
        if self.is_run:
            return self.records.offsets[self.done]
        if self._lowest is None or self._lowest[0] != self.done:
            self._lowest = self.done, min(self.records.offsets[self.done :])
        return self._lowest[1]

    def __len__(self) -> int:
        return len(self.records) - self.done

    def take(self, end: int) -> tuple[RawBatch, Sequence[Timestamp]]:
        """The next records, up to the one with this number; nothing holds on to the last ones."""
        begin, self.done = self.done, end
        records, times = self.records, self.times
        if end == len(records):
            self.records, self.times, self.done = _NOTHING, (), 0
        if end - begin == len(records):
            return records, times
        return records.between(begin, end), times[begin:end]

    @property
    def reached(self) -> Reached:
        """How far it is worked on: records that are left begin there."""
        return Reached(self.times[self.done], self.records.offsets[self.done])

    def before(self, time: Timestamp) -> int:
        """The number of the first record that is left and does not count for an earlier time."""
        return bisect_left(self.times, time, self.done)


class Hold(NamedTuple):
    """What holds the time of a task back.

    Attributes:
        task: The one upstream that is waited for.
        time: How far it is.
        since: When it was seen first that it is no further: milliseconds after any moment.
        reported: What all of them had reported by then.
    """

    task: TaskId
    time: Timestamp
    since: int
    reported: Mapping[TaskId, Progress]


class _Front(NamedTuple):
    """How far the writers of a partition are.

    Attributes:
        time: The least time that one of those that are waited for has reported.
        latest: The highest that any has reported.
        order: Those that are waited for, the ones that have reported the least first.
    """

    time: Timestamp
    latest: Timestamp
    order: Sequence[TaskId]


@dataclass(slots=True)
class Upstream:
    """What is known of one partition that other tasks write.

    Args:
        source: The partition.
        writers: The tasks that write it, with the partitions that each of them reads.
        layout: The topology's fingerprint.
        position: How far the partition is processed.
        note: What was committed with that; None: nothing.
    """

    source: TopicPartition
    writers: Mapping[TaskId, tuple[TopicPartition, ...]]
    layout: int
    position: Offset
    note: Note | None = None
    reported: Mapping[TaskId, Progress] = field(default_factory=dict[TaskId, Progress])
    """The last progress of each writer; replaced where that changes, as notes and holds keep it."""
    bound: Timestamp = NO_TIME
    """All that counts for an earlier time has been given on."""
    reached: Timestamp = NO_TIME
    """How far stream time may go on, once what was given on is worked on."""
    overtaken: int = 0
    """How often it was gone on without writers that said nothing for too long."""
    is_drained: bool = False
    """Whether all writers were at the ends of their input when that was asked last, and since then
    nothing has come."""
    seen: Offset = field(init=False)
    """The next offset that is to be read."""
    _hold: Hold | None = None
    _left_out: set[TaskId] = field(default_factory=set[TaskId])
    """Writers that are not waited for until they report more."""
    _waiting: list[Queue] = field(default_factory=list[Queue])
    """Runs, by the times of their first records that are left."""
    _arrived: deque[Queue] = field(default_factory=deque[Queue])
    """The same as they were read: no offset in one is lower than any in those before it."""
    _ends: dict[TopicPartition, Offset] = field(default_factory=dict[TopicPartition, Offset])
    _asked: tuple[Timestamp, Timestamp] = (NO_TIME, NO_TIME)
    """When ends were asked for, what `bound` and `reached` become if all writers are there."""
    _has_come: bool = False
    """Whether anything was read since."""
    begin: Reached = BEGINNING
    """How far what was read before the last restart is processed."""
    _read: Offset = field(init=False)
    """How far it was read before the last restart."""
    _known_front: "_Front | None" = None
    """None: to be found out, as something has changed."""

    def __post_init__(self) -> None:
        self.seen = self._read = self.position
        if self.note is not None:
            known = self.note.reported.items()
            self.reported = {task: progress for task, progress in known if task in self.writers}
            self.begin, self._read = self.note.done, self.note.seen
            self.bound, self.reached = self.begin.time, _before(self.begin.time)

    @property
    def time(self) -> Timestamp:
        """The least time that a writer has reported: nothing earlier will be written."""
        return self._front.time

    @property
    def latest(self) -> Timestamp:
        """The highest time that a writer has reported."""
        return self._front.latest

    @property
    def _front(self) -> "_Front":
        if self._known_front is None:
            waited_for = (task for task in self.writers if task not in self._left_out)
            order = sorted(waited_for, key=self._time_of)
            latest = max((each.time for each in self.reported.values()), default=NO_TIME)
            self._known_front = _Front(self._time_of(order[0]) if order else latest, latest, order)
        return self._known_front

    @property
    def first(self) -> Offset | None:
        """The lowest offset of the records that wait here, if there are any."""
        return self._arrived[0].lowest if self._arrived else None

    @property
    def is_read_again(self) -> bool:
        """Whether it was read further than now before the last restart."""
        return self.seen < self._read

    def noted(self, done: Reached) -> Note:
        """What is to be committed, all before `done` being processed."""
        return Note(max(self.seen, self._read), done, self.reported)

    @property
    def is_waiting(self) -> bool:
        """Whether records wait, or time does that a writer has reported."""
        return bool(self._waiting) or self.latest > self.bound

    @property
    def head(self) -> Queue | None:
        """The run whose first record is the earliest of those that wait."""
        return self._waiting[0] if self._waiting else None

    def add(self, records: RawBatch) -> int:
        """Takes in what was read next; the number of records in it that are not processed yet."""
        self.seen = Offset(records.offsets[-1] + 1)
        self.is_drained, self._has_come = False, True
        records, times, reported = split(records, self.layout)
        for each in reported:
            self._note(each)
        if not len(records):
            return 0
        if records.offsets[0] < self._read:
            records, times = self._left(records, times)
        for run in runs(records, times) if len(records) else ():
            insort(self._waiting, run, key=_head)
            self._arrived.append(run)
        return len(records)

    def release(self) -> Queue | None:
        """The records that nothing earlier can come before any more, in order."""
        time = self.time
        return None if self.is_read_again else self._release(time, _before(time))

    def ask(self, *, is_awaited: bool = False) -> Sequence[TopicPartition]:
        """The partitions whose ends are to be known before more can be released.

        Nothing is asked as long as a writer that holds the others up is known to have more to read.

        Args:
            is_awaited: Whether records of other partitions wait for what may come of this one.
        """
        if self.is_read_again or not (self.is_waiting or is_awaited):
            return ()
        time, _, order = self._front
        slowest = takewhile(lambda task: self._time_of(task) == time, order)
        if not all(map(self._may_be_drained, slowest)):
            return ()
        last = max((each.times[-1] for each in self._waiting), default=NO_TIME)
        self._asked, self._has_come = (max(Timestamp(last + 1), self.latest), self.latest), False
        return list(chain.from_iterable(self.writers.values()))

    def release_at(self, ends: Mapping[TopicPartition, Offset]) -> Queue | None:
        """What can be released as writers were at these ends of their input after `ask`.

        What has come since is not released by that, as they may have got more input before.
        """
        self._ends |= {each: ends[each] for sources in self.writers.values() for each in sources}
        slowest = next(filterfalse(self._may_be_drained, self._front.order), None)
        time = None if slowest is None else self._time_of(slowest)
        released = self._release(*(self._asked if time is None else (time, _before(time))))
        self.is_drained = time is None and not (self._waiting or self._has_come)
        return released

    def hold(self, elapsed: int, *, is_awaited: bool = False) -> Hold | None:
        """The writer that holds the others up, if records or time wait for it.

        Args:
            elapsed: Milliseconds after any moment.
            is_awaited: As for `ask`.
        """
        time, _, order = self._front
        if not order or not (self.is_waiting or is_awaited):
            self._hold = None
        elif self._hold is None or (self._hold.task, self._hold.time) != (order[0], time):
            self._hold = Hold(order[0], time, elapsed, self.reported)
        return self._hold

    def go_on_without(self, hold: Hold) -> Queue | None:
        """Waits no longer for writers that have reported nothing since that hold began."""
        silent = {
            task for task in self.writers if self.reported.get(task) == hold.reported.get(task)
        }
        self._left_out |= {task for task in silent if self._time_of(task) <= hold.time}
        self._known_front = None
        self.overtaken += 1
        return self.release()

    def _release(self, bound: Timestamp, reached: Timestamp) -> Queue | None:
        bound = self.bound = max(self.bound, bound)
        self.reached = max(self.reached, reached)
        ready = self._waiting[: bisect_left(self._waiting, bound, key=_head)]
        if not ready:
            return None
        del self._waiting[: len(ready)]
        ready.sort(key=attrgetter("lowest"))
        parts = [each.take(each.before(bound)) for each in ready]
        for left in filter(len, ready):
            insort(self._waiting, left, key=_head)
        while self._arrived and not len(self._arrived[0]):
            self._arrived.popleft()
        return in_time(parts)

    def _note(self, reported: Mapping[TaskId, Progress]) -> None:
        """Progress only grows; what is read again after a restart may be older than what is known.

        Except that a reset starts over: then no older progress was committed either.
        """
        known = {task: progress for task, progress in reported.items() if task in self.writers}
        newest = {
            task: max(each, self.reported.get(task, _UNREPORTED)) for task, each in known.items()
        }
        self.reported, self._known_front = {**self.reported, **newest}, None
        self._left_out -= known.keys()

    def _time_of(self, task: TaskId) -> Timestamp:
        return self.reported.get(task, _UNREPORTED).time

    def _may_be_drained(self, task: TaskId) -> bool:
        """Whether the writer has worked on everything that its partitions are known to hold."""
        if task not in self.reported:
            return False
        offsets = zip(self.writers[task], self.reported[task].offsets, strict=True)
        return all(offset >= self._ends.get(source, -1) for source, offset in offsets)

    def _left(
        self, records: RawBatch, times: Sequence[Timestamp]
    ) -> tuple[RawBatch, Sequence[Timestamp]]:
        mask = [
            offset >= self._read or (time, offset) >= self.begin
            for offset, time in zip(records.offsets, times, strict=True)
        ]
        left = [time for time, is_left in zip(times, mask, strict=True) if is_left]
        return records.select(mask), left


_UNREPORTED = Progress(NO_TIME, ())


def _head(queue: Queue) -> Timestamp:
    """What the first record that is left counts for."""
    return queue.times[queue.done]


def _before(time: Timestamp) -> Timestamp:
    """Nothing earlier than `time` will come, but more of that very time may."""
    return max(NO_TIME, Timestamp(time - 1))


def _falls(numbers: Sequence[int]) -> Iterator[bool]:
    """For each number but the first, whether it is lower than the one before."""
    return map(gt, numbers, islice(numbers, 1, None))


def runs(records: RawBatch, times: Sequence[Timestamp]) -> list[Queue]:
    """Records as they follow each other, cut where a time is before the last one.

    What a task upstream writes is mostly in order: so there is a run for each of its transactions.
    """
    falls = list(compress(range(1, len(times)), _falls(times)))
    if not falls:
        return [Queue(records, times)]
    if len(falls) * _SHORT > len(times):
        return [in_time([(records, times)])]
    cuts = pairwise((0, *falls, len(times)))
    return [Queue(records.between(begin, end), times[begin:end]) for begin, end in cuts]


def in_time(parts: Sequence[tuple[RawBatch, Sequence[Timestamp]]]) -> Queue:
    """Records in the order of their times; of equal ones those of earlier parts come first."""
    records, times = joined([records for records, _ in parts]), parts[0][1]
    if len(parts) > 1:
        times = list(chain.from_iterable(times for _, times in parts))
    if not any(_falls(times)):
        return Queue(records, times, is_run=not any(_falls(records.offsets)))
    order = sorted(range(len(times)), key=times.__getitem__)
    return Queue(records.take(order), taken(times, order), is_run=False)


def joined(batches: Sequence[RawBatch]) -> RawBatch:
    """One batch after the other."""
    if len(batches) == 1:
        return batches[0]
    with_headers = any(batch.headers is not None for batch in batches)
    return Batch(
        list(chain.from_iterable(batch.keys for batch in batches)),
        list(chain.from_iterable(batch.values for batch in batches)),
        list(chain.from_iterable(batch.timestamps for batch in batches)),
        list(chain.from_iterable(batch.offsets for batch in batches)),
        [each for batch in batches for each in batch.headers or ((),) * len(batch)]
        if with_headers
        else None,
    )
