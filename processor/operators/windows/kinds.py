"""Windows: which of them have a time, and how long after its end one closes. Pure arithmetic.

All times are milliseconds, ends are exclusive. Knows nothing of records, keys or stores.
"""

from abc import abstractmethod
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from math import gcd
from typing import Final, Literal, NamedTuple, TypeAlias, get_args
from zoneinfo import ZoneInfo

from processor.durations import Duration, milliseconds
from processor.errors import TopologyError

Unit: TypeAlias = Literal["day", "week", "month", "quarter", "year"]
"""What a calendar window is."""

Weekday: TypeAlias = Literal[
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"
]
"""What a week begins with."""

_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms"))


_LONGEST: dict[str, int] = {"day": 1, "week": 7, "month": 31, "quarter": 92, "year": 366}
"""Days of calendar windows, at most."""


class Span(NamedTuple):
    """From `start` to before `end`."""

    start: int
    end: int


@dataclass(frozen=True)
class Windows:
    """A way to divide time. A window closes when stream time has reached its end and `delay`."""

    grace: int

    @property
    def delay(self) -> int:
        """How long after its end a window closes."""
        return self.grace

    @property
    def span(self) -> int:
        """How long before its end the last record of a window may be, milliseconds."""
        return 0

    def ends_in(self, after: int, to: int) -> bool:
        """Whether a window may end after `after` and not after `to`."""
        return after < to

    def _shown(self, what: str) -> str:
        return f"{what}, grace {shown(self.grace)}" if self.grace else what


@dataclass(frozen=True)
class Aligned(Windows):
    """Windows that are the same for all keys: those that have a time depend on the time alone."""

    @property
    @abstractmethod
    def granule(self) -> int:
        """Times with the same multiple of it are in the same windows."""

    @abstractmethod
    def spans(self, time: int) -> tuple[Span, ...]:
        """The windows that have the time, in order."""


@dataclass(frozen=True)
class Hopping(Aligned):
    """Windows of one size, one beginning every so often; as wide as that: tumbling.

    They begin at the multiples of `every` and `offset` after them.
    """

    size: int
    every: int
    offset: int = 0

    @property
    def span(self) -> int:
        """Its only record may be its first moment."""
        return self.size

    @property
    def granule(self) -> int:
        """Starts and ends are multiples of it."""
        return gcd(self.size, self.every, self.offset)

    def spans(self, time: int) -> tuple[Span, ...]:
        """The windows that have the time; the first of all has the beginning of 1970."""
        size, every, offset = self.size, self.every, self.offset
        first = (time - size + every - offset) // every * every + offset
        first = max(first, offset - every if offset else 0)
        return tuple(Span(start, start + size) for start in range(first, time + 1, every))

    def ends_in(self, after: int, to: int) -> bool:
        """Ends are `size` after the starts."""
        first = self.size + self.offset
        return (after - first) // self.every < (to - first) // self.every

    def __str__(self) -> str:
        offset = f", offset {shown(self.offset)}" if self.offset else ""
        if self.every == self.size:
            return self._shown(f"tumbling {shown(self.size)}{offset}")
        return self._shown(f"hopping {shown(self.size)} every {shown(self.every)}{offset}")


