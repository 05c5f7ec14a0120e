"""What every use of a Kafka client here has in common: errors, topics, taking over a transaction.

Owns the one table that turns the client's errors into those of `processor.errors`. Knows nothing of
records or topologies.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeAlias, TypeVar

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._metadata import TopicMetadata
from confluent_kafka.cimpl import KafkaError as ClientError
from confluent_kafka.cimpl import NewTopic

from processor.errors import (
    BrokerUnreachable,
    Fenced,
    KafkaError,
    KprocError,
    PermissionDenied,
    RecordRefused,
    SettingsError,
    TopicMismatch,
)
from processor.records import TopicPartition

R = TypeVar("R")

_Client: TypeAlias = Producer | Consumer | AdminClient

ClientConfig: TypeAlias = Mapping[str, Any]
"""Settings of librdkafka by name; those every client needs, `bootstrap.servers` first of all."""


def _logger() -> logging.Logger:
    """Writes to stderr what librdkafka logs, but for fatal errors: those are raised as well."""
    logger = logging.getLogger("processor.librdkafka")
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: record.levelno < logging.CRITICAL)
    logger.addHandler(handler)
    logger.propagate = False
    return logger


COMMON: Mapping[str, Any] = {
    "log_level": 0,
    "logger": _logger(),
    "allow.auto.create.topics": False,
}
"""What every client here is made with.

librdkafka logs what it raises as well; once is enough. And a producer asks for topics in a way that
has brokers make those that are missing, as they are set by default: one that somebody deletes would
be there again, empty.
"""

RECONNECT: Mapping[str, Any] = {
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 500,
}
"""By default a coordinator that has moved, or a broker that is back, may be tried 10 s later."""

_ADMIN: Mapping[str, Any] = {**COMMON, **RECONNECT, "enable.sparse.connections": False}
"""By default an admin client connects to a broker only where it is asked something that this broker
has to answer. While the broker is away it tries again without a pause, which takes a core for as
long as the question waits (librdkafka 2.16.0, `rd_kafka_broker_get_async`). One that holds its
connections anyway pauses between its tries.
"""

_REQUEST_TIMEOUT = 10.0
_PROMPT = 2.0
"""Seconds after which another broker is asked, or why none answers."""
_ASKED = 3
"""How many are asked for so long each."""

_CREATION_TIMEOUT = 30.0
_MOST_NAMED = 10
"""Topics that an error lists."""

_TRANSACTION_TRY = 0.05
_UNREACHABLE = {
    ClientError._ALL_BROKERS_DOWN,  # noqa: SLF001 - the client's names for its own, local errors
    ClientError._MSG_TIMED_OUT,  # noqa: SLF001
    ClientError._RESOLVE,  # noqa: SLF001
    ClientError._TIMED_OUT,  # noqa: SLF001
    ClientError._TRANSPORT,  # noqa: SLF001
}
_DENIED = {
    ClientError.CLUSTER_AUTHORIZATION_FAILED,
    ClientError.GROUP_AUTHORIZATION_FAILED,
    ClientError.TOPIC_AUTHORIZATION_FAILED,
    ClientError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}
_INSECURE: Mapping[int, str] = {
    ClientError._AUTHENTICATION: "check sasl.mechanism, sasl.username and sasl.password",  # noqa: SLF001
    ClientError.SASL_AUTHENTICATION_FAILED: "check sasl.username and sasl.password",
    ClientError._SSL: "check security.protocol, and the files in ssl.ca.location, "  # noqa: SLF001
    "ssl.certificate.location and ssl.key.location",
}
"""What no other try fixes, and what to do."""

FENCED = {
    ClientError._FENCED,  # noqa: SLF001
    ClientError.FENCED_INSTANCE_ID,
    ClientError.INVALID_PRODUCER_EPOCH,
    ClientError.PRODUCER_FENCED,
}
PURGED = {
    ClientError._PURGE_INFLIGHT,  # noqa: SLF001
    ClientError._PURGE_QUEUE,  # noqa: SLF001
}
"""What becomes known of records whose transaction has ended; why it did is another error."""

PASSING = {
    ClientError._ALL_BROKERS_DOWN,  # noqa: SLF001
    ClientError._RESOLVE,  # noqa: SLF001
    ClientError._TIMED_OUT,  # noqa: SLF001
    ClientError._TRANSPORT,  # noqa: SLF001
    ClientError.COORDINATOR_LOAD_IN_PROGRESS,
    ClientError.COORDINATOR_NOT_AVAILABLE,
    ClientError.LEADER_NOT_AVAILABLE,
    ClientError.NOT_COORDINATOR,
    ClientError.NOT_LEADER_FOR_PARTITION,
}
"""What a consumer reports, and resolves by itself."""

OUTDATED = {
    ClientError._NOENT,  # noqa: SLF001
    ClientError._TIMED_OUT,  # noqa: SLF001
    ClientError._TRANSPORT,  # noqa: SLF001
    ClientError._UNKNOWN_PARTITION,  # noqa: SLF001
    ClientError.LEADER_NOT_AVAILABLE,
    ClientError.NOT_LEADER_FOR_PARTITION,
    ClientError.FENCED_LEADER_EPOCH,
    ClientError.UNKNOWN_LEADER_EPOCH,
}
"""What comes of a client's knowledge of topics being older than the cluster, or newer."""

