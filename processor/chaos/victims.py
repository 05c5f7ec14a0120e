"""Those who suffer the faults of a chaos run: nodes and the embedded brokers; each comes back.

A fault is begun at its time and undone by `turn`, which is called again and again. Nothing here
decides what happens when: the schedule does.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import psutil

from processor.chaos.schedule import Fault
from processor.chaos.schedule import Victim as Whom
from processor.errors import WorkerFailed
from processor.local.brokers import Brokers
from processor.local.node_process import NodeProcess

_RESTART_PAUSE = 500
"""Milliseconds after which a node that ended by itself is started again, as systemd would."""

_ENDINGS = 20
"""A node that ends by itself more often than this is not started again."""

_SIGNALLED = (130, -signal.SIGTERM)
"""How one ends that has hardly begun when it is asked to finish."""


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
        return code == 0 or (code in _SIGNALLED and not self.process.has_begun)

    def kill(self) -> None:
        """Ends whatever is left of it."""
        for process in (*self._former, self.process):
            process.resume()
            process.kill()

    def _count_ending(self, code: int) -> None:
        self._endings += 1
        if self._endings > _ENDINGS:
            raise WorkerFailed(
                f"node {self.number} keeps ending by itself, the last time with exit code {code}. "
                f"The end of its log, {self.process.log}:\n{self.process.log_end()}"
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


class ChaosBrokers:
    """The brokers, of which one at a time is harmed, and comes back with the same data.

    Args:
        brokers: All of them.
        find: Which of them does something for the application: for a victim and a fault's choice.
    """

    def __init__(self, brokers: Brokers, find: Callable[[Whom, int], int]) -> None:
        self.brokers = brokers
        self._find = find
        self._pool = ThreadPoolExecutor(1, "coming")
        self._coming: Future[None] | None = None
        self._return: tuple[int, Callable[[], None]] | None = None
        self._state = "running"
        self._news: list[str] = []

    @property
    def state(self) -> str:
        """One word for a person."""
        return self._state

    @property
    def workers(self) -> int:
        """None."""
        return 0

    @property
    def is_well(self) -> bool:
        """Whether all of them answer, and have all that was written, as far as it is known."""
        return self._state == "running"

    def suffer(self, fault: Fault, now: int) -> None:
        """Begins a fault."""
        number, until = self._whom(fault), now + fault.lasts
        match fault.kind.action:
            case "kill":
                self.brokers.kill(number)
                self._state, self._return = "down", (until, partial(self._start, number))
            case "restart":
                self._state, self._return = "down", (now, partial(self._restart, number))
            case _:
                self.brokers.suspend(number)
                self._state, self._return = "suspended", (until, partial(self._go_on, number))
        if len(self.brokers.numbers) > 1:
            self._news.append(f"that is broker {number}")

    def turn(self, now: int) -> Iterator[str]:
        """Undoes what is due.

        Raises:
            KprocError: It did not start again.
        """
        news, self._news = self._news, []
        yield from news
        if self._return is not None and now >= self._return[0]:
            self._coming, self._return = self._pool.submit(self._return[1]), None
            self._state = "starting"
        if self._coming is not None and self._coming.done():
            self._coming.result()
            self._state, self._coming = "running", None
            yield "the broker answers again"

    def close(self, *, leave: bool) -> None:
        """Ends them, unless they are to be left running."""
        if self._coming is not None:
            wait([self._coming])
        if leave and self._return is not None:
            self._return[1]()
        self._pool.shutdown()
        self.brokers.close(leave=leave)

    def _whom(self, fault: Fault) -> int:
        numbers = self.brokers.numbers
        if fault.kind.is_of_role:
            number = self._find(fault.kind.victim, fault.choice)
            if number in numbers:  # there may be no leader for a moment
                return number
        return numbers[fault.choice % len(numbers)]

    def _start(self, number: int) -> None:
        self.brokers.start([number])
        self.brokers.await_whole()

    def _restart(self, number: int) -> None:
        self.brokers.stop(number)
        self._start(number)

    def _go_on(self, number: int) -> None:
        self.brokers.resume(number)
        self.brokers.await_whole()
