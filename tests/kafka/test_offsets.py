"""Offsets that brokers are asked for, while the leaders of their partitions change."""

import json
import random
import time
from typing import Any

import pytest
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.kafka.clients import admin_client
from processor.kafka.progress import list_offsets, partitions
from processor.local.brokers import Brokers
from tests import ledger

pytestmark = pytest.mark.kafka


def test_ends_are_true_while_leaders_change(
    brokers: Brokers, topic_name: str, chance: random.Random
) -> None:
    count = chance.randint(3, 12)
    ledger.create(brokers.bootstrap, {topic_name: count})
    rows = [(partition, "key", "value") for partition in range(count)]
    ledger.write(brokers.bootstrap, topic_name, rows)
    wanted = partitions({topic_name: count})
    client: Any = admin_client({"bootstrap.servers": brokers.bootstrap})
    assert set(list_offsets(client, wanted, OffsetSpec.latest()).values()) == {1}
    gone = brokers.leader(topic_name, chance.randrange(count))
    brokers.kill(gone)  # the client still takes it for the leader
    time.sleep(chance.choice([0, chance.uniform(0, 6)]))
    try:
        assert set(list_offsets(client, wanted, OffsetSpec.latest()).values()) == {1}
        assert set(list_offsets(client, wanted, OffsetSpec.earliest()).values()) == {0}
        after = list_offsets(client, wanted, OffsetSpec.for_timestamp(2**52))
        assert set(after.values()) == {-1}
    finally:
        brokers.start([gone])
        brokers.await_whole()


def test_who_waits_for_a_leader_that_is_away_does_not_connect_without_a_pause(
    brokers: Brokers, topic_name: str
) -> None:
    ledger.create(brokers.bootstrap, {topic_name: 1})
    tries: list[int] = []

    def note(figures: str) -> None:
        each = json.loads(figures)["brokers"].values()
        tries.append(max(int(broker["connects"]) for broker in each))

    asked = {"statistics.interval.ms": 500, "stats_cb": note}
    client: Any = admin_client({"bootstrap.servers": brokers.bootstrap, **asked})
    place = {ClientPartition(topic_name, 0): OffsetSpec.latest()}
    (end,) = client.list_offsets(place).values()
    assert end.result(30).offset == 0
    gone = brokers.leader(topic_name)
    brokers.kill(gone)
    try:
        waiting = client.list_offsets(place, request_timeout=5)
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            client.poll(0.1)
        del waiting
    finally:
        brokers.start([gone])
        brokers.await_whole()
    assert max(tries) < 100, "it would be thousands"
