"""The line from a worker process to its supervisor: what happens there, one JSON document a line.

The worker's stdout stays the user's own. When the line ends, the worker has ended.
"""

import json
import os
import signal
import struct
import time
from threading import Lock
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from processor.cluster.beats import Role
from processor.wording import naming
from processor.worker.standstill import Standstill


class RestoreStatus(msgspec.Struct, frozen=True):
    """How far a restore is: of all stores that are not ready yet.

    First what snapshots there are is downloaded, then changelogs are replayed; or both at once, of
    several stores.
    """

    stores: int
    records: int
    total: int  # records at most: those compacted away are counted too
    bytes: int
    seconds: float
    downloaded: int = 0  # bytes of snapshots
    to_download: int = 0

    def joined(self, other: "RestoreStatus | None") -> "RestoreStatus":
        """Both, of different stores."""
        if other is None:
            return self
        return RestoreStatus(
            self.stores + other.stores,
            self.records + other.records,
            self.total + other.total,
            self.bytes + other.bytes,
            max(self.seconds, other.seconds),
            self.downloaded + other.downloaded,
            self.to_download + other.to_download,
        )


class Lateness(msgspec.Struct, frozen=True):
    """How many records came to a step that judges whether they are late, and how many were."""

    judged: int = 0
    late: int = 0
    partly: int = 0  # for some of their windows only

    def __add__(self, other: "Lateness") -> "Lateness":
        """Both."""
        return Lateness(
            self.judged + other.judged, self.late + other.late, self.partly + other.partly
        )


class Cause(NamedTuple):
    """Why records are bad: the step that they failed in, and for what reason."""

    step: str
    reason: str

    def __str__(self) -> str:
        """As people read it."""
        return f"{self.step}: {self.reason}"


class BadRecords(msgspec.Struct, frozen=True):
    """How many records were bad for one cause."""

    step: str
    reason: str
    count: int

    @property
    def cause(self) -> Cause:
        """Why."""
        return Cause(self.step, self.reason)


class Spent(msgspec.Struct, frozen=True):
    """Seconds that a worker process has spent since its start."""

    busy: float = 0.0  # all but waiting for records
    cpu: float = 0.0  # of all its threads
    starved: float = 0.0  # ready to work, but no processor was free
    commits: float = 0.0  # until brokers had committed
    steps: dict[str, float] = {}  # by step


class Reading(msgspec.Struct, frozen=True):
    """How far a worker is with a topic that it reads."""

    records: int = 0  # fetched by this process; those of an aborted transaction count each time
    lag: int | None = None


class Status(msgspec.Struct, frozen=True, tag="status"):
    """A worker's figures so far, and as of now.

    A backup is `restoring` until it has reached the ends of all changelogs, then `ready`; its lag
    is that behind the changelogs. A primary that has no partitions at work is `waiting` for them;
    one is `deprived` if others in its group keep them from it, as `withheld` says. Whose loop has
    not moved on for `stuck_after` is `stuck`; its figures are those of before, its lag not known.
    """

    slot: int
    state: Literal[
        "starting", "restoring", "ready", "waiting", "running", "deprived", "stuck", "stopping"
    ]
    records: int = 0
    spent: Spent = Spent()
    state_bytes: int = 0  # of its stores on disk
    checkpoints: int = 0
    lag: int | None = None
    tasks: int = 0
    partitions: int = 0
    bad_records: tuple[BadRecords, ...] = ()
    late: dict[str, Lateness] = {}  # by step
    held: tuple[str, ...] = ()  # tasks whose time waits for others, and for whom
    overtaken: int = 0  # how often that went on without them, by max_upstream_wait
    misplaced: dict[str, int] = {}  # keys by topic, of those looked at, that belong elsewhere
    restore: RestoreStatus | None = None
    role: Role = "primary"
    reported: int = 0  # topics that have ended, once all is reported that waited for more of them
    withheld: str = ""  # partitions that others in the group keep from the slot, and who they are
    turn_age: float = 0.0  # seconds since its loop last turned, or went on to another record
    stuck: Standstill | None = None  # what it is at, if it is stuck
    topics: dict[str, Reading] = {}  # those that a primary reads
    native: bool = False  # whether batches go by the native plane


class Log(msgspec.Struct, frozen=True, tag="log"):
    """Something to be logged, of a slot's worker or of the node."""

    slot: int | None
    level: Literal["debug", "info", "warning", "error"]
    event: str
    fields: dict[str, str | int | float] = {}


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """Why the worker ends: the name of a class in `processor.errors`, and its text.

    Of `TooSlow` also among how many records it is.
    """

    slot: int
    error: str
    text: str
    records: int = 0


NAME = "kproc-worker"
"""What a worker process is called, as `ps` shows it."""

PID = struct.Struct("q")
"""What a worker writes before its reports: its process id."""

ADOPT = b"adopt"
"""What a supervisor sends to a backup, as a line, so that it takes the slot over."""
ENDED = b"ended "
"""What a line begins with that says to a primary, as JSON, which topics get no more records."""
WHERE = signal.SIGUSR1
"""The signal that has a worker write its main thread's stack to the file that it has for that."""
ADOPTED = "adopted"
"""The event logged by a worker that has taken over its slot."""
CRASHED = "worker ended"
"""The event logged when a worker has ended that will be started again."""

Report: TypeAlias = Status | Log | Failure

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


class Channel:
    """The worker's end of the line.

    Args:
        descriptor: A file to write to.
        slot: The worker's.
        topology: Its file, as commands that are advised have to name it.
    """

    def __init__(self, descriptor: int, slot: int, topology: str = "FILE.py") -> None:
        self.slot = slot
        self._topology = topology
        self._descriptor = descriptor
        self._lock = Lock()
        self._reported: dict[str, float] = {}

    def send(self, report: Report) -> None:
        """Reports to the supervisor; if that is gone, the worker will learn of it elsewhere."""
        data = _encoded(report) + b"\n"
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except BrokenPipeError:
                return

    def log(
        self,
        level: Literal["debug", "info", "warning", "error"],
        event: str,
        **fields: str | float,
    ) -> None:
        """Has something logged."""
        self.send(Log(self.slot, level, event, fields))

    def log_seldom(self, event: str, text: str, seconds: float = 5.0) -> None:
        """Has a warning logged, but the same event not again for some seconds."""
        now = time.monotonic()
        if now - self._reported.get(event, -seconds) >= seconds:
            self._reported[event] = now
            self.log("warning", event, text=naming(text, self._topology))

    def fail(self, error: Exception, text: str, records: int = 0) -> None:
        """Reports to the supervisor which error the worker ends with."""
        text = naming(text, self._topology)
        self.send(Failure(self.slot, type(error).__name__, text, records))


def _encoded(report: Report) -> bytes:
    try:
        return _ENCODER.encode(report)
    except UnicodeEncodeError:  # an error's text may be made of what a record holds
        text = json.dumps(msgspec.to_builtins(report), ensure_ascii=False)
        return text.encode(errors="replace")


def parse(line: bytes) -> Report:
    """What one line says."""
    return _DECODER.decode(line)
