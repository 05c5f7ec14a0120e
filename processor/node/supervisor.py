"""Supervisor: the worker processes of a node. Brings each to the role that it should have.

One thread; `turn` is called again and again. What role a slot should have is decided elsewhere.
"""

import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from msgspec import structs

from processor import errors
from processor.cluster.beats import Replica, ReplicaState, Role
from processor.errors import (
    Fenced,
    Interrupted,
    KafkaError,
    KprocError,
    PermissionDenied,
    RecordRefused,
    SchemaRefused,
    TooSlow,
    TopicMismatch,
    WorkerFailed,
)
from processor.node.figures import Figures
from processor.node.pool import WorkerPool, WorkerProcess
from processor.worker.channel import CRASHED, Failure, Log, Report, Status, parse
from processor.worker.spec import WorkerSpec
from processor.worker.standstill import Standstill

_CRASHES = 5
_CRASH_SECONDS = 60.0
"""A worker that crashes more often in this time is not started again."""

_SLOW = 3
"""As often a worker is started again though the same function takes too long for the same record.

The next one works on fewer records at once, so that the next time it is known which one it is.
"""

_SPARE_SECONDS = 3.0
"""After a start or an adoption, until a spare process is made ready: they have the processor."""

_SETTLED: frozenset[ReplicaState] = frozenset({"running", "ready", "silent", "deprived"})

_BACKOFF = 10.0
"""Seconds at most between two starts of a worker that can't go on for a reason outside."""

_FINISH_SECONDS = 5.0
"""What a worker has to finish in whose slot another has taken over."""

_HUNG_SECONDS = 30.0
"""A worker that has reported nothing for so long is killed."""

_ANSWER_SECONDS = 2.0
"""For so long before, it may say what it is at."""

_LONGEST_TURN = 0.5
"""A supervisor that was suspended itself counts no more than this as its workers' silence."""


class Wanted(NamedTuple):
    """The role that a slot's worker should have, and the term of the claim that made it primary."""

    role: Role
    term: int = 0


@dataclass(slots=True)
class _Child:
    """One slot and its present process."""

    slot: int
    wanted: Wanted | None = None
    process: WorkerProcess | None = None
    is_now: Wanted | None = None
    """What its process was started or promoted as; or was, when it crashed."""
    is_without_work: bool = False
    """Whether there are fewer partitions than slots, and none for this one."""
    finish_by: float | None = None
    crashed: bool = False
    status: Status | None = None
    figures: Figures = field(default_factory=Figures)
    silence: float = 0.0
    is_asked: bool = False
    """Whether it was asked what it is at, as it is silent."""
    culprit: str = ""
    """What the last process that was stuck was stuck at."""
    stuck: int = 0
    """How many in a row were stuck at that."""
    unread: bytes = b""
    failure: Failure | None = None
    start_at: float = 0.0
    interruptions: int = 0
    suspects: int = 0
    """Among so many records one takes too long: the next process works on them one by one."""
    slow: int = 0
    slow_at: str = ""
    """What took too long when its process ended the last `slow` times."""
    crashes: deque[float] = field(default_factory=lambda: deque[float](maxlen=_CRASHES))

    def note(self, status: Status) -> None:
        """Takes in what its process reports."""
        self.status = status
        self.figures.note(time.monotonic(), status)

    def is_stuck_at(self, cause: KprocError) -> bool:
        """Whether it has ended again and again because the same takes too long."""
        if not isinstance(cause, TooSlow):
            self.slow_at, self.suspects = "", 0
            return False
        if self.failure is not None:  # what was found alone may come after others that are undone
            self.suspects = max(self.suspects, self.failure.records)
        self.slow = self.slow + 1 if str(cause) == self.slow_at else 1
        self.slow_at = str(cause)
        return self.slow >= _SLOW

    @property
    def may_start(self) -> bool:
        """Whether its process may be started: what crashed as primary needs a new claim."""
        if self.process is not None or self.wanted is None or time.monotonic() < self.start_at:
            return False
        return not (self.crashed and self.wanted.role == "primary" and self.wanted == self.is_now)

    @property
    def is_superfluous(self) -> bool:
        """Whether its process has a role that it should not have any more."""
        if self.process is None or self.is_now is None:
            return False
        demoted = self.wanted is not None and self.wanted.role == "backup"
        return self.wanted is None or (demoted and self.is_now.role == "primary")


