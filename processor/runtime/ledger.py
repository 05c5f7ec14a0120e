"""The ledger: a second witness of positions, and where a partition begins by what both say.

The first witness is what the consumer group has committed. Kafka drops that when the group has
been empty for `offsets.retention.minutes`, and its tools may set or delete it; the state knows
nothing of either. The ledger is a compacted topic of the application's own, written in the
transaction that commits the group's offsets: the two are equal unless somebody else changed one.

Pure: no client, no clock.
"""

from dataclasses import dataclass, replace

import msgspec

from processor.errors import StateError, StateMismatch
from processor.operators.base import NO_TIME
from processor.records import Offset, TopicPartition
from processor.runtime.commands import Position


class Entry(msgspec.Struct, frozen=True):
    """What the ledger has of a partition: its position, and what that is a position of.

    Attributes:
        offset: The next one to be processed.
        metadata: What else belongs to the position, as `Position.metadata` has it.
        topic: The id of the topic, which one that was deleted and created again does not have.
        exact: Whether it was written in the transaction that committed the group's offset; if not,
            the group may be ahead of it.
    """

    offset: Offset
    metadata: str
    topic: str = ""
    exact: bool = True

    @property
    def position(self) -> Position:
        """The position itself."""
        return Position.of(self.offset, self.metadata)


def key_of(source: TopicPartition) -> bytes:
    """The key of a partition's entry."""
    return str(source).encode()


def encoded(entry: Entry) -> bytes:
    """The value of an entry."""
    return msgspec.json.encode(entry)


def decoded(source: TopicPartition, value: bytes) -> Entry:
    """The entry that was written.

    Raises:
        StateError: It is not valid.
    """
    try:
        return msgspec.json.decode(value, type=Entry)
    except msgspec.DecodeError as error:
        raise StateError(
            f"what the ledger has of {source} can't be understood ({error}): go on with the kproc "
            "that wrote it, or kproc reset the application to start over"
        ) from error


@dataclass(frozen=True, slots=True)
class Topic:
    """What is known of a partition's topic.

    Attributes:
        id: Of the topic.
        first: The first offset that is still there.
        fresh: Where a partition begins of which nothing was ever read.
        is_new: Whether the partition has come to a topic that was read before.
        is_reported: Whether the ledger still has all that was ever written of the partition.
    """

    id: str
    first: Offset
    fresh: Offset
    is_new: bool
    is_reported: bool


@dataclass(frozen=True, slots=True)
class Start:
    """Where a partition begins.

    Attributes:
        position: There.
        settled: Whether both witnesses say so; else the first checkpoint writes it.
        cause: Why it begins there although the witnesses differ; empty if they don't.
    """

    position: Position
    settled: bool
    cause: str = ""


def begin(
    source: TopicPartition,
    group: Position | None,
    entry: Entry | None,
    topic: Topic,
    *,
    exactly_once: bool,
) -> Start:
    """Where a partition begins.

    Args:
        source: The partition.
        group: What the group has committed, if it has.
        entry: What the ledger has, if it has.
        topic: The topic.
        exactly_once: Whether the group's offset and the entry are written together.

    Raises:
        StateMismatch: The witnesses contradict each other, or there is none where there was one.
        StateError: Records were deleted that were not processed.
    """
    if entry is not None and entry.topic and topic.id and entry.topic != topic.id:
        raise StateMismatch(
            f"{source.topic} was deleted and created again since {source} was processed up to "
            f"offset {entry.offset}: the state stands for records that are gone. "
            "`kproc reset FILE.py` starts over, without that state"
        )
    start = _agreed(source, group, entry, topic, exactly_once=exactly_once)
    if start.position.offset < topic.first:
        raise StateError(
            f"{source.topic} partition {source.partition} was processed up to offset "
            f"{start.position.offset}, but begins at {topic.first} now: retention has deleted "
            "records that were not processed. Nothing is skipped silently; commit an offset for "
            "the group that is there, such as with kafka-consumer-groups --reset-offsets, to go on "
            "from it"
        )
    return start


def _agreed(
    source: TopicPartition,
    group: Position | None,
    entry: Entry | None,
    topic: Topic,
    *,
    exactly_once: bool,
) -> Start:
    if group is None and entry is None:
        return _unknown(source, topic)
    if group is None:
        assert entry is not None
        cause = "the group has no offset any more: they expire, or were deleted by a tool"
        return Start(entry.position, settled=False, cause=cause)
    if entry is None:
        return Start(group, settled=False)
    if group.offset == entry.offset:
        return Start(entry.position, settled=True)
    if entry.offset < topic.first <= group.offset:
        cause = f"the records from offset {entry.offset} are gone, and the group was set past them"
        return Start(replace(entry.position, offset=group.offset), settled=False, cause=cause)
    if group.offset > entry.offset and not (entry.exact and exactly_once):
        return Start(group, settled=False)
    raise StateMismatch(
        f"{source} was processed up to offset {entry.offset}, and the group was set to "
        f"{group.offset} since, by another tool: the state would not fit what is read. Set the "
        f"group back to {entry.offset} (kafka-consumer-groups --reset-offsets --to-offset), or "
        "rewind state and positions together: kproc reset FILE.py --to TIME"
    )


def _unknown(source: TopicPartition, topic: Topic) -> Start:
    if not topic.is_reported:
        raise StateMismatch(
            f"it is not known how far {source} was processed: the group has no offset, and the "
            "ledger's records were deleted. `kproc reset FILE.py --to TIME` starts over from a "
            "time that you choose"
        )
    # Nothing of a new partition may be passed over, whatever `start_from` says.
    offset = Offset(0) if topic.is_new else topic.fresh
    return Start(Position(offset, NO_TIME), settled=False)
