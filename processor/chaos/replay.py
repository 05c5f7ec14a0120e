"""The reference run: one task fed with its input through the same core, without any failure.

Its stores are in memory, its outputs a list, and a checkpoint follows each record or comes at the
end. Knows nothing of how the results are compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TypeAlias

from processor.chaos.outside import Outside
from processor.errors import KprocError
from processor.operators.base import NO_TIME
from processor.options import WorkerOptions
from processor.records import Offset, RawBatch, Record, Timestamp, TopicPartition
from processor.runtime.commands import (
    Aborted,
    Assigned,
    Command,
    Committed,
    EndsSeen,
    Event,
    Fetched,
    LookAtEnds,
    LookAtOthers,
    Persist,
    Position,
    Produce,
    TaskOpened,
    Tick,
)
from processor.runtime.host import carry_out
from processor.runtime.progress import without_progress
from processor.runtime.worker import Worker
from processor.serdes import SchemasMissing
from processor.state.store import MemoryStore
from processor.topology.plan import Layout, StoreId, TaskId

RawRecord: TypeAlias = Record[bytes | None, bytes | None]

_CHUNK = 1_000

_PAUSE = 100
"""Milliseconds between two checkpoints: long enough for all that comes only now and then."""


@dataclass(slots=True)
class TaskResult:
    """What a task makes of its input.

    Attributes:
        outputs: The records for each topic in their order, without changelogs.
        state: What its changelogs say at the end, by store: the keys that have a value.
    """

    outputs: dict[str, list[RawRecord]] = field(default_factory=dict[str, list[RawRecord]])
    state: dict[str, dict[bytes, bytes]] = field(default_factory=dict[str, dict[bytes, bytes]])


def replay(
    layout: Layout,
    task: TaskId,
    logs: Mapping[TopicPartition, RawBatch],
    options: WorkerOptions,
    outside: Outside,
    *,
    each: bool,
) -> TaskResult:
    """Runs one task over its input; again when it asks for schemas, which it then knows.

    Args:
        layout: The plan and the partition counts.
        task: The task.
        logs: The records of its partitions; they are read one partition after the other.
        options: Of the run that it is compared with.
        outside: What it uses besides its input.
        each: Whether to make a checkpoint after each record, so that tables report every change;
            else there is one at the end.

    Raises:
        BadRecordError: A record is bad, and the policy is to fail.
    """
    while True:
        run = _Run(layout, task, frozenset(logs), options, outside)
        try:
            return run.over(logs, each=each)
        except SchemasMissing as missing:
            outside.answer(missing)


def _rows(log: RawBatch, first: int, end: int) -> RawBatch:
    rows = slice(first, end)
    headers = None if log.headers is None else log.headers[rows]
    return replace(
        log,
        keys=log.keys[rows],
        values=log.values[rows],
        timestamps=log.timestamps[rows],
        offsets=log.offsets[rows],
        headers=headers,
    )


class _Run:
    """The core of a worker that has this one task, and what it made so far."""

    def __init__(
        self,
        layout: Layout,
        task: TaskId,
        own: frozenset[TopicPartition],
        options: WorkerOptions,
        outside: Outside,
    ) -> None:
        self._made = TaskResult()
        self._own = own
        self._outside = outside
        self._part = layout.plan.subtopologies[task.subtopology]
        self._written: dict[StoreId, Offset] = {}
        self._offsets = map(Offset, count())
        self._elapsed = 0
        self._asked: LookAtEnds | None = None
        self._stores = {spec.name: StoreId(spec.name, task.partition) for spec in self._part.stores}
        self._disk = {store: MemoryStore() for store in self._stores.values()}
        self._made.state = {name: {} for name in self._stores}
        often = replace(options, checkpoint_interval=1, persist_interval=0)
        self._worker = Worker(layout, own, often)

    def over(self, logs: Mapping[TopicPartition, RawBatch], *, each: bool) -> TaskResult:
        """What the task makes of these."""
        self._execute(self._worker.start())
        self._handle(Assigned(self._own))
        self._handle(Tick(Timestamp(0), self._elapsed))
        for source, log in logs.items():
            step = 1 if each else _CHUNK
            for first in range(0, len(log), step):
                self._handle(Fetched(source, _rows(log, first, first + step)))
                if each:
                    self._checkpoint()
        self._checkpoint()
        if self._asked is not None:
            # All that the tasks upstream have written was given, in whatever order.
            self._handle(
                EndsSeen(dict.fromkeys(self._asked.sources, Offset(0)), self._asked.asked_at)
            )
            self._checkpoint()
        return self._made

    def _handle(self, event: Event) -> None:
        self._execute(self._worker.handle(event))

    def _checkpoint(self) -> None:
        self._elapsed += _PAUSE
        # The clock on the wall stands still: what follows from it is not compared.
        self._handle(Tick(Timestamp(0), self._elapsed))

    def _execute(self, commands: list[Command]) -> None:
        for command in commands:
            event = carry_out(self, command)
            if event is not None:
                self._handle(event)

    # What the core asks for, see `runtime.host`

    def open_task(self, task: TaskId) -> TaskOpened:
        stores = {name: self._disk[store] for name, store in self._stores.items()}
        start = dict.fromkeys(self._own, Position(Offset(0), NO_TIME))
        return TaskOpened(task, stores, start, shared=self._outside.tables)

    def close_task(self, task: TaskId) -> None:
        """Nothing is held open."""

    def fetch(self, offsets: Mapping[TopicPartition, Offset]) -> None:
        """It is given all of its input anyway."""

    def pause(self, sources: frozenset[TopicPartition]) -> None:
        """The same."""

    def begin(self) -> None:
        """What it makes counts at once: nothing fails."""

    def produce(self, command: Produce) -> None:
        if command.store is None:
            # The client takes the timestamp 0 for "now", so that the worker writes 1 for it.
            plain = without_progress(command.records)
            records = (row._replace(timestamp=row.timestamp or 1) for row in plain.records())
            self._made.outputs.setdefault(command.topic, []).extend(records)
            return
        self._written[command.store] = next(self._offsets)
        state = self._made.state[command.store.name]
        for key, value in zip(command.records.keys, command.records.values, strict=True):
            assert key is not None
            if value is None:
                state.pop(key, None)
            else:
                state[key] = value

    def send_offsets(self, positions: Mapping[TopicPartition, Position]) -> None:
        """It never goes on from there."""

    def commit(self) -> Committed:
        written, self._written = self._written, {}
        return Committed(written)

    def abort(self) -> Aborted:
        """As for `begin`."""
        return Aborted()

    def persist(self, command: Persist) -> None:
        self._disk[command.store].write(command.changes, command.position)

    def purge(self, offsets: Mapping[TopicPartition, Offset]) -> None:
        """Its input is read only once."""

    def look_up(self, missing: SchemasMissing) -> None:
        raise missing

    def look_at_ends(self, command: LookAtEnds) -> None:
        self._asked = command

    def look_at_others(self, command: LookAtOthers) -> None:
        """There are no others."""

    def finish(self, error: KprocError | None) -> None:
        if error is not None:
            raise error
