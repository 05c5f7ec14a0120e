"""What a worker reports to those downstream of its tasks' progress, and asks of those upstream."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from processor.records import Partition, Timestamp
from processor.runtime.commands import Produce
from processor.runtime.progress import Progress, marker
from processor.runtime.task import Task
from processor.topology.plan import Layout, TaskId

_PAUSE = 50
"""Milliseconds at least between two questions for ends."""

_Reported = dict[str, dict[TaskId, Progress]]


@dataclass(slots=True)
class Markers:
    """The progress that was reported, by topic and task.

    Args:
        layout: The plan and the partition counts.
    """

    layout: Layout
    _reported: _Reported = field(default_factory=_Reported)
    _pending: _Reported = field(default_factory=_Reported)

    def of(self, tasks: Mapping[TaskId, Task], now: Timestamp) -> list[Produce]:
        """Markers for what is new: one for each partition of each topic, of all tasks together."""
        self._pending = self._new(tasks)
        layout = self.layout
        made = {
            topic: marker(reported, layout.plan.fingerprint, now)
            for topic, reported in self._pending.items()
        }
        return [
            Produce(topic, records, Partition(partition))
            for topic, records in made.items()
            for partition in range(layout.partitions[topic])
        ]

    def is_anything_new(self, tasks: Mapping[TaskId, Task]) -> bool:
        """Whether any progress has not been reported."""
        return bool(self._new(tasks))

    def committed(self) -> None:
        """What was reported last counts."""
        for topic, reported in self._pending.items():
            self._reported.setdefault(topic, {}).update(reported)
        self._pending = {}

    def _new(self, tasks: Mapping[TaskId, Task]) -> _Reported:
        new: _Reported = {}
        for number, task in tasks.items():
            for topic, progress in task.progress(self.layout.sources_of(number)).items():
                if self._reported.get(topic, {}).get(number) != progress:
                    new.setdefault(topic, {})[number] = progress
        return new


@dataclass(slots=True)
class Asked:
    """When it was asked for the ends of partitions."""

    _at: int | None = None
    _is_open: bool = False

    def may_ask(self, elapsed: int) -> bool:
        """Whether there is no question open, and the last is long enough ago."""
        return not self._is_open and (self._at is None or elapsed - self._at >= _PAUSE)

    def ask(self, elapsed: int) -> None:
        """Asks now."""
        self._at, self._is_open = elapsed, True

    def is_answered(self, asked_at: int) -> bool:
        """Whether the answer to what was asked then counts: nothing was read again since."""
        was_open, self._is_open = self._is_open, self._is_open and asked_at != self._at
        return was_open and not self._is_open

    def forget(self) -> None:
        """All is read again: an answer that comes is to an earlier question."""
        self._at, self._is_open = None, False
