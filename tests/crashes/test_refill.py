"""A changelog is made whole by a worker that is killed at each step of that."""

import random
import shutil
from pathlib import Path

import pytest

from tests import ledger
from tests.crashes.application import Application
from tests.crashes.expected import STORES

pytestmark = pytest.mark.kafka

STEPS = ("Refill", "Refill-Batch", "Refill-Note")


def test_killed_at_each_step_of_making_a_changelog_whole(
    kafka: str, topic_name: str, tmp_path: Path, chance: random.Random
) -> None:
    application = Application(kafka, topic_name, tmp_path, seed=chance.randrange(1000))
    application.feed.write(200)
    application.run_to_end()
    for step in STEPS:
        for when in ("before", "after"):
            for name in STORES:
                changelog = application.plan.changelog(name)
                ends = ledger.offsets(kafka, changelog)
                ledger.delete_before(kafka, changelog, ends)
            print(f"{when}:{step}:2")
            worker = application.suicidal_worker(f"{when}:{step}:2")
            assert worker.wait() == -9, worker.failure
            # With little or nothing new, stores do not change before it is deleted again.
            application.feed.write(chance.choice((0, 5, 80)))
            application.run_to_end()
    # The changelogs are whole: a machine without any state comes to the same.
    shutil.rmtree(application.settings.state_dir)
    application.feed.write(40)
    application.run_to_end()
    application.check()
