"""A slot's transactions against a real broker: what a failure in the middle of one becomes."""

import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, IsolationLevel

from processor.errors import Interrupted, TransactionTimedOut
from processor.local.embedded import EmbeddedKafka
from processor.records import Batch, Offset, Partition, Timestamp, TopicPartition
from processor.runtime.commands import Position, Produce, Refused
from processor.topology.plan import StoreId
from processor.worker.epochs import Epochs
from processor.worker.outbox import Abortable, Outbox, PlainOutbox, TransactionalOutbox
from tests import ledger

pytestmark = pytest.mark.kafka
MakeTopic = Callable[..., str]


@pytest.fixture
def outbox(kafka: str, topic_name: str, *, native: bool) -> Generator[TransactionalOutbox]:
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": topic_name, "log_level": 0})
    config = {"bootstrap.servers": kafka, "transactional.id": topic_name, "linger.ms": 1}
    outbox = TransactionalOutbox(config, consumer, Epochs(), print, native=native)
    outbox.take_over()
    yield outbox
    consumer.close()


def records(*values: bytes) -> Batch[bytes | None, bytes | None]:
    count = len(values)
    return Batch([b"key"] * count, values, [Timestamp(1)] * count, [Offset(0)] * count)


def send_until_it_fails(outbox: TransactionalOutbox, command: Produce) -> None:
    """A minute or more of tries, however often the machine is suspended meanwhile."""
    for _ in range(20_000):
        outbox.produce(command)
        time.sleep(0.003)
    left = outbox._sender.producer.flush(10)
    pytest.fail(f"20,000 records were taken, of which {left} are not with the broker")


def test_a_transaction_that_has_failed_says_why_at_the_next_record(
    outbox: TransactionalOutbox, make_topic: MakeTopic
) -> None:
    topic = make_topic(**{"max.message.bytes": "1000"})
    outbox.begin()
    outbox.produce(Produce(topic, records(b"x" * 5000)))
    with pytest.raises(Abortable, match=r"Message size too large.*: raise the topic's"):
        send_until_it_fails(outbox, Produce(topic, records(b"small")))
    assert outbox.is_searching


def until_committed(outbox: Outbox, command: Produce) -> list[Refused]:
    """Sends it again and again, without the records that are known to be refused; those."""
    refused: list[Refused] = []
    for _ in range(50):
        outbox.begin()
        try:
            outbox.produce(command)
            outbox.commit()
        except Abortable as error:
            print(error)
            outbox.abort()
            if error.refused is not None:
                refused.append(error.refused)
                assert not outbox.is_searching  # what follows goes in batches again
                mask = [row != error.refused.row for row in range(len(command.records))]
                command = Produce(command.topic, command.records.select(mask))
        else:
            return refused
    raise AssertionError("it was never committed")


@pytest.mark.parametrize("exactly_once", [True, False])
def test_which_records_are_refused_is_found_out(
    kafka: str,
    outbox: TransactionalOutbox,
    make_topic: MakeTopic,
    *,
    native: bool,
    exactly_once: bool,
) -> None:
    topic = make_topic(partitions=1, **{"max.message.bytes": "1000"})
    values = [b"x" * 5000 if number in (3, 40) else b"%d" % number for number in range(60)]
    command = Produce(topic, records(*values))
    used: Outbox = outbox
    if not exactly_once:
        config = {"bootstrap.servers": kafka, "linger.ms": 1}
        used = PlainOutbox(config, outbox._consumer, Epochs(), native=native)
    refused = until_committed(used, command)
    assert [each.command.records.values[each.row or 0] for each in refused] == [b"x" * 5000] * 2
    assert "max.message.bytes" in str(refused[0].error)
    good = [value for value in values if len(value) < 1000]
    found = [row.value for row in ledger.read(kafka, topic)]
    assert found == good if exactly_once else [*dict.fromkeys(found)] == good
    assert until_committed(used, Produce(topic, records(b"more"))) == []


def test_a_topic_that_is_not_there_spoils_nothing_else(
    kafka: str, outbox: TransactionalOutbox, make_topic: MakeTopic, topic_name: str
) -> None:
    topic = make_topic()
    outbox.begin()
    outbox.produce(Produce(topic, records(b"one")))
    with pytest.raises(Abortable) as raised:
        outbox.produce(Produce(f"{topic_name}-nowhere", records(b"two")))
    assert raised.value.refused is not None
    assert raised.value.refused.row is None
    outbox.commit()
    assert [row.value for row in ledger.read(kafka, topic)] == [b"one"]


