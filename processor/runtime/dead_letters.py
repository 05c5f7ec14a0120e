"""Dead letters as they are in their topic: what their headers say, and which a person asks for.

Owns the names of the headers, and the replay markers among them. Pure: who reads and writes the
topic is no business of this module.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from processor.records import Headers, Offset, Partition, Record, Timestamp, TopicPartition

PREFIX = "kproc."
TRUNCATED = "truncated"
MADE = "made"
REPLAYED = "replayed"
_REPORTED = ("topic", "partition", "offset", "timestamp", "step", "reason", "error")

RawRecord: TypeAlias = Record[bytes | None, bytes | None]


class Place(NamedTuple):
    """Where a dead letter is in its topic: shown as `17`, or `2:17` in partitions other than 0."""

    partition: Partition
    offset: Offset

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}" if self.partition else str(self.offset)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter, taken apart.

    Attributes:
        place: Where it is itself.
        record: As it was read: with its own headers and timestamp, negative if it had none.
        source: Where it was read; for what a step made of no record alone, the step's name.
        offset: Its offset there.
        step: What failed.
        reason: A word for the kind of failure.
        error: The error's text.
        is_truncated: Whether it was too large, so that only the headers are left of it.
        is_made: Whether a step made it of no record alone, such as a table's change.
    """

    place: Place
    record: RawRecord
    source: TopicPartition
    offset: Offset
    step: str
    reason: str
    error: str
    is_truncated: bool = False
    is_made: bool = False


def header(name: str, text: str) -> tuple[str, bytes]:
    """One header of a dead letter."""
    return PREFIX + name, text.encode(errors="backslashreplace")


def dead_letter_of(place: Place, raw: RawRecord) -> DeadLetter | None:
    """The dead letter that a record of the topic is; None for what kproc did not write as one.

    Only the last headers are taken for kproc's: a dead letter may itself have been read and failed.
    """
    reported: dict[str, str] = {}
    own = list(raw.headers)
    while own and (name := own[-1][0].removeprefix(PREFIX)) in _KNOWN and name not in reported:
        reported[name] = (own.pop()[1] or b"").decode(errors="replace")
    if not reported.keys() >= {*_REPORTED}:
        return None
    try:
        numbers = [int(reported[name]) for name in ("partition", "offset", "timestamp")]
    except ValueError:
        return None
    partition, offset, timestamp = numbers
    return DeadLetter(
        place,
        Record(raw.key, raw.value, Timestamp(timestamp), tuple(own)),
        TopicPartition(reported["topic"], Partition(partition)),
        Offset(offset),
        reported["step"],
        reported["reason"],
        reported["error"],
        is_truncated=TRUNCATED in reported,
        is_made=MADE in reported,
    )


_KNOWN = {*_REPORTED, TRUNCATED, MADE}


def replay_marker(offsets: Iterable[Offset]) -> Headers:
    """The headers of a replay marker: these dead letters of its partition were replayed.

    It is written in the transaction of the replay, so that it is there if and only if they are.
    """
    spans: list[list[int]] = []
    for offset in sorted(offsets):
        if spans and spans[-1][1] == offset - 1:
            spans[-1][1] = offset
        else:
            spans.append([offset, offset])
    return (header(REPLAYED, ",".join(f"{first}-{last}" for first, last in spans)),)


def replayed_by(raw: RawRecord) -> Iterator[Offset]:
    """The offsets of the dead letters that a replay marker names; none for any other record.

    A dead letter's own headers come from whoever wrote its record; a marker has only this one.
    """
    if raw.key is None and raw.value is None and len(raw.headers) == 1:
        ((name, data),) = raw.headers
        if name == PREFIX + REPLAYED:
            for span in (data or b"").decode().split(","):
                first, _, last = span.partition("-")
                yield from map(Offset, range(int(first), int(last) + 1))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters are asked for; where nothing is said, all.

    Attributes:
        steps: That failed.
        reasons: Of the failure.
        topics: That they were read from.
        partitions: That they were read from.
        key: Of the record.
        since: The record's time, in milliseconds since 1970.
        until: The same, not included.
        places: Of the dead letters themselves.
    """

    steps: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    partitions: frozenset[int] = frozenset()
    key: bytes | None = None
    since: Timestamp | None = None
    until: Timestamp | None = None
    places: frozenset[Place] = field(default_factory=frozenset[Place])

    def takes(self, letter: DeadLetter) -> bool:
        """Whether it is asked for."""
        time = letter.record.timestamp
        return (
            (not self.steps or letter.step in self.steps)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.topics or letter.source.topic in self.topics)
            and (not self.partitions or letter.source.partition in self.partitions)
            and (self.key is None or letter.record.key == self.key)
            and (self.since is None or time >= self.since)
            and (self.until is None or time < self.until)
            and (not self.places or letter.place in self.places)
        )


def obstacle(letter: DeadLetter, to: str | None, topics: Mapping[str, int]) -> str | None:
    """Why a dead letter can't be replayed; None if it can.

    Args:
        letter: The dead letter.
        to: The topic that it shall go to; None: the one that it was read from.
        topics: The partition counts of the topics that there are.
    """
    if letter.is_truncated:
        return (
            f"it was too large to be kept whole; {letter.source} may still have it at offset "
            f"{letter.offset}"
        )
    if to is None and letter.is_made:
        return f"it was made by {letter.source.topic}, read from no topic; give --to TOPIC"
    if to is None and letter.source.topic not in topics:
        return f"there is no topic {letter.source.topic} any more; give --to TOPIC"
    return None


def target(
    letter: DeadLetter, to: str | None, topics: Mapping[str, int]
) -> tuple[str, Partition | None]:
    """Where a dead letter goes: topic and partition; None: the one that its key belongs to."""
    if to is not None:
        return to, None
    topic, partition = letter.source
    return topic, partition if partition < topics[topic] else None
