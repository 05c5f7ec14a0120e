"""What a worker process is given at its start: one JSON document, from the settings."""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from processor.cluster.beats import Role
from processor.kafka.clients import RECONNECT
from processor.options import ClientOptions, SnapshotOptions, StateOptions, WorkerOptions
from processor.records import TopicPartition
from processor.topology.plan import Settled
from processor.topology.slots import slot_name, slot_partitions

_UNANSWERED = 5_000
"""Milliseconds after which a broker that answers nothing is asked no more: its connection stays up
when its machine hangs, while others have long taken over what it led."""


class WorkerSpec(Struct, frozen=True):
    """One slot's work. Times are in milliseconds, sizes in bytes; secrets are not shown."""

    topology: str
    supervisor: int  # its process: whoever starts the worker and ends it
    application: str
    slot: int
    slots: int
    partitions: dict[str, int]
    settled: Settled
    store_ids: dict[str, str]  # store → the id of the topic that it is made of
    clock_offset: float
    options: WorkerOptions
    clients: ClientOptions
    state: StateOptions
    snapshots: SnapshotOptions | None
    start_from: Literal["earliest", "latest"]
    max_batch: int
    batch_bytes: int  # of what is produced, as the brokers of the outputs take it
    stuck_after: int  # 0: the loop is never stuck
    native: bool  # batches go by the native plane, which is there
    role: Role  # a backup becomes primary when it is asked to adopt the slot
    suspects: int = 0  # among so many records one has taken too long

    @property
    def name(self) -> str:
        """The slot's `group.instance.id` and `transactional.id`."""
        return slot_name(self.application, self.slot, self.slots)

    @property
    def own(self) -> frozenset[TopicPartition]:
        """The slot's partitions."""
        return slot_partitions(self.slot, self.slots, self.partitions)

    @property
    def exactly_once(self) -> bool:
        """Whether outputs, state and offsets are committed together."""
        return self.options.guarantee == "exactly-once"

    def input_config(self) -> Mapping[str, Any]:
        """Librdkafka settings of the consumer in the group."""
        return {
            # The queue is counted in messages too: enough for one large batch to be waiting.
            "queued.min.messages": 10 * self.max_batch,
            "queued.max.messages.kbytes": max(1, self.clients.fetch_bytes // 1024),
            "max.partition.fetch.bytes": 4 * 2**20,
            "fetch.error.backoff.ms": 100,
            # By default a queue that was full is filled again a second later, empty by then.
            "fetch.queue.backoff.ms": 20,
            # A partition that starts has to wait for the answer to the fetch of the others.
            "fetch.wait.max.ms": 50,
            # Until then nobody hears of a topic that is gone, or has more partitions.
            "topic.metadata.refresh.interval.ms": 30_000,
            "socket.timeout.ms": _UNANSWERED,
            **RECONNECT,
            "heartbeat.interval.ms": 500,
            **self.clients.membership,
            **self.clients.kafka,
            **self.clients.consumer,
            "group.id": self.application,
            "group.instance.id": self.name,
            "group.protocol": "classic",
            "partition.assignment.strategy": "range",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }

    def restore_config(self) -> Mapping[str, Any]:
        """Librdkafka settings of the consumer that reads changelogs; it is in no group."""
        own = {
            "queued.min.messages": 200_000,
            "max.partition.fetch.bytes": 8 * 2**20,
            "fetch.max.bytes": 64 * 2**20,
            "fetch.wait.max.ms": 10,
        }
        left_out = (
            *("group.instance.id", "group.protocol"),
            *("session.timeout.ms", "max.poll.interval.ms"),
        )
        base = {k: v for k, v in self.input_config().items() if k not in left_out}
        return {**base, **own, "heartbeat.interval.ms": 3000}

    def following_config(self) -> Mapping[str, Any]:
        """Librdkafka settings of the consumer that follows changelogs which it has caught up with.

        The broker answers a fetch as soon as something is committed, however long it may wait.
        """
        return {
            **self.restore_config(),
            "fetch.wait.max.ms": 500,
            "queued.min.messages": 10 * self.max_batch,
        }

    def output_config(self) -> Mapping[str, Any]:
        """Librdkafka settings of the producer."""
        ours = {
            "linger.ms": 5,
            "compression.type": "lz4",
            # A topic refuses batches that are larger than its limit, however small the records.
            "batch.size": self.batch_bytes,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": max(1, self.clients.send_bytes // 1024),
            "message.max.bytes": max(self.options.max_record_bytes, 1_000_000),
            # Without any broker the client would forget them all, and with them the answer that a
            # commit waits for: https://github.com/confluentinc/librdkafka/issues/5511
            "metadata.recovery.strategy": "none",
            # Java's partitioner: equal keys meet, whoever wrote them.
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            # No longer than a transaction lasts, or the client refuses it.
            "socket.timeout.ms": min(_UNANSWERED, self.clients.transaction_timeout),
            **RECONNECT,
        }
        identity = {
            "transactional.id": self.name,
            "transaction.timeout.ms": self.clients.transaction_timeout,
        }
        given = {**self.clients.kafka, **self.clients.producer}
        return {**ours, **given, **(identity if self.exactly_once else {})}
