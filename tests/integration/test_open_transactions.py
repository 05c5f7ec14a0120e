"""A transaction that nobody ends holds an application up: it is named, with what ends it."""

import random
import re
from itertools import islice

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as ClientPartition

from processor.kafka.hanging import committed_by, offsets_partition
from tests import ledger
from tests.integration.conftest import App
from tests.integration.watch import Watch

pytestmark = pytest.mark.kafka

OFFSETS = "__consumer_offsets"


def opened(app: App, group: str) -> Producer:
    """A producer whose transaction is open, and commits offsets of the application's input."""
    producer = Producer(
        {
            "bootstrap.servers": app.kafka,
            "transactional.id": f"{group}-forgotten",
            "transaction.timeout.ms": 600_000,
            "log_level": 0,
        }
    )
    consumer = Consumer({"bootstrap.servers": app.kafka, "group.id": group, "log_level": 0})
    producer.init_transactions(30)
    producer.begin_transaction()
    metadata = consumer.consumer_group_metadata()
    producer.send_offsets_to_transaction([ClientPartition(app.input, 0, 1)], metadata, 30)
    consumer.close()
    return producer


def test_what_waits_behind_a_transaction_in_the_input_is_lag(app: App) -> None:
    app.define("topology.stream(IN, value=dict[str, Any]).to(OUT)")
    app.topics("in", "out", partitions=1)
    app.write((0, "k", b"{}"))
    with app.start("--no-show") as node:
        app.await_output(1)
        start = ledger.offsets(app.kafka, app.input)[0]
        forgotten = opened(app, app.name)
        forgotten.produce(app.input, b"{}", b"k", 0)
        assert forgotten.flush(30) == 0
        app.write(*((0, "k", b"{}") for _ in range(5)))
        text = app.await_log(node, "open transaction", timeout=120)["text"]
        assert f"open in {app.input}[0] since offset {start}, and what comes after it waits" in text
        assert text.endswith(f"--topic {app.input} --partition 0 --start-offset {start}")
        watch = Watch(app.kafka, app.name, 1)
        watch.until(lambda: any(each.replicas[0].lag == 6 for each in watch.beats))
        forgotten.abort_transaction(30)
        app.await_output(6)
        watch.until(lambda: any(each.replicas[0].lag == 0 for each in watch.beats))
        assert node.stop() == 0


def beside(app: App, count: int) -> list[str]:
    """Groups whose offsets are in the same partition as the application's."""
    names = (f"{app.name}-{number}" for number in range(100_000))
    places = len(ledger.offsets(app.kafka, OFFSETS))
    place = offsets_partition(app.name, places)
    return list(islice((each for each in names if offsets_partition(each, places) == place), count))


def offsets_end(app: App) -> tuple[int, int]:
    """The partition that has the application's offsets, and its end."""
    ends = ledger.offsets(app.kafka, OFFSETS)
    place = offsets_partition(app.name, len(ends))
    return place, ends[place]


def commits_since(app: App, place: int, offset: int) -> list[tuple[int, str]]:
    """The commits of offsets in a partition from an offset on, and of which group each is."""
    settings = {"group.id": "reader", "isolation.level": "read_uncommitted", "log_level": 0}
    consumer = Consumer({"bootstrap.servers": app.kafka, **settings})
    consumer.assign([ClientPartition(OFFSETS, place, offset)])
    records = consumer.consume(1000, 2)
    consumer.close()
    found = [(each.offset() or 0, committed_by(each.key() or b"")) for each in records]
    return [(offset, commit[0]) for offset, commit in found if commit is not None]


def test_a_transaction_that_holds_the_groups_offsets_is_named(
    app: App, chance: random.Random
) -> None:
    app.define("topology.stream(IN, value=dict[str, Any]).to(OUT)")
    app.topics("in", "out", partitions=1)
    before, after = chance.randint(1, 200), chance.randint(1, 200)
    app.write(*((0, "k", b"{}") for _ in range(before)))
    app.run()
    app.write(*((0, "k", b"{}") for _ in range(after)))
    names = [*beside(app, chance.randint(0, 2)), app.name]
    chance.shuffle(names)
    place, since = offsets_end(app)
    producers = [opened(app, each) for each in names]
    with app.start("--no-show") as node:
        cause = app.await_log(node, "worker ended", timeout=120)["cause"]
        found = re.search(
            rf"open in (\S+)\[(\d+)\] since offset (\d+)\. .*: kafka-transactions\.sh "
            rf"--bootstrap-server {app.kafka} abort --topic (\S+) --partition (\d+) "
            r"--start-offset (\d+)$",
            cause,
        )
        assert found, cause
        assert found.groups()[:3] == found.groups()[3:]
        assert (int(found[3]), app.name) in commits_since(app, place, since)
        for each in producers:
            each.abort_transaction(30)  # as the command has the broker do
        app.await_output(before + after)
        assert node.stop() == 0
    assert len(app.read()) == before + after
    ledger.check_processed(app.kafka, app.name, [app.input])
