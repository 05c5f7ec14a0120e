"""Durations as people write them: "250ms", "10s", "5m", "2h", "1d", or a timedelta."""

import re
from datetime import timedelta
from math import isnan
from typing import Final, TypeAlias

from processor.errors import UsageError

POLL_INTERVAL: Final = 300_000
"""Milliseconds that a worker may take between two polls, unless `max.poll.interval.ms` is set."""

Duration: TypeAlias = str | float | timedelta
"""A text such as "250ms" or "1d", a number of seconds, or a timedelta."""

_UNITS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LONGEST: Final = 2**53  # what a float holds to the millisecond


def milliseconds(duration: Duration, what: str, *, least: int = 1) -> int:
    """A duration in whole milliseconds.

    Raises:
        UsageError: It is malformed, no text or number, shorter than `least` ms or endless; `what`
            names it.
    """
    exact = _exact(duration)
    if exact is None:
        raise UsageError(
            f'{what}: {duration!r} is not a duration: write "250ms", "10s", "5m" or "1d" '
            "(a number is seconds), or a timedelta"
        )
    if exact < least:
        shortest = "0 or more" if least == 0 else f"{least} ms or more"
        raise UsageError(f"{what}: {duration!r} is too short: give {shortest}")
    if not exact <= _LONGEST:
        raise UsageError(f"{what}: {duration!r} is too long")
    return round(exact)


def _exact(duration: object) -> float | None:
    """Milliseconds; None of what is no duration, such as True, which would be a second."""
    if isinstance(duration, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", duration.strip())
        return float(found[1]) * _UNITS[found[2]] if found else None
    if isinstance(duration, timedelta):
        return duration / timedelta(milliseconds=1)
    if isinstance(duration, bool) or not isinstance(duration, int | float) or isnan(duration):
        return None
    return duration * 1000


def seconds(duration: Duration, what: str) -> float:
    """A duration in seconds, to the millisecond; see `milliseconds`.

    Raises:
        UsageError: As there.
    """
    return milliseconds(duration, what) / 1000
