"""CommitCycle: what of the tasks' work is uncommitted, and the commands that commit it.

The order of the steps, and why it is safe, is at the head of `runtime.worker`.
"""

from processor.options import WorkerOptions
from processor.records import Batch, Offset, RawBatch, TopicPartition
from processor.runtime.badrecords import BadRecords
from processor.runtime.commands import (
    Abort,
    Begin,
    Command,
    Commit,
    Committed,
    Persist,
    Position,
    Produce,
    Purge,
    SendOffsets,
)
from processor.runtime.dataflow import Output
from processor.runtime.markers import Markers
from processor.runtime.task_batch import TaskBatch
from processor.runtime.tasks import Now, TaskSet
from processor.state.overlay import Overlay
from processor.topology.plan import Layout, StoreId

_PURGE_INTERVAL = 30_000
"""Milliseconds between two purges of repartition topics, as in Kafka Streams."""


class CommitCycle:
    """The checkpoints of a slot.

    Args:
        layout: The plan and the partition counts.
        options: The settings.
        tasks: Whose work is committed.
        bad_records: What was left out is counted when that is committed.
        now: The time.
    """

    def __init__(
        self,
        layout: Layout,
        options: WorkerOptions,
        tasks: TaskSet,
        bad_records: BadRecords,
        now: Now,
    ) -> None:
        self._layout, self._options, self._tasks = layout, options, tasks
        self._bad_records, self._now = bad_records, now
        self._markers = Markers(layout)
        self.done = 0
        """How many checkpoints have been committed."""
        self.positions: dict[TopicPartition, Position] = {}
        """The committed ones."""
        self.under_way = False
        self.moved = False
        """Whether positions have moved on since the last checkpoint."""
        self._begun = False
        self._last = self._purged = self._persisted = 0

    @property
    def is_anything_new(self) -> bool:
        """Whether there is anything to commit."""
        if self.moved or self._begun:
            return True
        # Stores change without any record when a punctuation by the wall clock returns none.
        return any(each.changes for each in self._tasks.overlays.values())

    @property
    def is_full(self) -> bool:
        """Whether no more memory is to be used before a checkpoint."""
        options = self._options
        return self._tasks.memory_bytes > options.cache_bytes + options.uncommitted_bytes

    @property
    def due(self) -> int | None:
        """Milliseconds until the next checkpoint is due; None: there is nothing to commit yet."""
        if self.under_way or not (self.moved and self._tasks.assigned):
            return None
        return max(0, self._left)

    @property
    def is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self._left <= 0 or self.is_full

    @property
    def _left(self) -> int:
        """Milliseconds of the interval between two checkpoints that have not passed."""
        return self._last + self._options.checkpoint_interval - self._now.elapsed

    def produce(self, outputs: list[Output], batch: TaskBatch | None = None) -> list[Command]:
        """Commands that write outputs, which are made of a batch or of no records."""
        if not outputs:
            return []
        made = (Produce(each.topic, each.records, batch=batch) for each in outputs)
        return [*self._begin(), *made]

    def checkpoint(self) -> list[Command]:
        """All commands up to the commit, or none where there is nothing new."""
        if self.under_way or not self._tasks.assigned or not self.is_anything_new:
            return []
        # Only now: what comes after a quiet time, or an adoption, is committed at once.
        self.under_way, self._last = True, self._now.elapsed
        begin, tasks = self._begin(), self._tasks.tasks
        reported = [each for task in tasks.values() for each in task.report_changes()]
        commands = self.produce(reported)
        for store, overlay in self._tasks.overlays.items():
            commands += self._changelog(store, overlay)
        markers = self._markers.of(tasks, self._now.clock) if self._tasks.followed else []
        return [*begin, *commands, *markers, SendOffsets(self._moved()), Commit()]

    def checkpoint_if_full(self) -> list[Command]:
        """The same, where there is no memory left before one."""
        return self.checkpoint() if self.is_full else []

    def committed(self, event: Committed) -> None:
        """What the checkpoint has is committed."""
        for store, overlay in self._tasks.overlays.items():
            if overlay.changes:
                overlay.committed(Offset(event.written[store] + 1))
        for task in self._tasks.tasks.values():
            task.committed()
            self.positions |= task.positions
        self._bad_records.commit()
        self._bad_records.refusals.committed(self.positions, self._now.elapsed)
        self._markers.committed()
        self.done += 1
        self._ended()

    def abort(self) -> list[Command]:
        """A command that aborts what is open, if anything is."""
        return [Abort()] if self._begun else []

    def aborted(self) -> None:
        """Nothing uncommitted is left in Kafka."""
        self._ended()
        self._bad_records.undo()

    def rewound(self) -> None:
        """All tasks have gone back to what is committed."""
        # Where fresh partitions begin, and what was not reported yet.
        self.moved = bool(self._moved()) or self._markers.is_anything_new(self._tasks.tasks)

    def closed(self) -> None:
        """No task is open any more; what they have reported is reported again by those to come."""
        self._markers = Markers(self._layout)
        self._ended()

    def persist_if_due(self) -> list[Command]:
        """Commands that bring the stores up to what is committed, where it is time or memory."""
        options = self._options
        due = self._now.elapsed - self._persisted >= options.persist_interval
        limit = options.cache_bytes + options.uncommitted_bytes // 2
        self._tasks.weigh(self._tasks.tasks)
        if not due and self._tasks.memory_bytes <= limit:
            return []
        self._persisted = self._now.elapsed
        return self.persist()

    def persist(self) -> list[Command]:
        """Commands that bring the stores up to what is committed."""
        commands: list[Command] = []
        for store, overlay in self._tasks.overlays.items():
            if overlay.unsaved:
                commands.append(Persist(store, overlay.unsaved, overlay.position))
            overlay.saved()
        self._tasks.weigh(self._tasks.tasks)
        return commands

    def purge_if_due(self) -> list[Command]:
        """A command that deletes what was read of repartition topics, now and then."""
        if self._now.elapsed - self._purged < _PURGE_INTERVAL:
            return []
        self._purged = self._now.elapsed
        offsets = {
            source: position.offset
            for source, position in self.positions.items()
            if source.topic in self._layout.plan.repartitions
        }
        return [Purge(offsets)] if offsets else []

    def _begin(self) -> list[Command]:
        begin = not self._begun and self._options.guarantee == "exactly-once"
        self._begun = True
        return [Begin()] if begin else []

    def _changelog(self, store: StoreId, overlay: Overlay) -> list[Command]:
        changes = overlay.changes
        if not changes:
            return []
        count = len(changes)
        records: RawBatch = Batch(
            list(changes),
            list(changes.values()),
            [self._now.clock] * count,
            [Offset(0)] * count,
        )
        topic = self._layout.plan.changelog(store.name)
        return [Produce(topic, records, store.partition, store)]

    def _moved(self) -> dict[TopicPartition, Position]:
        """The positions that differ from the committed ones."""
        tasks = self._tasks.tasks.values()
        positions = (pair for task in tasks for pair in task.positions.items())
        return {source: now for source, now in positions if self.positions.get(source) != now}

    def _ended(self) -> None:
        self._begun = self.moved = self.under_way = False
