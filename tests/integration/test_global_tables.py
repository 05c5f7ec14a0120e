"""Global tables on a real Kafka: there before the first record, followed, and there again."""

import pytest

from tests import ledger
from tests.integration.conftest import App

pytestmark = pytest.mark.kafka

JOINED = """
airports = topology.global_table(APP + "-airports", name="airports")
source = topology.stream(IN)
source.left_join(airports, lambda flight, airport: airport and airport["name"], on="to").to(OUT)
"""


@pytest.fixture
def flights(app: App) -> App:
    """An application with flights to join with airports, of which there are some already."""
    app.define(JOINED)
    app.topics("in", "out", partitions=2)
    app.topics("airports", partitions=3, **{"cleanup.policy": "compact"})
    name(app, ham="Hamburg", muc="Munich", osl="Oslo")
    return app


def name(app: App, **airports: str | None) -> None:
    rows = [
        (sum(code.encode()) % 3, code, None if text is None else f'{{"name":"{text}"}}')
        for code, text in airports.items()
    ]
    app.write(*rows, topic=f"{app.name}-airports")


def fly(app: App, *to: str) -> None:
    app.write(*((n % 2, f"{code}-{n}", f'{{"to":"{code}"}}') for n, code in enumerate(to)))


def joined(app: App) -> list[tuple[str, bytes | None]]:
    found = ledger.by_key(app.read())
    return sorted((key, value) for key, values in found.items() for value in values)


@pytest.mark.parametrize("store", ["rocksdb", "memory"])
def test_a_table_is_whole_before_the_first_record_and_after_a_restart(
    flights: App, store: str
) -> None:
    app = flights
    fly(app, "ham", "muc", "osl", "xyz")
    app.run(state_store=store)
    first = [("ham-0", b"Hamburg"), ("muc-1", b"Munich"), ("osl-2", b"Oslo"), ("xyz-3", b"null")]
    assert joined(app) == [(key, value.replace(b"null", b"") or None) for key, value in first]
    name(app, osl=None, ham="Hamburg Airport", xyz="New")
    fly(app, "ham", "osl", "xyz")
    app.run(state_store=store)
    assert {("ham-0", b"Hamburg Airport"), ("osl-1", None), ("xyz-2", b"New")} <= set(joined(app))
    assert len(joined(app)) == 7


def test_a_bad_record_leaves_the_good_one_before_it(flights: App) -> None:
    app = flights
    ham = sum(b"ham") % 3
    app.write((ham, "ham", '{"name":"New"}'), (ham, "ham", "{"), topic=f"{app.name}-airports")
    fly(app, "ham")
    app.run()
    assert joined(app) == [("ham-0", b"New")]


def test_what_changes_while_it_runs_is_followed(flights: App) -> None:
    app = flights
    with app.start("--no-show") as node:
        fly(app, "ham")
        app.await_output(1)
        app.write((0, "bad", "{"), topic=f"{app.name}-airports")
        name(app, ham="Airport")
        found, count = None, 1
        while found != b"Airport":  # a record meets the table as far as it has been read
            fly(app, "ham")
            count += 1
            app.await_output(count)
            found = ledger.by_key(app.read())["ham-0"][-1]
        app.await_log(node, "left out of a global table")
        assert node.stop() == 0
    assert ledger.by_key(app.read())["ham-0"][0] == b"Hamburg"


def test_a_topic_that_was_recreated_is_read_again(flights: App) -> None:
    app = flights
    fly(app, "ham")
    app.run()
    ledger.delete(app.kafka, [f"{app.name}-airports"])
    app.topics("airports", partitions=3, **{"cleanup.policy": "compact"})
    name(app, muc="Munich")
    fly(app, "ham", "muc")
    node = app.run()
    assert ledger.by_key(app.read())["ham-0"] == [b"Hamburg", None]
    assert ledger.by_key(app.read())["muc-1"] == [b"Munich"]
    assert any(line["event"] == "store is rebuilt" for line in node.logged), node.output


def test_a_missing_topic_is_named(app: App) -> None:
    app.define(JOINED)
    app.topics("in", "out")
    node = app.run(expect=3)
    assert f"read but not there: {app.name}-airports" in node.output


def test_copies_of_former_slots_are_dropped(flights: App) -> None:
    app = flights
    copies = app.folder / "state" / app.name / "airports"
    fly(app, "ham", "muc")
    app.run(slots=2, session_timeout="6s")
    assert sorted(each.parent.name for each in copies.glob("*/data")) == ["0", "1"]
    app.kproc("rescale", "--slots=1", "--yes", "--set=session_timeout=6s")
    app.run(slots=1)
    assert [each.parent.name for each in copies.glob("*/data")] == ["0"]
