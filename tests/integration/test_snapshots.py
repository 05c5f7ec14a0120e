"""The disk is lost, and the state comes back from a snapshot and the tail of its changelog.

Each time what is committed and what the stores hold is worked out independently.
"""

import shutil
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from processor.topology.plan import CHANGELOG_CONFIG
from tests import ledger
from tests.crashes.snapshotted import DEADLINE, NUMBER, Snapshotted
from tests.integration.conftest import App
from tests.storage.storage import s3

pytestmark = pytest.mark.kafka


@pytest.fixture
def application(kafka: str, topic_name: str, tmp_path: Path) -> Snapshotted:
    return used(Snapshotted(kafka, topic_name[-40:], tmp_path))


def used(made: Snapshotted) -> Snapshotted:
    """With two snapshots of each store, and some input that is in none."""
    worker = made.worker()
    made.feed.write(200)
    made.await_snapshots(worker)
    made.feed.write(200)
    made.await_snapshots(worker, made.newest())
    made.feed.write(50)
    made.drain(worker)
    assert worker.stop() == 0, worker.failure
    return made


def test_a_lost_disk_comes_back(application: Snapshotted) -> None:
    worker = application.restored()
    assert len(worker.logged("snapshot restored")) == NUMBER
    assert not worker.logged("snapshot not used")


def test_a_lost_disk_comes_back_from_s3(kafka: str, topic_name: str, tmp_path: Path) -> None:
    with s3() as url:
        worker = used(Snapshotted(kafka, topic_name[-40:], tmp_path, url=url)).restored()
    assert len(worker.logged("snapshot restored")) == NUMBER


def test_without_object_storage_a_lost_disk_comes_back_from_the_changelogs(
    kafka: str, topic_name: str, tmp_path: Path
) -> None:
    with s3() as url, pytest.MonkeyPatch.context() as patched:
        application = used(Snapshotted(kafka, topic_name[-40:], tmp_path, url=url))
        patched.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        worker = application.restored()
    assert not worker.logged("snapshot restored")
    causes = [str(each["cause"]) for each in worker.logged("snapshot not used")]
    assert len(causes) == NUMBER
    assert any("HTTP error" in cause for cause in causes)


def test_damage_falls_back_to_an_older_snapshot_or_the_changelog(application: Snapshotted) -> None:
    for archive in application.archives():
        first, last = min(archive.manifests()).name, max(archive.manifests()).name
        older = {file.sha256 for file in archive.read(first).files}
        only = [file.sha256 for file in archive.read(last).files if file.sha256 not in older]
        (application.storage / archive._files / only[0]).write_bytes(b"damaged")
    worker = application.restored()
    assert len(worker.logged("snapshot restored")) == NUMBER
    assert "another hash" in str(worker.logged("snapshot not used")[0]["cause"])

    for path in application.storage.rglob("files/*"):
        path.unlink()
    worker = application.restored()
    assert not worker.logged("snapshot restored")
    assert "not found" in str(worker.logged("snapshot not used")[0]["cause"])


def test_a_backup_begins_with_a_snapshot(application: Snapshotted) -> None:
    application.lose_disk()
    backup = application.worker(role="backup")
    backup.await_state("ready", DEADLINE)
    assert len(backup.logged("snapshot restored")) == NUMBER
    backup.adopt()
    application.feed.write(30)
    application.drain(backup)
    backup.await_tasks(len(application.layout.tasks))
    assert backup.stop() == 0, backup.failure
    application.check()


@pytest.fixture
def s3_away() -> Generator[str]:
    with s3() as url, pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        yield url


@pytest.fixture
def app(strict_kafka: str, make_app: Callable[[str], App]) -> App:
    made = make_app(strict_kafka)
    made.define("topology.stream(IN).group_by_key().count(name='counts').to(OUT)")
    made.topics("in", "out", partitions=1)
    made.settings |= {
        "snapshot_url": str(made.folder / "snapshots"),
        "snapshot_interval": "50ms",
        "persist_interval": "20ms",
    }
    made.write(*((0, f"k{number}", "1") for number in range(20)))
    with made.start() as node:
        made.await_log(node, "snapshots taken", timeout=DEADLINE)
        assert node.stop() == 0
    shutil.rmtree(made.folder / "state")
    return made


def test_snapshots_of_a_changelog_that_was_recreated_are_not_used(app: App) -> None:
    changelog = f"{app.name}-counts-changelog"
    ledger.delete(app.kafka, [changelog])
    ledger.create(app.kafka, {changelog: 1}, **CHANGELOG_CONFIG)
    app.write((0, "k1", "1"))
    refused = app.run(expect=5)
    assert "was deleted and created again" in refused.output
    assert f"kproc reset {app.file} --store counts" in refused.output
    app.kproc("reset", "--store", "counts", "--yes")
    node = app.run()
    assert app.latest()["k1"] == b"1"
    assert not [line for line in node.logged if line["event"] == "snapshot restored"]


def test_a_changelog_that_is_not_complete_and_no_snapshot(app: App) -> None:
    changelog = f"{app.name}-counts-changelog"
    ledger.delete_before(app.kafka, changelog, ledger.offsets(app.kafka, changelog))
    shutil.rmtree(app.folder / "snapshots")
    app.write((0, "k1", "1"))
    node = app.run(expect=5)
    assert "somebody has deleted records" in node.output.splitlines()[-1]


def test_a_snapshot_of_what_was_deleted_since_is_not_used(app: App) -> None:
    changelog = f"{app.name}-counts-changelog"
    app.write((0, "k1", "1"))
    app.run(snapshot_interval="1h")
    shutil.rmtree(app.folder / "state")
    # Tombstones are kept for no time at all: none of the snapshots is new enough.
    ledger.configure(app.kafka, changelog, {"delete.retention.ms": "0"})
    app.write((0, "k1", "1"))
    node = app.run(snapshot_interval="1h")
    assert app.latest()["k1"] == b"3"
    refused = [line["cause"] for line in node.logged if line["event"] == "snapshot not used"]
    assert "older than the deletions" in refused[0]


def test_other_serdes_than_the_snapshots_are_refused(app: App) -> None:
    app.define(
        "from processor import Topology\n"
        "topology.stream(IN).group_by_key().aggregate(dict, lambda so_far, value: so_far,"
        " name='counts').to(OUT)"
    )
    app.write((0, "k1", "1"))
    node = app.run(expect=5)
    assert "does not fit the state" in node.output


def test_a_node_starts_without_object_storage(app: App, s3_away: str) -> None:
    app.write((0, "k1", "1"))
    node = app.run(snapshot_url=s3_away)
    assert app.latest()["k1"] == b"2"
    (logged,) = (line for line in node.logged if line["event"] == "snapshots away")
    assert "tried again at each snapshot_interval" in logged["cause"]


def test_settings_that_can_not_work_fail_at_the_start(app: App) -> None:
    node = app.run(expect=2, snapshot_url="/proc/nowhere")
    assert "snapshot_url /proc/nowhere can't be opened" in node.output
    node = app.run(expect=2, snapshot_url="")
    assert "need each other: set both or none" in node.output
