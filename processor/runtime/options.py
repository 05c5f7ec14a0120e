"""What the core has to know of the settings."""

from dataclasses import dataclass
from typing import Literal

from processor.operators.base import Policy


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
