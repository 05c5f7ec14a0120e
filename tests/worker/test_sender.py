"""How records are sent, on both ways: by the producer's own calls, and by the native plane."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.kafka.clients import take_over_transactions
from processor.native.client import missing
from processor.records import Batch, Headers, Offset, Partition, Timestamp
from processor.runtime.commands import Produce
from processor.topology.plan import StoreId
from processor.worker.sender import Sender
from tests import ledger

pytestmark = pytest.mark.kafka
MakeTopic = Callable[..., str]


def config(kafka: str, **settings: Any) -> dict[str, Any]:
    named = {name.replace("_", "."): value for name, value in settings.items()}
    return {"bootstrap.servers": kafka, "linger.ms": 1, **named}


def batch(
    values: list[bytes | None], keys: list[bytes | None] | None = None, **more: Any
) -> Batch[bytes | None, bytes | None]:
    count = len(values)
    return Batch(
        keys or [b"key"] * count,
        values,
        more.get("timestamps", [Timestamp(5)] * count),
        [Offset(0)] * count,
        more.get("headers"),
    )


def test_every_part_of_a_record_arrives(kafka: str, make_topic: MakeTopic, *, native: bool) -> None:
    topic = make_topic(partitions=2)
    headers: list[Headers] = [(("a", b"1"), ("a", b""), ("none", None), ("ü", b"\xff")), (), ()]
    sender = Sender(config(kafka), native=native)
    keys: list[bytes | None] = [b"k", b"", None]
    times = [Timestamp(1_000), Timestamp(0), Timestamp(3_000)]
    sender.produce(
        Produce(topic, batch([b"v", b"", None], keys, timestamps=times, headers=headers), 1)
    )
    sender.flush()
    rows = ledger.read(kafka, topic)
    assert {row.partition for row in rows} == {1}
    assert [(row.key, row.value, row.timestamp) for row in rows] == [
        (b"k", b"v", 1_000),
        (b"", b"", 1),
        (None, None, 3_000),
    ]
    assert [tuple(row.headers) for row in rows] == headers


def test_a_full_queue_is_waited_for(kafka: str, make_topic: MakeTopic, *, native: bool) -> None:
    topic = make_topic(partitions=1)
    sender = Sender(config(kafka, queue_buffering_max_messages=50), native=native)
    values: list[bytes | None] = [b"%d" % number for number in range(3000)]
    sender.produce(Produce(topic, batch(values)))
    sender.flush()
    assert [row.value for row in ledger.read(kafka, topic)] == values


def test_keys_choose_the_same_partitions(
    kafka: str, make_topic: MakeTopic, *, native: bool
) -> None:
    topic = make_topic(partitions=8)
    keys: list[bytes | None] = [b"key-%d" % number for number in range(200)]
    settings = config(kafka, partitioner="murmur2_random")
    for sender in (Sender(settings, native=native), Sender(settings)):
        sender.produce(Produce(topic, batch([b"v"] * 200, keys)))
        sender.flush()
    places = {(row.key, row.partition) for row in ledger.read(kafka, topic)}
    assert len(places) == 200


def test_the_end_of_a_changelog_is_reported(
    kafka: str, make_topic: MakeTopic, *, native: bool
) -> None:
    topic, store = make_topic(partitions=1), StoreId("counts", Partition(0))
    sender = Sender(config(kafka), native=native)
    for last in (1, 2, 500):
        values: list[bytes | None] = [b"v"] * last
        sender.produce(Produce(topic, batch(values), 0, store))
        sender.flush()
        assert sender.take_written() == {store: len(ledger.read(kafka, topic)) - 1}


def test_what_does_not_arrive_is_known(kafka: str, make_topic: MakeTopic, *, native: bool) -> None:
    """One by one each record has its report; of a batch by the native plane the first failure."""
    topics = [make_topic(partitions=1, **{"max.message.bytes": "1000"}) for _ in range(2)]
    failed: list[tuple[int, str]] = []

    def noted(error: ClientError | None, message: Any) -> None:
        if error is not None:
            failed.append((error.code(), message.topic()))

    sender = Sender({**config(kafka, batch_size=1), "on_delivery": noted}, native=native)
    for topic in topics:
        sender.produce(Produce(topic, batch([b"v", b"x" * 5000, b"v", b"x" * 5000])))
        sender.flush()
        if native and (failure := sender.failure()) is not None:
            failed += [(failure[0].code(), failure[1])] * 2
        assert sender.failure() is None
    assert failed == [(ClientError.MSG_SIZE_TOO_LARGE, topic) for topic in topics for _ in "12"]
    assert [len(ledger.read(kafka, topic)) for topic in topics] == [2, 2]


@pytest.mark.skipif(bool(missing()), reason=missing() or "it is there")
def test_with_transactions_no_record_fails_alone(
    kafka: str, topic_name: str, make_topic: MakeTopic
) -> None:
    topic = make_topic(partitions=1, **{"max.message.bytes": "1000"})
    sender = Sender(config(kafka, transactional_id=topic_name), native=True)
    take_over_transactions(sender.producer)
    sender.producer.begin_transaction()
    sender.produce(Produce(topic, batch([b"x" * 5000])))
    with suppress(KafkaException):
        sender.flush()
    assert sender.failure() is None
    reason = sender.reason()
    assert reason is not None
    assert reason.txn_requires_abort()
    sender.producer.abort_transaction(30)


def test_a_record_that_the_client_does_not_take_is_an_error(
    kafka: str, make_topic: MakeTopic, *, native: bool
) -> None:
    topic = make_topic(partitions=1)
    sender = Sender(config(kafka, message_max_bytes=2000), native=native)
    with pytest.raises(KafkaException) as raised:
        sender.produce(Produce(topic, batch([b"v", b"x" * 5000, b"w"])))
    assert raised.value.args[0].code() == ClientError.MSG_SIZE_TOO_LARGE
    sender.flush()
    assert [row.value for row in ledger.read(kafka, topic)] == [b"v"]


def test_what_is_no_record_is_a_type_error(
    kafka: str, make_topic: MakeTopic, *, native: bool
) -> None:
    topic = make_topic(partitions=1)
    sender = Sender(config(kafka), native=native)
    wrong: Any = [b"v", 7, b"w"]
    with pytest.raises(TypeError):
        sender.produce(Produce(topic, batch(wrong)))
    sender.flush()
    assert [row.value for row in ledger.read(kafka, topic)] == [b"v"]


def test_who_has_lost_the_transactional_id_sends_nothing(
    kafka: str, topic_name: str, make_topic: MakeTopic, *, native: bool
) -> None:
    topic = make_topic(partitions=1)
    first = Sender(config(kafka, transactional_id=topic_name), native=native)
    take_over_transactions(first.producer)
    first.producer.begin_transaction()
    first.produce(Produce(topic, batch([b"first"])))
    first.flush()
    second = Sender(config(kafka, transactional_id=topic_name), native=native)
    take_over_transactions(second.producer)
    first.produce(Produce(topic, batch([b"late"])))
    with suppress(KafkaException):  # it may have heard by then
        first.flush()
    reason = first.reason()
    assert reason is not None
    assert reason.fatal()
    with pytest.raises(KafkaException) as raised:
        first.produce(Produce(topic, batch([b"later"])))
    assert raised.value.args[0].code() in {ClientError._FATAL, ClientError._FENCED}
    second.producer.begin_transaction()
    second.produce(Produce(topic, batch([b"second"])))
    second.producer.commit_transaction(30)
    assert [row.value for row in ledger.read(kafka, topic)] == [b"second"]
