"""Transactions that nobody ends: where they begin, and the command that ends them.

Brokers older than 3.6 can be left with one, when a producer's last word comes late (KIP-890), and
so can a coordinator that was away. Whoever reads committed records stops before it, for good.
"""

import time
from collections.abc import Collection
from contextlib import suppress
from io import BytesIO
from typing import Any

from confluent_kafka import Consumer, IsolationLevel
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.errors import KafkaError
from processor.kafka.clients import COMMON, ClientConfig, described
from processor.kafka.progress import list_offsets
from processor.kafka.reader import Reader, reading_config
from processor.records import Offset, Partition, TopicPartition

_OFFSETS = "__consumer_offsets"
_TIMEOUT = 10.0
_APART = 1.0
"""Seconds between two looks: what is still the first open transaction then has lasted."""


def ending(bootstrap: str, source: TopicPartition, start: Offset) -> str:
    """The command of Kafka's own tool that ends the transaction which begins there."""
    return (
        f"kafka-transactions.sh --bootstrap-server {bootstrap} abort --topic {source.topic} "
        f"--partition {source.partition} --start-offset {start}"
    )


def first_open(admin: Any, source: TopicPartition) -> Offset | None:
    """Where the first transaction begins that is open in a partition, and was a second before.

    Raises:
        KafkaError: The broker does not answer.
    """

    def stable() -> Offset:
        level = IsolationLevel.READ_COMMITTED
        return list_offsets(admin, [source], OffsetSpec.latest(), level)[source]

    start = stable()
    time.sleep(_APART)
    end = list_offsets(admin, [source], OffsetSpec.latest())[source]
    return start if start < end and stable() == start else None


def holding_offsets(
    admin: Any, client: ClientConfig, group: str, sources: Collection[TopicPartition]
) -> str:
    """What to do about a transaction that holds a group's offsets back; empty if there is none.

    Other groups have their offsets in the same partition: their transactions are left alone.

    Args:
        admin: The client to ask with.
        client: The settings of one that reads.
        group: The group.
        sources: Whose offsets are held back, all of one slot.
    """
    with suppress(KafkaError):  # the broker may keep its own topic to itself
        place = _offsets_of(admin, group)
        first = first_open(admin, place)
        start = None if first is None else _start_of(admin, client, group, sources, place, first)
        if start is not None:
            return (
                f" A transaction is open in {place} since offset {start}. If nobody works on it "
                f"any more, end it: {ending(str(client['bootstrap.servers']), place, start)}"
            )
    return ""


def _start_of(
    admin: Any,
    client: ClientConfig,
    group: str,
    sources: Collection[TopicPartition],
    place: TopicPartition,
    first: Offset,
) -> Offset | None:
    """Where the transaction begins that committed offsets of these partitions last.

    They are next to each other: there is a marker between transactions of one producer.
    """
    config = {**COMMON, **client, **reading_config(group), "isolation.level": "read_uncommitted"}
    ends = list_offsets(admin, [place], OffsetSpec.latest())
    wanted = {(group, *source) for source in sources}
    consumer, found, start, before = Consumer(config), None, first, -1
    try:
        for batch in Reader(consumer, {place: first}).until(ends, _TIMEOUT):
            for message in batch:
                committed, offset = committed_by(message.key() or b""), message.offset() or 0
                if committed is None or committed[0] != group:
                    continue
                start = start if offset == before + 1 else Offset(offset)
                found, before = start if committed in wanted else found, offset
        return found
    finally:
        consumer.close()


def committed_by(key: bytes) -> tuple[str, str, int] | None:
    """Whose offset a record of the offsets topic has: group, topic, partition; None: no offset.

    The form is Kafka's `OffsetCommitKey`, versions 0 and 1: texts with two bytes of length.
    """
    reading = BytesIO(key)

    def text() -> str:
        return reading.read(int.from_bytes(reading.read(2), "big")).decode()

    if int.from_bytes(reading.read(2), "big") > 1:
        return None
    return text(), text(), int.from_bytes(reading.read(4), "big")


def _offsets_of(admin: Any, group: str) -> TopicPartition:
    """Where Kafka keeps a group's offsets: by Java's hash of its name."""
    topics = described(admin, [_OFFSETS], _TIMEOUT)
    count = len(topics[_OFFSETS].partitions) if _OFFSETS in topics else 0
    if not count:
        raise KafkaError(f"Kafka does not show {_OFFSETS}")
    return TopicPartition(_OFFSETS, Partition(offsets_partition(group, count)))


def offsets_partition(group: str, count: int) -> int:
    """The partition of a group's offsets: its name's hash in Java, without its sign (Utils.abs)."""
    code = 0
    for each in group:
        code = (31 * code + ord(each)) & 0xFFFFFFFF
    signed = code - 2**32 if code >= 2**31 else code
    return 0 if signed == -(2**31) else abs(signed) % count
