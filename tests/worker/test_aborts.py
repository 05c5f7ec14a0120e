"""How many transactions may fail in a row."""

from typing import Any, cast

import pytest

from processor.errors import Interrupted
from processor.worker import aborts
from processor.worker.aborts import Aborts
from processor.worker.channel import Channel


class Lines:
    """What a channel is given."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def log(self, level: str, text: str, **fields: Any) -> None:
        self.lines.append((level, text, fields["tries"]))


def test_a_worker_gives_up_after_ten_and_a_commit_starts_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(aborts.time, "sleep", waited.append)
    lines = Lines()
    noted = Aborts(cast("Channel", lines))
    for _ in range(10):
        noted.note(ValueError("no"))
    assert waited == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0]
    noted.progressed()
    noted.note(ValueError("no"))
    assert [tries for *_, tries in lines.lines] == [*range(1, 11), 1]
    for _ in range(9):
        noted.note(ValueError("no"))
    with pytest.raises(Interrupted, match="11 transactions failed in a row: no"):
        noted.note(ValueError("no"))