def test_a_worker_that_ends_leaves_no_transaction_open(
    kafka: str, outbox: TransactionalOutbox, make_topic: MakeTopic
) -> None:
    topic = make_topic(partitions=1)
    outbox.begin()
    outbox.produce(Produce(topic, records(b"one")))
    outbox.close()
    deadline = time.monotonic() + 30  # half of the time-out; markers are written in the background
    while ledger.offsets(kafka, topic, isolation=IsolationLevel.READ_COMMITTED)[0] < 2:
        assert time.monotonic() < deadline, "it is still open"
        time.sleep(0.05)


def test_a_transaction_that_was_open_for_too_long_is_no_rival(
    kafka: str, topic_name: str, make_topic: MakeTopic
) -> None:
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": topic_name, "log_level": 0})
    config = {
        "bootstrap.servers": kafka,
        "transactional.id": topic_name,
        "linger.ms": 1,
        "transaction.timeout.ms": 1000,
    }
    outbox = TransactionalOutbox(config, consumer, Epochs(), print)
    outbox.take_over()
    topic = make_topic(partitions=1)
    outbox.begin()
    outbox.produce(Produce(topic, records(b"one")))
    await_abort(kafka, topic)
    with pytest.raises(TransactionTimedOut, match=r"transaction_timeout \(1 s\)"):
        outbox.commit()
    outbox.close()
    consumer.close()


def await_abort(kafka: str, topic: str) -> None:
    """Waits until the broker has aborted what was open for too long."""
    deadline = time.monotonic() + 120
    while ledger.offsets(kafka, topic, isolation=IsolationLevel.READ_COMMITTED)[0] < 2:
        assert time.monotonic() < deadline, "nothing is aborted"
        time.sleep(0.1)


def test_records_outside_of_a_transaction_are_a_fault_that_no_abort_fixes(
    outbox: TransactionalOutbox, make_topic: MakeTopic
) -> None:
    outbox.begin()
    outbox.commit()
    with pytest.raises(Interrupted, match="_STATE"):
        outbox.produce(Produce(make_topic(), records(b"stray")))


def test_where_a_changelog_ends_is_reported_or_the_work_ends(
    kafka: str, topic_name: str, make_topic: MakeTopic, *, native: bool
) -> None:
    """Without acknowledgements the client has no offsets, as for a batch that arrived twice."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": topic_name, "log_level": 0})
    store = StoreId("counts", Partition(0))
    command = Produce(make_topic(), records(b"one", b"two"), 0, store)
    config = {"bootstrap.servers": kafka, "linger.ms": 1}
    acked = PlainOutbox(config, consumer, Epochs(), native=native)
    acked.produce(command)
    assert acked.commit() == {store: 1}
    assert acked.commit() == {}
    unacked = PlainOutbox({**config, "acks": 0}, consumer, Epochs(), native=native)
    unacked.produce(command)
    with pytest.raises(Interrupted, match=r"did not say where the changelog of counts.* ends"):
        unacked.commit()
    consumer.close()


def test_aborting_what_is_on_its_way_never_ends_the_work(
    kafka: str, outbox: TransactionalOutbox, make_topic: MakeTopic
) -> None:
    """Aborted at once, the client would skip sequence numbers, or end what has not begun."""
    topics = [make_topic(partitions=8) for _ in range(3)]
    committed = tries = 0
    while committed < 12:
        tries += 1
        assert tries < 300
        outbox.begin()
        try:
            for topic in topics:
                for partition in range(8):
                    values = [b"%d" % committed for _ in range(20)]
                    outbox.produce(Produce(topic, records(*values), partition))
            if tries % 3:
                time.sleep(tries % 10 / 1000)
                raise Abortable  # noqa: TRY301 - as Kafka could at any time
            outbox.commit()
        except Abortable as error:
            print(tries, error)
            outbox.abort()
        else:
            committed += 1
    wanted = [b"%d" % number for number in range(12) for _ in range(20)]
    for topic in topics:
        rows = ledger.read(kafka, topic)
        for partition in range(8):
            assert [row.value for row in rows if row.partition == partition] == wanted


def test_offsets_are_not_waited_for_long_once_a_broker_is_lost(tmp_path: Path) -> None:
    with EmbeddedKafka.start(tmp_path, port=0) as broker:
        settings = {"bootstrap.servers": broker.bootstrap, "log_level": 0}
        ledger.create(broker.bootstrap, {"topic": 1})
        consumer = Consumer({**settings, "group.id": "group"})
        config = {**settings, "transactional.id": "name", "linger.ms": 1}
        outbox = TransactionalOutbox(config, consumer, Epochs(), print)
        outbox.take_over()
        outbox.begin()
        outbox.produce(Produce("topic", records(b"one")))
    source = TopicPartition("topic", Partition(0))
    with pytest.raises(Interrupted, match=r"did not take offsets in [1-4]\."):
        outbox.send_offsets({source: Position(Offset(1), Timestamp(0))})
    consumer.close()
