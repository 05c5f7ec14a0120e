"""What workers tell their supervisor."""

import os

from processor.worker.channel import Channel, Failure, parse


def test_texts_that_are_no_unicode_arrive() -> None:
    read, write = os.pipe()
    Channel(write, 3).send(Failure(3, "ValueError", "no \ud800 good"))
    os.close(write)
    with os.fdopen(read, "rb") as lines:
        assert parse(lines.readline()) == Failure(3, "ValueError", "no ? good")
