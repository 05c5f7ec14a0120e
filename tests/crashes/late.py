"""A worker whose tasks open one after the other, a few checkpoints apart, as long restores do."""

import os
import sys

from processor.runtime.commands import Command, Commit, Event, OpenTask
from processor.worker import process as worker
from processor.worker.slot import Slot


class LateSlot(Slot):
    """Opens the first task of each subtopology at once, one other after every second commit."""

    def carry_out(self, command: Command) -> Event | None:
        if isinstance(command, OpenTask) and command.task.partition > 0:
            _WAITING.append(command)
            return None
        event = super().carry_out(command)
        if isinstance(command, Commit):
            _COMMITS.append(command)
            if len(_COMMITS) % 2 == 0 and _WAITING:
                super().carry_out(_WAITING.pop())
        return event


_WAITING: list[OpenTask] = []
_COMMITS: list[Commit] = []

if __name__ == "__main__":
    worker.Slot = LateSlot
    os._exit(worker.main(*map(int, sys.argv[1:])))
