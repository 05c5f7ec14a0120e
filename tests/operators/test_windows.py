"""Which windows have a time, and when they end."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from processor.errors import TopologyError, UsageError
from processor.operators.windows.kinds import (
    Aligned,
    Calendar,
    Span,
    calendar,
    counted,
    hopping,
    session,
    shown,
    sliding,
    tumbling,
)
from processor.records import LATEST

HOUR = 3_600_000
DAY = 24 * HOUR


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def test_tumbling_windows_have_every_time_once() -> None:
    windows = tumbling("10s")
    assert windows.spans(0) == (Span(0, 10_000),)
    assert windows.spans(9_999) == (Span(0, 10_000),)
    assert windows.spans(10_000) == (Span(10_000, 20_000),)


@pytest.mark.parametrize(
    ("size", "every", "time", "starts"),
    [
        (10, 5, 12, [5, 10]),
        (10, 3, 12, [3, 6, 9, 12]),
        (10, 3, 21, [12, 15, 18, 21]),
        (12, 5, 7, [0, 5]),  # none begins before 1970
        (12, 5, 21, [10, 15, 20]),
        (12, 5, 22, [15, 20]),
    ],
)
def test_hopping_windows(size: int, every: int, time: int, starts: list[int]) -> None:
    windows = hopping(size, every=every)
    spans = windows.spans(time * 1000)
    assert spans == tuple(Span(start * 1000, (start + size) * 1000) for start in starts)


@pytest.mark.parametrize(
    ("windows", "time", "starts"),
    [
        (tumbling(10, offset=3), 12, [3]),
        (tumbling(10, offset=3), 13, [13]),
        (tumbling(10, offset=3), 2, [-7]),  # every time has a window
        (hopping(10, every=5, offset=2), 13, [7, 12]),
        (hopping(10, every=5, offset=2), 1, [-3]),
        (hopping(10, every=5, offset=2), 4, [-3, 2]),
    ],
)
def test_windows_with_an_offset(windows: Aligned, time: int, starts: list[int]) -> None:
    expected = tuple(Span(start * 1000, start * 1000 + 10_000) for start in starts)
    assert windows.spans(time * 1000) == expected


@pytest.mark.parametrize("offset", [0, 1, 1.5])
@pytest.mark.parametrize("every", [7, 4, 2])
def test_windows_follow_each_other_without_gaps(offset: float, every: int) -> None:
    windows = hopping(7, every=every, offset=offset)
    for time in range(0, 60_000, 250):
        spans = windows.spans(time)
        assert spans
        assert all(span.start <= time < span.end for span in spans)
        assert all((span.start - offset * 1000) % (every * 1000) == 0 for span in spans)
        if time > 7000:
            assert len(spans) in {7 // every, 7 // every + 1}
        assert windows.spans(time // windows.granule * windows.granule) == spans


@pytest.mark.parametrize(
    ("starts", "first"), [("monday", "02-26"), ("sunday", "02-25"), ("friday", "02-23")]
)
def test_weeks_start_with_any_day(starts: str, first: str) -> None:
    windows = calendar("week", week_starts=starts)  # pyright: ignore[reportArgumentType]
    for time in ("2024-02-29T13:00+00:00", "2024-02-26T00:00+00:00"):  # a Thursday and a Monday
        (span,) = windows.spans(at(time))
        assert span.start == at(f"2024-{first}T00:00+00:00")
        assert span.end - span.start == 7 * DAY


ZONES = ["UTC", "Europe/Berlin", "America/Havana", "America/Sao_Paulo", "Australia/Lord_Howe"]
ZONES += ["America/St_Johns", "Asia/Kathmandu", "Pacific/Apia", "Africa/Monrovia"]
UNITS = ["day", "week", "month", "quarter", "year"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("unit", UNITS)
def test_calendar_windows_follow_each_other_without_gaps(zone: str, unit: str) -> None:
    windows = calendar(unit, tz=zone)  # pyright: ignore[reportArgumentType]
    choose = random.Random(zone + unit)
    for _ in range(200):
        time = choose.randrange(at("2045-01-01T00:00+00:00"))
        (span,) = windows.spans(time)
        assert span.start <= time < span.end
        assert windows.spans(span.start) == (span,)
        assert windows.spans(span.end - 1) == (span,)
        assert windows.spans(span.end)[0].start == span.end
        begin = datetime.fromtimestamp(span.start / 1000, UTC).astimezone(ZoneInfo(zone))
        assert (begin.hour, begin.minute) <= (1, 0)  # midnight, or what clocks show instead


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("Europe/Berlin", "2026-10-26", 24),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("America/Sao_Paulo", "2018-11-04", 23),  # begins at one o'clock
        ("Asia/Kathmandu", "2026-03-29", 24),
    ],
)
def test_days_are_as_long_as_clocks_say(zone: str, day: str, hours: float) -> None:
    noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=ZoneInfo(zone))
    (span,) = calendar("day", tz=zone).spans(int(noon.timestamp() * 1000))
    assert span.end - span.start == hours * HOUR


def test_calendar_units() -> None:
    time = at("2024-02-29T13:00+00:00")  # a Thursday
    ends = {
        "day": ("2024-02-29", "2024-03-01"),
        "week": ("2024-02-26", "2024-03-04"),
        "month": ("2024-02-01", "2024-03-01"),
        "quarter": ("2024-01-01", "2024-04-01"),
        "year": ("2024-01-01", "2025-01-01"),
    }
    for unit, (start, end) in ends.items():
        spans = calendar(unit).spans(time)  # pyright: ignore[reportArgumentType]
        assert spans == (Span(at(f"{start}T00:00+00:00"), at(f"{end}T00:00+00:00")),)


def test_a_day_that_clocks_enter_twice_is_one_window() -> None:
    # Clocks in St. John's went from 00:01 on 2006-10-29 back to 23:01 of the day before.
    windows = calendar("day", tz="America/St_Johns")
    midnight = at("2006-10-29T02:30+00:00")
    for minutes in range(-120, 180):
        (span,) = windows.spans(midnight + minutes * 60_000)
        assert (span.start == midnight) == (minutes >= 0)


@pytest.mark.parametrize(
    "windows",
    [
        tumbling("7s"),
        tumbling("7s", offset="2s"),
        hopping("10s", every="3s"),
        hopping("12s", every="5s"),
        hopping("12s", every="5s", offset="4s"),
        calendar("day"),
        calendar("week", week_starts="sunday"),
    ],
    ids=str,
)
def test_ends_are_never_missed(windows: Aligned) -> None:
    step = 30_000_000 if isinstance(windows, Calendar) else 700
    ends = {span.end for time in range(0, 200 * step, step) for span in windows.spans(time)}
    for after in range(-step, 100 * step, step):
        for to in (after, after + 1, after + step, after + 5 * step):
            expected = any(after < end <= to for end in ends)
            assert windows.ends_in(after, to) or not expected


def test_the_farthest_times_have_windows() -> None:
    for unit in UNITS:
        windows = calendar(unit, tz="Pacific/Kiritimati")  # pyright: ignore[reportArgumentType]
        assert windows.spans(LATEST - 1)
        assert windows.spans(0)


def test_windows_close_after_their_delay() -> None:
    assert tumbling("1h", grace="5m").delay == 300_000
    assert session("30s", grace="5s").delay == 35_000
    assert sliding("30s", grace="5s").delay == 5_000
    assert counted(3).delay == 0


def test_windows_read_as_they_are_written() -> None:
    assert str(tumbling("90s", grace="1h")) == "tumbling 90s, grace 1h"
    assert str(hopping("2h", every=0.5)) == "hopping 2h every 500ms"
    assert str(calendar("week", tz="Asia/Tokyo")) == "each week, Asia/Tokyo"
    assert str(calendar("week", week_starts="sunday")) == "each week from Sunday, UTC"
    assert str(tumbling("1d", offset="6h")) == "tumbling 1d, offset 6h"
    assert str(hopping("1h", every="5m", offset="1m")) == "hopping 1h every 5m, offset 1m"
    assert str(sliding("1d")) == "sliding 1d"
    assert str(session("5m", grace=1)) == "session, gap 5m, grace 1s"
    assert str(counted(5)) == "each 5 records"
    assert shown(int(timedelta(days=2).total_seconds()) * 1000) == "2d"


def test_what_can_be_no_window_is_refused() -> None:
    with pytest.raises(UsageError, match="size of tumbling"):
        tumbling("10 parsecs")
    with pytest.raises(UsageError, match="grace"):
        tumbling("10s", grace="-1s")
    with pytest.raises(TopologyError, match="would be lost"):
        hopping("10s", every="11s")
    with pytest.raises(TopologyError, match="1 or more"):
        counted(0)
    with pytest.raises(TopologyError, match="no such time zone"):
        calendar("day", tz="Europe/Atlantis")
    with pytest.raises(TopologyError, match="possible are day, week"):
        calendar("fortnight")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TopologyError, match="week_starts='funday'"):
        calendar("week", week_starts="funday")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TopologyError, match="only weeks have a first day"):
        calendar("month", week_starts="sunday")
    with pytest.raises(TopologyError, match="offset='10s' of tumbling"):
        tumbling("10s", offset="10s")
