"""The brokers' time, by a clock of this machine that nobody sets.

How long a changelog keeps tombstones is measured by its brokers' clocks. So is a store's age: a
clock on the wall that is set ahead, and back, would make an old store look new.
"""

import time

# Where there is no such clock, the monotonic one goes on while the machine sleeps.
_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def clock_offset(broker_time: int | None = None) -> float:
    """Seconds from this machine's start to the brokers' epoch, to be given to `BrokerClock`.

    Args:
        broker_time: What time it is just now for the brokers, in ms; None: as on the wall here.
    """
    now = time.time() if broker_time is None else broker_time / 1000
    return now - since_start()


class BrokerClock:
    """Knows the brokers' time.

    Args:
        offset: A `clock_offset` of this machine, in any process of it.
    """

    def __init__(self, offset: float) -> None:
        self._offset = offset

    def now(self) -> float:
        """Seconds since 1970."""
        return since_start() + self._offset


def since_start() -> float:
    """Seconds since the machine started; those that it was suspended for count, too."""
    return time.clock_gettime(_CLOCK)
