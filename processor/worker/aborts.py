"""Aborts: how often transactions may fail one after the other, and how long to wait in between."""

import time

from processor.errors import Interrupted
from processor.worker.channel import Channel

_MOST = 10
"""Transactions that may be aborted one after the other before the worker gives up."""


class Aborts:
    """The transactions that were aborted since the last commit.

    Args:
        channel: Where they are logged.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._count = 0

    @property
    def have_come(self) -> bool:
        """Whether the last transaction was aborted: what was fetched is fetched again."""
        return self._count > 0

    def progressed(self) -> None:
        """Counts from zero: something was committed, or it is known what is to be left out."""
        self._count = 0

    def note(self, error: Exception) -> None:
        """One more; waits before the next try, longer each time.

        Raises:
            Interrupted: There were too many.
        """
        self._count += 1
        if self._count > _MOST:
            raise Interrupted(f"{self._count} transactions failed in a row: {error}") from error
        self._channel.log("warning", "transaction aborted", error=str(error), tries=self._count)
        if self._count > 1:
            time.sleep(min(5.0, 0.05 * 2**self._count))
