"""However many records go by the native plane, memory stays what it is."""

import gc
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as ClientPartition

from processor.native.client import Handle, made, missing

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(bool(missing()), reason=missing() or "it is there"),
]
MakeTopic = Callable[..., str]

_RECORDS = 200_000
_BATCH = 10_000
_WARM = 2
"""Rounds after which the client's queues and the allocator have what they need."""

_MOST = 24 * 2**20
"""Bytes of growth that are none: one small object for each record of ten rounds would be more."""


def resident() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def least_growth(work: Callable[[], None]) -> int:
    """Bytes by which the process grows, of three times: what leaks does so each time."""
    grown: list[int] = []
    while len(grown) < 3 and min(grown, default=_MOST) >= _MOST:
        before = resident()
        work()
        grown.append(resident() - before)
    return min(grown)


def produce(client: Producer, handle: Handle, topic: str) -> None:
    values: Any = [b"value %d" % number for number in range(_BATCH)]
    headers: Any = [
        (("name", b"%d" % number),) if number % 10 == 0 else () for number in range(_BATCH)
    ]
    times: Any = list(range(1_700_000_000_000, 1_700_000_000_000 + _BATCH))
    for _ in range(_RECORDS // _BATCH):
        row = 0
        while row < _BATCH:
            row, code = handle.produce(topic, 0, values, values, times, headers, row)
            if code:
                client.poll(0.05)
    assert client.flush(60) == 0


def consume(client: Consumer, handle: Handle, topic: str) -> None:
    client.assign([ClientPartition(topic, 0, 0)])
    got = 0
    while got < _RECORDS:
        got += sum(1 for each in client.consume(_BATCH, 0) if each.error() is None)
        handle.take(topic, 0)
        runs, _ = handle.fetch(_BATCH, 100)
        got += sum(len(run[2]) for run in runs)


@pytest.mark.parametrize(
    "rounds", [10, pytest.param(500, marks=[pytest.mark.long, pytest.mark.timeout(7200)])]
)
def test_nothing_is_left_of_records(kafka: str, make_topic: MakeTopic, rounds: int) -> None:
    """2 million records read and as many written, or 100 million."""
    topic, other = make_topic(), make_topic(**{"retention.bytes": "10000000"})
    servers = {"bootstrap.servers": kafka}
    reading = {"group.id": topic, "auto.offset.reset": "error", "queued.max.messages.kbytes": 4096}
    writer, written = made(Producer, {**servers, "queue.buffering.max.messages": 20_000})
    reader, read = made(Consumer, {**servers, **reading})
    produce(writer, written, topic)

    def work(times: int) -> None:
        for _ in range(times):
            produce(writer, written, other)
            consume(reader, read, topic)

    work(_WARM)
    assert least_growth(lambda: work(rounds)) < _MOST
    read.release()
    reader.close()


def test_nothing_is_left_of_clients() -> None:
    """Each has a queue, and a word between librdkafka and the extension."""
    nowhere = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0, "group.id": "g"}

    def work(times: int) -> None:
        for _ in range(times):
            client, handle = made(Consumer, nowhere)
            assert handle.fetch(1000, 0) == ([], [])
            handle.release()
            client.close()

    work(20)
    assert least_growth(lambda: work(40)) < _MOST
