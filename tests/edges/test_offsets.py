"""Offsets that brokers are asked for, while the leaders of their partitions change."""

from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.edges.brokers import Brokers
from processor.edges.clients import QUIET
from processor.edges.progress import list_offsets, partitions
from tests import ledger

pytestmark = pytest.mark.kafka


@pytest.mark.timeout(400)
def test_ends_are_true_while_leaders_change(brokers: Brokers) -> None:
    ledger.create(brokers.bootstrap, {"ends": 6})
    rows = [(partition, "key", "value") for partition in range(6)]
    ledger.write(brokers.bootstrap, "ends", rows)
    wanted = partitions({"ends": 6})
    client: Any = AdminClient({**QUIET, "bootstrap.servers": brokers.bootstrap})
    assert set(list_offsets(client, wanted, OffsetSpec.latest()).values()) == {1}
    gone = brokers.leader("ends")
    brokers.kill(gone)  # the client still takes it for the leader
    try:
        assert set(list_offsets(client, wanted, OffsetSpec.latest()).values()) == {1}
        assert set(list_offsets(client, wanted, OffsetSpec.earliest()).values()) == {0}
        after = list_offsets(client, wanted, OffsetSpec.for_timestamp(2**52))
        assert set(after.values()) == {-1}
    finally:
        brokers.start([gone])
        brokers.await_whole()
