"""Positions that somebody else has touched: offsets are gone, or were set by another tool."""

import random
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import NewPartitions

from processor.local.embedded import EmbeddedKafka
from tests import ledger
from tests.integration.conftest import App
from tests.suites import long

pytestmark = pytest.mark.kafka

COUNTS = "topology.stream(IN).group_by_key().count(name='counts').to(OUT)"
COPY = "topology.stream(IN).to(OUT)"
REGROUPED = "topology.stream(IN).group_by(str, name='by').count(name='counts').to(OUT)"
KEYS = 10
BEGINS = "begins elsewhere"


def feed(app: App, partitions: int = 2, keys: int = KEYS) -> None:
    app.write(*((n % partitions, f"k{n}", str(n)) for n in range(keys)))


def prepared(app: App, body: str = COUNTS, keys: int = KEYS, **settings: str) -> App:
    """An application that has done what there was, and has more to do."""
    app.define(body)
    app.settings |= {"session_timeout": "6s", **settings}
    app.topics("in", "out")
    feed(app, keys=keys)
    app.run()
    feed(app, keys=keys)
    return app


@pytest.mark.parametrize(
    ("body", "guarantee"),
    [
        (COUNTS, "exactly-once"),
        (REGROUPED, "at-least-once"),
        *long((COPY, "exactly-once"), (REGROUPED, "exactly-once")),
        *long((COUNTS, "at-least-once"), (COPY, "at-least-once")),
    ],
)
def test_a_group_that_was_deleted(
    app: App, body: str, guarantee: str, chance: random.Random
) -> None:
    keys = chance.randint(1, 400)
    prepared(app, body, keys, guarantee=guarantee)
    ledger.delete_group(app.kafka, app.name)
    node = app.run(start_from="latest")
    assert [line for line in node.logged if line["event"] == BEGINS], node.output
    if body == COPY:
        assert len(app.read()) == 2 * keys
    else:
        assert set(app.latest().values()) == {b"2"}
    # It is written again: the next start has no reason to wonder.
    feed(app)
    assert not [line for line in app.run().logged if line["event"] == BEGINS]


@pytest.mark.parametrize("to", [0, 10])
def test_a_group_that_was_set_back_or_forward(app: App, to: int) -> None:
    prepared(app)
    source = (app.input, 1)
    before = ledger.committed(app.kafka, app.name, [app.input])[source]
    ledger.set_offsets(app.kafka, app.name, {source: to})
    node = app.run(expect=5)
    assert f"the group was set to {to} since, by another tool" in node.output
    assert f"kproc reset {app.file} --to" in node.output
    # As the text says: set back, it goes on.
    ledger.set_offsets(app.kafka, app.name, {source: before})
    app.run()
    assert set(app.latest().values()) == {b"2"}


def test_a_group_that_was_set_past_records_that_are_gone(app: App) -> None:
    prepared(app)
    end = ledger.offsets(app.kafka, app.input)[1]
    ledger.delete_before(app.kafka, app.input, {1: end})
    assert "retention has deleted records" in app.run(expect=5).output
    ledger.set_offsets(app.kafka, app.name, {(app.input, 1): end})
    node = app.run()
    assert "the group was set past them" in node.output
    assert set(app.latest().values()) == {b"1", b"2"}


def test_a_partition_that_another_tool_has_added(app: App) -> None:
    prepared(app, COPY)
    app.run()
    grown = ledger.admin(app.kafka).create_partitions([NewPartitions(app.input, 3)])
    grown[app.input].result(30)
    while len(ledger.offsets(app.kafka, app.input)) < 3:
        time.sleep(0.02)
    before = len(app.read())
    feed(app, partitions=3)
    app.run(start_from="latest")
    assert len(app.read()) == before + KEYS


@pytest.mark.parametrize("loss", ["emptied", "deleted"])
def test_no_witness_is_left(app: App, loss: str) -> None:
    prepared(app)
    topic = f"{app.name}-positions"
    if loss == "emptied":
        ledger.delete_before(app.kafka, topic, ledger.offsets(app.kafka, topic))
    else:
        ledger.delete(app.kafka, [topic])
    # One of them is enough.
    app.run()
    feed(app)
    if loss == "emptied":
        ledger.delete_before(app.kafka, topic, ledger.offsets(app.kafka, topic))
    else:
        ledger.delete(app.kafka, [topic])
    ledger.delete_group(app.kafka, app.name)
    node = app.run(expect=5)
    assert "it is not known how far" in node.output
    assert f"kproc reset {app.file} --to" in node.output
    assert set(app.latest().values()) == {b"2"}


def test_an_input_that_was_recreated(app: App, chance: random.Random) -> None:
    prepared(app, keys=chance.randint(2, 50))
    ledger.delete(app.kafka, [app.input])
    app.topics("in")
    for _ in range(chance.randint(1, 4)):  # it may have grown past the position of then, or not
        feed(app)
    node = app.run(expect=5)
    assert f"input {app.input}: it was deleted and created again" in node.output
    assert set(app.latest().values()) == {b"1"}


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A broker that forgets the offsets of groups that are empty for a minute."""
    config = {"offsets.retention.minutes": "1", "offsets.retention.check.interval.ms": "1000"}
    folder: Path = tmp_path_factory.mktemp("forgetful-kafka")
    with EmbeddedKafka.start(folder, port=0, config=config) as broker:
        yield broker.bootstrap


@pytest.mark.long
def test_offsets_that_expired(
    forgetful: str, make_app: Callable[[str], App], chance: random.Random
) -> None:
    app = prepared(make_app(forgetful), chance.choice([COUNTS, REGROUPED]), chance.randint(1, 400))
    deadline = time.monotonic() + 200
    while max(ledger.committed(forgetful, app.name, [app.input]).values()) >= 0:
        assert time.monotonic() < deadline, "they don't expire"
        time.sleep(0.5)
    app.run(start_from=chance.choice(["earliest", "latest"]))
    assert set(app.latest().values()) == {b"2"}
    assert ledger.offsets(forgetful, app.input, OffsetSpec.earliest())[0] == 0
