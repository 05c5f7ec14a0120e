"""Those who suffer the faults of a chaos run: nodes and the embedded broker; each comes back.

A fault is begun at its time and undone by `turn`, which is called again and again. Nothing here
decides what happens when: the schedule does.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import psutil

from processor.chaos.schedule import Fault
from processor.edges.embedded import EmbeddedKafka
from processor.edges.node_process import NodeProcess
from processor.errors import WorkerFailed

_RESTART_PAUSE = 500
"""Milliseconds after which a node that ended by itself is started again, as systemd would."""

_ENDINGS = 20
"""A node that ends by itself more often than this is not started again."""

_START_SECONDS = 180.0
"""A broker that was killed looks through its data first, beside everything else that starts."""

_LOG_END = 2_000
_INTERRUPTED = 130


class Victim(Protocol):
    """Someone who suffers faults; times are milliseconds since the beginning."""

    @property
    def state(self) -> str:
        """One word for a person."""
        ...

    @property
    def workers(self) -> int:
        """How many worker processes it has."""
        ...

    @property
    def is_well(self) -> bool:
        """Whether it runs, and nothing has to be undone."""
        ...

    def suffer(self, fault: Fault, now: int) -> None:
        """Begins a fault."""

    def turn(self, now: int) -> Iterator[str]:
        """Undoes what is due; says what happened."""
        ...


@dataclass(slots=True)
class ChaosNode:
    """A node, started again whenever it has ended."""

    number: int
    launch: Callable[[], NodeProcess]
    process: NodeProcess
    _former: list[NodeProcess] = field(default_factory=list[NodeProcess])
    _start_at: int | None = None
    _undo: list[tuple[int, Callable[[], None]]] = field(
        default_factory=list[tuple[int, Callable[[], None]]]
    )
    _endings: int = 0
    _asked: bool = False
    _held: bool = False

    @property
    def state(self) -> str:
        """One word for a person."""
        if self._held:
            return "held"
        if self.process.exit_code is not None:
            return "down"
        if self._undo:
            return "suspended"
        return "stopping" if self._asked else "running"

    @property
    def workers(self) -> int:
        """How many worker processes it has."""
        return len(self.process.workers)

    @property
    def is_well(self) -> bool:
        """Whether it runs, and nothing has to be undone."""
        return self.state == "running"

    def suffer(self, fault: Fault, now: int) -> None:
        """Begins a fault; a node that is down is spared."""
        process, until = self.process, now + fault.lasts
        if process.exit_code is not None:
            return
        match fault.kind:
            case ("kill", "node"):
                process.kill()
                self._start_at = until
            case ("kill", "supervisor"):
                process.kill_supervisor()
                self._start_at = until
            case ("restart", "node"):
                process.terminate()
                self._asked = True
                self._start_at = until
            case ("suspend", "node"):
                process.suspend()
                self._undo.append((until, process.resume))
            case ("suspend", "supervisor"):
                process.suspend_supervisor()
                self._undo.append((until, process.resume))
            case _:
                self._afflict_worker(fault, until)

    def turn(self, now: int) -> Iterator[str]:
        """Undoes what is due; starts it again when it has ended.

        Raises:
            WorkerFailed: It keeps ending by itself.
        """
        for undo in [undo for undo in self._undo if undo[0] <= now]:
            self._undo.remove(undo)
            undo[1]()
            yield f"node {self.number} goes on"
        code = self.process.exit_code
        if code is None or self._held:
            return
        if self._start_at is None:
            yield f"node {self.number} ended by itself with exit code {code}"
            self._count_ending(code)
            self._start_at = now + _RESTART_PAUSE
        elif self._asked:
            self._asked = False
            yield f"node {self.number} has finished with exit code {code}"
        if now >= self._start_at:
            self._start_at = None
            self.start()
            yield f"node {self.number} is started again"

    def hold(self) -> None:
        """Leaves it to somebody who does with its process what they want, until `release`."""
        self._held = True

    def release(self) -> None:
        """Has it be started again whenever it has ended, as before."""
        self._held = False

    def start(self) -> None:
        """Starts it again, once it has ended."""
        self._former.append(self.process)
        self.process = self.launch()

    def finish(self, timeout: float) -> str | None:
        """Waits for its end after `terminate`; what is wrong with it, if anything is."""
        if self.process.wait(timeout) is not None and self.has_finished:
            return None
        code = self.process.exit_code
        ended = "did not end" if code is None else f"ended with exit code {code}"
        return f"node {self.number} {ended} when it was asked to finish; see {self.process.log}"

    @property
    def has_finished(self) -> bool:
        """Whether it has ended as one does that is asked to."""
        code = self.process.exit_code
        return code == 0 or (code == _INTERRUPTED and not self.process.has_begun)

    def kill(self) -> None:
        """Ends whatever is left of it."""
        for process in (*self._former, self.process):
            process.resume()
            process.kill()

    def log_end(self) -> str:
        """The last lines that it printed."""
        return self.process.log.read_bytes()[-_LOG_END:].decode(errors="replace")

    def _count_ending(self, code: int) -> None:
        self._endings += 1
        if self._endings > _ENDINGS:
            raise WorkerFailed(
                f"node {self.number} keeps ending by itself, the last time with exit code {code}. "
                f"The end of its log, {self.process.log}:\n{self.log_end()}"
            )

    def _afflict_worker(self, fault: Fault, until: int) -> None:
        workers = self.process.workers
        if not workers:
            return
        worker = workers[fault.choice % len(workers)]
        with contextlib.suppress(psutil.NoSuchProcess):
            if fault.kind.action == "kill":
                worker.kill()
            else:
                worker.suspend()
                self._undo.append((until, partial(_resume, worker)))


def _resume(worker: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):  # its supervisor may have given it up
        worker.resume()


class ChaosBroker:
    """An embedded Kafka that comes back on the same port with the same data.

    Args:
        folder: For its data.
        config: Of the broker.
        detach: Whether it outlives this process.

    Raises:
        KprocError: As `EmbeddedKafka.start`.
    """

    def __init__(self, folder: Path, config: dict[str, str], *, detach: bool) -> None:
        # It ends with the thread that starts it, and takes seconds to start.
        self._pool = ThreadPoolExecutor(1, "broker")
        self._start = partial(
            EmbeddedKafka.start, folder, config=config, detach=detach, timeout=_START_SECONDS
        )
        try:
            self.kafka = self._pool.submit(self._start, port=0).result()
        except BaseException:
            self._pool.shutdown(wait=False)
            raise
        self._coming: Future[EmbeddedKafka] | None = None
        self._start_at: int | None = None
        self._resume_at: int | None = None

    @property
    def state(self) -> str:
        """One word for a person."""
        if self._start_at is not None:
            return "down"
        if self._coming is not None:
            return "starting"
        return "running" if self._resume_at is None else "suspended"

    @property
    def workers(self) -> int:
        """None."""
        return 0

    @property
    def is_well(self) -> bool:
        """Whether it answers, as far as it is known."""
        return self.state == "running"

    def suffer(self, fault: Fault, now: int) -> None:
        """Begins a fault."""
        if fault.kind.action == "kill":
            self.kafka.kill()
            self._start_at = now + fault.lasts
        elif fault.kind.action == "restart":
            self._coming = self._pool.submit(self._restart)
        else:
            os.kill(self.kafka.pid, signal.SIGSTOP)
            self._resume_at = now + fault.lasts

    def turn(self, now: int) -> Iterator[str]:
        """Undoes what is due.

        Raises:
            KprocError: It did not start again.
        """
        if self._resume_at is not None and now >= self._resume_at:
            self._resume_at = None
            self._continue()
            yield "the broker goes on"
        if self._start_at is not None and now >= self._start_at:
            self._start_at = None
            self._coming = self._pool.submit(self._start, port=self.kafka.port)
        if self._coming is not None and self._coming.done():
            self.kafka, self._coming = self._coming.result(), None
            yield "the broker answers again"

    def close(self, *, leave: bool) -> None:
        """Stops it, unless it is to be left running."""
        if self._resume_at is not None:
            self._continue()
        if self._coming is not None:
            self.kafka = self._coming.result()
        if not leave:
            self.kafka.stop()
        self._pool.shutdown()

    def _restart(self) -> EmbeddedKafka:
        self.kafka.stop()
        return self._start(port=self.kafka.port)

    def _continue(self) -> None:
        os.kill(self.kafka.pid, signal.SIGCONT)
