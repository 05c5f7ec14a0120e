"""The ledger: what Kafka and the stores on disk hold, read without any of kproc's own readers.

Owns the reading and the checks that hold for every application: no open transaction, offsets at the
end of the input, stores equal to their changelogs. What an application's output should be, its own
tests work out.
"""

import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    Producer,
)
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import KafkaError, NewTopic
from rocksdict import AccessType, Options, Rdict

READ_TIMEOUT = 120.0
_PATIENCE = 120.0
_SWIFT = {"socket.timeout.ms": 3000, "socket.connection.setup.timeout.ms": 3000}
"""A broker that hangs is noticed soon."""

_SETTLING = {
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError._WAIT_COORD,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
}
"""What a broker answers that has just started, or has just been given a topic."""

_PASSING = {*_SETTLING, KafkaError._ALL_BROKERS_DOWN}
"""What a consumer reports when a broker goes, and resolves by itself."""

R = TypeVar("R")


class Row(NamedTuple):
    """One record as Kafka holds it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: tuple[tuple[str, bytes | None], ...]


@cache
def admin(kafka: str) -> Any:
    """The admin client; kept, as one that is let go of gives up what it was asked."""
    own = {"log_level": 0, "allow.auto.create.topics": False}
    return AdminClient({"bootstrap.servers": kafka, **own, **_SWIFT})


def _patiently(call: Callable[[], R]) -> R:
    """The result of a call, made again while the broker settles who leads and coordinates what."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return call()
        except KafkaException as error:
            if error.args[0].code() not in _SETTLING or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def create(kafka: str, topics: Mapping[str, int], **config: str) -> None:
    """Makes topics with these numbers of partitions; they can be written and read then."""
    wanted = [NewTopic(name, count, config=config) for name, count in topics.items()]
    for made in admin(kafka).create_topics(wanted).values():
        made.result(30)
    # The broker that answers next may learn of them, and of their leaders, a moment later.
    for topic, count in topics.items():
        while len(offsets(kafka, topic)) < count:
            time.sleep(0.01)


def delete(kafka: str, topics: Iterable[str]) -> None:
    """Deletes topics."""
    gone = set(topics)
    for deleted in admin(kafka).delete_topics(list(gone)).values():
        deleted.result(30)
    while any(exists(kafka, each) for each in gone):
        time.sleep(0.01)


def exists(kafka: str, topic: str) -> bool:
    """Whether there is such a topic."""
    return admin(kafka).list_topics(topic, timeout=30).topics[topic].error is None


def configure(kafka: str, topic: str, config: Mapping[str, str]) -> None:
    """Sets a topic's settings."""
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    admin(kafka).incremental_alter_configs([resource])[resource].result(30)


def delete_before(kafka: str, changelog: str, offsets: Mapping[int, int]) -> None:
    """Deletes the beginning of a changelog, which an operator can only do if it allows that."""
    configure(kafka, changelog, {"cleanup.policy": "compact,delete"})
    wanted = [ClientPartition(changelog, each, offset) for each, offset in offsets.items()]
    deadline = time.monotonic() + _PATIENCE
    while not _is_deleted(kafka, wanted):
        assert time.monotonic() < deadline, "the broker never learns that it may delete"
        time.sleep(0.01)
    configure(kafka, changelog, {"cleanup.policy": "compact"})


def _is_deleted(kafka: str, before: list[ClientPartition]) -> bool:
    """Whether the broker has deleted them: it follows the topic's settings a moment later."""
    try:
        for deleted in admin(kafka).delete_records(before).values():
            deleted.result(30)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.POLICY_VIOLATION:
            return False
        raise
    return True


def write(kafka: str, topic: str, rows: Iterable[tuple[Any, ...]], **config: Any) -> None:
    """Writes (partition, key, value, timestamp, headers) in order; the last two may be left out."""
    settings = {"bootstrap.servers": kafka, "enable.idempotence": True, "log_level": 0, **config}
    producer = Producer(settings)
    for row in rows:
        produce(producer, topic, *row)
    assert producer.flush(60) == 0


def produce(
    producer: Producer,
    topic: str,
    partition: int,
    key: str | bytes | None,
    value: str | bytes | None,
    timestamp: int = 0,
    headers: Sequence[tuple[str, bytes | None]] = (),
) -> None:
    """Sends one record, waiting where the queue is full."""
    extra: dict[str, Any] = {"timestamp": timestamp} if timestamp else {}
    while True:
        try:
            return producer.produce(
                topic, value, key, partition, headers=list(headers), on_delivery=_arrived, **extra
            )
        except BufferError:
            producer.poll(0.1)


