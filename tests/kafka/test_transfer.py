"""Moving records by hand, against a real Kafka."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import Message, Producer

from processor.errors import BrokerUnreachable, Fenced, KafkaError, TopicMismatch, UsageError
from processor.kafka.clients import create_topic, partitions_of, take_over_transactions
from processor.kafka.transfer import Row, has_records, load_once, paced, produce_rows, read
from processor.local.embedded import free_port
from processor.records import Partition, Timestamp

pytestmark = pytest.mark.kafka
MakeTopic = Callable[..., str]


@pytest.fixture
def config(kafka: str) -> dict[str, str]:
    return {"bootstrap.servers": kafka}


def rows(count: int) -> list[Row]:
    return [
        Row(b"k%d" % each, b"v%d" % each, Timestamp(1_600_000_000_000 + each))
        for each in range(count)
    ]


def every(config: dict[str, str], topic: str, **how: object) -> list[Message]:
    batches = read(config, topic, until_end=True, **how)  # type: ignore[arg-type]
    return list(itertools.chain.from_iterable(batches))


def as_row(message: Message) -> Row:
    return Row(message.key(), message.value(), Timestamp(message.timestamp()[1]))


def test_rows_come_out_as_they_went_in(config: dict[str, str], make_topic: MakeTopic) -> None:
    topic = make_topic(partitions=3)
    calls: list[tuple[int, int | None]] = []
    wrote = produce_rows(config, topic, rows(2000), 2000, lambda done, of: calls.append((done, of)))
    assert wrote == 2000
    assert calls[-1] == (2000, 2000)
    messages = every(config, topic)
    assert sorted(map(as_row, messages)) == sorted(rows(2000))
    assert {message.partition() for message in messages} == {0, 1, 2}


def test_keys_lie_where_java_clients_put_them(
    config: dict[str, str], make_topic: MakeTopic
) -> None:
    topic = make_topic(partitions=10)
    produce_rows(
        config, topic, [Row(key, b"") for key in (b"21", b"foobar", b"a-little-bit-long-string")]
    )
    # murmur2 of these keys as in the tests of Kafka's Utils, made positive, modulo 10.
    hashes = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    produce_rows(config, topic, [Row(key, b"") for key in hashes])
    expected = {key: (each & 0x7FFFFFFF) % 10 for key, each in hashes.items()}
    assert {message.key(): message.partition() for message in every(config, topic)} == expected


def test_null_keys_values_and_missing_timestamps(
    config: dict[str, str], make_topic: MakeTopic
) -> None:
    topic = make_topic()
    before = time.time() * 1000
    produce_rows(config, topic, [Row(None, None)])
    (message,) = every(config, topic)
    assert (message.key(), message.value()) == (None, None)
    assert message.timestamp()[1] >= int(before)


def test_a_record_that_the_broker_refuses_is_an_error(
    config: dict[str, str], make_topic: MakeTopic
) -> None:
    topic = make_topic(**{"max.message.bytes": "1000"})
    with pytest.raises(KafkaError, match=r"write to .*Message size too large.*max.message.bytes"):
        produce_rows(config, topic, [Row(None, os.urandom(5000))])


def test_what_came_before_a_bad_row_is_written(
    config: dict[str, str], make_topic: MakeTopic
) -> None:
    topic = make_topic()

    def broken() -> Iterator[Row]:
        yield from rows(3)
        raise ValueError("bad row")

    with pytest.raises(ValueError, match="bad row"):
        produce_rows(config, topic, broken())
    assert len(every(config, topic)) == 3


def test_missing_topics_and_brokers_are_said_so(config: dict[str, str], topic_name: str) -> None:
    with pytest.raises(TopicMismatch, match=f"no topic '{topic_name}'"):
        produce_rows(config, topic_name, rows(1))
    with pytest.raises(TopicMismatch):
        every(config, topic_name)
    create_topic(config, topic_name, 1)
    with pytest.raises(TopicMismatch, match=f"Names like it: {topic_name}"):
        every(config, f"{topic_name}s")
    nobody = {"bootstrap.servers": f"127.0.0.1:{free_port()}"}
    with pytest.raises(BrokerUnreachable, match="kproc dev"):
        partitions_of(nobody, topic_name)


def test_a_topic_is_created_once(config: dict[str, str], topic_name: str) -> None:
    assert create_topic(config, topic_name, 2, {"retention.ms": "-1"})
    assert not create_topic(config, topic_name, 5)
    assert partitions_of(config, topic_name) == 2
    with pytest.raises(KafkaError, match="create the topic"):
        create_topic(config, "no such / name", 1)


def test_pace(config: dict[str, str]) -> None:
    start = time.monotonic()
    assert len(list(paced(rows(21), rate=100))) == 21
    assert time.monotonic() - start >= 0.2


def test_reads_chosen_partitions_and_no_more_than_asked(
    config: dict[str, str], make_topic: MakeTopic
) -> None:
    topic = make_topic(partitions=3)
    produce_rows(config, topic, rows(1500))
    one = every(config, topic, partitions=[Partition(1)])
    assert {message.partition() for message in one} == {1}
    assert len(every(config, topic, limit=7)) == 7
    assert every(config, topic, start="end") == []
    with pytest.raises(UsageError, match="no partition 3: it has 0 to 2"):
        every(config, topic, partitions=[Partition(3)])


def test_the_end_is_found_behind_markers_and_aborted_records(
    config: dict[str, str], make_topic: MakeTopic, topic_name: str
) -> None:
    topic = make_topic()
    producer = Producer({**config, "transactional.id": topic_name})
    take_over_transactions(producer)
    for commit in (True, False):
        producer.begin_transaction()
        producer.produce(topic, b"committed" if commit else b"aborted")
        producer.flush()
        (producer.commit_transaction if commit else producer.abort_transaction)(10)
    assert [message.value() for message in every(config, topic)] == [b"committed"]
    producer.begin_transaction()
    producer.produce(topic, b"open")
    producer.flush()
    assert [message.value() for message in every(config, topic)] == [b"committed"]
    producer.abort_transaction(10)


def test_loads_once(config: dict[str, str], make_topic: MakeTopic) -> None:
    topic = make_topic(partitions=2)
    assert not has_records(config, topic)
    assert load_once(config, topic, rows(1000)) == 1000
    while not has_records(config, topic):  # markers come after the commit is acknowledged
        time.sleep(0.02)
    assert load_once(config, topic, iter_that_must_not_run()) == 0
    assert sorted(map(as_row, every(config, topic))) == sorted(rows(1000))


def iter_that_must_not_run() -> Iterator[Row]:
    raise AssertionError
    yield


def test_a_failed_load_leaves_nothing(config: dict[str, str], make_topic: MakeTopic) -> None:
    topic = make_topic()

    def broken() -> Iterator[Row]:
        yield from rows(1000)
        raise ValueError("bad row")

    with pytest.raises(ValueError, match="bad row"):
        load_once(config, topic, broken())
    assert not has_records(config, topic)
    assert load_once(config, topic, rows(10)) == 10


def test_a_killed_load_leaves_nothing_and_does_not_delay_the_next(
    config: dict[str, str], make_topic: MakeTopic
) -> None:
    topic = make_topic(partitions=2)
    script = (
        "import os, signal, sys, time\n"
        "from processor.kafka.transfer import Row, load_once\n"
        "def rows():\n"
        "    for each in range(100_000):\n"
        "        yield Row(b'%d' % each, b'dead')\n"
        "    time.sleep(1)\n"
        "    print('written', flush=True)\n"
        "    time.sleep(60)\n"
        "load_once({'bootstrap.servers': sys.argv[1]}, sys.argv[2], rows())\n"
    )
    command = [sys.executable, "-c", script, config["bootstrap.servers"], topic]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
    # The transaction's timeout is a quarter of an hour.
    assert load_once(config, topic, rows(100)) == 100
    assert sorted(map(as_row, every(config, topic))) == sorted(rows(100))


def test_of_loads_at_once_one_wins(config: dict[str, str], make_topic: MakeTopic) -> None:
    topic = make_topic()

    def load(_: int) -> int:
        try:
            return load_once(config, topic, rows(500))
        except Fenced:
            return 0

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(load, range(4))) == 500
    assert len(every(config, topic)) == 500
