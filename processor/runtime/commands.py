"""What the worker's core is given (events) and what it wants done (commands): its whole interface.

Commands are carried out in the order given. The one who carries them out stops at the first that
fails and reports it; commands that were not reached are forgotten.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from processor.errors import KprocError
from processor.operators.base import NO_TIME
from processor.records import NO_OFFSET, Offset, RawBatch, Timestamp, TopicPartition
from processor.runtime.task_batch import TaskBatch
from processor.serdes import SchemasMissing
from processor.state.shared import ReadOnlyStore
from processor.state.store import Store
from processor.topology.plan import StoreId, TaskId

NO_TABLES: Mapping[str, ReadOnlyStore[Any, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Position:
    """How far a partition is processed: the next offset, and its task's stream time then.

    Of a partition that other tasks write, `note` has what else is to be known of it; only the core
    reads that.
    """

    offset: Offset
    stream_time: Timestamp
    note: str = ""

    @property
    def metadata(self) -> str:
        """The stream time and the note as text, as they are committed with the offset."""
        return f"{self.stream_time} {self.note}".rstrip()

    @staticmethod
    def of(offset: Offset, metadata: str | None) -> "Position":
        """The position that was committed with this metadata, which others may have written."""
        time, _, note = (metadata or "").partition(" ")
        if not time.lstrip("-").isdigit():
            return Position(offset, NO_TIME)
        return Position(offset, Timestamp(int(time)), note)


# Events


@dataclass(frozen=True, slots=True)
class TaskOpened:
    """The task's stores are restored; `start` says where to begin in each of its partitions.

    Of `fresh` partitions nothing has ever been committed. The global tables in `shared` have been
    read to their ends.
    """

    task: TaskId
    stores: Mapping[str, Store]
    start: Mapping[TopicPartition, Position]
    fresh: frozenset[TopicPartition] = frozenset()
    shared: Mapping[str, ReadOnlyStore[Any, Any]] = field(default_factory=lambda: NO_TABLES)


@dataclass(frozen=True, slots=True)
class Assigned:
    """The group gave these partitions; they replace what it gave before."""

    partitions: frozenset[TopicPartition]


@dataclass(frozen=True, slots=True)
class Revoked:
    """The group takes the partitions back for a rebalance and may give them again."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The group has long given the partitions to another: nothing uncommitted may be committed."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Records of one partition, in order."""

    source: TopicPartition
    records: RawBatch


@dataclass(frozen=True, slots=True)
class ReachedEnd:
    """There is no committed record before this offset that was not fetched yet."""

    source: TopicPartition
    offset: Offset


@dataclass(frozen=True, slots=True)
class Tick:
    """The time is now: `clock` on the wall, `elapsed` since any moment, both in milliseconds."""

    clock: Timestamp
    elapsed: int


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn begins, in which no more than `budget` records are to be worked on; others wait.

    What has waited since the last turn comes first, and with the next tick.
    """

    budget: int


@dataclass(frozen=True, slots=True)
class Committed:
    """The checkpoint is durable; `written` has the last changelog offset of each store."""

    written: Mapping[StoreId, Offset]


@dataclass(frozen=True, slots=True)
class Aborted:
    """The transaction was aborted; nothing of it counts."""


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """A command of the checkpoint failed in a way that aborting the transaction fixes."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Refused:
    """Kafka does not take what a command writes, however often: the transaction must be aborted.

    Attributes:
        command: What was to be written.
        row: Which of its rows; None: its topic takes none of this application.
        error: Why.
    """

    command: "Produce"
    row: int | None
    error: KprocError

    @property
    def number(self) -> Offset:
        """The number of the input record's row in the command's batch."""
        return NO_OFFSET if self.row is None else self.command.records.offsets[self.row]


@dataclass(frozen=True, slots=True)
class InputEnded:
    """Nothing more will come in these topics: tasks at their ends are idle at once."""

    topics: frozenset[str]


@dataclass(frozen=True, slots=True)
class EndsSeen:
    """The ends asked for: offsets before which all that is committed is; none if not to be had."""

    ends: Mapping[TopicPartition, Offset]
    asked_at: int


@dataclass(frozen=True, slots=True)
class OthersSeen:
    """What other slots have committed, as far as they have, and the ends of these partitions."""

    positions: Mapping[TopicPartition, Position]
    ends: Mapping[TopicPartition, Offset]


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish: checkpoint, close, stop."""


Event: TypeAlias = (
    TaskOpened
    | Assigned
    | Revoked
    | Lost
    | Fetched
    | ReachedEnd
    | Tick
    | Turn
    | Committed
    | Aborted
    | CommitFailed
    | Refused
    | InputEnded
    | EndsSeen
    | OthersSeen
    | Stop
)


# Commands


@dataclass(frozen=True, slots=True)
class OpenTask:
    """Open the task's stores, restore them, find where to begin, then report `TaskOpened`."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class CloseTask:
    """Flush and close the task's stores."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetch from these partitions from these offsets on, and from no others."""

    offsets: Mapping[TopicPartition, Offset]


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin a transaction."""


@dataclass(frozen=True, slots=True)
class Produce:
    """Write records: to the partition, or to those that their keys belong to.

    With a store they are its changelog, and `Committed` has to report the offset of the last one.
    With a batch they are made of its records: the offsets are the numbers of rows there.
    """

    topic: str
    records: RawBatch
    partition: int | None = None
    store: StoreId | None = None
    batch: TaskBatch | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SendOffsets:
    """Make the positions part of the transaction (or ready for the commit without one)."""

    positions: Mapping[TopicPartition, Position]


@dataclass(frozen=True, slots=True)
class Commit:
    """Commit the transaction, then report `Committed`."""


@dataclass(frozen=True, slots=True)
class Persist:
    """Write committed changes with their changelog position to the store, all or nothing."""

    store: StoreId
    changes: Mapping[bytes, bytes | None]
    position: Offset


@dataclass(frozen=True, slots=True)
class Abort:
    """Abort the transaction, then report `Aborted`."""


@dataclass(frozen=True, slots=True)
class Purge:
    """Delete the records before these offsets: everyone who needed them has committed."""

    offsets: Mapping[TopicPartition, Offset]


@dataclass(frozen=True, slots=True)
class LookUp:
    """Find what a schema registry answers to these questions, and give it to `missing.registry`."""

    missing: SchemasMissing


@dataclass(frozen=True, slots=True)
class LookAtEnds:
    """Find the last stable offsets of these partitions, and report them later as `EndsSeen`."""

    sources: frozenset[TopicPartition]
    asked_at: int


@dataclass(frozen=True, slots=True)
class LookAtOthers:
    """Find what other slots have committed of these partitions, and report it as `OthersSeen`."""

    sources: frozenset[TopicPartition]


@dataclass(frozen=True, slots=True)
class Pause:
    """Fetch no more of these partitions for now, but of all others that are fetched."""

    sources: frozenset[TopicPartition]


@dataclass(frozen=True, slots=True)
class Finish:
    """Leave: there is nothing more to do, or with an error nothing more that can be done."""

    error: KprocError | None = None


Command: TypeAlias = (
    OpenTask
    | CloseTask
    | Fetch
    | Begin
    | Produce
    | SendOffsets
    | Commit
    | Persist
    | Abort
    | Purge
    | LookUp
    | LookAtEnds
    | LookAtOthers
    | Pause
    | Finish
)
