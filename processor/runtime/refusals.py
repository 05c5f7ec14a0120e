"""Refusals: records that Kafka has refused, so that they are bad records when they are made again.

After a refusal everything uncommitted is done again. What is known here is then left out at the
sink that made it, as if it could not be serialized: policy, dead letter and counter are the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from processor.attempt import Fault
from processor.operators.base import closing_of
from processor.records import Offset, RawBatch, Timestamp, TopicPartition
from processor.runtime.commands import Position, Refused
from processor.runtime.task_batch import TaskBatch

_LASTING = 30_000
"""Milliseconds for which it counts that a topic was refused; it may be created meanwhile."""

_Source: TypeAlias = tuple[TopicPartition, Offset]
_Made: TypeAlias = tuple[bytes | None, Timestamp]


class RefusedError(ValueError):
    """Kafka does not take the record, however often it is sent."""


class Known(NamedTuple):
    """What is refused of what one pass makes.

    Attributes:
        topics: Of these topics everything.
        rows: By topic and the number of the row that it is made of.
        made: By topic, key and time, of what no record stands for.
    """

    topics: Mapping[str, Exception]
    rows: Mapping[tuple[str, int], Exception]
    made: Mapping[tuple[str, _Made], Exception]

    def faults(self, topic: str, raw: RawBatch, offsets: Sequence[Offset]) -> list[Fault]:
        """The rows that are refused.

        Args:
            topic: Where they are to be written.
            raw: As they are to be written.
            offsets: The numbers of the rows that they are made of.
        """
        if (error := self.topics.get(topic)) is not None:
            return [Fault(row, error) for row in range(len(raw))]
        columns = zip(offsets, raw.keys, raw.timestamps, strict=True)
        found = (
            self.rows.get((topic, offset)) or self.made.get((topic, (key, time)))
            for offset, key, time in columns
        )
        return [Fault(row, error) for row, error in enumerate(found) if error is not None]


@dataclass(slots=True)
class Refusals:
    """All that is refused by now."""

    _topics: dict[str, Exception] = field(default_factory=dict[str, Exception])
    _rows: dict[tuple[str, _Source], Exception] = field(
        default_factory=dict[tuple[str, _Source], Exception]
    )
    _made: dict[tuple[str, _Made], Exception] = field(
        default_factory=dict[tuple[str, _Made], Exception]
    )
    _until: int = 0

    def note(self, refused: Refused, elapsed: int) -> bool:
        """One more; False: it was known, and still it was sent."""
        error = RefusedError(str(refused.error))
        self._until = elapsed + _LASTING
        topic, known = refused.command.topic, len(self)
        if refused.row is None:
            self._topics[topic] = error
        elif (source := _source(refused.command.batch, refused.number)) is not None:
            self._rows[topic, source] = error
        else:
            records = refused.command.records
            made = records.keys[refused.row], records.timestamps[refused.row]
            self._made[topic, made] = error
        return len(self) > known

    def __len__(self) -> int:
        return len(self._topics) + len(self._rows) + len(self._made)

    def of(self, batch: TaskBatch | None) -> Known | None:
        """What is refused of what is made of a batch, or without any; None: nothing."""
        if not len(self):
            return None
        rows = {
            (topic, row): error
            for (topic, (source, offset)), error in self._rows.items()
            for part in (batch.slices if batch is not None else ())
            if part.source == source
            for row, each in zip(part.rows, part.records.offsets, strict=True)
            if each == offset
        }
        return Known(self._topics, rows, self._made)

    def committed(self, positions: Mapping[TopicPartition, Position], elapsed: int) -> None:
        """What is committed is not done again; what nothing stands for is forgotten after long."""
        for key in [each for each in self._rows if _is_done(each[1], positions)]:
            del self._rows[key]
        if elapsed >= self._until:
            self._topics.clear()
            self._made.clear()


def _source(batch: TaskBatch | None, number: Offset) -> _Source | None:
    """The input record of a row; None: there is none, or a step's own result came with it."""
    if batch is None or number < 0 or closing_of(number) is not None:
        return None
    part = batch.slice_of(number)
    return part.source, part.record(number).offsets[0]


def _is_done(source: _Source, positions: Mapping[TopicPartition, Position]) -> bool:
    at = positions.get(source[0])
    return at is not None and source[1] < at.offset
