"""What workers report to their supervisor."""

import os

from processor.worker.channel import Channel, Failure, Log, parse


def test_texts_that_are_no_unicode_arrive() -> None:
    read, write = os.pipe()
    Channel(write, 3).send(Failure(3, "ValueError", "no \ud800 good"))
    os.close(write)
    with os.fdopen(read, "rb") as lines:
        assert parse(lines.readline()) == Failure(3, "ValueError", "no ? good")


def test_commands_that_are_advised_name_the_topologys_file() -> None:
    read, write = os.pipe()
    channel = Channel(write, 3, "my flows/orders.py")
    channel.log_seldom("changelog is not complete", "kproc reset FILE.py --store totals")
    channel.fail(ValueError(), "kproc reset FILE.py")
    os.close(write)
    command = "kproc reset 'my flows/orders.py'"
    with os.fdopen(read, "rb") as lines:
        fields = {"text": f"{command} --store totals"}
        assert parse(lines.readline()) == Log(3, "warning", "changelog is not complete", fields)
        assert parse(lines.readline()) == Failure(3, "ValueError", command)
