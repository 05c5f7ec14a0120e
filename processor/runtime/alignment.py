"""Alignment: no task gets far ahead of the others that write for the same tasks downstream.

What a task writes waits downstream until the others are as far. So one that is ahead by many
records rests until they have come nearer. How far tasks of other slots are is seen from what they
have committed; a task that has read all of its input holds nobody back.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from processor.operators.base import NO_TIME
from processor.records import Offset, Timestamp, TopicPartition
from processor.runtime.commands import Position
from processor.topology.plan import Layout, TaskId

_PAUSE = 250
"""Milliseconds between two looks at other slots' tasks."""


class State(NamedTuple):
    """How far a task is.

    Attributes:
        time: Its stream time.
        is_at_end: Whether it has nothing to read for now.
    """

    time: Timestamp
    is_at_end: bool


@dataclass(slots=True)
class Alignment:
    """The tasks of a slot beside those that write the same topics.

    Args:
        layout: The plan and the partition counts.
        followed: The topics that carry progress.
        lead: Records by which a task may be ahead of the slowest; 0: any number.
    """

    layout: Layout
    followed: frozenset[str]
    lead: int
    _peers: dict[TaskId, frozenset[TaskId]] = field(default_factory=dict[TaskId, frozenset[TaskId]])
    _trails: dict[TaskId, deque[tuple[Timestamp, int]]] = field(
        default_factory=dict[TaskId, deque[tuple[Timestamp, int]]]
    )
    """Of each own task the stream times that it had, and how many records it had worked on then."""
    _others: dict[TaskId, State] = field(default_factory=dict[TaskId, State])
    _unseen: int = 0
    """Records worked on since the last look at others."""
    _looked_at: int | None = None

    def note(self, task: TaskId, time: Timestamp, records: int) -> None:
        """A task has worked on so many records in all, and come to this stream time."""
        if not self.lead or not self._peers_of(task):
            return
        trail = self._trails.setdefault(task, deque())
        self._unseen += records - (trail[-1][1] if trail else 0)
        trail.append((time, records))

    def is_ahead(self, task: TaskId, own: Mapping[TaskId, State]) -> bool:
        """Whether a task has to wait for others.

        Args:
            task: The task.
            own: All tasks of the slot.
        """
        trail = self._trails.get(task)
        if not trail or trail[-1][1] - trail[0][1] <= self.lead:
            return False
        states = [
            own.get(each) or self._others.get(each, State(NO_TIME, is_at_end=False))
            for each in self._peers_of(task)
        ]
        slowest = min((each.time for each in states if not each.is_at_end), default=trail[-1][0])
        while len(trail) > 1 and trail[1][0] <= slowest:
            trail.popleft()
        return trail[-1][1] - trail[0][1] > self.lead and trail[-1][0] > slowest

    def ask(self, elapsed: int, own: Mapping[TaskId, State]) -> frozenset[TopicPartition]:
        """The partitions of other slots' tasks that are to be looked at now, if it is time to."""
        if not self.lead:
            return frozenset()
        if self._unseen * 4 < self.lead and not any(self.is_ahead(task, own) for task in own):
            return frozenset()
        if self._looked_at is not None and elapsed - self._looked_at < _PAUSE:
            return frozenset()
        self._looked_at, self._unseen = elapsed, 0
        others = {each for task in own for each in self._peers_of(task)} - own.keys()
        return frozenset(each for task in others for each in self.layout.sources_of(task))

    def see(
        self,
        positions: Mapping[TopicPartition, Position],
        ends: Mapping[TopicPartition, Offset],
    ) -> None:
        """What is committed of other slots' partitions, and where these end; others are unknown."""
        for task in {self.layout.task_of(source) for source in ends}:
            sources = [each for each in self.layout.sources_of(task) if each in ends]
            at = [positions.get(each, Position(Offset(0), NO_TIME)) for each in sources]
            is_at_end = all(p.offset >= ends[s] for p, s in zip(at, sources, strict=True))
            self._others[task] = State(max(each.stream_time for each in at), is_at_end)

    def _peers_of(self, task: TaskId) -> frozenset[TaskId]:
        if (known := self._peers.get(task)) is None:
            written = self.layout.plan.subtopologies[task.subtopology].written
            topics = self.followed.intersection(written)
            writers = {each for topic in topics for each in self.layout.writers(topic)}
            known = self._peers[task] = frozenset(writers - {task})
        return known