_SETTLING = OUTDATED | {
    ClientError._TIMED_OUT,  # noqa: SLF001
    ClientError._WAIT_COORD,  # noqa: SLF001
    ClientError.COORDINATOR_LOAD_IN_PROGRESS,
    ClientError.COORDINATOR_NOT_AVAILABLE,
    ClientError.LEADER_NOT_AVAILABLE,
    ClientError.NOT_COORDINATOR,
    ClientError.NOT_LEADER_FOR_PARTITION,
    ClientError.OFFSET_NOT_AVAILABLE,
    ClientError.UNSTABLE_OFFSET_COMMIT,
}
UNFIT: Mapping[int, str] = {
    ClientError.INVALID_RECORD: "fix what the topology writes",
    ClientError.INVALID_TIMESTAMP: "fix the function that sets the timestamp, or set the topic's "
    "message.timestamp.before.max.ms and message.timestamp.after.max.ms",
    ClientError.MSG_SIZE_TOO_LARGE: "raise the topic's max.message.bytes, or lower the setting "
    "max_record_bytes, so that such a record is a bad record",
    ClientError.POLICY_VIOLATION: "see what the brokers' policies want",
    ClientError.RECORD_LIST_TOO_LARGE: "raise the topic's segment.bytes",
}
"""What a topic takes no records for, however often they are sent, and what to do."""

_TOO_LONG: Mapping[int, str] = {
    ClientError.INVALID_TRANSACTION_TIMEOUT: "lower the setting transaction_timeout to what the "
    "brokers allow, their transaction.max.timeout.ms, or raise that",
    ClientError.INVALID_SESSION_TIMEOUT: "set session_timeout, or consumer.max.poll.interval.ms if "
    "that is shorter, to what the brokers allow: between their group.min.session.timeout.ms and "
    "group.max.session.timeout.ms",
}
"""Durations that the brokers do not allow, and what to do."""

_TOPIC = {
    ClientError._UNKNOWN_PARTITION,  # noqa: SLF001
    ClientError._UNKNOWN_TOPIC,  # noqa: SLF001
    ClientError.UNKNOWN_TOPIC_OR_PART,
}


def translated(  # noqa: PLR0911 - a table
    error: KafkaException | ClientError, doing: str
) -> KprocError:
    """The error of kproc for one of the client; `doing` completes "Kafka failed to ..."."""
    cause: Any = error.args[0] if isinstance(error, KafkaException) else error
    code, text = cause.code(), cause.str()
    if code in _UNREACHABLE:
        return _unreachable(doing, text)
    if code in _INSECURE:
        return _refusal(code, text)
    if code in _DENIED:
        return PermissionDenied(f"Kafka forbids to {doing} ({text}): have it allowed by an ACL.")
    if code in FENCED:
        return Fenced(f"Another process does the same work, so Kafka refused to {doing} ({text}).")
    if code in _TOPIC:
        return TopicMismatch(f"Kafka failed to {doing} ({text}): create the topic first.")
    if code in UNFIT:
        return RecordRefused(f"Kafka refused to {doing} ({text}): {UNFIT[code]}.")
    if code in _TOO_LONG:
        return SettingsError(f"Kafka refused to {doing} ({text}): {_TOO_LONG[code]}.")
    return KafkaError(f"Kafka failed to {doing}: {text} ({cause.name()}).")


def _refusal(code: int, text: str) -> PermissionDenied:
    return PermissionDenied(
        f"there is no safe connection with Kafka ({text}): {_INSECURE[code]} in [kafka]; "
        "`kproc config` shows where each is from."
    )


