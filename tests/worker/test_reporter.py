import os
import time

from processor.worker.channel import Channel, Log, Status, parse
from processor.worker.reporter import Reporter


class Line:
    """A channel, and what was sent on it."""

    def __init__(self) -> None:
        self.logged: list[Log] = []
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        self.channel = Channel(write, 0)

    def read(self) -> list[Status]:
        try:
            data = os.read(self._read, 1_000_000)
        except BlockingIOError:
            return []
        reports = list(map(parse, data.splitlines()))
        self.logged += [each for each in reports if isinstance(each, Log)]
        return [each for each in reports if isinstance(each, Status)]


def test_a_busy_loop_silences_nobody() -> None:
    line = Line()
    reporter = Reporter(line.channel, Status(0, "running", records=1))
    deadline = time.monotonic() + 120
    heard = 0
    while heard < 4:
        assert time.monotonic() < deadline, f"{heard} reports"
        sum(range(1000))  # as a user's slow function
        heard += len(line.read())
    reporter.close()


def test_the_latest_status_is_reported() -> None:
    line = Line()
    reporter = Reporter(line.channel, Status(0, "starting"))
    reporter.report(lambda: Status(0, "restoring"))
    assert line.read() == []
    reporter.report(lambda: Status(0, "ready"), now=True)
    assert line.read() == [Status(0, "ready")]
    reporter.close()


def test_a_loop_that_does_not_turn_is_stuck_until_it_does() -> None:
    line = Line()
    first = Status(0, "running", lag=0)
    reporter = Reporter(line.channel, first, stuck_after=0.3)
    seen = until(line, "stuck")
    assert seen.lag is None
    assert seen.turn_age >= 0.3
    assert seen.stuck is not None
    assert [each.event for each in line.logged] == ["stuck"]
    assert line.logged[0].fields["text"] == f"for {seen.turn_age:.0f} s in {seen.stuck.text}"
    until(line, "stuck")
    assert len(line.logged) == 1  # the next warning comes after a minute
    reporter.report(lambda: first, now=True)
    assert until(line, "running").stuck is None
    reporter.close()


def until(line: Line, state: str) -> Status:
    """The first status with that state."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for status in line.read():
            if status.state == state:
                return status
    raise AssertionError(state)
