"""A worker is killed at each step of finding out which record Kafka refuses, then another goes on.

What is refused is a dead letter, once; all else is written once, in order.
"""

import os
import uuid
from pathlib import Path

import pytest

from tests import ledger
from tests.crashes.application import Application
from tests.suites import long

pytestmark = pytest.mark.kafka

SEED = int(os.environ.get("KPROC_SEED", "1"))
POINTS = (
    *("before:Send-Alone:1", "after:Send-Alone:20", "after:Found:1", "before:Refused:1"),
    *("after:Abort:1", "before:Abort:3", "after:Left-Out:1"),
    *long(
        *("after:Send-Alone:1", "before:Send-Alone:20", "before:Found:1", "after:Refused:1"),
        *("before:Abort:1", "before:Abort:2", "after:Abort:2", "after:Abort:3"),
        *("before:Abort:4", "after:Abort:4"),
        *("before:Left-Out:1", "before:Found:2", "after:Left-Out:2"),
    ),
)
"""Two records are refused; others come in between, and while the first is searched."""

DIGITS = 9_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("refusals")


@pytest.mark.parametrize("point", POINTS)
def test_killed_while_it_is_found_out_what_is_refused(kafka: str, folder: Path, point: str) -> None:
    application = Application(kafka, f"refusals-{uuid.uuid4().hex[:8]}", folder, SEED)
    ledger.configure(kafka, f"{application.name}-plain", {"max.message.bytes": "5000"})
    print(f"{point}, KPROC_SEED={SEED}")
    for _ in range(2):
        application.feed.write(30)
        application.feed.write_refused(DIGITS)
    application.feed.write(30)
    worker = application.suicidal_worker(point)
    application.feed_until_killed(worker)
    assert worker.wait() == -9, worker.failure
    application.run_to_end()
    application.check()
