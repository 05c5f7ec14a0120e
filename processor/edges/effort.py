"""Effort: what a worker's loop has done so far, what that took, and how much to take on at once.

Owns the meaning of busy, starved and CPU time, from which the autoscaler concludes what a node can
do. One thread's loop; knows nothing of records but their number.
"""

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path

_BATCH_SECONDS = 0.1
"""How long work on one poll should take, so that checkpoints and heartbeats come in time."""

_FIRST_BATCH = 256
"""Records of the first batch: nothing is known yet of how long they take."""

_LOOK_SECONDS = 10.0

_SCHEDULER = Path("/proc/thread-self/schedstat")
"""Linux: nanoseconds on a processor, nanoseconds ready but waiting for one, turns."""


class Effort:
    """What the loop of the thread that makes this has done.

    Busy is all time but that spent waiting for records: work in steps and on disk, waiting for
    acknowledgements and for the processor, and taking records over from the client.

    Args:
        most: Records that may be worked on at once.
    """

    def __init__(self, most: int) -> None:
        self.limit = min(_FIRST_BATCH, most)
        """Records to take on at once."""
        self.busy = 0.0
        """Seconds."""
        self._most = most
        self._fetched = 0
        self._waited = 0.0
        self._began, self._thread_began = time.monotonic(), time.thread_time()

    def begin(self) -> None:
        """A turn begins with asking for records."""
        self._began, self._thread_began = time.monotonic(), time.thread_time()

    def fetched(self, records: int) -> None:
        """So many records have come.

        As many as may come: nobody waited for them, so that all of this was work. Else it was
        mostly waiting, and only what the processor did was work.
        """
        now = time.monotonic()
        full = records >= self.limit
        self.busy += now - self._began if full else time.thread_time() - self._thread_began
        self._fetched, self._began, self._waited = records, now, 0.0

    @contextmanager
    def waiting(self) -> Generator[None]:
        """What is done meanwhile takes as long as brokers do, however many records there are."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._waited += time.monotonic() - began

    def done(self) -> None:
        """The turn's work is done; fits the next batch to the time that one should take.

        By what the records took alone: small batches for slow brokers would be slower yet.
        """
        seconds = time.monotonic() - self._began
        self.busy += seconds
        if not self._fetched:
            return
        seconds -= self._waited
        if seconds > 2 * _BATCH_SECONDS:
            self.limit = max(1, self.limit // 2)
        elif seconds < _BATCH_SECONDS:
            self.limit = min(self._most, self.limit * 2)


class Size:
    """The bytes that stores take on disk, looked at now and then.

    Args:
        folders: Tells the folders of the stores that are open.
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
    """Time that this thread was ready and had to wait for a processor; 0 where nobody tells."""
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