def patiently(call: Callable[[], R], doing: str, timeout: float = 30.0) -> R:
    """The result of a call, made again while the cluster settles who leads and coordinates what.

    Raises:
        KprocError: it failed for another reason, or the cluster did not settle within `timeout`
            seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return call()
        except KafkaException as error:
            if error.args[0].code() not in _SETTLING or time.monotonic() > deadline:
                raise translated(error, doing) from error
        time.sleep(0.05)


def admin_client(config: ClientConfig) -> AdminClient:
    """A client that asks brokers, and alters what they hold; with the settings of the user."""
    return AdminClient({**_ADMIN, **config})


def asking_config(group: str) -> ClientConfig:
    """Of a consumer that only asks, and sees what is committed without waiting for what may be."""
    return {
        "group.id": group,
        "enable.auto.commit": False,
        "isolation.level": "read_uncommitted",
    }


def committed(
    consumer: Consumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, ClientPartition]:
    """The partitions with the offsets and metadata that the consumer's group has committed.

    An offset is negative where nothing has been committed.

    Raises:
        KprocError: the broker does not answer one of them.
    """
    asked = list(partitions)

    def ask() -> list[ClientPartition]:
        found = consumer.committed([ClientPartition(*each) for each in asked], _REQUEST_TIMEOUT)
        for partition in found:
            if partition.error is not None:
                raise KafkaException(partition.error)
        return found

    return dict(zip(asked, patiently(ask, "say what is committed"), strict=True))


def committed_by(
    client: ClientConfig, group: str, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, ClientPartition]:
    """The same for a group that no consumer is at hand of.

    Raises:
        KprocError: the broker does not answer one of them.
    """
    member = Consumer({**COMMON, **client, **asking_config(group)})
    try:
        return committed(member, partitions)
    finally:
        member.close()


def commit_for(
    client: ClientConfig, group: str, offsets: Mapping[TopicPartition, int], doing: str
) -> None:
    """Commits offsets for a group that has no member.

    Raises:
        KprocError: the broker refuses it.
    """
    positions = [ClientPartition(*source, offset) for source, offset in offsets.items()]
    member = Consumer({**COMMON, **client, **asking_config(group)})
    try:
        patiently(lambda: member.commit(offsets=positions, asynchronous=False), doing)
    finally:
        member.close()


def connect(client: _Client, topics: Iterable[str]) -> None:
    """Connects a client that is new or was idle; it knows the brokers and these topics then.

    Without that the client asks for a topic on a timer of one second.

    Raises:
        KprocError: no broker answers.
    """
    described(client, topics, _REQUEST_TIMEOUT)


def watermarks(consumer: Consumer, partition: ClientPartition) -> tuple[int, int]:
    """The partition's first offset and its end, or last stable offset, as the consumer reads.

    Raises:
        KprocError: The broker does not answer.
    """

    def ask() -> tuple[int, int]:
        try:
            return consumer.get_watermark_offsets(partition, _REQUEST_TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() == ClientError._UNKNOWN_PARTITION:  # noqa: SLF001
                # It would go by the partitions that it knows for minutes.
                connect(consumer, [partition.topic])
            raise

    return patiently(ask, f"find the end of {partition.topic}")


def described(
    client: _Client, topics: Iterable[str], timeout: float = 30.0
) -> Mapping[str, TopicMetadata]:
    """Those of the topics that there are, asked of another broker where one hangs.

    A client asks any broker that it is connected to, which one that hangs is as well. Each topic is
    a question of its own, as librdkafka asks for one or for all, and a list of all takes long where
    there are thousands: some 30 µs each of broker and client.

    Args:
        client: Asks.
        topics: Their names.
        timeout: Seconds to wait for one broker, when several have been asked for a moment.

    Raises:
        KprocError: None answers.
    """
    found = {topic: _described(client, topic, timeout) for topic in topics}
    return {
        topic: each
        for topic, each in found.items()
        if each.error is None or each.error.code() not in _TOPIC
    }


def _described(client: _Client, topic: str, timeout: float) -> TopicMetadata:
    for _ in range(_ASKED):
        with contextlib.suppress(KafkaException):
            return client.list_topics(topic, _PROMPT).topics[topic]
    return patiently(lambda: client.list_topics(topic, timeout).topics[topic], f"ask for {topic}")


def topics_of(
    config: ClientConfig,
    client: _Client | None = None,
    timeout: float = _REQUEST_TIMEOUT,
) -> Mapping[str, TopicMetadata]:
    """All topics by their names.

    Args:
        config: Settings of the client.
        client: Asks through this one.
        timeout: Seconds to wait for a broker.

    Raises:
        KprocError: no broker answers, or it refuses.
    """
    asked = admin_client(config) if client is None else client
    doing = f"list the topics of {config.get('bootstrap.servers')}"
    prompt = min(_PROMPT, timeout)
    with contextlib.suppress(KafkaException):
        return asked.list_topics(timeout=prompt).topics
    why = _check_connection(config)
    try:
        return asked.list_topics(timeout=max(prompt, timeout - 2 * prompt)).topics
    except KafkaException as error:
        if why and error.args[0].code() in _UNREACHABLE:
            raise _unreachable(doing, why) from error
        raise translated(error, doing) from error


def _unreachable(doing: str, why: str) -> BrokerUnreachable:
    return BrokerUnreachable(
        f"Kafka did not answer while it was to {doing} ({why}): check the address, "
        "security.protocol, and that the broker runs. `kproc dev` starts one on this machine."
    )


def _check_connection(config: ClientConfig) -> str:
    """Finds out why no broker answers, which a client's calls don't report; empty: it is not known.

    A name that can't be resolved, or a port where nobody listens, may be there a moment later.

    Raises:
        PermissionDenied: It is TLS or the login.
    """
    heard: list[Any] = []
    own: dict[str, Any] = {**COMMON, **config, "error_cb": heard.append}
    client = AdminClient(own)
    deadline = time.monotonic() + _PROMPT
    while time.monotonic() < deadline:
        client.poll(0.1)
        for error in heard:
            # A broker that ends the handshake for its part counts as a connection that was lost.
            lost = error.code() == ClientError._TRANSPORT and "SSL" in error.str()  # noqa: SLF001
            if lost or error.code() in _INSECURE:
                raise _refusal(ClientError._SSL if lost else error.code(), error.str())  # noqa: SLF001
    causes = [each for each in heard if each.code() != ClientError._ALL_BROKERS_DOWN]  # noqa: SLF001
    return str(causes[-1].str()) if causes else ""


def partitions_of(
    config: ClientConfig, topic: str, client: Producer | Consumer | AdminClient | None = None
) -> int:
    """How many partitions the topic has; the question never creates it.

    Args:
        config: Settings of the client.
        topic: The topic.
        client: Asks through this one. A new producer's first record is a second faster for it:
            without a connection librdkafka gets its producer id on a slow timer.

    Raises:
        TopicMismatch: there is no such topic.
        BrokerUnreachable: no broker answers.
    """
    topics = topics_of(config, client)
    if topic not in topics:
        known = sorted(name for name in topics if not name.startswith("__"))
        named = get_close_matches(topic, known) or known
        alike = "Names like it" if len(named) < len(known) else "There are"
        listed = ", ".join(named[:_MOST_NAMED]) or "none"
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        raise TopicMismatch(
            f"There is no topic {topic!r}; create it first. {alike}: {listed}{more}."
        )
    return len(topics[topic].partitions)


def create_topic(
    config: ClientConfig, topic: str, partitions: int, settings: Mapping[str, str] | None = None
) -> bool:
    """Makes the topic, with the cluster's replication; returns False if it was there already.

    Raises:
        KafkaError: it can't be made.
    """
    new = NewTopic(topic, num_partitions=partitions, config=dict(settings or {}))
    admin: Any = admin_client(config)
    try:
        admin.create_topics([new], request_timeout=_REQUEST_TIMEOUT)[topic].result()
    except KafkaException as error:
        if error.args[0].code() == ClientError.TOPIC_ALREADY_EXISTS:
            return False
        raise translated(error, f"create the topic {topic!r}") from error
    await_topics(admin, {topic: partitions})
    return True


def await_topics(client: AdminClient, topics: Mapping[str, int]) -> None:
    """Waits until topics have as many partitions as they were just given, all of them with leaders.

    A broker that took no part in that learns of them a moment later.

    Raises:
        KafkaError: they have none in time.
    """
    deadline = time.monotonic() + _CREATION_TIMEOUT
    while not _are_led(client, topics):
        if time.monotonic() > deadline:
            raise KafkaError(
                f"{', '.join(sorted(topics))} were created, but have no leaders after "
                f"{_CREATION_TIMEOUT:.0f} s: see whether all brokers run"
            )
        time.sleep(0.01)


def _are_led(client: AdminClient, topics: Mapping[str, int]) -> bool:
    found = described(client, topics, _CREATION_TIMEOUT)
    return all(
        name in found
        and found[name].error is None
        and len(found[name].partitions) >= count
        and all(each.leader >= 0 for each in found[name].partitions.values())
        for name, count in topics.items()
    )


def take_over_transactions(producer: Producer, timeout: float = 60.0) -> None:
    """`init_transactions`: aborts what a predecessor of this transactional id left open, fences it.

    The client looks again after 500 ms while the broker still aborts; a call that is cut short and
    repeated looks again at once.

    Raises:
        BrokerUnreachable: it did not succeed within `timeout` seconds.
        KprocError: another failure.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            producer.init_transactions(_TRANSACTION_TRY)
        except KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() > deadline:
                raise translated(error, "take over the transactional id") from error
        else:
            return
