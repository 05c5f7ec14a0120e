"""A backup keeps a slot's stores warm elsewhere, and adopts the slot when it is asked to."""

import signal
import time
from pathlib import Path

import pytest

from processor.errors import StateMismatch
from processor.worker.channel import Status
from tests import ledger
from tests.crashes.application import Application, WorkerProcess
from tests.crashes.expected import PARTITIONS

pytestmark = pytest.mark.kafka


def _await_followed(backup: WorkerProcess) -> None:
    """Waits until it has found out ten times that it is not behind, and this after the call.

    What it reports again and again may be old, but a new status has another processor time. It
    knows the ends from its last fetch: once would not be enough.
    """
    before = len(backup.reports)
    deadline = time.monotonic() + 120
    while True:
        news = [each for each in backup.reports[before:] if isinstance(each, Status)]
        if len({each.spent.cpu for each in news if each.lag == 0}) >= 10 and news[-1].lag == 0:
            return
        assert backup.process.poll() is None, backup.failure
        assert time.monotonic() < deadline, backup.status
        time.sleep(0.01)


def test_its_stores_follow_the_changelogs(kafka: str, topic_name: str, tmp_path: Path) -> None:
    application = Application(kafka, topic_name, tmp_path, seed=1)
    application.feed.write(100)
    primary = application.worker()
    application.drain(primary)
    backup = application.moved(tmp_path / "other").worker(role="backup")
    status = backup.await_state("ready")
    assert (status.role, status.lag, status.partitions) == ("backup", 0, 0)
    application.feed.write(300)
    application.drain(primary)
    assert primary.stop() == 0, primary.failure
    _await_followed(backup)
    assert backup.stop() == 0, backup.failure
    application.check()  # the backup's stores


@pytest.mark.parametrize(
    "settings",
    [{}, {"state_store": "memory"}, {"guarantee": "at-least-once"}],
    ids=["rocksdb", "memory", "at-least-once"],
)
def test_it_adopts_when_asked(
    kafka: str, topic_name: str, tmp_path: Path, settings: dict[str, str]
) -> None:
    application = Application(kafka, topic_name, tmp_path, seed=2, **settings)
    application.feed.write(200)
    primary = application.worker()
    application.drain(primary)
    backup = application.moved(tmp_path / "other").worker(role="backup")
    backup.await_state("ready")
    assert primary.stop() == 0, primary.failure
    backup.adopt()
    steps = backup.await_log("adopted")
    assert steps["tasks"] == len(application.layout.tasks)
    application.feed.write(200)
    application.drain(backup)
    status = backup.await_state("running")
    assert status.role == "primary"
    assert backup.stop() == 0, backup.failure
    if "state_store" in settings:
        application.settings = application.settings.model_copy(update={"state_store": "rocksdb"})
        application.run_to_end()
    application.check()


def test_asked_to_adopt_before_it_is_ready(kafka: str, topic_name: str, tmp_path: Path) -> None:
    application = Application(kafka, topic_name, tmp_path, seed=3)
    application.feed.write(200)
    application.run_to_end()
    application.feed.write(100)
    cold = application.moved(tmp_path / "other").worker(role="backup")
    cold.adopt()
    application.drain(cold)
    assert cold.stop() == 0, cold.failure
    application.check()


def _behind_deletions(
    application: Application, folder: Path
) -> tuple[WorkerProcess, WorkerProcess]:
    """A primary with complete stores, and a backup that misses what was deleted since."""
    application.feed.write(100)
    primary = application.worker()
    application.drain(primary)
    backup = application.moved(folder).worker(role="backup")
    backup.await_state("ready")
    backup.process.send_signal(signal.SIGSTOP)
    # The broker may answer the fetch that is under way: it must not be the answer to everything.
    for _ in range(3):
        application.feed.write(100)
        application.drain(primary)
    kafka, changelog = application.kafka, application.plan.changelog("counts")
    ledger.delete_before(kafka, changelog, ledger.offsets(kafka, changelog))
    backup.process.send_signal(signal.SIGCONT)
    backup.await_log("changelog is not complete")
    assert backup.await_state("restoring").lag is None
    return primary, backup


def test_what_it_follows_is_deleted(kafka: str, topic_name: str, tmp_path: Path) -> None:
    application = Application(kafka, topic_name, tmp_path, seed=4)
    own = application.settings.state_dir
    primary, backup = _behind_deletions(application, tmp_path / "other")
    assert primary.stop() == 0, primary.failure
    # The next one begins with the complete stores, and makes the changelogs whole from them.
    primary = application.moved(own).worker()
    primary.await_log("changelog is made whole")
    application.feed.write(100)
    application.drain(primary)
    backup.await_log("store is rebuilt")
    backup.await_state("ready")
    _await_followed(backup)
    assert len(backup.logged("store is rebuilt")) == PARTITIONS
    assert backup.stop() == 0, backup.failure
    assert primary.stop() == 0, primary.failure
    application.check()


def test_what_is_not_complete_is_not_adopted(kafka: str, topic_name: str, tmp_path: Path) -> None:
    application = Application(kafka, topic_name, tmp_path, seed=5)
    primary, backup = _behind_deletions(application, tmp_path / "other")
    assert primary.stop() == 0, primary.failure
    backup.adopt()
    backup.wait()
    assert backup.failure is not None
    assert backup.failure.error == "StateMismatch"
    assert "records that it has not seen were deleted" in backup.failure.text


@pytest.mark.long
def test_suspended_for_longer_than_deletions_are_kept(
    kafka: str, topic_name: str, tmp_path: Path
) -> None:
    """It looks at its stores again, and those that miss deletions are restored from the start."""
    application = Application(kafka, topic_name, tmp_path, seed=6)
    application.feed.write(200)
    primary = application.worker()
    application.drain(primary)
    backup = application.moved(tmp_path / "other").worker(role="backup")
    backup.await_state("ready")
    backup.process.send_signal(signal.SIGSTOP)
    changelog = application.plan.changelog("counts")
    ledger.configure(kafka, changelog, {"delete.retention.ms": "1000"})
    application.feed.write(300)
    application.drain(primary)
    time.sleep(65)  # all changelogs keep deletions for a minute, it is assumed
    backup.process.send_signal(signal.SIGCONT)
    rebuilt = backup.await_log("store is rebuilt")
    assert "deletions may be gone" in str(rebuilt["reason"])
    _await_followed(backup)
    assert primary.stop() == 0, primary.failure
    _await_followed(backup)
    assert backup.stop() == 0, backup.failure
    application.check()


def test_its_changelog_is_not_there(kafka: str, topic_name: str, tmp_path: Path) -> None:
    application = Application(kafka, topic_name, tmp_path, seed=5)
    ledger.delete(kafka, [application.plan.changelog("counts")])
    backup = application.worker(role="backup")
    assert backup.wait() == StateMismatch.exit_code
    assert backup.failure is not None
    assert backup.failure.error == "StateMismatch"
