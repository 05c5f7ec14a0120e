"""What clients know of the cluster, and what is said where no broker answers."""

import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from processor.errors import BrokerUnreachable
from processor.kafka.clients import COMMON, asking_config, described, topics_of, watermarks
from processor.local.embedded import free_port
from tests import ledger


@pytest.mark.parametrize(
    ("host", "why"), [("nosuchhost.invalid", "resolve"), ("127.0.0.1", "refused")]
)
def test_the_cause_is_in_the_message(host: str, why: str) -> None:
    with pytest.raises(BrokerUnreachable, match=why):
        topics_of({"bootstrap.servers": f"{host}:{free_port()}"}, timeout=3)


@pytest.mark.kafka
def test_partitions_that_are_newer_than_a_client_are_found(kafka: str, topic_name: str) -> None:
    ledger.create(kafka, {topic_name: 1})
    config = {**COMMON, "bootstrap.servers": kafka}
    consumer = Consumer({**config, **asking_config(topic_name)})
    assert watermarks(consumer, TopicPartition(topic_name, 0)) == (0, 0)
    admin = AdminClient(config)
    admin.create_partitions([NewPartitions(topic_name, 3)])[topic_name].result()
    assert watermarks(consumer, TopicPartition(topic_name, 2)) == (0, 0)
    consumer.close()


@pytest.mark.kafka
def test_no_client_has_brokers_make_a_topic(kafka: str, topic_name: str) -> None:
    others, own = f"{topic_name}-others", {**COMMON, "bootstrap.servers": kafka}
    Producer({"bootstrap.servers": kafka}).list_topics(others, 10)
    while not ledger.exists(kafka, others):  # these brokers make what they are asked for
        time.sleep(0.05)
    for client in (Producer(own), AdminClient(own)):
        assert described(client, [topic_name]) == {}
    producer = Producer(own)
    producer.produce(topic_name, b"value")
    producer.flush(2)
    assert not ledger.exists(kafka, topic_name)
