"""What happens to bad records: counted, and stopped at, dropped or kept as dead letters."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import starmap
from typing import NamedTuple

from processor.errors import BadRecordError
from processor.operators.base import Rejected
from processor.records import (
    Batch,
    Headers,
    Offset,
    Policy,
    RawBatch,
    Timestamp,
    TopicPartition,
)
from processor.runtime.dataflow import Output, record_bytes
from processor.runtime.dead_letters import MADE, TRUNCATED, header
from processor.runtime.refusals import Refusals


class Origin(NamedTuple):
    """What a row that failed was made of.

    Attributes:
        source: Where that was read, or the step that made it and the partition.
        offset: There; of what a step made, that of the record that brought it, or a number.
        record: A batch of this one record, as it was read or is shown.
        policy: Of its source, if it has one of its own.
        is_made: Whether no record stands for it that was read.
    """

    source: TopicPartition
    offset: Offset
    record: RawBatch
    policy: Policy | None = None
    is_made: bool = False


@dataclass(slots=True)
class BadRecords:
    """Applies the policy to records that were rejected.

    Args:
        policy: The setting `on_bad_record`; a source or a step may have its own.
        topic: For dead letters.
        max_record_bytes: A dead letter that would be larger loses its value, and says so.
    """

    policy: Policy
    topic: str
    max_record_bytes: int
    counts: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """How many were rejected, by step and reason, without what an abort has undone."""
    committed: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """Those of committed checkpoints: this only grows."""
    refusals: Refusals = field(default_factory=Refusals)
    """The records that Kafka has refused."""
    unreported: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    """The last error of those that leave no dead letter, until somebody has reported it."""

    def commit(self) -> None:
        """All that was rejected so far is part of a checkpoint."""
        self.committed = self.counts.copy()

    def undo(self) -> None:
        """What was rejected since the last checkpoint is going to be again."""
        self.counts = self.committed.copy()

    def handle(self, rejected: Rejected, origin: Origin) -> Output | None:
        """The dead letter of a record, or None by policy.

        Args:
            rejected: Which failed where and why.
            origin: What it was made of.

        Raises:
            BadRecordError: The policy is to fail.
        """
        self.counts[rejected.step, rejected.reason] += 1
        policy = rejected.policy or origin.policy or self.policy
        error = f"{type(rejected.error).__name__}: {rejected.error}"
        if policy == "fail":
            raise BadRecordError(
                f"{origin.source} offset {origin.offset}: {error} (in {rejected.step}, "
                f"{rejected.reason}). Nothing of this record was committed. Fix the topology, or "
                f"{_other_policy(rejected)}"
            ) from rejected.error
        if policy == "skip":
            self.unreported[rejected.step, rejected.reason] = error
            return None
        return Output(self.topic, self._letter(rejected, origin, error))

    def punctuation_failed(self, step: str, error: Exception, policy: Policy | None = None) -> None:
        """Counts a punctuation that failed; its effects are undone.

        Args:
            step: Whose it is.
            error: What it raised.
            policy: Of the step, if it has one of its own.

        Raises:
            BadRecordError: The policy is to fail.
        """
        self.counts[step, "punctuation"] += 1
        if (policy or self.policy) == "fail":
            raise BadRecordError(
                f"a punctuator of {step} failed: {type(error).__name__}: {error}. Fix it, or set "
                'on_bad_record to "dead-letter" or "skip" to go on without its effects'
            ) from error
        self.unreported[step, "punctuation"] = f"{type(error).__name__}: {error}"

    def _letter(self, rejected: Rejected, origin: Origin, error: str) -> RawBatch:
        record = origin.record
        (original,) = record.headers or ((),)
        added = {
            "topic": origin.source.topic,
            "partition": str(origin.source.partition),
            "offset": str(origin.offset),
            "timestamp": str(record.timestamps[0]),
            "step": rejected.step,
            "reason": rejected.reason,
            "error": error[:1000],
        }
        more = (header(MADE, "true"),) if origin.is_made else ()
        headers: Headers = (*original, *starmap(header, added.items()), *more)
        letter = Batch(
            record.keys,
            record.values,
            [Timestamp(max(0, record.timestamps[0]))],
            [Offset(0)],
            [headers],
        )
        if record_bytes(record.keys[0], record.values[0], headers) <= self.max_record_bytes:
            return letter
        cut = (header(TRUNCATED, "the value was too large to be sent again"),)
        own = headers[len(original) :]
        return Batch([None], [None], letter.timestamps, letter.offsets, [own + cut])


def _other_policy(rejected: Rejected) -> str:
    if rejected.policy:
        return f'set on_bad_record of {rejected.step} to "dead-letter" or "skip"'
    return 'set on_bad_record to "dead-letter" or "skip"'
