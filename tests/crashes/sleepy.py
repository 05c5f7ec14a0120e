"""A worker that is stopped, as by kill -STOP, in front of a command: SLEEP_AT=KIND:N."""

import os
import signal
import sys

from processor.runtime.commands import Command, Event
from processor.worker import process as worker
from processor.worker.slot import Slot


class SleepySlot(Slot):
    """A slot that falls asleep when the time has come."""

    def carry_out(self, command: Command) -> Event | None:
        kind = type(command).__name__
        _COUNTS[kind] = _COUNTS.get(kind, 0) + 1
        if os.environ["SLEEP_AT"] == f"{kind}:{_COUNTS[kind]}":
            os.kill(os.getpid(), signal.SIGSTOP)
        return super().carry_out(command)


_COUNTS: dict[str, int] = {}

if __name__ == "__main__":
    worker.Slot = SleepySlot
    os._exit(worker.main(*map(int, sys.argv[1:])))
