"""Late records: whether they are so many that somebody should do something, and what. Pure."""

from collections.abc import Mapping

from processor.worker.channel import Lateness

LATE_ADVICE = (
    "they were behind other records of their own partition: give {step} a grace as long as that, "
    "or take them up with .late()"
)
"""What to do where so many are late."""

_MANY_LATE = 0.01
"""A larger share than this is worth a warning."""


def most_late(late: Mapping[str, Lateness]) -> str | None:
    """The step with the largest share of late records, if that is worth a warning."""
    shares = {step: each.late / each.judged for step, each in late.items() if each.judged}
    worst = max(shares, key=shares.__getitem__, default=None)
    return worst if worst is not None and shares[worst] > _MANY_LATE else None
