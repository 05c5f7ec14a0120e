"""Reporter: tells a worker's status again and again, whatever its loop is busy with."""

import time
from collections.abc import Callable
from threading import Event, Thread

from processor.edges.channel import Channel, Status

INTERVAL = 0.2
"""Seconds between two reports."""


class Reporter:
    """Sends the latest status from a thread of its own.

    A worker that is silent is thus suspended or dead, and not in a user's slow function.

    Args:
        channel: Where to.
        status: The first one.
    """

    def __init__(self, channel: Channel, status: Status) -> None:
        self._channel = channel
        self._status = status
        self._made = time.monotonic()
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="reporter", daemon=True)
        self._thread.start()

    def tell(self, make: Callable[[], Status], *, now: bool = False) -> None:
        """Has a new status sent: at once, or if the last one has its age, with the next report."""
        if now or time.monotonic() - self._made >= INTERVAL / 2:
            self._status = make()
            self._made = time.monotonic()
        if now:
            self._channel.send(self._status)

    def close(self) -> None:
        """Ends the reports."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL):
            self._channel.send(self._status)
