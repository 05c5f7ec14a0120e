"""Nodes on this machine, each with a processor core of its own.

So a node is the same amount of processing power as on a machine of its own, and more nodes are
more. A node that ends by itself is started again, as systemd would, unless it keeps ending.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from processor.errors import UsageError, WorkerFailed
from processor.local.node_process import NodeProcess

_ENDINGS = 5
_ENDING_SECONDS = 60.0
"""A node that ends by itself more often than this is not started again."""
_PAUSE = 1.0
_LOG_END = 2000

Launch = Callable[[int], NodeProcess]


@dataclass(slots=True)
class _Local:
    """A node and its core."""

    number: int
    core: int
    process: NodeProcess
    leaving: bool = False
    start_at: float | None = None
    endings: deque[float] = field(default_factory=lambda: deque[float](maxlen=_ENDINGS))


class LocalNodes:
    """An actuator that runs nodes as processes.

    Args:
        launch: Starts the node with a number, counted from 1.
        most: How many there will be at most.
        patience: Seconds that a node may take to finish when all have to.

    Raises:
        UsageError: There are fewer cores than nodes.
    """

    def __init__(self, launch: Launch, most: int, patience: float) -> None:
        self._launch = launch
        self._patience = patience
        self._cores = sorted(os.sched_getaffinity(0))
        self._nodes: list[_Local] = []
        self._wanted = 0
        self._news: list[str] = []
        if most > len(self._cores):
            raise UsageError(
                f"{most} nodes on this machine need as many processor cores, and it has "
                f"{len(self._cores)}: let the most be {len(self._cores)}, or start nodes on other "
                "machines"
            )

    @property
    def pids(self) -> Sequence[int]:
        """Of the nodes' processes, the oldest first."""
        return [node.process.pid for node in self._nodes if node.process.exit_code is None]

    def count(self) -> int:
        """How many nodes there are to be; one waits for its core if that has still to be left."""
        return self._wanted

    def scale_to(self, nodes: int) -> None:
        """Starts nodes, or asks the newest to finish."""
        self._wanted = nodes
        for node in self._staying[nodes:]:
            node.leaving = True
            _terminate(node)
            self._news.append(f"node {node.number} is asked to finish")
        while len(self._staying) < nodes and (core := self._free_core()) is not None:
            number = self._free_number()
            self._nodes.append(_Local(number, core, self._start(number, core)))
            self._nodes.sort(key=lambda node: node.number)

    def turn(self) -> Iterator[str]:
        """Notes who has ended, and starts again who should not have.

        Raises:
            WorkerFailed: A node keeps ending by itself.
            UsageError: A node has ended because it is wrongly set up.
        """
        now = time.monotonic()
        for node in list(self._nodes):
            code = node.process.exit_code
            if code is None:
                continue
            if node.leaving:
                self._nodes.remove(node)
                self._news.append(f"node {node.number} has finished with exit code {code}")
            elif node.start_at is None:
                self._note_ending(node, code, now)
            elif now >= node.start_at:
                node.start_at = None
                node.process = self._start(node.number, node.core)
        self.scale_to(self._wanted)
        news, self._news = self._news, []
        yield from news

    def close(self) -> None:
        """Asks all to finish and waits for that; who takes too long is killed.

        Raises:
            WorkerFailed: One had to be killed, or ended with an error.
        """
        for node in self._nodes:
            _terminate(node)
        until = time.monotonic() + self._patience
        wrong: list[str] = []
        for node in self._nodes:
            code = node.process.wait(max(0.0, until - time.monotonic()))
            if code is None:
                node.process.kill()
                wrong.append(f"node {node.number} did not finish in {self._patience:.0f} s")
            elif code != 0 and node.process.has_begun:
                wrong.append(f"node {node.number} ended with exit code {code}")
        self._nodes.clear()
        if wrong:
            raise WorkerFailed(f"{'; '.join(wrong)}; see the nodes' logs")

    def kill(self) -> None:
        """Ends all at once; what they had not committed is done again another time."""
        for node in self._nodes:
            node.process.kill()
        self._nodes.clear()

    @property
    def _staying(self) -> list[_Local]:
        return [node for node in self._nodes if not node.leaving]

    def _free_core(self) -> int | None:
        taken = {node.core for node in self._nodes}
        return next((core for core in self._cores if core not in taken), None)

    def _free_number(self) -> int:
        taken = {node.number for node in self._nodes}
        return next(number for number in range(1, len(taken) + 2) if number not in taken)

    def _start(self, number: int, core: int) -> NodeProcess:
        """The child inherits the core of the thread that starts it, from its first instruction."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})
        try:
            process = self._launch(number)
        finally:
            os.sched_setaffinity(0, before)
        self._news.append(f"node {number} starts on core {core}, process {process.pid}")
        return process

    def _note_ending(self, node: _Local, code: int, now: float) -> None:
        end = node.process.log.read_bytes()[-_LOG_END:].decode(errors="replace")
        if code == UsageError.exit_code:
            raise UsageError(f"node {node.number} could not start:\n{end}")
        node.endings.append(now)
        if len(node.endings) == _ENDINGS and now - node.endings[0] < _ENDING_SECONDS:
            raise WorkerFailed(
                f"node {node.number} ended {_ENDINGS} times within {_ENDING_SECONDS:.0f} s, the "
                f"last time with exit code {code}. The end of its log, {node.process.log}:\n{end}"
            )
        node.start_at = now + _PAUSE * 2 ** (len(node.endings) - 1)
        self._news.append(
            f"node {node.number} ended by itself with exit code {code}, and is started again; see "
            f"{node.process.log}"
        )


def _terminate(node: _Local) -> None:
    if node.process.exit_code is None:
        node.process.terminate()
