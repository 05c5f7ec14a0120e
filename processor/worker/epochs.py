"""Leader epochs of what was read: they are part of a position (KIP-320).

An offset alone does not say that a partition still has the records before it: brokers may have
elected a leader that lacked them, and have gone on from there. So positions are committed with the
epoch of the record before them, and who goes on from one reads that record again, and compares.
The client compares as well, but only where a leader changes while it reads.
"""

from collections.abc import Sequence

from processor.kafka.messages import UNKNOWN, Span
from processor.records import Offset, TopicPartition

_KEPT = 8


class Epochs:
    """The epochs of the last records of each partition."""

    def __init__(self) -> None:
        self._spans: dict[TopicPartition, list[Span]] = {}
        self._committed: dict[TopicPartition, tuple[Offset, int]] = {}

    def know(self, source: TopicPartition, position: Offset, epoch: int | None) -> None:
        """Takes in a position that was committed, with the epoch that was committed with it.

        The record before it has to be there.
        """
        if epoch is not None and epoch >= 0:
            self._add(source, Span(position - 1, position - 1, epoch))
            self._committed[source] = (position, epoch)

    def to_compare(self, source: TopicPartition, position: Offset) -> int | None:
        """The epoch of the record before a position that was committed; None for others."""
        known = self._committed.get(source)
        return known[1] if known is not None and known[0] == position else None

    def compared(self, source: TopicPartition) -> None:
        """Takes note that this was done, which is enough once."""
        self._committed.pop(source, None)

    def read(self, source: TopicPartition, spans: Sequence[Span]) -> None:
        """Takes in records of one partition."""
        for span in spans:
            self._add(source, span)

    def of(self, source: TopicPartition, position: Offset) -> int:
        """The epoch of the record before a position, `UNKNOWN` unless that was seen."""
        for span in reversed(self._spans.get(source, ())):
            if span.first < position <= span.last + 1:
                return span.epoch
        return UNKNOWN

    def _add(self, source: TopicPartition, span: Span) -> None:
        known = self._spans.get(source, [])
        if known and known[-1].epoch == span.epoch and known[-1].first <= span.first:
            known = [*known[:-1], Span(known[-1].first, span.last, span.epoch)]
        else:
            known = [*known, span]
        self._spans[source] = known[-_KEPT:]
