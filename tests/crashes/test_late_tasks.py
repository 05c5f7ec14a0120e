"""Tasks that open while others are at work: nothing of the others may be passed over."""

from pathlib import Path

import pytest

from tests.crashes.application import Application

pytestmark = pytest.mark.kafka


def test_tasks_that_open_late_disturb_nobody(kafka: str, topic_name: str, tmp_path: Path) -> None:
    settings = {"max_batch": 5, "checkpoint_interval": "1ms"}
    application = Application(kafka, topic_name, tmp_path, seed=2, **settings)
    application.feed.write(200)
    worker = application.worker(module="tests.crashes.late")
    application.drain(worker)
    assert worker.stop() == 0, worker.failure
    application.check()
