"""Flows: what the workers of a node report as totals, as what happens in a second.

Pure accounting for the page; knows nothing of how it is shown.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from processor.worker.channel import Status
from processor.worker.rate import Rate


class Flow:
    """How fast a total grows that begins at zero again with each process."""

    def __init__(self) -> None:
        self._rate = Rate()
        self._last = 0.0

    def note(self, now: float, total: float) -> None:
        """The total is so much now."""
        if total < self._last:
            self._rate = Rate()
        self._last = total
        self._rate.note(now, total)

    @property
    def per_second(self) -> float:
        """Over the last seconds."""
        return self._rate.per_second


@dataclass(slots=True)
class SlotFlows:
    """Those of one slot's worker."""

    records: Flow = field(default_factory=Flow)
    checkpoints: Flow = field(default_factory=Flow)
    commits: Flow = field(default_factory=Flow)
    topics: defaultdict[str, Flow] = field(default_factory=lambda: defaultdict(Flow))
    steps: defaultdict[str, Flow] = field(default_factory=lambda: defaultdict(Flow))
    checkpoint_at: float | None = None
    """When the last checkpoint was seen."""
    _checkpoints: int = 0

    def note(self, status: Status, now: float) -> None:
        """Takes in what the worker reports; `now` in seconds of any clock that goes forward."""
        self.records.note(now, status.records)
        self.checkpoints.note(now, status.checkpoints)
        self.commits.note(now, status.spent.commits)
        for topic, reading in status.topics.items():
            self.topics[topic].note(now, reading.records)
        for step, seconds in status.spent.steps.items():
            self.steps[step].note(now, seconds)
        if status.checkpoints > self._checkpoints:
            self.checkpoint_at = now
        self._checkpoints = status.checkpoints

    @property
    def checkpoint_seconds(self) -> float | None:
        """What a commit took, over the last seconds; None if there was none."""
        rate = self.checkpoints.per_second
        return self.commits.per_second / rate if rate else None