def _arrived(error: KafkaError | None, _message: object) -> None:
    # Aborting a transaction purges what was not sent yet.
    assert error is None or error.code() in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT), (
        error
    )


def read(kafka: str, topic: str) -> list[Row]:
    """All committed records of a topic, by partition and offset."""
    return read_all(kafka, [topic])[topic]


def read_all(
    kafka: str, topics: Iterable[str], since: Mapping[tuple[str, int], int] = MappingProxyType({})
) -> dict[str, list[Row]]:
    """All committed records of topics, each topic's by partition and offset.

    Args:
        kafka: The broker's address.
        topics: The topics.
        since: Where to begin, for partitions that are not read from their beginning.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": "ledger",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
            "log_level": 0,
            **_SWIFT,
        }
    )
    rows: dict[str, list[Row]] = {topic: [] for topic in topics}
    ends = {(topic, each): end for topic in rows for each, end in offsets(kafka, topic).items()}
    firsts = {
        (topic, each): max(first, since.get((topic, each), 0))
        for topic in rows
        for each, first in offsets(kafka, topic, OffsetSpec.earliest()).items()
    }
    left = {each for each, end in ends.items() if end > firsts[each]}
    # With the topics known, the client need not wait for its one-second timer to ask about them.
    _patiently(lambda: [consumer.list_topics(topic, timeout=5) for topic in rows])
    consumer.assign([ClientPartition(*each, firsts[each]) for each in left])
    deadline = time.monotonic() + READ_TIMEOUT
    while left:
        assert time.monotonic() < deadline, f"{left} do not come to their ends"
        for message in consumer.consume(1000, 0.02):
            error: Any = message.error()
            if error is None:
                rows[message.topic() or ""].append(_row(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                source = (message.topic() or "", message.partition() or 0)
                if (message.offset() or 0) >= ends[source]:
                    left.discard(source)
            elif error.code() not in _PASSING:
                raise AssertionError(error)
    consumer.close()
    return {topic: sorted(found, key=itemgetter(0, 1)) for topic, found in rows.items()}


def read_on(kafka: str, topic: str, seen: Sequence[Row]) -> list[Row]:
    """All committed records of a topic, of which those that were seen are not read again."""
    since = {(topic, row.partition): row.offset + 1 for row in seen}
    return sorted([*seen, *read_all(kafka, [topic], since)[topic]], key=itemgetter(0, 1))


def _row(message: Any) -> Row:
    return Row(
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        message.timestamp()[1],
        tuple(message.headers() or ()),
    )


def offsets(
    kafka: str,
    topic: str,
    which: Any = None,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> dict[int, int]:
    """An offset of each partition: by default the end, records of open transactions included."""
    client = admin(kafka)

    def ask() -> dict[int, int]:
        count = len(client.list_topics(topic, timeout=5).topics[topic].partitions)
        if count == 0:  # the broker that answers does not know of the topic yet
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        wanted = which or OffsetSpec.latest()
        asked = {ClientPartition(topic, each): wanted for each in range(count)}
        answers = client.list_offsets(asked, isolation_level=isolation, request_timeout=5)
        found = {each.partition: future.result().offset for each, future in answers.items()}
        if min(found.values()) < 0:  # the client's word for: no leader has answered
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        return found

    return _patiently(ask)


def committed(kafka: str, group: str, topics: Iterable[str]) -> dict[tuple[str, int], int]:
    """What the group has committed, pending commits of open transactions waited for."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": group,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    asked = [ClientPartition(topic, each) for topic in topics for each in offsets(kafka, topic)]

    def ask() -> list[ClientPartition]:
        found = consumer.committed(asked, 30)
        for each in found:
            if each.error is not None:
                raise KafkaException(each.error)
        return found

    found = _patiently(ask)
    consumer.close()
    return {(each.topic, each.partition): each.offset for each in found}


def await_stable(kafka: str, topics: Iterable[str]) -> None:
    """Checks that no transaction is open in the topics: last stable offset and end are equal.

    The markers of a commit come a moment after it is acknowledged.
    """
    deadline = time.monotonic() + _PATIENCE
    for topic in topics:
        while True:
            stable = offsets(kafka, topic, isolation=IsolationLevel.READ_COMMITTED)
            ends = offsets(kafka, topic)
            if stable == ends:
                break
            assert time.monotonic() < deadline, f"{topic}: a transaction is open: {stable} {ends}"
            time.sleep(0.02)


