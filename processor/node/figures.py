"""Figures: what a worker reports itself, as the rates that its node reports to the others."""

from dataclasses import dataclass, field

from processor.cluster.beats import Replica, ReplicaState, Role
from processor.worker.channel import Status
from processor.worker.rate import Rate

_LONG_ENOUGH = 0.5
"""Seconds that a restore takes before its speed says anything."""


@dataclass(slots=True)
class Figures:
    """The rates of one worker process."""

    _records: Rate = field(default_factory=Rate)
    _busy: Rate = field(default_factory=Rate)
    _cpu: Rate = field(default_factory=Rate)
    _starved: Rate = field(default_factory=Rate)
    _restored: float = 0.0

    def note(self, now: float, status: Status) -> None:
        """Takes in what it reports; `now` in seconds of any clock that only goes forward."""
        self._records.note(now, status.records)
        self._busy.note(now, status.spent.busy)
        self._cpu.note(now, status.spent.cpu)
        self._starved.note(now, status.spent.starved)
        restore = status.restore
        if restore is not None and restore.seconds >= _LONG_ENOUGH:
            self._restored = restore.bytes / restore.seconds

    def replica(
        self,
        slot: int,
        role: Role,
        state: ReplicaState,
        status: Status | None,
        silence: float = 0.0,
    ) -> Replica:
        """What is to be reported.

        Args:
            slot: The worker's.
            role: Its role.
            state: Its state.
            status: The last one; None before the first.
            silence: Seconds since it came, if that is longer than it should be.
        """
        if status is None:
            return Replica(slot, role, state)
        return Replica(
            slot,
            role,
            state,
            lag=None if silence else status.lag,
            rate=round(self._records.per_second, 1),
            busy=min(round(self._busy.per_second, 3), 1.0),
            cpu=round(self._cpu.per_second, 3),
            starved=min(round(self._starved.per_second, 3), 1.0),
            bytes=status.state_bytes,
            restored=round(self._restored),
            judged=sum(each.judged for each in status.late.values()),
            late=sum(each.late for each in status.late.values()),
            held=status.held,
            withheld=status.withheld,
            turn_age=round(status.turn_age + silence, 1),
            stuck="" if status.stuck is None else status.stuck.text,
        )
