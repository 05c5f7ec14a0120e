"""Partitions that the group keeps from a slot although they are the slot's, and who is to blame.

Members of the group that are no slots make it rebalance: what they hold, nobody works on.
Owns the questions to Kafka, which nobody waits for.
"""

import math
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import cached_property
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.kafka.clients import admin_client
from processor.records import Offset, Partition, TopicPartition
from processor.worker.spec import WorkerSpec

_LASTING = 6.0
"""Seconds that a group which has only slots takes to rebalance, twice if it is asked to."""

_AGAIN = 5.0
"""Seconds between two questions."""

_TIMEOUT = 10.0


class Withheld:
    """Looks who has the slot's partitions, once it has lacked them for longer than a rebalance.

    Args:
        spec: The slot's work.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self.by = ""
        """The partitions and the members that keep them, in words; empty: nobody does."""
        self._spec = spec
        self._lacking: frozenset[TopicPartition] = frozenset()
        self._due = math.inf
        self._ends: dict[TopicPartition, Future[Any]] = {}
        self._group: Future[Any] | None = None

    def look(self, assigned: frozenset[TopicPartition]) -> None:
        """Takes in what the group gives; call it often."""
        lacking, now = self._spec.own - assigned, time.monotonic()
        if not lacking:
            self.by, self._lacking, self._due, self._ends = "", lacking, math.inf, {}
            return
        if not self._lacking:
            self._due = now + _LASTING
        self._lacking = lacking
        if now >= self._due:
            self._due = now + _AGAIN
            self._ask()
        if self._group is not None and self._group.done():
            with suppress(KafkaException):  # it is asked again
                self.by = self._named(self._group.result())
            self._group = None

    def end(self, source: TopicPartition) -> Offset | None:
        """The end of a partition that is withheld, as of the last question; None: not known."""
        found = self._ends.get(source)
        if found is None or not found.done() or found.exception() is not None:
            return None
        offset = found.result().offset
        return Offset(offset) if offset >= 0 else None

    def _ask(self) -> None:
        group = self._spec.application
        described = self._admin.describe_consumer_groups([group], request_timeout=_TIMEOUT)
        self._group = described[group]
        wanted = {ClientPartition(*each): OffsetSpec.latest() for each in self._lacking}
        found = self._admin.list_offsets(wanted, request_timeout=_TIMEOUT).items()
        asked = {
            TopicPartition(each.topic, Partition(each.partition)): future for each, future in found
        }
        # What is known counts until there is an answer that is newer.
        self._ends = {
            source: future if (old := self._ends.get(source)) is None or old.done() else old
            for source, future in asked.items()
        }

    def _named(self, group: Any) -> str:
        """The partitions that are withheld, and the members that are no slots, if there are any."""
        strangers = [each for each in group.members if not self._is_slot(each.group_instance_id)]
        if not strangers:
            return ""
        members = "; ".join(sorted(map(_member, strangers)))
        partitions = ", ".join(map(str, sorted(self._lacking)))
        return f"{partitions}: the group has members that are no slots: {members}"

    def _is_slot(self, name: str | None) -> bool:
        prefix, _, number = (name or "").rpartition("-")
        return prefix == self._spec.application and number.isdecimal()

    @cached_property
    def _admin(self) -> Any:
        # Kept: a client that is let go of gives up what it was asked for.
        return admin_client(self._spec.clients.kafka)


def _member(member: Any) -> str:
    given = getattr(member.assignment, "topic_partitions", None) or ()
    held = ", ".join(f"{each.topic}[{each.partition}]" for each in given) or "nothing"
    return f"{member.member_id} at {member.host.lstrip('/')} has {held}"
