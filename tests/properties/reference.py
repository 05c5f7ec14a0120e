"""The reference interpreter: what a topology means, one record at a time.

Slow and plain on purpose. State is dicts, a record that fails is undone by throwing a copy away,
and going back to the last checkpoint is going back to a copy made then. Of the package it uses the
graph and the serdes, and nothing that runs batches, keeps overlays or commits.
"""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from processor.operators.aggregates import by_key as aggregate
from processor.operators.changes import Change
from processor.operators.process import Process
from processor.operators.windows.windowed import WindowStep
from processor.records import Partition, Record, Timestamp, TopicPartition
from processor.serdes import auto
from processor.topology.graph import Edge, Node, Source, Step
from processor.topology.plan import Layout, StoreId, Subtopology, TaskId
from tests.properties import windowed
from tests.properties.one_record import (
    Bad,
    Punctuation,
    PunctuationFailed,
    Raw,
    Rows,
    TaskState,
    Trial,
    decode,
)

Partitioner = Callable[[bytes | None, int], int]


class Letter(NamedTuple):
    """A dead letter: the record, where it came from, what failed and why."""

    record: Raw
    origin: TopicPartition
    offset: int
    step: str
    reason: str


@dataclass
class World:
    """Everything that going back to a checkpoint takes back."""

    tasks: dict[TaskId, TaskState]
    offsets: Counter[TopicPartition] = field(default_factory=Counter)
    written: dict[TopicPartition, list[Raw]] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    bad: Counter[tuple[str, str]] = field(default_factory=Counter)


