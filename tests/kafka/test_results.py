"""Results as a person sees them at the end of a run."""

from concurrent.futures import ThreadPoolExecutor
from time import sleep

import pytest
from confluent_kafka import Producer

from processor.kafka.results import read_results
from tests import ledger

pytestmark = pytest.mark.kafka


def test_what_is_about_to_be_committed_is_waited_for(
    kafka: str, request: pytest.FixtureRequest
) -> None:
    name = request.node.name
    ledger.create(kafka, {name: 2})
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": name})
    producer.init_transactions(60)
    producer.begin_transaction()
    for number in range(4):
        producer.produce(name, b"v", b"k%d" % number, number % 2)
    producer.flush(60)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(read_results, {"bootstrap.servers": kafka}, name, 100)
        sleep(0.5)
        assert not asked.done()
        producer.commit_transaction(60)
        found = asked.result(60)
    assert found.values == {b"k%d" % number: b"v" for number in range(4)}
    assert found.complete
