"""Things that look alike by name: copied folders, topics of other applications and clusters."""

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from processor.errors import Fenced
from tests import ledger
from tests.integration.conftest import App

pytestmark = pytest.mark.kafka

COUNTS = "topology.stream(IN).group_by_key().count(name='counts').to(OUT)"


def feed(app: App, keys: int = 10) -> None:
    app.write(*((n % 2, f"k{n}", "1") for n in range(keys)))


def test_a_copied_state_folder(app: App, chance: random.Random) -> None:
    app.define(COUNTS)
    app.topics("in", "out")
    app.settings["slots"] = chance.choice([1, 2])
    keys = chance.randint(1, 100)
    feed(app, keys)
    app.run()
    copy = app.folder / "copy"
    shutil.copytree(app.folder / "state", copy)
    folders = [app.folder / "state", copy]
    for folder in chance.sample(folders, 2):
        # Whichever comes second stays out, and the first one works as if nothing had happened.
        other = copy if folder != copy else app.folder / "state"
        before = len(app.read())
        with app.start(state_dir=str(folder)) as first:
            app.await_log(first, "worker running")
            time.sleep(chance.choice([0, chance.random()]))
            with app.start(state_dir=str(other)) as second:
                assert second.wait() == Fenced.exit_code, second.output
            assert "runs already" in second.output
            assert "delete the file `node`" in second.output
            feed(app, keys)
            app.await_output(before + keys)
            app.await_log(first, "copied state folder")
            assert first.stop() == 0, first.output
        adopted = [line for line in first.logged if line["event"] == "adopted"]
        assert len(adopted) == app.settings["slots"], first.output
    assert set(app.latest().values()) == {b"3"}


@pytest.mark.parametrize("first", [0, 1])
def test_two_applications_whose_names_make_one(
    kafka: str, topic_name: str, tmp_path: Path, chance: random.Random, first: int
) -> None:
    """`x` with a store `eu-n` and `x-eu` with a store `n` would share a changelog."""
    apps: list[App] = []
    keys = chance.randint(2, 100)
    for name, store in ((topic_name, "eu-n"), (f"{topic_name}-eu", "n")):
        folder = tmp_path / store
        folder.mkdir()
        apps.append(App(kafka, name, folder))
        apps[-1].define(COUNTS.replace("counts", store))
        apps[-1].topics("in", "out")
        feed(apps[-1], keys)
    apps[first].run()
    node = apps[1 - first].run(expect=3)
    assert f"belongs to the application {apps[first].name}" in node.output
    assert apps[1 - first].read() == []
    feed(apps[first], keys)
    apps[first].run()
    assert set(apps[first].latest().values()) == {b"2"}


def test_a_state_folder_of_another_cluster(
    kafka: str, strict_kafka: str, make_app: Callable[[str], App], chance: random.Random
) -> None:
    """Its positions mean nothing there, however far the other changelogs have come."""
    here, there = make_app(kafka), make_app(strict_kafka)
    rounds = chance.sample(range(1, 6), 2)
    for number, app in enumerate((here, there)):
        app.define(COUNTS)
        app.topics("in", "out")
        for _ in range(rounds[number]):
            feed(app)
        app.run(state_dir=str(app.folder / f"state-{number}"))
    feed(there)
    node = there.run(state_dir=str(there.folder / "state-0"))
    assert "of another changelog" in node.output
    assert set(there.latest().values()) == {str(rounds[1] + 1).encode()}


def test_nodes_with_another_topology_at_once(app: App) -> None:
    app.define(COUNTS)
    app.topics("in", "out")
    with app.start() as node:
        app.await_log(node, "worker running")
        app.define(COUNTS + "\ntopology.stream(IN).group_by_key().count(name='more')")
        refused = app.run(expect=5)
        assert "with other stores, repartitions or inputs" in refused.output
        assert not ledger.exists(app.kafka, f"{app.name}-more-changelog")
        feed(app)
        app.await_output(10)
        assert node.stop() == 0, node.output
    app.run()


def test_a_node_with_the_old_topology_that_wakes_up(app: App) -> None:
    app.define(COUNTS)
    app.topics("in", "out")
    app.settings |= {"session_timeout": "6s"}
    with app.start() as sleeper:
        app.await_log(sleeper, "worker running")
        sleeper.process.suspend()
        for worker in sleeper.workers:
            worker.suspend()
        app.define(COUNTS + "\ntopology.stream(IN).group_by_key().count(name='more')")
        with app.start() as node:
            app.await_log(node, "worker running")
            for worker in sleeper.workers:
                worker.resume()
            time.sleep(0.3)
            sleeper.process.resume()
            assert sleeper.wait() == 5, sleeper.output
            assert "start this node again" in sleeper.output
            feed(app)
            app.await_output(10)
            assert node.stop() == 0, node.output
    assert set(app.latest().values()) == {b"1"}
