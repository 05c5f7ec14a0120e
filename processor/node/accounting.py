"""Figures: what the workers of a node did in all, over their restarts, and how fast they are.

Pure accounting of what workers report; knows nothing of how it is shown.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce

from processor.worker.channel import Cause, Lateness, Status
from processor.worker.rate import Rate


@dataclass(slots=True)
class SlotFigures:
    """One slot's; a worker process begins its own figures at zero, so those before are kept."""

    last: Status
    restarts: int = 0
    """How often it was started again because it had crashed."""
    rate: Rate = field(default_factory=Rate)
    _records: int = 0
    _checkpoints: int = 0
    _busy: float = 0.0
    _bad: Counter[Cause] = field(default_factory=Counter[Cause])
    _late: dict[str, Lateness] = field(default_factory=dict[str, Lateness])

    def note(self, status: Status, now: float) -> None:
        """Takes in what its present process reports."""
        if _is_of_another_process(self.last, status):
            self._records += self.last.records
            self._checkpoints += self.last.checkpoints
            self._busy += self.last.spent.busy
            self._bad = self.bad_records
            self._late = _sum(self._late, self.last.late)
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
    def busy_seconds(self) -> float:
        """Time in which it worked."""
        return self._busy + self.last.spent.busy

    @property
    def bad_records(self) -> Counter[Cause]:
        """Bad records by their cause."""
        return self._bad + Counter({each.cause: each.count for each in self.last.bad_records})

    @property
    def late(self) -> Mapping[str, Lateness]:
        """How many records were late, by step."""
        return _sum(self._late, self.last.late)


def _sum(one: Mapping[str, Lateness], other: Mapping[str, Lateness]) -> dict[str, Lateness]:
    none = Lateness()
    return {step: one.get(step, none) + other.get(step, none) for step in {**one, **other}}


def _is_of_another_process(before: Status, status: Status) -> bool:
    """A process' figures never fall."""
    return (
        status.records < before.records
        or status.checkpoints < before.checkpoints
        or status.spent.busy < before.spent.busy
    )


class Figures:
    """The figures of all slots.

    Args:
        began: The moment at which the node began, as `now` in all that follows: seconds.
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self.now = began
        self.slots: dict[int, SlotFigures] = {}
        self.adoptions = Counter[str]()
        """Slots taken over from somebody, by the reason."""
        self._rates: defaultdict[str, Rate] = defaultdict(Rate)

    def note(self, status: Status, now: float) -> None:
        """Takes in what a worker reports."""
        self.tick(now)
        self._slot(status.slot).note(status, now)
        self._rates["records"].note(now, self.records)
        self._rates["checkpoints"].note(now, self.checkpoints)

    def note_restart(self, slot: int) -> None:
        """A worker of the slot has crashed and is started again."""
        self._slot(slot).restarts += 1

    def note_adoption(self, reason: str) -> None:
        """A worker has adopted a slot."""
        if reason != "start":
            self.adoptions[reason] += 1

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
        """Input records not processed yet by primaries; None while one of them does not know."""
        last = (slot.last for slot in self.slots.values())
        lags = [status.lag for status in last if status.role == "primary"]
        known = [lag for lag in lags if lag is not None]
        return sum(known) if known and len(known) == len(lags) else None

    @property
    def bad_records(self) -> Counter[Cause]:
        """Bad records by their cause."""
        return sum((slot.bad_records for slot in self.slots.values()), Counter[Cause]())

    @property
    def late(self) -> Mapping[str, Lateness]:
        """How many records were late, by step."""
        return reduce(_sum, (slot.late for slot in self.slots.values()), dict[str, Lateness]())

    @property
    def restarts(self) -> int:
        """How often a worker was started again."""
        return sum(slot.restarts for slot in self.slots.values())

    def _slot(self, slot: int) -> SlotFigures:
        return self.slots.setdefault(slot, SlotFigures(Status(slot, "starting")))
