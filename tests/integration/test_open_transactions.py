"""A transaction that nobody ends holds an application up: it is named, with what ends it."""

import random
import re

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AdminClient

from processor.kafka.hanging import first_open
from processor.records import Partition, TopicPartition
from tests import ledger
from tests.integration.conftest import App
from tests.integration.watch import Watch

pytestmark = pytest.mark.kafka


def opened(app: App) -> Producer:
    """A producer whose transaction is open, and commits the application's own offsets."""
    producer = Producer(
        {
            "bootstrap.servers": app.kafka,
            "transactional.id": f"{app.name}-forgotten",
            "transaction.timeout.ms": 600_000,
            "log_level": 0,
        }
    )
    consumer = Consumer({"bootstrap.servers": app.kafka, "group.id": app.name, "log_level": 0})
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
        forgotten = opened(app)
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


def test_a_transaction_that_holds_the_groups_offsets_is_named(
    app: App, chance: random.Random
) -> None:
    app.define("topology.stream(IN, value=dict[str, Any]).to(OUT)")
    app.topics("in", "out", partitions=1)
    before, after = chance.randint(1, 200), chance.randint(1, 200)
    app.write(*((0, "k", b"{}") for _ in range(before)))
    app.run()
    app.write(*((0, "k", b"{}") for _ in range(after)))
    forgotten = opened(app)
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
        source = TopicPartition(found[1], Partition(int(found[2])))
        client = AdminClient({"bootstrap.servers": app.kafka, "log_level": 0})
        assert first_open(client, source) == int(found[3])
        forgotten.abort_transaction(30)  # as the command has the broker do
        app.await_output(before + after)
        assert node.stop() == 0
    assert len(app.read()) == before + after
    ledger.check_processed(app.kafka, app.name, [app.input])