def check_processed(kafka: str, group: str, topics: Iterable[str]) -> None:
    """Checks that no record of the topics is behind what the group has committed.

    A transaction's marker may be: it comes after the commit that it stands for.
    """
    found = committed(kafka, group, topics)
    for topic, left in read_all(kafka, topics, found).items():
        assert not left, f"{topic}: {len(left)} records are not processed, the first: {left[0]}"


def state_of(changelog: Iterable[Row]) -> dict[int, dict[bytes, bytes]]:
    """What a changelog says, by partition: the last value of each key that has one."""
    state: dict[int, dict[bytes, bytes]] = {}
    for row in changelog:
        values = state.setdefault(row.partition, {})
        assert row.key is not None
        if row.value is None:
            values.pop(row.key, None)
        else:
            values[row.key] = row.value
    return state


def store(directory: Path) -> tuple[int, dict[bytes, bytes]]:
    """A store's changelog position and contents, as they are on disk.

    The keys of zero bytes only, which kproc shifts to make room for the position, are not expected.
    """
    database = Rdict(
        str(directory / "data"), Options(raw_mode=True), access_type=AccessType.read_only()
    )
    contents = {bytes(key): bytes(value) for key, value in database.items()}  # type: ignore[arg-type]
    database.close()
    position = contents.pop(b"", None)
    return 0 if position is None else struct.unpack(">qq", position)[0], contents


def age(directory: Path, days: float) -> None:
    """Makes a store look as if it had last been up to date so long ago."""
    database = Rdict(str(directory / "data"), Options(raw_mode=True))
    position, written = struct.unpack(">qq", database[b""])
    database[b""] = struct.pack(">qq", position, written - int(days * 86_400_000))
    database.close()


def check_store(
    directory: Path, ends: Mapping[int, int], changelog: Iterable[Row]
) -> dict[int, dict[bytes, bytes]]:
    """Checks that a store equals its changelog in every partition; returns its contents.

    Args:
        directory: Of the store; it has one folder for each partition.
        ends: The end of each partition of the changelog.
        changelog: What is committed in it.
    """
    said = state_of(changelog)
    contents: dict[int, dict[bytes, bytes]] = {}
    for partition, end in ends.items():
        position, contents[partition] = store(directory / str(partition))
        assert position <= end, f"{directory} is ahead of its changelog"
        assert contents[partition] == said.get(partition, {}), f"{directory} is not its changelog"
    return contents


def by_key(rows: Iterable[Row]) -> dict[str, list[bytes | None]]:
    """The values of each key in the order of their offsets."""
    values: dict[str, list[bytes | None]] = {}
    for row in rows:
        values.setdefault((row.key or b"").decode(), []).append(row.value)
    return values


def first_difference(found: Sequence[Any], wanted: Sequence[Any]) -> str:
    """Where two sequences begin to differ, for a message."""
    for number, (one, other) in enumerate(zip(found, wanted, strict=False)):
        if one != other:
            return f"number {number} is {one!r}, not {other!r}"
    extra = len(found) - len(wanted)
    what = f"{extra} more than expected" if extra > 0 else f"{-extra} missing at the end"
    return f"{what} ({len(found)} found)" if extra else "none"


def check_sequences(
    found: Mapping[str, Sequence[Any]], wanted: Mapping[str, Sequence[Any]], what: str
) -> None:
    """Checks that each key has exactly the values it should have, in their order."""
    assert set(found) == set(wanted), f"{what}: keys {set(found) ^ set(wanted)}"
    for key, values in wanted.items():
        difference = first_difference(found[key], values)
        assert list(found[key]) == list(values), f"{what}, key {key}: {difference}"


def delete_group(kafka: str, group: str) -> None:
    """Deletes a consumer group with its offsets, as soon as its members are forgotten."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return admin(kafka).delete_consumer_groups([group])[group].result(30)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.NON_EMPTY_GROUP or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def set_offsets(kafka: str, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
    """Sets what a group has committed, as soon as its members are forgotten."""
    wanted = [ClientPartition(*source, offset) for source, offset in offsets.items()]
    asked = ConsumerGroupTopicPartitions(group, wanted)
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            done = admin(kafka).alter_consumer_group_offsets([asked])[group].result(30)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_MEMBER_ID:
                raise
        else:
            if all(each.error is None for each in done.topic_partitions):
                return
        assert time.monotonic() < deadline, "the group's members are not forgotten"
        time.sleep(0.1)
