"""EventTime: the time that a source's records count for, where it is not their own timestamp.

Streams, windows and joins go by it, and what is written has it as its timestamp.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from processor.attempt import attempt
from processor.operators.base import NO_TIME, AnyBatch, Context
from processor.records import LATEST, Timestamp

InvalidTimestamp: TypeAlias = Literal["reject", "record-time"]
"""What happens to a record whose value gives no valid time: a bad record, or its own timestamp."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class WallClock:
    """See `wall_clock`."""

    def __repr__(self) -> str:
        return "wall_clock"


wall_clock: Final = WallClock()
"""As `timestamp=` of a stream: each record counts for the time at which it is processed.

What is computed by it comes out differently when the records are processed again.
"""


class InvalidTimestampError(ValueError):
    """A record has no timestamp, or its value gives none."""


@dataclass(frozen=True)
class EventTime:
    """Takes times from values, or from the wall clock; a record without a value keeps its own."""

    by: str | Callable[[Any], Any] | WallClock  # as the user gave it
    of: Callable[[Any], Any] | WallClock = field(compare=False)
    invalid: InvalidTimestamp = "reject"

    @property
    def label(self) -> str:
        """As a reader may know it."""
        return self.by if isinstance(self.by, str) else getattr(self.by, "__name__", repr(self.by))

    def apply(self, batch: AnyBatch, context: Context) -> AnyBatch:
        """The rows with their event times; those that have none are rejected.

        Their times as they were read may be negative, which means that there is none.
        """
        if isinstance(self.of, WallClock):
            assert context.clock.now > NO_TIME, "a worker knows the time before it is given records"
            return batch.with_timestamps([context.clock.now] * len(batch))
        times, faults = attempt(self._time(self.of), batch.values, batch.timestamps)
        if faults:
            batch = context.reject(batch, faults, "timestamp")
        return batch.with_timestamps(times)

    def _time(self, of: Callable[[Any], Any]) -> Callable[[Any, Timestamp], Timestamp]:
        def strict(value: Any, own: Timestamp) -> Timestamp:
            return milliseconds_of(own if value is None else of(value))

        def lenient(value: Any, own: Timestamp) -> Timestamp:
            try:
                return strict(value, own)
            except Exception:  # noqa: BLE001 - whatever a user's function raises
                return milliseconds_of(own)

        return strict if self.invalid == "reject" else lenient


def milliseconds_of(time: Any) -> Timestamp:
    """Milliseconds since 1970-01-01 UTC: given as that, a datetime, or its text in ISO 8601.

    Raises:
        InvalidTimestampError: It is something else, before 1970 or after the year 9997.
    """
    if isinstance(time, str):
        time = _parsed(time)
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise InvalidTimestampError(f"{time} has no time zone: it could be any of 24 hours")
        time = (time - _EPOCH) // _MILLISECOND
    if type(time) is not int:
        raise InvalidTimestampError(
            f"{time!r} is no time: it takes milliseconds since 1970, a datetime with a time zone, "
            "or such a one as text in ISO 8601"
        )
    if not 0 <= time < LATEST:
        raise InvalidTimestampError(f"{time} is no number of milliseconds since 1970 before 9998")
    return Timestamp(time)


def _parsed(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidTimestampError(f"{text!r} is no time in ISO 8601") from None
