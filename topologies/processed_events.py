"""A hundred events, each processed, printed and written: the smallest topology there is.

    kproc run topologies/processed_events.py --dev --until-end

Its settings are part of it: a worker that crashes is started again, and there is a checkpoint every
second.
"""

import time
from collections.abc import Iterator

from processor import Record, Timestamp, Topology


def events() -> Iterator[Record[str, str]]:
    """`Event-0` to `Event-99`."""
    now = Timestamp(time.time_ns() // 1_000_000)
    for number in range(100):
        yield Record(str(number), f"Event-{number}", now)


def processed(event: str) -> str:
    """What happens to an event."""
    return f"Processed-{event}"


topology = Topology(
    "processed-events",
    settings={"backup_mode": "primary-backup", "checkpoint_interval": "1000ms"},
)
topology.sample_data("events", events, count=100, value=str)
topology.stream("events", value=str).map_values(processed).print().to("processed-events")
