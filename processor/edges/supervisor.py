"""Supervisor: starts the worker processes of a node, hears them, and starts again those that crash.

One thread; `turn` is called again and again by whoever shows what is going on.
"""

import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from processor import errors
from processor.edges.channel import Failure, Log, Report, Status, parse
from processor.edges.pool import WorkerPool, WorkerProcess
from processor.edges.spec import WorkerSpec
from processor.errors import Fenced, Interrupted, KprocError, WorkerFailed

_CRASHES = 5
_CRASH_SECONDS = 60.0
"""A worker that crashes more often in this time is not started again."""

_SPARE_SECONDS = 3.0
"""After a start, until a spare process is made ready: the start has the processor for itself."""

_FENCE_SECONDS = 60.0
"""A worker that is fenced is started again once in this time: the broker fences as well whoever was
suspended for longer than a transaction may last. Fenced again, it has a rival, and yields."""

_BACKOFF = 10.0
"""Seconds at most between two starts of a worker that can't go on for a reason outside."""


@dataclass(slots=True)
class _Child:
    """One slot and its present process."""

    spec: WorkerSpec
    process: WorkerProcess | None = None
    unread: bytes = b""
    failure: Failure | None = None
    start_at: float = 0.0
    interruptions: int = 0
    fenced_at: float = -_FENCE_SECONDS
    crashes: deque[float] = field(default_factory=lambda: deque[float](maxlen=_CRASHES))


class Supervisor:
    """The workers of one node.

    Args:
        specs: One for each slot.
        pool: Where processes come from; it is closed in the end.
        restart: Whether to start a crashed worker again.
        on_report: Told whatever a worker tells, and what happens to it.
    """

    def __init__(
        self,
        specs: Sequence[WorkerSpec],
        pool: WorkerPool,
        *,
        restart: bool,
        on_report: Callable[[Report], None],
    ) -> None:
        self._children = [_Child(spec) for spec in specs]
        self._pool = pool
        self._spare_at = 0.0
        self._restart = restart
        self._on_report = on_report
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._error: KprocError | None = None
        self.restarts = 0

    @property
    def pids(self) -> dict[int, int]:
        """The process of each slot that has one."""
        return {
            child.spec.slot: child.process.pid
            for child in self._children
            if child.process is not None
        }

    def turn(self, timeout: float) -> bool:
        """Starts what is to be started and hears the workers for a while; False: all have ended.

        Raises:
            KprocError: A worker ended in a way that a new start does not mend; the others have
                been stopped.
        """
        for child in self._children:
            if child.process is None and not self._stopping and time.monotonic() >= child.start_at:
                self._start(child)
        if self._restart and not self._stopping and time.monotonic() >= self._spare_at:
            self._pool.warm(1)
        for key, _ in self._selector.select(timeout):
            self._hear(key.data)
        if any(child.process is not None for child in self._children):
            return True
        if self._error is not None:
            self._pool.close()
            raise self._error
        return not self._stopping

    def stop(self) -> None:
        """Asks all workers to finish."""
        self._stopping = True
        for child in self._children:
            if child.process is not None:
                child.process.ask_to_finish()

    def kill(self) -> None:
        """Ends all workers at once; what they had not committed is done again another time."""
        self._stopping = True
        self._pool.close()
        for child in self._children:
            if child.process is not None:
                child.process.kill()

    def _start(self, child: _Child) -> None:
        child.process = self._pool.take(child.spec)
        child.unread, child.failure = b"", None
        self._selector.register(child.process.reports, selectors.EVENT_READ, child)
        self._spare_at = time.monotonic() + _SPARE_SECONDS

    def _hear(self, child: _Child) -> None:
        assert child.process is not None
        data = os.read(child.process.reports.fileno(), 65536)
        *lines, child.unread = (child.unread + data).split(b"\n")
        for line in lines:
            report = parse(line)
            if isinstance(report, Failure):
                child.failure = report
            if isinstance(report, Status) and report.partitions:
                child.interruptions = 0
            self._on_report(report)
        if not data:
            self._ended(child)

    def _ended(self, child: _Child) -> None:
        assert child.process is not None
        self._selector.unregister(child.process.reports)
        code = child.process.wait()
        child.process = None
        if self._stopping:
            if code > 0:  # by itself, not killed
                self._error = self._error or _cause(child.failure, code)
        elif code == 0:
            self._fail(WorkerFailed(f"slot {child.spec.slot} ended without being asked to"))
        else:
            self._crashed(child, code)

    def _crashed(self, child: _Child, code: int) -> None:
        slot, now = child.spec.slot, time.monotonic()
        cause = _cause(child.failure, code)
        if isinstance(cause, Fenced) and now - child.fenced_at >= _FENCE_SECONDS:
            child.fenced_at = now
            pause = 0.0
        elif isinstance(cause, Interrupted):
            child.interruptions += 1
            pause = min(_BACKOFF, 0.1 * 2**child.interruptions)
        elif isinstance(cause, WorkerFailed) and self._restart:
            child.crashes.append(now)
            pause = 0.0
            if len(child.crashes) == _CRASHES and now - child.crashes[0] < _CRASH_SECONDS:
                self._fail(
                    WorkerFailed(
                        f"slot {slot} crashed {_CRASHES} times within {_CRASH_SECONDS:.0f} s, the "
                        f"last time: {cause}"
                    )
                )
                return
        else:
            self._fail(cause)
            return
        self.restarts += 1
        child.start_at = now + pause
        fields: dict[str, str | int | float] = {"cause": str(cause), "pause_s": pause}
        self._on_report(Log(slot, "warning", "worker is started again", fields))

    def _fail(self, error: KprocError) -> None:
        self._error = self._error or error
        self.stop()


def _cause(failure: Failure | None, code: int) -> KprocError:
    """Why a worker ended: what it said, or what its exit code says."""
    if failure is None:
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return WorkerFailed(f"its process ended with {name}")
    known: Any = getattr(errors, failure.error, None)
    if isinstance(known, type) and issubclass(known, KprocError):
        return known(failure.text)
    return WorkerFailed(failure.text)
