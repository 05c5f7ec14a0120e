from datetime import timedelta
from typing import Any

import pytest

from processor.durations import Duration, milliseconds
from processor.errors import UsageError


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ("1ms", 1),
        ("250ms", 250),
        ("10s", 10_000),
        ("1.5s", 1500),
        ("5m", 300_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        (" 10 s ", 10_000),
        (10, 10_000),
        (0.25, 250),
        (timedelta(minutes=5), 300_000),
        (timedelta(microseconds=1500), 2),
    ],
)
def test_milliseconds(duration: Duration, expected: int) -> None:
    assert milliseconds(duration, "x") == expected


@pytest.mark.parametrize(
    "duration",
    ["", "10", "s", "10 sec", "-5s", "1h30m", float("nan")],
)
def test_what_is_not_a_duration(duration: Duration) -> None:
    with pytest.raises(UsageError) as caught:
        milliseconds(duration, "within of seen")
    assert str(caught.value) == (
        f'within of seen: {duration!r} is not a duration: write "250ms", "10s", "5m" or "1d" '
        "(a number is seconds), or a timedelta"
    )


@pytest.mark.parametrize("given", [True, False, None, [10]])
def test_what_is_neither_text_nor_number(given: Any) -> None:
    with pytest.raises(UsageError, match=r"is not a duration.*a number is seconds"):
        milliseconds(given, "x", least=0)


@pytest.mark.parametrize("duration", [float("inf"), "9" * 400 + "d"])
def test_numbers_without_end(duration: str | float) -> None:
    with pytest.raises(UsageError, match="is too long"):
        milliseconds(duration, "x")


@pytest.mark.parametrize("duration", ["0s", "0.1ms", 0, -1, 0.0001, timedelta(0), -timedelta(1)])
def test_what_is_too_short(duration: Duration) -> None:
    with pytest.raises(UsageError) as caught:
        milliseconds(duration, "within of seen")
    assert str(caught.value) == f"within of seen: {duration!r} is too short: give 1 ms or more"


def test_nothing_but_a_negative_duration_is_too_short_where_0_is_one() -> None:
    assert milliseconds("0s", "grace", least=0) == 0
    with pytest.raises(UsageError, match="grace: -1 is too short: give 0 or more"):
        milliseconds(-1, "grace", least=0)
