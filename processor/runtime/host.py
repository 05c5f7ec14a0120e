"""Host: who carries out the core's commands, whatever stands for Kafka and the disk there.

`carry_out` is the one table of all commands. A worker's process, the TopologyDriver, the reference
run of `kproc chaos` and the tests' worlds are hosts.
"""

from collections.abc import Mapping
from typing import Protocol

from processor.errors import KprocError
from processor.records import Offset, TopicPartition
from processor.runtime.commands import (
    Abort,
    Aborted,
    Begin,
    CloseTask,
    Command,
    Commit,
    Committed,
    Event,
    Fetch,
    Finish,
    LookAtEnds,
    LookAtOthers,
    LookUp,
    OpenTask,
    Pause,
    Persist,
    Position,
    Produce,
    Purge,
    SendOffsets,
    TaskOpened,
)
from processor.serdes import SchemasMissing
from processor.topology.plan import TaskId


class Host(Protocol):
    """What can be done for a core; what each command asks for is said at the command."""

    def open_task(self, task: TaskId) -> TaskOpened | None:
        """Opens a task; None: that is reported later."""
        ...

    def close_task(self, task: TaskId) -> None:
        """Closes a task."""
        ...

    def fetch(self, offsets: Mapping[TopicPartition, Offset]) -> None:
        """Fetches from there on."""
        ...

    def pause(self, sources: frozenset[TopicPartition]) -> None:
        """Fetches no more of these for now."""
        ...

    def begin(self) -> None:
        """Begins a transaction."""
        ...

    def produce(self, command: Produce) -> None:
        """Writes records."""
        ...

    def send_offsets(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Makes positions part of the transaction."""
        ...

    def commit(self) -> Committed:
        """Commits."""
        ...

    def abort(self) -> Aborted:
        """Aborts."""
        ...

    def persist(self, command: Persist) -> None:
        """Writes committed changes to a store."""
        ...

    def purge(self, offsets: Mapping[TopicPartition, Offset]) -> None:
        """Deletes records that nobody needs."""
        ...

    def look_up(self, missing: SchemasMissing, /) -> None:
        """Finds schemas."""
        ...

    def look_at_ends(self, command: LookAtEnds) -> None:
        """Asks for ends, which are reported later."""
        ...

    def look_at_others(self, command: LookAtOthers) -> None:
        """Asks how far other slots are, which is reported later."""
        ...

    def finish(self, error: KprocError | None) -> None:
        """Ends."""
        ...


def carry_out(host: Host, command: Command) -> Event | None:  # noqa: C901, PLR0912 - a table
    """Has one command carried out; returns what came of it, if that is an event by now."""
    match command:
        case Produce():
            host.produce(command)
        case Begin():
            host.begin()
        case SendOffsets(positions):
            host.send_offsets(positions)
        case Commit():
            return host.commit()
        case Persist():
            host.persist(command)
        case Fetch(offsets):
            host.fetch(offsets)
        case Abort():
            return host.abort()
        case OpenTask(task):
            return host.open_task(task)
        case CloseTask(task):
            host.close_task(task)
        case Purge(offsets):
            host.purge(offsets)
        case LookUp(missing):
            host.look_up(missing)
        case LookAtEnds():
            host.look_at_ends(command)
        case LookAtOthers():
            host.look_at_others(command)
        case Pause(sources):
            host.pause(sources)
        case Finish(error):
            host.finish(error)
    return None
