"""Effort: what a worker's loop has done so far, what that took, and how much to take on at once.

Owns the meaning of busy, starved and CPU time, from which the autoscaler concludes what a node can
do. One thread's loop; knows nothing of records but their number.
"""

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from operator import itemgetter
from pathlib import Path

_BATCH_SECONDS = 0.1
"""How long work on one poll should take, so that checkpoints and heartbeats come in time."""

_LONGEST_SECONDS = 1.0
"""How long a turn may take: the next one has no more records than would have taken that."""

_GROWTH = 4
"""By how much a batch may be larger than one that took little time."""

_LOOK_SECONDS = 10.0

_SCHEDULER = Path("/proc/thread-self/schedstat")
"""Linux: nanoseconds on a processor, nanoseconds ready but waiting for one, turns."""


class Effort:
    """What the loop of the thread that makes this has done.

    Busy is all time but that spent waiting for records: work in steps and on disk, waiting for
    acknowledgements and for the processor, and taking records over from the client.

    A new worker begins with one record, as the last one may have ended because its records take
    long; where they don't, batches grow within a few turns.

    Args:
        most: Records that may be worked on at once.
        first: As many are taken on at first.
        suspects: That is how it stays until so many have been worked on.
    """

    def __init__(self, most: int, first: int = 1, suspects: int = 0) -> None:
        self._suspects = suspects
        self.limit = min(first, most)
        """Records to take on at once, and to work on until the next look at the clock."""
        self.busy = 0.0
        """Seconds."""
        self.steps: dict[str, float] = {}
        """Seconds that each step has worked, up to the turn that is under way."""
        self._most = most
        self._steps: dict[str, float] = {}
        self._step, self._entered = "", 0.0
        self._waited = 0.0
        self._began, self._thread_began = time.monotonic(), time.thread_time()

    def begin(self) -> None:
        """A turn begins with asking for records."""
        self._began, self._thread_began = time.monotonic(), time.thread_time()
        for step, seconds in self._steps.items():
            self.steps[step] = self.steps.get(step, 0.0) + seconds
        self._steps.clear()
        self._step = ""

    def entered(self, step: str) -> None:
        """A step of the topology begins to work; empty: none does."""
        now = time.monotonic()
        if self._step:
            self._steps[self._step] = self._steps.get(self._step, 0.0) + now - self._entered
        self._step, self._entered = step, now

    @property
    def slowest(self) -> tuple[str, float]:
        """The step that this turn has spent the most time in, and how many seconds."""
        self.entered(self._step)
        return max(self._steps.items(), key=itemgetter(1), default=("", 0.0))

    @property
    def worked(self) -> float:
        """Seconds since this turn's records have come."""
        return time.monotonic() - self._began

    def shrink(self, limit: int) -> None:
        """No more records than that are taken on at once for now."""
        self.limit = min(self.limit, limit)

    def fetched(self, records: int, most: int | None = None) -> None:
        """So many records have come, of so many that might have; None: of the limit.

        As many as may come: nobody waited for them, so that all of this was work. Else it was
        mostly waiting, and only what the processor did was work.
        """
        now = time.monotonic()
        full = records >= (self.limit if most is None else most)
        self.busy += now - self._began if full else time.thread_time() - self._thread_began
        self._began, self._waited = now, 0.0

    @contextmanager
    def waiting(self) -> Generator[None]:
        """What is done meanwhile takes as long as brokers do, however many records there are."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._waited += time.monotonic() - began

    def done(self, worked: int) -> None:
        """The turn's work is done; fits the next batch to the time that one should take.

        By what the records took alone: small batches for slow brokers would be slower yet.

        Args:
            worked: Records that were worked on.
        """
        seconds = time.monotonic() - self._began
        self.busy += seconds
        if not worked:
            return
        self._suspects -= worked
        seconds -= self._waited
        if seconds > 2 * _BATCH_SECONDS:
            in_time = int(worked * _LONGEST_SECONDS / seconds)
            self.limit = max(1, min(self.limit // 2, in_time))
        elif seconds < _BATCH_SECONDS and self._suspects <= 0:
            self.limit = min(self._most, max(self.limit, worked * _GROWTH))


class Size:
    """The bytes that stores take on disk, looked at now and then.

    Args:
        folders: Gives the folders of the stores that are open.
    """

    def __init__(self, folders: Callable[[], Iterable[Path]]) -> None:
        self._folders = folders
        self._bytes, self._due = 0, 0.0

    @property
    def bytes(self) -> int:
        """As of the last look."""
        now = time.monotonic()
        if now >= self._due:
            self._bytes, self._due = sum(map(size_of, self._folders())), now + _LOOK_SECONDS
        return self._bytes


def cpu_seconds() -> float:
    """Processor time that this process has used, all threads together."""
    return time.process_time()


def starved_seconds() -> float:
    """Time that this thread was ready and had to wait for a processor; 0 where that is unknown."""
    with suppress(OSError, ValueError, IndexError):
        return int(_SCHEDULER.read_text().split()[1]) / 1e9
    return 0.0


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder, however deep; what vanishes meanwhile doesn't count."""
    total = 0
    for file in folder.rglob("*"):
        with suppress(OSError):
            total += file.lstat().st_size if file.is_file() else 0
    return total
