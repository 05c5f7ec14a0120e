"""Offsets that brokers are asked for, while the leaders of their partitions change."""

import random
import time
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.kafka.clients import COMMON
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
    client: Any = AdminClient({**COMMON, "bootstrap.servers": brokers.bootstrap})
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
