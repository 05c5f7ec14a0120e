"""How long a partition stood still: there was input, and nothing of it was committed."""

from collections.abc import Mapping
from typing import NamedTuple

from processor.records import Offset, TopicPartition


class Standstill(NamedTuple):
    """A time without progress; milliseconds since the beginning."""

    source: TopicPartition
    since: int
    until: int

    @property
    def lasted(self) -> int:
        """Milliseconds."""
        return self.until - self.since


class Standstills:
    """Finds the longest from looks at what is committed; it is as exact as looks are frequent."""

    def __init__(self) -> None:
        self.longest: Standstill | None = None
        self._waiting: dict[TopicPartition, tuple[int, Offset]] = {}

    def look(
        self,
        now: int,
        committed: Mapping[TopicPartition, Offset],
        ends: Mapping[TopicPartition, Offset],
    ) -> None:
        """Takes in what is committed of each partition, and where it ends, at a time."""
        for source, end in ends.items():
            done = max(Offset(0), committed.get(source, Offset(0)))
            since, before = self._waiting.get(source, (now, done))
            if source in self._waiting:
                self._note(Standstill(source, since, now))
            if done >= end:
                self._waiting.pop(source, None)
            else:
                self._waiting[source] = (now if done > before else since, done)

    def _note(self, found: Standstill) -> None:
        if self.longest is None or found.lasted > self.longest.lasted:
            self.longest = found
