"""The settings in sections, parsed: what the core, the clients, the stores and snapshots go by.

Times are in milliseconds, sizes in bytes, and no default is here: `processor.settings` has them.
Frozen data that goes to worker processes as JSON; knows neither files nor pydantic, whose import
workers would pay for.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from processor.durations import POLL_INTERVAL
from processor.records import Policy


@dataclass(frozen=True, slots=True)
class TopicLimits:
    """What the brokers refuse for a topic.

    Attributes:
        bytes: Records that take more, if they are not compressed.
        before: Milliseconds by which a record's time may be behind the clock.
        after: And by which it may be ahead.
    """

    bytes: int = sys.maxsize
    before: int = sys.maxsize
    after: int = sys.maxsize


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What the core goes by."""

    guarantee: Literal["exactly-once", "at-least-once"]
    checkpoint_interval: int
    persist_interval: int  # at least; 0: with every checkpoint
    cache_bytes: int
    uncommitted_bytes: int
    max_record_bytes: int
    on_bad_record: Policy
    max_task_idle: int | None  # None: the order of several inputs does not matter
    max_time_ahead: int  # of the wall clock; 0: any
    max_lead: int  # records of a task ahead of others upstream; 0: any number
    max_upstream_wait: int  # 0: as long as need be
    follows_progress: bool  # of the tasks that write repartition topics
    idle_timeout: int  # 0: what is held back waits for records
    limits: Mapping[str, TopicLimits] = field(default_factory=dict[str, TopicLimits])
    """Those of the outputs; they are the brokers' and not among the settings."""

    def alone(self) -> "WorkerOptions":
        """The same for a core that has all tasks, and a clock that somebody sets.

        Each checkpoint is exact and is written to disk; nothing waits for other tasks, or for time,
        and no time is too far ahead.
        """
        return replace(
            self,
            guarantee="exactly-once",
            persist_interval=0,
            max_task_idle=None,
            max_time_ahead=0,
            max_lead=0,
            max_upstream_wait=0,
            idle_timeout=0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """What clients of Kafka and of the schema registry are made with; secrets are not shown."""

    kafka: dict[str, Any] = field(repr=False)
    consumer: dict[str, Any] = field(repr=False)
    producer: dict[str, Any] = field(repr=False)
    schema_registry: dict[str, Any] = field(repr=False)
    fetch_bytes: int
    send_bytes: int
    session_timeout: int
    transaction_timeout: int

    @property
    def longest_turn(self) -> int:
        """Milliseconds after which the group gives up a worker that asks for no records."""
        given = {**self.kafka, **self.consumer}.get("max.poll.interval.ms")
        return max(POLL_INTERVAL, self.session_timeout) if given is None else int(given)

    @property
    def membership(self) -> dict[str, int]:
        """How long the group waits for a member, as librdkafka's settings.

        As it demands, a session lasts no longer than the group waits for a poll.
        """
        return {
            "session.timeout.ms": min(self.session_timeout, self.longest_turn),
            "max.poll.interval.ms": self.longest_turn,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StateOptions:
    """Where state is kept besides its changelogs, and with how much memory."""

    folder: str
    store: Literal["rocksdb", "memory"]
    block_cache_bytes: int
    write_buffer_bytes: int
    flush_interval: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOptions:
    """Where snapshots go, how often one is taken of each store, and how many of them are kept."""

    url: str
    interval: int
    kept: int
