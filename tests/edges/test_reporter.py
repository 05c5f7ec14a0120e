import os
import time

from processor.edges.channel import Channel, Status, parse
from processor.edges.reporter import Reporter


class Line:
    """A channel, and what was sent on it."""

    def __init__(self) -> None:
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        self.channel = Channel(write, 0)

    def read(self) -> list[Status]:
        try:
            data = os.read(self._read, 1_000_000)
        except BlockingIOError:
            return []
        return [status for line in data.splitlines() if isinstance(status := parse(line), Status)]


def test_a_busy_loop_silences_nobody() -> None:
    line = Line()
    reporter = Reporter(line.channel, Status(0, "running", records=1))
    deadline = time.monotonic() + 60
    heard = 0
    while heard < 4:
        assert time.monotonic() < deadline, f"{heard} reports"
        sum(range(1000))  # as a user's slow function
        heard += len(line.read())
    reporter.close()


def test_the_latest_status_is_told() -> None:
    line = Line()
    reporter = Reporter(line.channel, Status(0, "starting"))
    reporter.tell(lambda: Status(0, "restoring"))
    assert line.read() == []
    reporter.tell(lambda: Status(0, "ready"), now=True)
    assert line.read() == [Status(0, "ready")]
    reporter.close()
