"""Values of every kind come back equal in another process, from the disk and from snapshots."""

import json
import shutil
import time
from pathlib import Path

import pytest

from tests import ledger
from tests.integration.conftest import App
from tests.integration.kept_values import CASES
from tests.serdes import kinds

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).parents[2]


def write(app: App) -> None:
    """One record of each input."""
    app.write((0, "k", b"1"))
    for name, serde, value in kinds.FROM_TOPICS:
        app.write((0, "k", serde.encode(value)), topic=f"{app.input}-{name}")


def results(app: App, seen: int) -> set[int]:
    """All results since then have to be equal to what went in, and all there; their processes."""
    rows = app.read()[seen:]
    decoded = [json.loads(row.value or b"") for row in rows]
    assert [each for each in decoded if not each[2]] == []
    assert {(name, place) for name, place, *_ in decoded} == {*CASES}
    return {pid for *_, pid in decoded}


def await_snapshots(app: App, stores: int) -> None:
    """Waits until each store has a snapshot of all that it holds, as nothing more comes."""
    deadline = time.monotonic() + 240
    folder = app.folder / "snapshots"
    while len({file.parent for file in folder.rglob("manifests/*")}) < stores:
        assert time.monotonic() < deadline, "no snapshot of some stores"
        time.sleep(0.1)


def test_values_come_back_in_another_process(app: App) -> None:
    def is_changelog(topic: str) -> bool:
        return topic.startswith(app.name) and topic.endswith("-changelog")

    app.define(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.integration.kept_values import define\n"
        "define(topology, IN, OUT)"
    )
    app.topics("in", "out", *(f"in-{name}" for name, *_ in kinds.FROM_TOPICS), partitions=1)
    app.settings |= {"snapshot_url": str(app.folder / "snapshots"), "persist_interval": "20ms"}
    write(app)
    app.run(snapshot_interval="1h")
    processes = results(app, 0)

    stores = sum(map(is_changelog, ledger.admin(app.kafka).list_topics(timeout=30).topics))
    seen = len(app.read())
    write(app)
    with app.start(snapshot_interval="50ms") as node:
        app.await_output(seen + len(CASES), timeout=240)
        await_snapshots(app, stores)
        assert node.stop() == 0
    again = results(app, seen)
    assert not processes & again

    shutil.rmtree(app.folder / "state")
    seen = len(app.read())
    write(app)
    node = app.run(snapshot_interval="1h")
    assert not results(app, seen) & (processes | again)
    assert len([line for line in node.logged if line["event"] == "snapshot restored"]) == stores
    assert not [line for line in node.logged if line["event"] == "snapshot not used"]