class Reference:
    """A topology at work, by the book.

    Args:
        layout: The topology's.
        inputs: What is in the input topics.
        partitioner: The partition that a key belongs to, of so many.
        max_record_bytes: Larger outputs make their record bad.
        uncommitted: Whether internal topics are read before they are committed.
    """

    def __init__(
        self,
        layout: Layout,
        inputs: dict[TopicPartition, list[Raw]],
        partitioner: Partitioner,
        max_record_bytes: int = 1_000_000,
        *,
        uncommitted: bool = False,
    ) -> None:
        self._layout = layout
        self._inputs = inputs
        self._partitioner = partitioner
        self._limit = max_record_bytes
        self._uncommitted = uncommitted
        self._sources = {
            topic: (part, source)
            for part in layout.plan.subtopologies
            for source in part.sources
            for topic in source.topics
        }
        parts = layout.plan.subtopologies
        tasks = {task: _new_task(parts[task.subtopology]) for task in sorted(layout.tasks)}
        self.world = World(tasks)
        self._committed = deepcopy(self.world)
        self._clock = -1
        self._now = -1

    @property
    def sources(self) -> list[TopicPartition]:
        """All partitions that are read, in order."""
        return sorted(
            TopicPartition(topic, Partition(number))
            for topic in self._sources
            for number in range(self._layout.partitions[topic])
        )

    def unread(self, source: TopicPartition) -> int:
        """How many records that can be read are not processed yet."""
        return len(self.log(source)) - self.world.offsets[source]

    def deliver(self, source: TopicPartition, count: int) -> None:
        """Works on the next records of a partition."""
        log = self.log(source)
        for _ in range(min(count, self.unread(source))):
            offset = self.world.offsets[source]
            self._record(source, offset, log[offset])
            self.world.offsets[source] += 1

    def tick(self, clock: int) -> None:
        """The clock on the wall is `clock` now."""
        since, self._clock = self._clock, clock
        self._now = clock
        for task in self.world.tasks:
            for node in self._nodes(task):
                if isinstance(node, Step) and isinstance(node.operator, Process):
                    rows = self._wall_punctuations(task, node, since)
                    self._made(task, node, rows)

    def checkpoint(self) -> None:
        """Tables emit their changes, then everything counts."""
        for task in self.world.tasks:
            for node in self._nodes(task):
                if _emits_at_checkpoints(node):
                    rows = self._changes(task, node)
                    self._made(task, node, rows)
        for state in self.world.tasks.values():
            state.changed = {name: {} for name in state.changed}
        self._committed = deepcopy(self.world)

    def go_back(self, *, crash: bool = False) -> None:
        """Takes back everything since the last checkpoint."""
        self.world = deepcopy(self._committed)
        if crash:
            self._clock = self._now = -1

    def stores(self) -> dict[StoreId, dict[bytes, bytes]]:
        """The committed contents of all stores."""
        return {
            StoreId(name, task.partition): store
            for task, state in self._committed.tasks.items()
            for name, store in state.stores.items()
        }

    def outputs(self) -> dict[TopicPartition, list[Raw]]:
        """The committed outputs."""
        return self._committed.written

    def letters(self) -> list[Letter]:
        """The committed dead letters."""
        return self._committed.letters

    def source(self, topic: str) -> Source:
        """The node that reads a topic."""
        return self._sources[topic][1]

    def log(self, source: TopicPartition) -> list[Raw]:
        """What can be read of a partition."""
        if source in self._inputs:
            return self._inputs[source]
        world = self.world if self._uncommitted else self._committed
        return world.written.get(source, [])

    def _nodes(self, task: TaskId) -> tuple[Node, ...]:
        return self._layout.plan.subtopologies[task.subtopology].nodes

    def _trial(self, task: TaskId, skip: set[Punctuation], *, advance: bool) -> Trial:
        state = deepcopy(self.world.tasks[task])
        return Trial(
            self._nodes(task), state, skip, advance=advance, now=self._now, limit=self._limit
        )

    # One record

    def _record(self, source: TopicPartition, offset: int, raw: Raw) -> None:
        task = self._layout.task_of(source)
        _, node = self._sources[source.topic]
        skip: set[Punctuation] = set()
        lost: dict[windowed.Closing, Bad] = {}
        while True:
            trial = self._trial(task, skip, advance=True)
            trial.brought.lost = lost
            try:
                row = decode(node, raw)
                trial.time = max(trial.state.stream_time, row.timestamp)
                outputs = trial.run(Edge(node), [row])
            except PunctuationFailed as failed:
                skip.add(failed.which)
            except Bad as bad:
                if guilty := trial.brought.guilty(bad):
                    lost[guilty] = bad
                elif trial.fired or trial.brought.closed:
                    skip |= trial.fired
                    lost |= dict.fromkeys(trial.brought.closed, bad)
                else:
                    self._letter(bad, raw, source, offset)
                    return
            else:
                trial.state.stream_time = trial.time
                self._accept(task, trial, outputs)
                self._notes(trial, raw, source, offset)
                return

    def _accept(self, task: TaskId, trial: Trial, outputs: list[tuple[str, Raw]]) -> None:
        self.world.tasks[task] = trial.state
        self.world.bad.update((step, "punctuation") for step, _, _ in trial.skip)
        for topic, record in outputs:
            number = self._partitioner(record.key, self._layout.partitions.get(topic, 1))
            log = TopicPartition(topic, Partition(number))
            self.world.written.setdefault(log, []).append(record)

    def _letter(self, bad: Bad, raw: Raw, origin: TopicPartition, offset: int) -> None:
        self.world.bad[bad.step, bad.reason] += 1
        if bad.policy == "skip":
            return
        raw = raw._replace(timestamp=Timestamp(max(0, raw.timestamp)))
        self.world.letters.append(Letter(raw, origin, offset, bad.step, bad.reason))

    def _notes(self, trial: Trial, raw: Raw, origin: TopicPartition, offset: int) -> None:
        """What steps left out of a record that is not bad: one letter for each such step.

        Of another step's result, the result itself.
        """
        places: set[Any] = set()
        for bad, row in trial.notes:
            closing = windowed.closing_of(row)
            shown, place = raw, origin
            if closing is not None:
                shown = Record(_shown(row.key), _shown(row.value), row.timestamp, row.headers)
                place = TopicPartition(closing.step, origin.partition)
            if (closing or bad.step) in places:
                self.world.bad[bad.step, bad.reason] += 1
            else:
                self._letter(bad, shown, place, offset)
            places.add(closing or bad.step)

    def _made(self, task: TaskId, node: Node, rows: Rows) -> None:
        """Rows that no record stands for: each on its own way behind the node."""
        for number, row in enumerate(rows):
            trial = self._trial(task, set(), advance=False)
            value = row.value.new if isinstance(row.value, Change) else row.value
            shown = Record(_shown(row.key), _shown(value), row.timestamp, row.headers)
            origin = TopicPartition(node.name, task.partition)
            try:
                outputs = trial.run(Edge(node), [deepcopy(row)])
            except Bad as bad:
                self._letter(bad, shown, origin, number)
            else:
                self._accept(task, trial, outputs)
                self._notes(trial, shown, origin, number)

    def _wall_punctuations(self, task: TaskId, node: Step, since: int) -> Rows:
        skip: set[Punctuation] = set()
        while True:
            trial = self._trial(task, skip, advance=False)
            try:
                rows = trial.punctuations(node, "wall", since, self._clock)
            except PunctuationFailed as failed:
                skip.add(failed.which)
            else:
                self._accept(task, trial, [])
                return rows

    def _changes(self, task: TaskId, node: Step) -> Rows:
        state = self.world.tasks[task]
        now = max(-1, state.stream_time - windowed.delays(self._nodes(task))[node.name])
        if isinstance(node.operator, WindowStep):
            return windowed.changes(state, node, now)
        (spec,) = node.stores
        rows: Rows = []
        for key, before in state.changed[spec.name].items():
            data = state.stores[spec.name].get(key)
            time, value = (now, None) if data is None else spec.value.decode(data)
            old = None if before is None else spec.value.decode(before)[1]
            rows.append(Record(spec.key.decode(key), Change(old, value), Timestamp(time)))
        return rows


def _new_task(part: Subtopology) -> TaskState:
    names = [spec.name for spec in part.stores]
    return TaskState(-1, {name: {} for name in names}, {name: {} for name in names})


def _emits_at_checkpoints(node: Node) -> bool:
    return (
        isinstance(node, Step)
        and isinstance(node.operator, aggregate.TableOperator | WindowStep)
        and node.operator.emit == "checkpoint"
    )


def _shown(value: Any) -> bytes | None:
    try:
        return None if value is None else auto.encode(value)
    except (TypeError, ValueError):
        return repr(value).encode(errors="backslashreplace")
