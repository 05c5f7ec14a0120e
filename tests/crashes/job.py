"""The topology that is killed: every kind of state and output.

The application is called as the folder that a copy of this file lies in.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict

from processor import ProcessContext, Record, Timestamp, Topology, every, key_value


class Event(TypedDict):
    """An input record's value."""

    id: str
    number: int
    group: str
    partition: int
    sequence: int


class Sum(TypedDict):
    """What a key's events add up to."""

    count: int
    total: int


APP = Path(__file__).parent.name
SUMS = key_value("sums", key=str, value=int)


def start() -> Sum:
    return {"count": 0, "total": 0}


def add(so_far: Sum, event: Event) -> Sum:
    return {"count": so_far["count"] + 1, "total": so_far["total"] + event["number"]}


def note(record: Record[str, Event], context: ProcessContext) -> None:
    sums = context.store(SUMS)
    sums.put(record.key, (sums.get(record.key) or 0) + record.value["number"])


def emit(due: Timestamp, context: ProcessContext) -> Iterable[Record[str, Any]]:
    for key, total in context.store(SUMS).items():
        yield Record(key, {"due": due, "total": total}, due)


topology = Topology(APP)
events = topology.stream(f"{APP}-in", value=Event)
events.filter(lambda event: event["number"] % 3 == 0).map_values(
    lambda event: {"event": event["id"], "number": event["number"]}
).to(f"{APP}-plain")
events.group_by_key().count(name="counts").to(f"{APP}-counts")
events.group_by_key().aggregate(start, add, name="running", emit="change").to(f"{APP}-running")
events.deduplicate(within="10s", by=lambda event: event["id"], name="seen").to(f"{APP}-distinct")
events.process(note, stores=[SUMS], punctuators=[every("5s", emit)], name="totals").to(
    f"{APP}-totals"
)
regrouped = events.key_by(lambda event: event["group"]).repartition(
    name="groups", key=str, value=Event
)
regrouped.to(f"{APP}-regrouped")
regrouped.group_by_key().aggregate(start, add, name="groupsums", emit="change").to(
    f"{APP}-groupsums"
)
