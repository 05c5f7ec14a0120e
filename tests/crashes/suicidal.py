"""A worker that kills itself at a command: KILL_AT=before:KIND:N or after:KIND:N.

KIND is the name of a command, and of a Produce also what is written: Produce-output,
Produce-repartition, Produce-changelog; * is any. N counts the commands of that kind from 1.
after:fenced:1, after:joined:1 and after:caught-up:1 are the steps of an adoption.
The steps of a snapshot, of a restore from one, of making a changelog whole, and of finding out
which record Kafka refuses are kinds, too.
KILL_AT=abort:KIND:N lets the command fail in the way that an abort fixes, then kills nothing.
Several are separated by commas.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

from processor.runtime.commands import Command, Event, Produce
from processor.runtime.refusals import Known
from processor.runtime.worker import Worker
from processor.state import snapshot
from processor.storage.archive import Archive
from processor.storage.bucket import Bucket
from processor.worker import downloads, outbox, refill
from processor.worker import process as worker
from processor.worker.adoption import Step
from processor.worker.ledger import Ledger
from processor.worker.outbox import Abortable
from processor.worker.sender import Sender
from processor.worker.slot import Slot
from processor.worker.stores import StoreOpener

SNAPSHOT_STEPS: dict[str, tuple[Any, str]] = {
    "List": (Archive, "manifests"),
    "Read": (Archive, "read"),
    "Fetch": (Archive, "fetch"),
    "Piece": (downloads.Downloads, "_count"),
    "Verify": (downloads, "_check_position"),
    "Rename": (Path, "rename"),
    "Install": (StoreOpener, "install"),
    "Open": (StoreOpener, "find"),
    "Checkpoint": (StoreOpener, "checkpoint"),
    "Upload": (Archive, "upload"),
    "Publish": (Archive, "publish"),
    "Remove": (Bucket, "remove"),
    "Prune": (Archive, "prune"),
}
"""What is called at each step; the first of them also come before a snapshot is taken."""

REFILL_STEPS: dict[str, tuple[Any, str]] = {
    "Refill": (refill, "refill"),
    "Refill-Batch": (refill, "_batch"),
    "Refill-Note": (Ledger, "whole_from"),
}
"""The same where a changelog is made whole."""


REFUSAL_STEPS: dict[str, tuple[Any, str]] = {
    "Send-Alone": (Sender, "_send_alone"),
    "Found": (outbox, "_found"),
    "Refused": (Worker, "_refused"),
    "Left-Out": (Known, "faults"),
}
"""The same while it is found out which record Kafka refuses."""


class SuicidalSlot(Slot):
    """A slot that looks at each command whether its time has come."""

    def carry_out(self, command: Command) -> Event | None:
        kinds = ("*", _kind(command, self._layout.plan.repartitions))
        for kind in kinds:
            _COUNTS[kind] = _COUNTS.get(kind, 0) + 1
        here = [f"{kind}:{_COUNTS[kind]}" for kind in kinds]
        if any(f"abort:{each}" in _POINTS for each in here):
            raise Abortable("a test wants this")
        if any(f"before:{each}" in _POINTS for each in here):
            os.kill(os.getpid(), signal.SIGKILL)
        event = super().carry_out(command)
        if any(f"after:{each}" in _POINTS for each in here):
            os.kill(os.getpid(), signal.SIGKILL)
        return event

    def passed(self, step: Step) -> None:
        super().passed(step)
        if f"after:{step.replace(' ', '-')}:1" in _POINTS:
            os.kill(os.getpid(), signal.SIGKILL)


def lethal(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that ends the process before or after it, when its time has come."""

    def call(*args: Any, **options: Any) -> Any:
        with _LOCK:
            _COUNTS[kind] = number = _COUNTS.get(kind, 0) + 1
        if f"before:{kind}:{number}" in _POINTS:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **options)
        if f"after:{kind}:{number}" in _POINTS:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


def _kind(command: Command, repartitions: object) -> str:
    kind = type(command).__name__
    if not isinstance(command, Produce):
        return kind
    if command.store is not None:
        return f"{kind}-changelog"
    internal = isinstance(repartitions, dict) and command.topic in repartitions
    return f"{kind}-repartition" if internal else f"{kind}-output"


_POINTS = os.environ.get("KILL_AT", "").split(",")
_COUNTS: dict[str, int] = {}
_LOCK = Lock()

if __name__ == "__main__":
    worker.Slot = SuicidalSlot
    for kind, (owner, name) in (SNAPSHOT_STEPS | REFILL_STEPS | REFUSAL_STEPS).items():
        setattr(owner, name, lethal(kind, getattr(owner, name)))
    snapshot.GRACE = 0  # what nobody refers to is removed at once
    os._exit(worker.main(*map(int, sys.argv[1:])))
