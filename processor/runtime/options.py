"""What the core has to know of the settings."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """See `processor.settings`; times in milliseconds."""

    guarantee: Literal["exactly-once", "at-least-once"] = "exactly-once"
    checkpoint_interval: int = 100
    persist_interval: int = 0  # at least; 0: with every checkpoint
    cache_bytes: int = 64 * 2**20
    uncommitted_bytes: int = 64 * 2**20
    max_record_bytes: int = 1_000_000
    on_bad_record: Policy = "dead-letter"
    max_task_idle: int | None = None  # None: the order of several inputs does not matter
    max_time_ahead: int = 0  # of the wall clock; 0: any
    max_lead: int = 0  # records of a task ahead of others upstream; 0: any number
    max_upstream_wait: int = 0  # 0: as long as need be
    follows_progress: bool = False  # of the tasks that write repartition topics
    idle_timeout: int = 0  # 0: what is held back waits for records
    limits: Mapping[str, TopicLimits] = field(default_factory=dict[str, TopicLimits])  # of outputs
