"""Reporter: reports a worker's status again and again, whatever its loop is busy with.

And reports if that is the same for too long.
"""

import time
from collections.abc import Callable
from threading import Event, Thread

import msgspec

from processor.worker.channel import Channel, Status
from processor.worker.standstill import Standstill, Watch

INTERVAL = 0.2
"""Seconds between two reports."""

_REMIND = 60.0
"""Seconds between two warnings of a loop that stands still."""


class Reporter:
    """Sends the latest status from a thread of its own.

    A worker that is silent is thus suspended or dead, or in a function that lets no thread run.

    Args:
        channel: Where to.
        status: The first one.
        stuck_after: Seconds after which the loop of the thread that makes this counts as stuck, if
            it reports nothing new and goes on to no other record; None: it never does.
    """

    def __init__(self, channel: Channel, status: Status, stuck_after: float | None = None) -> None:
        self._channel = channel
        self._watch = Watch(stuck_after)
        self._status = status
        self._made = time.monotonic()
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="reporter", daemon=True)
        self._thread.start()

    def report(self, make: Callable[[], Status], *, now: bool = False) -> None:
        """Has a new status sent: at once, or if the last one has its age, with the next report.

        The loop turns as often as it calls this.
        """
        self._watch.turned()
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
            self._channel.send(self._seen())

    def _seen(self) -> Status:
        """The status that the loop gave last, and for how long it has not moved on since."""
        status, stuck = self._status, self._look()
        age = round(self._watch.age, 1)
        if stuck is None:
            return msgspec.structs.replace(status, turn_age=age)
        self._channel.log_seldom("stuck", f"for {age:.0f} s in {stuck.text}", _REMIND)
        return msgspec.structs.replace(status, state="stuck", lag=None, turn_age=age, stuck=stuck)

    def _look(self) -> Standstill | None:
        try:
            return self._watch.look()
        except Exception as error:  # noqa: BLE001 - the stack of a thread that may be running
            self._channel.log_seldom("not seen whether the worker is stuck", repr(error), _REMIND)
            return None
