"""Figures: what the workers of a node did in all, over their restarts, and how fast they are.

Pure accounting of what workers report; knows nothing of how it is shown.
"""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

from processor.edges.channel import Status

_WINDOW = 5.0
"""Seconds that a rate is taken over."""


@dataclass(slots=True)
class Rate:
    """How fast a total grows, over the last seconds."""

    _points: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])

    def note(self, now: float, total: int) -> None:
        """The total is so much now."""
        self._points.append((now, total))
        while len(self._points) > 2 and self._points[1][0] <= now - _WINDOW:  # noqa: PLR2004 - both ends
            self._points.popleft()

    @property
    def per_second(self) -> float:
        """What was added in a second."""
        if not self._points:
            return 0.0
        (began, first), (ended, last) = self._points[0], self._points[-1]
        return (last - first) / (ended - began) if ended > began else 0.0


@dataclass(slots=True)
class SlotFigures:
    """One slot's; a worker process begins its own figures at zero, so those before are kept."""

    last: Status
    starts: int = 0
    rate: Rate = field(default_factory=Rate)
    _records: int = 0
    _checkpoints: int = 0
    _bad: Counter[str] = field(default_factory=Counter[str])

    def note(self, status: Status, now: float) -> None:
        """Takes in what its present process reports."""
        if status.state == "starting":
            self.starts += 1
            self._records += self.last.records
            self._checkpoints += self.last.checkpoints
            self._bad.update(self.last.bad_records)
        self.last = status
        self.rate.note(now, self.records)

    @property
    def records(self) -> int:
        """Input records worked on; those of an aborted transaction count each time."""
        return self._records + self.last.records

    @property
    def checkpoints(self) -> int:
        """Checkpoints made."""
        return self._checkpoints + self.last.checkpoints

    @property
    def bad_records(self) -> Counter[str]:
        """Bad records by `step: reason`."""
        return self._bad + Counter(self.last.bad_records)

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return max(0, self.starts - 1)


class Figures:
    """The figures of all slots.

    Args:
        began: The moment at which the node began, as `now` in all that follows: seconds.
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self.now = began
        self.slots: dict[int, SlotFigures] = {}
        self._rates: defaultdict[str, Rate] = defaultdict(Rate)

    def note(self, status: Status, now: float) -> None:
        """Takes in what a worker reports."""
        self.tick(now)
        slot = self.slots.setdefault(status.slot, SlotFigures(Status(status.slot, "starting")))
        slot.note(status, now)
        self._rates["records"].note(now, self.records)
        self._rates["checkpoints"].note(now, self.checkpoints)

    def tick(self, now: float) -> None:
        """Time goes on."""
        self.now = max(now, self.now)

    @property
    def seconds(self) -> float:
        """Time since the beginning."""
        return self.now - self._began

    @property
    def mean_rate(self) -> float:
        """Input records a second, since the beginning."""
        return self.records / self.seconds if self.seconds else 0.0

    @property
    def records(self) -> int:
        """Input records worked on."""
        return sum(slot.records for slot in self.slots.values())

    @property
    def records_per_second(self) -> float:
        """Over the last seconds."""
        return self._rates["records"].per_second

    @property
    def checkpoints(self) -> int:
        """Checkpoints made."""
        return sum(slot.checkpoints for slot in self.slots.values())

    @property
    def checkpoints_per_second(self) -> float:
        """Over the last seconds."""
        return self._rates["checkpoints"].per_second

    @property
    def lag(self) -> int | None:
        """Input records not processed yet; None while not every slot knows."""
        lags = [slot.last.lag for slot in self.slots.values()]
        known = [lag for lag in lags if lag is not None]
        return sum(known) if known and len(known) == len(lags) else None

    @property
    def bad_records(self) -> Counter[str]:
        """Bad records by `step: reason`."""
        return sum((slot.bad_records for slot in self.slots.values()), Counter[str]())

    @property
    def restarts(self) -> int:
        """How often a worker was started again."""
        return sum(slot.restarts for slot in self.slots.values())
