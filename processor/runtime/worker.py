"""Worker: the core of a slot. It is given events and answers with commands; it does nothing itself.

The commit cycle, with exactly-once:

1. `Begin` before the first output. Outputs are produced as batches come; state changes wait in the
   overlays.
2. At a checkpoint: `Produce` what tables held back and the last value of each changed key to the
   changelogs, `SendOffsets`, `Commit`.
3. When that is `Committed`, or at one of the next checkpoints: `Persist` what is committed of each
   store with its changelog position.

What is on disk is thus never ahead of what is committed, whatever happens between two commands. A
checkpoint that fails is answered with `Abort`; everything uncommitted is dropped and the input
fetched again. At least once is the same without `Begin` and `Abort`.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from functools import partial

from processor.errors import BadRecordError, KprocError
from processor.operators.base import Punctuality
from processor.options import WorkerOptions
from processor.records import Offset, Timestamp, TopicPartition
from processor.runtime.badrecords import BadRecords
from processor.runtime.commands import (
    Abort,
    Aborted,
    Assigned,
    Command,
    CommitFailed,
    Committed,
    EndsSeen,
    Event,
    Fetched,
    Finish,
    InputEnded,
    LookUp,
    Lost,
    OpenTask,
    OthersSeen,
    Position,
    ReachedEnd,
    Refused,
    Revoked,
    Stop,
    TaskOpened,
    Tick,
    Turn,
)
from processor.runtime.cycle import CommitCycle
from processor.runtime.dataflow import nobody
from processor.runtime.flow import Flow
from processor.runtime.task import Task
from processor.runtime.task_batch import TaskBatch
from processor.runtime.tasks import Now, TaskSet
from processor.serdes import SchemasMissing
from processor.topology.plan import Layout, TaskId


class Worker:
    """The core of one slot: its tasks, the flow of records through them, and the commit cycle.

    Args:
        layout: The plan and the partition counts.
        own: The slot's partitions; others are left alone, even if the group hands them out.
        options: The settings.
        on_step: Called with the name of each step that begins to work, and "" when none does.
    """

    def __init__(
        self,
        layout: Layout,
        own: frozenset[TopicPartition],
        options: WorkerOptions,
        on_step: Callable[[str], None] = nobody,
    ) -> None:
        plan = layout.plan
        self._plan = plan
        self.bad_records = BadRecords(
            options.on_bad_record, plan.dead_letters, options.max_record_bytes
        )
        self._now = Now()
        self._set = TaskSet(layout, own, options, self.bad_records, on_step)
        self._cycle = CommitCycle(layout, options, self._set, self.bad_records, self._now)
        self._flow = Flow(layout, options, self._set, self._cycle, self._now)
        self._stopping = False
        self._then: Callable[[], list[Command]] | None = None

    @property
    def tasks(self) -> Mapping[TaskId, Task]:
        """The tasks that are open."""
        return self._set.tasks

    @property
    def active(self) -> frozenset[TopicPartition]:
        """The partitions at work: those that the group gave and whose tasks are open."""
        return self._set.active

    @property
    def has_opened_all(self) -> bool:
        """Whether all tasks of the slot are open."""
        return self._set.are_all_open

    @property
    def judged(self) -> Counter[tuple[str, Punctuality]]:
        """Of how many committed records steps have judged whether they are late, and what came."""
        return self._set.judged

    @property
    def due(self) -> int | None:
        """Milliseconds until the next checkpoint is due; None: there is nothing to commit yet."""
        return self._cycle.due

    @property
    def checkpoints(self) -> int:
        """How many checkpoints have been committed."""
        return self._cycle.done

    @property
    def committed(self) -> Mapping[TopicPartition, Position]:
        """How far the last checkpoint was, or where a partition begins that had none."""
        return self._set.starts | self._cycle.positions

    @property
    def fetched(self) -> int:
        """Records that were given to tasks, without those that were given before."""
        return self._flow.fetched

    @property
    def worked(self) -> int:
        """Records that were worked on, those included that were done again."""
        return self._flow.worked

    @property
    def batches(self) -> deque[TaskBatch]:
        """What was worked on last, since somebody has emptied this."""
        return self._flow.batches

    @property
    def is_exhausted(self) -> bool:
        """Whether as many records were worked on as may be in this turn."""
        return self._flow.is_exhausted

    @property
    def overtaken(self) -> int:
        """How often tasks went on without some upstream that said nothing for too long."""
        return self._flow.overtaken

    @property
    def reported(self) -> int:
        """How many topics have ended, if what tasks held back is reported and committed."""
        cycle = self._cycle
        is_committed = not (cycle.under_way or cycle.is_anything_new)
        done = is_committed and self.has_opened_all
        return self._flow.ended_topics_reported if done else 0

    def held(self) -> Mapping[TaskId, tuple[TaskId, int]]:
        """The tasks whose time is held back: by which task upstream, and since how long, in ms."""
        return self._flow.held

    def ahead(self) -> list[tuple[TopicPartition, Offset, Timestamp]]:
        """Records too far ahead of the clock to move a stream time there; each is reported once."""
        found = [each for task in self.tasks.values() for each in task.ahead]
        for task in self.tasks.values():
            task.ahead.clear()
        return found

    def start(self) -> list[Command]:
        """The first commands."""
        return [*self._set.to_open()]

    def handle(self, event: Event) -> list[Command]:
        """The commands that an event leads to."""
        try:
            return self._handle(event)
        except BadRecordError as error:
            return self._after_abort(partial(self._give_up, error))
        except SchemasMissing as missing:
            # What is uncommitted is done again with the schemas known: wherever they were missed,
            # that is as if they always had been.
            undone = self._cycle.abort() or self._aborted()
            return undone if self._stopping else [*undone, LookUp(missing)]

    def _handle(self, event: Event) -> list[Command]:  # noqa: C901, PLR0911, PLR0912 - a table
        match event:
            case Fetched():
                return self._flow.records(event)
            case Tick():
                return self._tick(event)
            case Turn():
                self._flow.begin_turn(event)
                return []
            case ReachedEnd():
                return self._flow.reached_end(event)
            case Committed():
                return self._committed(event)
            case CommitFailed():
                return [Abort()]
            case Refused():
                return self._refused(event)
            case Aborted():
                return self._aborted()
            case Assigned():
                return self._assign(event.partitions)
            case Revoked():
                return self._assign(frozenset())
            case Lost():
                return self._lost()
            case TaskOpened():
                return self._opened(event)
            case InputEnded():
                self._flow.ended = event.topics
                return []
            case EndsSeen():
                return self._flow.ends_seen(event)
            case OthersSeen():
                self._flow.others_seen(event)
                return []
            case Stop():
                return self._stop()

    def _opened(self, event: TaskOpened) -> list[Command]:
        task, cycle = self._set.open(event), self._cycle
        # Those downstream learn that it is there, and how far it is; and where to begin is
        # committed as well: the next start must not choose again.
        cycle.moved |= task.reports_progress or bool(event.fresh)
        own = self._set.own[event.task]
        cycle.positions |= {
            source: position
            for source, position in event.start.items()
            if source in own and source not in event.fresh
        }
        return self._flow.fetch() if own & self._set.assigned else []

    def _assign(self, partitions: frozenset[TopicPartition]) -> list[Command]:
        # Nothing has to be committed first: the group gives a slot its own partitions again, and
        # until then nobody else gets them. What is uncommitted is committed afterwards.
        self._set.assigned = partitions
        return self._flow.fetch()

    def _lost(self) -> list[Command]:
        self._set.assigned = frozenset()
        return self._after_abort(self._reopen)

    def _tick(self, event: Tick) -> list[Command]:
        since, self._now.clock = self._now.clock, event.clock
        self._now.elapsed = event.elapsed
        commands = self._flow.tick(since)
        if self._cycle.is_due:
            commands += self._cycle.checkpoint() or self._cycle.persist_if_due()
        return commands

    def _committed(self, event: Committed) -> list[Command]:
        self._cycle.committed(event)
        if self._stopping:
            return self._finish()
        return [*self._cycle.persist_if_due(), *self._cycle.purge_if_due()]

    def _refused(self, event: Refused) -> list[Command]:
        """Does all again without a record that Kafka does not take, or ends where that is no help.

        A topic that the topology names has to take records.
        """
        plan, topic = self._plan, event.command.topic
        is_ours = topic in {*plan.internal, plan.dead_letters} - plan.repartitions.keys()
        is_named = topic in plan.outputs or topic in plan.repartitions
        if is_ours or (is_named and event.row is None):
            return self._after_abort(partial(self._give_up, event.error))
        if not self.bad_records.refusals.note(event, self._now.elapsed):
            return self._after_abort(partial(self._give_up, event.error))
        return [Abort()]

    def _after_abort(self, then: Callable[[], list[Command]]) -> list[Command]:
        """What is to be done once nothing is uncommitted.

        It follows when that is reported: commands after an abort that fails would be forgotten.
        """
        if not (abort := self._cycle.abort()):
            return then()
        self._then = then
        return abort

    def _aborted(self) -> list[Command]:
        self._cycle.aborted()
        then, self._then = self._then, None
        if then is not None:
            return then()
        self._set.rewind(self.committed)
        self._cycle.rewound()
        return self._finish() if self._stopping else self._flow.fetch()

    def _give_up(self, error: KprocError) -> list[Command]:
        return [*self._close_all(), Finish(error)]

    def _reopen(self) -> list[Command]:
        reopened = [OpenTask(task) for task in sorted(self.tasks)]
        return [*self._close_all(), *reopened]

    def _stop(self) -> list[Command]:
        self._stopping = True
        if self._cycle.under_way:
            return []  # what comes of it finishes
        # Without an assignment nothing can be committed, and nothing may be left open.
        return self._cycle.checkpoint() or self._cycle.abort() or self._finish()

    def _finish(self) -> list[Command]:
        return [*self._cycle.persist(), *self._close_all(), Finish()]

    def _close_all(self) -> list[Command]:
        closed = self._set.close()
        self._flow.close()
        self._cycle.closed()
        return [*closed]
