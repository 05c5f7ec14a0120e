"""Topologies that change between two runs of a real application."""

import pytest

from tests import ledger
from tests.integration.conftest import App

pytestmark = pytest.mark.kafka

COUNTS = "topology.stream(IN).group_by_key().count(name='counts').to(OUT)"


def fill(app: App) -> None:
    app.write((0, "a", "1"), (0, "a", "2"), (1, "b", "3"))


@pytest.fixture
def counted(app: App) -> App:
    """An application that has counted."""
    app.define(COUNTS)
    app.topics("in", "out")
    fill(app)
    app.run()
    return app


def topics(app: App) -> set[str]:
    there = ledger.admin(app.kafka).list_topics(timeout=30).topics
    return {name for name in there if name.startswith(app.name)}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (COUNTS.replace("'counts'", "'totals'"), ["store counts", "as totals?", "--store counts"]),
        pytest.param(
            COUNTS.replace("stream(IN)", "stream(IN, key=int)"),
            ["its key is text and would be int"],
            marks=pytest.mark.long,
        ),
    ],
)
def test_what_would_lose_state_is_refused_and_nothing_changed(
    counted: App, body: str, said: list[str]
) -> None:
    before = topics(counted)
    counted.define(body)
    node = counted.run(expect=5)
    assert "Nothing was changed" in node.output
    assert all(each in node.output for each in said), node.output
    assert topics(counted) == before
    counted.define(COUNTS)
    fill(counted)
    counted.run()
    assert counted.latest() == {"a": b"4", "b": b"2"}


@pytest.mark.long
def test_what_loses_nothing_runs(counted: App) -> None:
    more = "topology.stream(IN + '2').group_by_key().count(name='more').to(OUT)"
    counted.topics("in2")
    counted.define(f"{COUNTS}\n{more}")
    counted.run()
    counted.define(COUNTS)
    counted.run()  # the other store is empty
    assert counted.latest() == {"a": b"2", "b": b"1"}


@pytest.mark.long
def test_records_in_a_repartition_topic_that_goes(app: App) -> None:
    app.define("topology.stream(IN).key_by(str, name='by').repartition(name='one').to(OUT)")
    app.topics("in", "out")
    app.run()
    ledger.write(app.kafka, f"{app.name}-one-repartition", [(0, "k", "1")])
    app.define("topology.stream(IN).key_by(str, name='by').repartition(name='two').to(OUT)")
    node = app.run(expect=5)
    assert "1 record in it was not worked on" in node.output
    app.define("topology.stream(IN).key_by(str, name='by').repartition(name='one').to(OUT)")
    app.run()
    app.define("topology.stream(IN).key_by(str, name='by').repartition(name='two').to(OUT)")
    app.run()


@pytest.mark.long
def test_an_application_from_before_there_were_descriptions(counted: App) -> None:
    ledger.delete(counted.kafka, [f"{counted.name}-topology"])
    fill(counted)
    counted.run()
    assert counted.latest() == {"a": b"4", "b": b"2"}
    counted.define("topology.stream(IN).to(OUT)")
    counted.run(expect=5)


def test_a_changelog_that_is_gone(counted: App) -> None:
    ledger.delete(counted.kafka, [f"{counted.name}-counts-changelog"])
    node = counted.run(expect=5)
    assert "is gone, and with it the state" in node.output