@dataclass(frozen=True)
class Calendar(Aligned):
    """Days, weeks, months, quarters or years of a time zone, as long as they are there.

    A window begins when its first day does; where clocks show midnight twice, at the first.
    """

    unit: Unit
    zone: ZoneInfo
    week_starts: Weekday = "monday"

    @property
    def span(self) -> int:
        """The longest that there is, with an hour that clocks are set back."""
        return _LONGEST[self.unit] * 86_400_000 + 3_600_000

    @property
    def granule(self) -> int:
        """Zones differ from UTC by multiples of half a minute since 1970."""
        return 30_000

    def spans(self, time: int) -> tuple[Span, ...]:
        """The one window that has the time."""
        today = datetime.fromtimestamp(time // 1000, self.zone).date()
        day = _first_day(self.unit, today, get_args(Weekday).index(self.week_starts))
        end = self._begin(following := _next_day(self.unit, day))
        if end <= time:  # clocks went back over midnight: the day before is shown again
            day, end = following, self._begin(_next_day(self.unit, following))
        return (Span(self._begin(day), end),)

    def ends_in(self, after: int, to: int) -> bool:
        """The first end after a time is that of its own window."""
        return self.spans(max(0, after))[0].end <= to

    def _begin(self, day: date) -> int:
        return int(datetime(day.year, day.month, day.day, tzinfo=self.zone).timestamp()) * 1000

    def __str__(self) -> str:
        starts = f" from {self.week_starts.title()}" if self.week_starts != "monday" else ""
        return self._shown(f"each {self.unit}{starts}, {self.zone.key}")


@dataclass(frozen=True)
class Sliding(Windows):
    """Windows of one size that a record ends, or begins just after (KIP-450).

    `size` is the largest difference of times in a window, so that one spans a millisecond more.
    """

    size: int

    @property
    def span(self) -> int:
        """A window that begins just after a record may have but one."""
        return self.size

    def __str__(self) -> str:
        return self._shown(f"sliding {shown(self.size)}")


@dataclass(frozen=True)
class Session(Windows):
    """Windows as long as records of a key keep coming: from the first to just after the last."""

    gap: int

    @property
    def delay(self) -> int:
        """A session goes on for the gap."""
        return self.gap + self.grace

    def __str__(self) -> str:
        return self._shown(f"session, gap {shown(self.gap)}")


@dataclass(frozen=True)
class Counted(Windows):
    """Windows of so many records of a key, whenever they come."""

    grace: int = field(default=0, init=False)
    size: int

    def __str__(self) -> str:
        return f"each {self.size} records"


AnyWindows: TypeAlias = Hopping | Calendar | Sliding | Session | Counted
"""What `GroupedStream.window` takes."""


def tumbling(size: Duration, *, offset: Duration = 0, grace: Duration = 0) -> Hopping:
    """Windows one after the other: of "10s", the first of each minute is from :00 to before :10.

    Example: `tumbling("10s", grace="1s")`.
    In Kafka Streams: `TimeWindows#ofSizeAndGrace`.

    Args:
        size: Such as "10s", "5m" or "1d" (of UTC; for others see `calendar`), or seconds.
        offset: How long after the multiples of the size windows begin, such as "6h" for days from
            six to six, or "30m" for the hours of India; or seconds.
        grace: How long of stream time after its end a window still takes records: a duration, or
            seconds.

    Returns:
        The windows, for `GroupedStream.window`.

    Raises:
        UsageError: A duration is malformed.
        TopologyError: `offset` is no shorter than `size`.
    """
    width = milliseconds(size, "the size of tumbling()")
    return Hopping(_grace(grace), width, width, _offset(offset, width, "tumbling()"))


def hopping(
    size: Duration, *, every: Duration, offset: Duration = 0, grace: Duration = 0
) -> Hopping:
    """Windows that overlap: of `size`, one beginning at each multiple of `every`.

    Example: `hopping("1h", every="10m")`.
    In Kafka Streams: `TimeWindows#advanceBy`.

    Args:
        size: Such as "1h", or seconds.
        every: How far apart windows begin, such as "10m", or seconds.
        offset: How long after the multiples of `every` they begin: a duration, or seconds.
        grace: How long of stream time after its end a window still takes records: a duration, or
            seconds.

    Returns:
        The windows, for `GroupedStream.window`.

    Raises:
        UsageError: A duration is malformed.
        TopologyError: `every` is longer than `size`, so that times would be in no window; or
            `offset` is no shorter than `every`.
    """
    width = milliseconds(size, "the size of hopping()")
    step = milliseconds(every, "every= of hopping()")
    if step > width:
        raise TopologyError(
            f"hopping({size!r}, every={every!r}): records between two windows would be lost; "
            "choose every= no longer than the size"
        )
    return Hopping(_grace(grace), width, step, _offset(offset, step, "hopping()"))


def sliding(size: Duration, *, grace: Duration = 0) -> Sliding:
    """For each record, the records of its key in the time up to it; see docs/guides/windows.md.

    Example: `sliding("10s")`.
    In Kafka Streams: `SlidingWindows`.

    Args:
        size: The largest difference between the times of two records in a window, such as "10s", or
            seconds.
        grace: How long of stream time a record may come too late: a duration, or seconds.

    Returns:
        The windows, for `GroupedStream.window`.

    Raises:
        UsageError: A duration is malformed.
    """
    return Sliding(_grace(grace), milliseconds(size, "the size of sliding()"))


def session(gap: Duration, *, grace: Duration = 0) -> Session:
    """Records of a key no more than `gap` apart; a record between two sessions joins them.

    Example: `session("30m")`.
    In Kafka Streams: `SessionWindows`.

    Args:
        gap: The longest pause within a session, such as "30m", or seconds.
        grace: How long of stream time a record may come too late: a duration, or seconds.

    Returns:
        The windows, for `GroupedStream.window`.

    Raises:
        UsageError: A duration is malformed.
    """
    return Session(_grace(grace), milliseconds(gap, "the gap of session()"))


def counted(size: int) -> Counted:
    """So many records of a key, whenever they come: such a window closes with its last record.

    Example: `counted(100)`.

    Args:
        size: How many records.

    Returns:
        The windows, for `GroupedStream.window`.

    Raises:
        TopologyError: The size is no positive number.
    """
    if type(size) is not int or size < 1:
        raise TopologyError(f"counted({size!r}): give the number of records of a window, 1 or more")
    return Counted(size)


def calendar(
    unit: Unit, *, tz: str = "UTC", week_starts: Weekday = "monday", grace: Duration = 0
) -> Calendar:
    """Days, weeks, months, quarters or years of a time zone.

    Example: `calendar("day", tz="Europe/Berlin")`.

    Args:
        unit: "day", "week", "month", "quarter" or "year".
        tz: Such as "Europe/Berlin": days there have 23 or 25 hours when clocks change.
        week_starts: What weeks begin with, such as "sunday".
        grace: How long of stream time after its end a window still takes records: a duration, or
            seconds.

    Returns:
        The windows, for `GroupedStream.window`.

    Raises:
        UsageError: A duration is malformed.
        TopologyError: There is no such unit, time zone or day of the week.
    """
    if week_starts not in get_args(Weekday):
        raise TopologyError(
            f"calendar(week_starts={week_starts!r}): possible are {', '.join(get_args(Weekday))}"
        )
    if week_starts != "monday" and unit != "week":
        raise TopologyError(
            f"calendar({unit!r}, week_starts={week_starts!r}): only weeks have a first day"
        )
    if unit not in get_args(Unit):
        raise TopologyError(f"calendar({unit!r}): possible are {', '.join(get_args(Unit))}")
    try:
        zone = ZoneInfo(tz)
    except (KeyError, ValueError, OSError, TypeError) as error:
        raise TopologyError(
            f"calendar(tz={tz!r}): no such time zone here; use a name such as Europe/Berlin, or "
            "install the package tzdata if this system has no time zones"
        ) from error
    return Calendar(_grace(grace), unit, zone, week_starts)


def shown(duration: int) -> str:
    """A duration as people write it: 90000 is `90s`, 3600000 is `1h`."""
    unit, name = next(pair for pair in _UNITS if duration % pair[0] == 0)
    return f"{duration // unit}{name}"


def _grace(grace: Duration) -> int:
    return 0 if grace == 0 else milliseconds(grace, "grace")


def _offset(offset: Duration, every: int, where: str) -> int:
    found = 0 if offset == 0 else milliseconds(offset, f"offset= of {where}")
    if found >= every:
        raise TopologyError(
            f"offset={offset!r} of {where}: windows begin every {shown(every)}, so that an offset "
            "is shorter than that"
        )
    return found


def _first_day(unit: Unit, day: date, week_starts: int = 0) -> date:
    match unit:
        case "day":
            return day
        case "week":
            return day - timedelta(days=(day.weekday() - week_starts) % 7)
        case "month":
            return day.replace(day=1)
        case "quarter":
            return day.replace(day=1, month=(day.month - 1) // 3 * 3 + 1)
        case "year":
            return day.replace(day=1, month=1)


def _next_day(unit: Unit, day: date) -> date:
    """The first day of what follows the unit that begins with `day`."""
    match unit:
        case "day":
            return day + timedelta(days=1)
        case "week":
            return day + timedelta(days=7)
        case "month":
            return _first_day("month", day + timedelta(days=31))
        case "quarter":
            return _first_day("month", day + timedelta(days=93))
        case "year":
            return day.replace(year=day.year + 1)
