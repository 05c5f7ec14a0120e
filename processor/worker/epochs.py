"""Leader epochs of what was read: they are part of a position (KIP-320).

An offset alone does not say that a partition still has the records before it: brokers may have
elected a leader that lacked them, and have gone on from there. So positions are committed with the
epoch of the record before them, and who goes on from one reads that record again, and compares.
The client compares as well, but only where a leader changes while it reads.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from confluent_kafka import Message

from processor.records import Offset, TopicPartition

UNKNOWN = -1
"""Of a position behind a transaction's marker, which nobody gets to see, or from elsewhere."""

_KEPT = 8


class _Span(NamedTuple):
    first: int
    last: int
    epoch: int


class Epochs:
    """The epochs of the last records of each partition."""

    def __init__(self) -> None:
        self._spans: dict[TopicPartition, list[_Span]] = {}
        self._committed: dict[TopicPartition, tuple[Offset, int]] = {}

    def know(self, source: TopicPartition, position: Offset, epoch: int | None) -> None:
        """Takes in a position that was committed, with the epoch that was committed with it.

        The record before it has to be there.
        """
        if epoch is not None and epoch >= 0:
            self._add(source, _Span(position - 1, position - 1, epoch))
            self._committed[source] = (position, epoch)

    def to_compare(self, source: TopicPartition, position: Offset) -> int | None:
        """The epoch of the record before a position that was committed; None for others."""
        known = self._committed.get(source)
        return known[1] if known is not None and known[0] == position else None

    def compared(self, source: TopicPartition) -> None:
        """Takes note that this was done, which is enough once."""
        self._committed.pop(source, None)

    def read(self, source: TopicPartition, run: Sequence[Message]) -> None:
        """Takes in records of one partition."""
        first, last = run[0], run[-1]
        if first.leader_epoch() == last.leader_epoch():
            self._add(source, _span([first, last]))
            return
        for _, same in groupby(run, lambda message: message.leader_epoch()):
            self._add(source, _span(list(same)))

    def of(self, source: TopicPartition, position: Offset) -> int:
        """The epoch of the record before a position, `UNKNOWN` unless that was seen."""
        for span in reversed(self._spans.get(source, ())):
            if span.first < position <= span.last + 1:
                return span.epoch
        return UNKNOWN

    def _add(self, source: TopicPartition, span: _Span) -> None:
        known = self._spans.get(source, [])
        if known and known[-1].epoch == span.epoch and known[-1].first <= span.first:
            known = [*known[:-1], _Span(known[-1].first, span.last, span.epoch)]
        else:
            known = [*known, span]
        self._spans[source] = known[-_KEPT:]


def _span(run: Sequence[Message]) -> _Span:
    epoch = run[0].leader_epoch()
    first, last = (message.offset() or 0 for message in (run[0], run[-1]))
    return _Span(first, last, UNKNOWN if epoch is None else epoch)
