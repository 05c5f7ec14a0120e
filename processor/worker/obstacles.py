"""What keeps a slot from its input although the slot itself is well.

Either others in the group have its partitions (`withheld`), or a transaction that nobody ends is
open in them: who reads committed records takes that for the end.
"""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from functools import cached_property
from typing import Any

from confluent_kafka import IsolationLevel
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.kafka.clients import admin_client
from processor.kafka.hanging import ending
from processor.records import Offset, Partition, TopicPartition
from processor.worker.channel import Channel
from processor.worker.spec import WorkerSpec
from processor.worker.withheld import Withheld

_LOOK = 10.0
"""Seconds between two questions about open transactions."""

_LASTING = 30.0
"""Seconds for which a transaction is open before anything is said of it."""

_REMIND = 60.0
"""Seconds between two warnings of what lasts until somebody does something."""

_TIMEOUT = 10.0


class Obstacles:
    """Looks for what is in the slot's way, and warns of it.

    Args:
        spec: The slot's work.
        channel: Where it is logged.
    """

    def __init__(self, spec: WorkerSpec, channel: Channel) -> None:
        self._channel = channel
        self._withheld = Withheld(spec)
        self._transactions = _OpenTransactions(spec)

    @property
    def withheld(self) -> str:
        """The partitions that others in the group keep from the slot, and who; mostly empty."""
        return self._withheld.by

    def look(self, assigned: frozenset[TopicPartition]) -> None:
        """Looks again, if it is time to, and waits for nothing.

        Args:
            assigned: What the group gives.
        """
        self._withheld.look(assigned)
        self._transactions.look()
        if self.withheld:
            self._channel.log_seldom("partitions are withheld", self.withheld, _REMIND)
        if self._transactions.reported:
            self._channel.log_seldom("open transaction", self._transactions.reported, _REMIND)

    def end(self, source: TopicPartition) -> Offset | None:
        """The end of a partition that others keep from the slot; None: it is as it fetches."""
        return self._withheld.end(source)


class _OpenTransactions:
    """The slot's partitions in which the same transaction has been open for long."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.reported = ""
        """Which they are, and what ends the transactions."""
        self._spec = spec
        self._due = time.monotonic() + _LOOK
        self._asked: list[Mapping[ClientPartition, Future[Any]]] = []
        self._since: dict[TopicPartition, tuple[Offset, float]] = {}

    def look(self) -> None:
        now = time.monotonic()
        if now >= self._due and self._spec.own:
            self._due = now + _LOOK
            levels = (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
            self._asked = [self._ask(level) for level in levels]
        if self._asked and all(one.done() for each in self._asked for one in each.values()):
            stable, ends = map(_known, self._asked)
            self._asked = []
            self._note(stable, ends, now)

    def _note(
        self,
        stable: Mapping[TopicPartition, Offset],
        ends: Mapping[TopicPartition, Offset],
        now: float,
    ) -> None:
        held = {each: start for each, start in stable.items() if start < ends.get(each, start)}
        before = self._since
        self._since = {
            each: before[each] if each in before and before[each][0] == start else (start, now)
            for each, start in held.items()
        }
        lasting = [each for each, (_, since) in self._since.items() if now - since >= _LASTING]
        bootstrap = str(self._spec.clients.kafka["bootstrap.servers"])
        self.reported = "; ".join(
            f"a transaction is open in {each} since offset {held[each]}, and what comes after it "
            f"waits. If nobody works on it any more, end it: {ending(bootstrap, each, held[each])}"
            for each in sorted(lasting)
        )

    def _ask(self, level: IsolationLevel) -> Mapping[ClientPartition, Future[Any]]:
        wanted = {ClientPartition(*each): OffsetSpec.latest() for each in self._spec.own}
        return self._admin.list_offsets(wanted, isolation_level=level, request_timeout=_TIMEOUT)

    @cached_property
    def _admin(self) -> Any:
        # Kept: a client that is let go of gives up what it was asked for.
        return admin_client(self._spec.clients.kafka)


def _known(answers: Mapping[ClientPartition, Future[Any]]) -> dict[TopicPartition, Offset]:
    """The offsets that were answered; the client gives negative ones where nobody did."""
    found = {
        TopicPartition(each.topic, Partition(each.partition)): answer.result().offset
        for each, answer in answers.items()
        if answer.exception() is None
    }
    return {source: Offset(offset) for source, offset in found.items() if offset >= 0}
