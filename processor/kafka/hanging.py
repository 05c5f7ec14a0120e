"""Transactions that nobody ends: where they begin, and the command that ends them.

Brokers older than 3.6 can be left with one, when a producer's last word comes late (KIP-890), and
so can a coordinator that was away. Whoever reads committed records stops before it, for good.
"""

import time
from contextlib import suppress
from typing import Any

from confluent_kafka import IsolationLevel
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.errors import KafkaError
from processor.kafka.clients import described
from processor.kafka.progress import list_offsets
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


def holding_offsets(admin: Any, bootstrap: str, group: str) -> str:
    """What to do about a transaction that holds a group's offsets back; empty if there is none."""
    with suppress(KafkaError):  # the broker may keep its own topic to itself
        source = _offsets_of(admin, group)
        start = first_open(admin, source)
        if start is not None:
            return (
                f" A transaction is open in {source} since offset {start}. If nobody works on it "
                f"any more, end it: {ending(bootstrap, source, start)}"
            )
    return ""


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