class Supervisor:
    """The workers of one node.

    Args:
        make_spec: The work of a slot in a role.
        pool: Where processes come from; it is closed in the end.
        restart: Whether to start a crashed worker again.
        restart_stuck: Whether to end a worker that is stuck in a function of the topology.
        silent_after: Seconds after which a worker that reports nothing counts as silent.
        on_report: Called with whatever a worker reports, and what happens to it.
    """

    def __init__(
        self,
        make_spec: Callable[[int, Role], WorkerSpec],
        pool: WorkerPool,
        *,
        restart: bool,
        restart_stuck: bool,
        silent_after: float,
        on_report: Callable[[Report], None],
    ) -> None:
        self._children: dict[int, _Child] = {}
        self._make_spec = make_spec
        self._pool = pool
        self._spare_at = time.monotonic() + _SPARE_SECONDS
        self._restart = restart
        self._restart_stuck = restart_stuck
        self._silent_after = silent_after
        self._on_report = on_report
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._error: KprocError | None = None
        self._turned = time.monotonic()

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """What is to be sent to the workers."""
        children = (child for _, child in sorted(self._children.items()))
        return tuple(self._replica(child) for child in children if child.process or child.wanted)

    @property
    def lines(self) -> Mapping[int, socket.socket]:
        """Where the workers' stores are asked, by slot."""
        return {
            slot: child.process.queries
            for slot, child in self._children.items()
            if child.process is not None
        }

    def may_claim(self, slot: int) -> bool:
        """Whether a worker for the slot could be started or promoted now."""
        child = self._children.get(slot)
        return not self._stopping and (child is None or time.monotonic() >= child.start_at)

    def wake_for(self, file: Any) -> None:
        """Lets a turn end early when the file is readable."""
        self._selector.register(file, selectors.EVENT_READ)

    def want(self, workers: Mapping[int, Wanted]) -> None:
        """Says which slots should have a worker here, in which role; others should have none."""
        for slot in workers:
            self._children.setdefault(slot, _Child(slot))
        for slot, child in self._children.items():
            child.wanted = None if self._stopping else workers.get(slot)
            self._bring(child)

    def turn(self, timeout: float) -> bool:
        """Hears the workers for a while; False: all have ended.

        Raises:
            KprocError: A worker ended in a way that a new start does not fix; the others have
                been stopped.
        """
        self._keep_spare()
        for key, _ in self._selector.select(timeout):
            if key.data is not None:
                self._hear(key.data)
        self._note_silence()
        if any(child.process is not None for child in self._children.values()):
            return True
        if self._error is not None:
            self._pool.close()
            raise self._error
        return not self._stopping

    def end_input(self, topics: Sequence[str]) -> bool:
        """Says that nothing more will come in these topics, until all primaries have heard of it.

        Returns:
            Whether they have reported, and committed, all that waited for more.
        """
        primaries = self._primaries()
        waiting = [
            each for each in primaries if not each.status or each.status.reported < len(topics)
        ]
        for child in waiting:
            if child.process is not None:
                child.process.end_input(topics)
        return bool(primaries) and not waiting

    def stop(self) -> None:
        """Asks all workers to finish."""
        self._stopping = True
        for child in self._children.values():
            child.wanted = None
            if child.process is not None:
                child.process.ask_to_finish()

    def kill(self) -> None:
        """Ends all workers at once; what they had not committed is done again another time."""
        self._stopping = True
        self._pool.close()
        for child in self._children.values():
            if child.process is not None:
                child.process.kill()

    def _keep_spare(self) -> None:
        now = time.monotonic()
        states = {self._state(child) for child in self._children.values() if child.process}
        if not states <= _SETTLED:
            self._spare_at = now + _SPARE_SECONDS
        if not self._stopping and now >= self._spare_at:
            for pid in self._pool.keep(1 if self._restart else 0):
                self._on_report(Log(None, "info", "spare process", {"pid": pid}))

    def _primaries(self) -> list[_Child]:
        now = ((child, child.is_now) for child in self._children.values())
        return [child for child, is_now in now if is_now is not None and is_now.role == "primary"]

    def _bring(self, child: _Child) -> None:
        """Brings the slot's process closer to the role that it should have."""
        now, wanted = time.monotonic(), child.wanted
        if self._stopping:
            return
        if child.finish_by is not None:
            if child.process is not None and now > child.finish_by:
                child.process.kill()
        elif child.is_superfluous and child.process is not None:
            child.finish_by = now + _FINISH_SECONDS
            child.process.ask_to_finish()
        elif child.may_start and wanted is not None:
            self._start(child, wanted)
        elif child.process is not None and child.is_now != wanted:
            if wanted is not None and child.is_now is not None and child.is_now.role == "backup":
                child.process.adopt()
            child.is_now = wanted

    def _start(self, child: _Child, wanted: Wanted) -> None:
        spec = structs.replace(self._make_spec(child.slot, wanted.role), suspects=child.suspects)
        child.is_without_work = not spec.own
        child.process = self._pool.take(spec)
        child.is_now, child.crashed, child.status = wanted, False, None
        child.silence, child.is_asked = 0.0, False
        child.figures, child.unread, child.failure = Figures(), b"", None
        self._selector.register(child.process.reports, selectors.EVENT_READ, child)
        fields: dict[str, str | int | float] = {"pid": child.process.pid, "role": wanted.role}
        self._on_report(Log(child.slot, "info", "worker process", fields))
        self._spare_at = time.monotonic() + _SPARE_SECONDS

    def _hear(self, child: _Child) -> None:
        assert child.process is not None
        data = os.read(child.process.reports.fileno(), 65536)
        child.silence, child.is_asked = 0.0, False
        *lines, child.unread = (child.unread + data).split(b"\n")
        for line in lines:
            report = parse(line)
            if isinstance(report, Failure):
                child.failure = report
            if isinstance(report, Status):
                child.note(report)
                if report.partitions:
                    child.interruptions = 0
                if report.stuck is not None and report.stuck.in_function and self._restart_stuck:
                    self._end_stuck(child, report.stuck, report.turn_age)
            self._on_report(report)
        if not data:
            self._ended(child)

    def _note_silence(self) -> None:
        now = time.monotonic()
        passed, self._turned = min(now - self._turned, _LONGEST_TURN), now
        for child in self._children.values():
            if child.process is not None:
                child.silence += passed
                if not self._stopping:
                    self._judge_silence(child, child.process)

    def _judge_silence(self, child: _Child, process: WorkerProcess) -> None:
        """Ends a worker that is silent for too long, and has it say before what it is at."""
        if child.silence > _HUNG_SECONDS:
            if (found := process.answer()) is not None:
                self._end_stuck(child, found, child.silence)
            process.kill()
        elif child.silence > _HUNG_SECONDS - _ANSWER_SECONDS and not child.is_asked:
            process.ask_where()
            child.is_asked = True

    def _end_stuck(self, child: _Child, found: Standstill, seconds: float) -> None:
        """Ends a worker that would not go on by itself; what it had not committed is done again."""
        if child.failure is not None or child.process is None or self._stopping:
            return
        child.stuck = child.stuck + 1 if found.culprit == child.culprit else 1
        child.culprit = found.culprit
        text = f"it was stuck for {seconds:.0f} s in {found.text}"
        child.failure = Failure(child.slot, WorkerFailed.__name__, text)
        child.process.kill()

    def _ended(self, child: _Child) -> None:
        assert child.process is not None
        self._selector.unregister(child.process.reports)
        code = child.process.wait()
        child.process = None
        finishing, child.finish_by = child.finish_by is not None, None
        if self._stopping:
            cause = _cause(child.failure, code)
            # Killed, or fenced by the node that goes on with its slot: nothing is amiss.
            if code > 0 and not isinstance(cause, Fenced):
                self._error = self._error or cause
        elif finishing:
            child.is_now = None  # its slot has been taken over: however it ended, that was right
        elif code == 0:
            self._fail(WorkerFailed(f"slot {child.slot} ended without being asked to"))
        else:
            self._crashed(child, code)

    def _crashed(self, child: _Child, code: int) -> None:
        now = time.monotonic()
        cause = _cause(child.failure, code)
        child.crashed = True
        if child.is_stuck_at(cause):
            self._fail(WorkerFailed(f"slot {child.slot} ended {_SLOW} times at the same: {cause}"))
            return
        if _passes(cause):
            child.interruptions += 1
            fenced_once = isinstance(cause, Fenced) and child.interruptions == 1
            pause = 0.0 if fenced_once else min(_BACKOFF, 0.1 * 2**child.interruptions)
        elif isinstance(cause, WorkerFailed) and self._restart:
            child.crashes.append(now)
            pause = 0.0
            if child.stuck >= _CRASHES:
                self._fail(
                    WorkerFailed(
                        f"slot {child.slot} has been stuck {child.stuck} times at the same place, "
                        f"the last time: {cause}. Give what the function calls a time-out; if it "
                        'may take so long, raise stuck_after; with on_stuck = "report" the node '
                        "only says so"
                    )
                )
                return
            if len(child.crashes) == _CRASHES and now - child.crashes[0] < _CRASH_SECONDS:
                self._fail(
                    WorkerFailed(
                        f"slot {child.slot} crashed {_CRASHES} times within "
                        f"{_CRASH_SECONDS:.0f} s, the last time: {cause}"
                    )
                )
                return
        else:
            self._fail(cause)
            return
        child.start_at = now + pause
        fields: dict[str, str | int | float] = {"cause": str(cause), "pause_s": pause}
        self._on_report(Log(child.slot, "warning", CRASHED, fields))

    def _fail(self, error: KprocError) -> None:
        self._error = self._error or error
        self.stop()

    def _replica(self, child: _Child) -> Replica:
        now = child.is_now or child.wanted
        role: Role = "backup" if now is None else now.role
        state = self._state(child)
        silence = child.silence if state == "silent" else 0.0
        return child.figures.replica(child.slot, role, state, child.status, silence)

    def _state(self, child: _Child) -> ReplicaState:
        if child.process is None:
            return "crashed" if child.crashed and not child.may_start else "starting"
        if child.finish_by is not None or self._stopping:
            return "stopping"
        if child.silence > self._silent_after:
            return "silent"
        if child.status is None:
            return "starting"
        if child.status.state == "waiting" and child.is_without_work:
            return "running"
        return child.status.state


def _passes(cause: KprocError) -> bool:
    """Whether a later start may do better, with nothing changed by anybody."""
    lasting = TopicMismatch | PermissionDenied | RecordRefused | SchemaRefused
    return isinstance(cause, Interrupted | Fenced | KafkaError) and not isinstance(cause, lasting)


def _cause(failure: Failure | None, code: int) -> KprocError:
    """Why a worker ended: what it said, or what its exit code says."""
    if failure is None:
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return WorkerFailed(f"its process ended with {name}")
    known: Any = getattr(errors, failure.error, None)
    if isinstance(known, type) and issubclass(known, KprocError):
        return known(failure.text)
    return WorkerFailed(failure.text)
