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

import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from processor.errors import BadRecordError, KprocError
from processor.operators.base import Punctuality
from processor.records import Batch, Offset, RawBatch, Timestamp, TopicPartition
from processor.runtime.alignment import Alignment, State
from processor.runtime.badrecords import BadRecords
from processor.runtime.checkpoints import Checkpoints
from processor.runtime.commands import (
    Abort,
    Aborted,
    Assigned,
    Begin,
    CloseTask,
    Command,
    Commit,
    CommitFailed,
    Committed,
    EndsSeen,
    Event,
    Fetch,
    Fetched,
    Finish,
    InputEnded,
    LookAtEnds,
    LookAtOthers,
    LookUp,
    Lost,
    OpenTask,
    OthersSeen,
    Pause,
    Persist,
    Position,
    Produce,
    Purge,
    ReachedEnd,
    Refused,
    Revoked,
    SendOffsets,
    Stop,
    TaskOpened,
    Tick,
    Turn,
)
from processor.runtime.dataflow import Dataflow, Output, nobody
from processor.runtime.intake import Intake
from processor.runtime.markers import Asked, Markers
from processor.runtime.options import WorkerOptions
from processor.runtime.portion import Portion
from processor.runtime.progress import read_note
from processor.runtime.task import Task
from processor.runtime.upstream import Hold, Upstream
from processor.serdes import SchemasMissing
from processor.state.overlay import Overlay
from processor.topology.plan import Layout, StoreId, TaskId

_REPORTED = 16
"""Portions that are remembered, to say what took long."""

_PURGE_INTERVAL = 30_000
"""Milliseconds between two purges of repartition topics, as in Kafka Streams."""


class Worker:
    """The core of one slot.

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
        self._layout = layout
        self._options = options
        self._own: dict[TaskId, set[TopicPartition]] = {}
        for source in own:
            self._own.setdefault(layout.task_of(source), set()).add(source)
        plan = layout.plan
        limit = options.max_record_bytes
        self._followed = plan.followed if options.follows_progress else frozenset[str]()
        self._writers = {
            topic: {task: layout.sources_of(task) for task in layout.writers(topic)}
            for topic in self._followed
        }
        self._dataflows = {
            part.number: Dataflow(
                part, limit, plan.internal, self._followed, options.limits, on_step
            )
            for part in plan.subtopologies
        }
        self.bad_records = BadRecords(options.on_bad_record, plan.dead_letters, limit)
        self.tasks: dict[TaskId, Task] = {}
        self._intakes: dict[TaskId, Intake] = {}
        self._starts: dict[TopicPartition, Position] = {}
        self._assigned: frozenset[TopicPartition] = frozenset()
        self._checkpoints = Checkpoints()
        self.fetched = 0
        """Records that were given to tasks, without those that were given before."""
        self.worked = 0
        """Records that were worked on, those included that were done again."""
        self.portions: deque[Portion] = deque(maxlen=_REPORTED)
        """What was worked on last, since somebody has emptied this."""
        self._budget = sys.maxsize
        self._is_behind = False
        """Whether something waits since the last turn: then tasks go on in turn, with the tick."""
        self._first = 0
        """Which task goes first: the last to have used up what may be worked on was before it."""
        self.overtaken = 0
        """How often tasks went on without some upstream that said nothing for too long."""
        self.holds: dict[TaskId, list[Hold]] = {}
        self._judged: Counter[tuple[str, Punctuality]] = Counter()
        self._markers = Markers(layout)
        self._alignment = Alignment(layout, self._followed, options.max_lead)
        self._paused: frozenset[TopicPartition] = frozenset()
        self._asked = Asked()
        self._clock = Timestamp(-1)
        self._elapsed = 0
        self._stopping = False
        self._then: Callable[[], list[Command]] | None = None
        self._ended: frozenset[str] = frozenset()

    @property
    def checkpoints(self) -> int:
        """How many checkpoints have been committed."""
        return self._checkpoints.done

    @property
    def active(self) -> frozenset[TopicPartition]:
        """The partitions at work: those that the group gave and whose tasks are open."""
        opened = (source for task in self.tasks for source in self._own[task])
        return self._assigned.intersection(opened)

    @property
    def committed(self) -> Mapping[TopicPartition, Position]:
        """How far the last checkpoint was, or where a partition begins that had none."""
        return self._starts | self._checkpoints.positions

    @property
    def judged(self) -> Counter[tuple[str, Punctuality]]:
        """Of how many committed records steps have judged whether they are late, and what came."""
        return sum((task.judged for task in self.tasks.values()), self._judged.copy())

    @property
    def has_opened_all(self) -> bool:
        """Whether all tasks of the slot are open."""
        return self.tasks.keys() == self._own.keys()

    @property
    def reported(self) -> int:
        """How many topics have ended, if what tasks held back is reported and committed."""
        ended = (number for number in self.tasks if self._has_ended(number))
        reported = all(self._intakes[number].is_idle_reported for number in ended)
        is_committed = not (self._checkpoints.under_way or self._is_anything_new())
        return len(self._ended) if reported and is_committed and self.has_opened_all else 0

    def start(self) -> list[Command]:
        """The first commands."""
        return [OpenTask(task) for task in sorted(self._own)]

    def handle(self, event: Event) -> list[Command]:
        """The commands that an event leads to."""
        try:
            return self._handle(event)
        except BadRecordError as error:
            return self._after_abort(partial(self._give_up, error))
        except SchemasMissing as missing:
            # What is uncommitted is done again with the schemas known: wherever they were missed,
            # that is as if they always had been.
            undone = self._abort() or self._aborted()
            return undone if self._stopping else [*undone, LookUp(missing)]

    def _handle(self, event: Event) -> list[Command]:  # noqa: C901, PLR0911, PLR0912 - a table
        match event:
            case Fetched():
                return self._fetched(event)
            case Tick():
                return self._tick(event)
            case Turn():
                return self._begin_turn(event.budget)
            case ReachedEnd():
                return self._reached_end(event)
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
                self._ended = event.topics
                return []
            case EndsSeen():
                return self._ends_seen(event)
            case OthersSeen():
                self._alignment.see(event.positions, event.ends)
                return []
            case Stop():
                return self._stop()

    def _opened(self, event: TaskOpened) -> list[Command]:
        options = self._options
        stores = sum(len(part.stores) for part in self._layout.plan.subtopologies)
        share = options.cache_bytes // max(1, stores * len(self._own))
        overlays = {name: Overlay(store, share) for name, store in event.stores.items()}
        part = self._layout.plan.subtopologies[event.task.subtopology]
        dataflow = self._dataflows[part.number]
        own = self._own[event.task]
        start = {source: position for source, position in event.start.items() if source in own}
        layout = self._layout.plan.fingerprint
        self.tasks[event.task] = Task(
            event.task, part, dataflow, overlays, self.bad_records, start, event.shared, layout
        )
        self._restart(event.task, start)
        # Those downstream learn that it is there, and how far it is.
        self._checkpoints.moved |= bool(dataflow.followed)
        known = {source: start[source] for source in start if source not in event.fresh}
        self._checkpoints.positions |= known
        # Where to begin is committed as well: the next start must not choose again.
        self._checkpoints.moved |= bool(event.fresh)
        self._starts |= start
        return self._fetch() if own & self._assigned else []

    def _assign(self, partitions: frozenset[TopicPartition]) -> list[Command]:
        # Nothing has to be committed first: the group gives a slot its own partitions again, and
        # until then nobody else gets them. What is uncommitted is committed afterwards.
        self._assigned = partitions
        return self._fetch()

    def _lost(self) -> list[Command]:
        self._assigned = frozenset()
        return self._after_abort(self._reopen)

    def _refused(self, event: Refused) -> list[Command]:
        """Does all again without a record that Kafka does not take, or ends where that is no help.

        A topic that the topology names has to take records.
        """
        plan, topic = self._layout.plan, event.command.topic
        is_ours = topic in {*plan.internal, plan.dead_letters} - plan.repartitions.keys()
        is_named = topic in plan.outputs or topic in plan.repartitions
        if is_ours or (is_named and event.row is None):
            return self._after_abort(partial(self._give_up, event.error))
        if not self.bad_records.refusals.note(event, self._elapsed):
            return self._after_abort(partial(self._give_up, event.error))
        return [Abort()]

    def _give_up(self, error: KprocError) -> list[Command]:
        return [*self._close_all(), Finish(error)]

    def _reopen(self) -> list[Command]:
        reopened = [OpenTask(task) for task in sorted(self.tasks)]
        return [*self._close_all(), *reopened]

    def _restart(self, task: TaskId, positions: Mapping[TopicPartition, Position]) -> None:
        """Begins to read again from these positions."""
        options, dataflow = self._options, self._dataflows[task.subtopology]
        upstream = {
            source: self._upstream(source, position)
            for source, position in positions.items()
            if source.topic in self._followed
        }
        heeds_order = bool(dataflow.heeds_order or upstream or dataflow.followed)
        ordered = options.max_task_idle if heeds_order else None
        intake = self._intakes[task] = Intake(frozenset(self._own[task]), ordered, upstream)
        self.tasks[task].notes = intake.notes()

    def _upstream(self, source: TopicPartition, position: Position) -> Upstream:
        time, offset, layout = position.stream_time, position.offset, self._layout.plan.fingerprint
        note = read_note(position.note, time, offset, layout)
        return Upstream(source, self._writers[source.topic], layout, offset, note)

    def _fetch(self) -> list[Command]:
        for number, task in self.tasks.items():
            self._restart(number, task.positions)
        self._asked.forget()
        self._paused = frozenset()
        offsets = {
            source: self.tasks[self._layout.task_of(source)].offsets[source]
            for source in sorted(self.active)
        }
        return [Fetch(offsets)] if offsets else []

    def _fetched(self, event: Fetched) -> list[Command]:
        if event.source not in self.active:
            return []
        task = self._layout.task_of(event.source)
        intake = self._intakes[task]
        position = self.tasks[task].offsets[event.source]
        records = _from(event.records, intake.next(event.source, position))
        if not len(records):
            return []
        needs_times = intake.needs_times(event.source)
        times = self._times(task, event.source, records) if needs_times else None
        self.fetched += intake.add(event.source, records, times)
        return [*self._work(task), *self._checkpoint_if_full()]

    def _times(
        self, task: TaskId, source: TopicPartition, records: RawBatch
    ) -> Sequence[Timestamp]:
        times, latest = self.tasks[task].times(source, records), self._latest
        if latest is None or max(times) <= latest:
            return times
        return [min(time, latest) for time in times]

    @property
    def _latest(self) -> Timestamp | None:
        """No record moves a stream time further; None: any does."""
        ahead = self._options.max_time_ahead
        return Timestamp(self._clock + ahead) if ahead and self._clock >= 0 else None

    def _work(self, task: TaskId) -> list[Command]:
        """Has a task work on what it is to work on now, as far as there is memory.

        What a checkpoint commits is what there is when its commands are made: whoever makes them
        does nothing more with the same event.
        """
        commands: list[Command] = []
        intake, at_work = self._intakes[task], self.tasks[task]
        if self._is_behind:
            return []
        if self._followed and self._alignment.is_ahead(task, self._states()):
            return []
        for portion in intake.take(self._elapsed, self._budget):
            self._count(portion)
            commands += self._produce(at_work.process(portion), portion)
            self._alignment.note(task, at_work.time, at_work.records)
            self._checkpoints.moved = True
            if self._is_full():
                break
        else:
            if not intake.has_more:
                commands += self._advance(at_work, intake.time())
        offsets, notes = intake.positions(at_work.offsets), intake.notes()
        if (offsets, notes) != (at_work.offsets, at_work.notes):
            at_work.offsets, at_work.notes = dict(offsets), notes
            self._checkpoints.moved = True
        return commands

    @property
    def is_exhausted(self) -> bool:
        """Whether as many records were worked on as may be in this turn."""
        return self._budget <= 0

    def _begin_turn(self, budget: int) -> list[Command]:
        self._is_behind = self.is_exhausted
        self._first, self._budget = self._first + self.is_exhausted, budget
        return []

    def _count(self, portion: Portion) -> None:
        self.portions.append(portion)
        self.worked += len(portion.rows)
        self._budget -= len(portion.rows)

    def _states(self) -> Mapping[TaskId, State]:
        return _States(self.tasks, self._intakes)

    def _look_at_others(self) -> list[Command]:
        """Asks how far other slots are, and has nothing more fetched of what waits for them."""
        commands: list[Command] = []
        if self._followed and (sources := self._alignment.ask(self._elapsed, self._states())):
            commands.append(LookAtOthers(sources))
        surplus = (intake.surplus(self._paused) for intake in self._intakes.values())
        paused = frozenset[TopicPartition]().union(*surplus)
        if paused != self._paused:
            self._paused = paused
            commands.append(Pause(paused))
        return commands

    def _advance(self, task: Task, until: Timestamp) -> list[Command]:
        """Has the stream time of a task go on without a record, where all upstream are further."""
        if until <= task.time:
            return []
        self._checkpoints.moved = True
        return self._produce(task.advance(until))

    def _ends_seen(self, event: EndsSeen) -> list[Command]:
        if not self._asked.is_answered(event.asked_at):
            return []
        commands: list[Command] = []
        for number, intake in self._intakes.items():
            intake.look_at(event.ends, event.asked_at)
            commands += self._work(number)
        return [*commands, *self._checkpoint_if_full()]

    def _look_at_ends(self) -> list[Command]:
        """Asks whether tasks upstream have more to read, where something waits for that."""
        if not self._assigned or not self._asked.may_ask(self._elapsed):
            return []
        sources = frozenset(each for intake in self._intakes.values() for each in intake.ask())
        if not sources:
            return []
        self._asked.ask(self._elapsed)
        return [LookAtEnds(sources, self._elapsed)]

    def _is_full(self) -> bool:
        return self._memory() > self._options.cache_bytes + self._options.uncommitted_bytes

    def _checkpoint_if_full(self) -> list[Command]:
        return self._checkpoint() if self._is_full() else []

    def _reached_end(self, event: ReachedEnd) -> list[Command]:
        if event.source not in self.active:
            return []
        task = self._layout.task_of(event.source)
        self._intakes[task].end(event.source, event.offset)
        return [*self._work(task), *self._checkpoint_if_full()]

    def _tick(self, event: Tick) -> list[Command]:
        since, self._clock, self._elapsed = self._clock, event.clock, event.elapsed
        self._is_behind = False
        commands: list[Command] = []
        for task in self.tasks.values():
            task.limit(self._latest)
        if self._assigned:
            for number, task in _rotated(self.tasks, self._first):
                commands += self._produce(task.tick(since, event.clock))
                self._note_holds(number)
                commands += self._work(number)
                commands += self._idle(number)
        commands += [*self._look_at_ends(), *self._look_at_others()]
        due = event.elapsed - self._checkpoints.elapsed >= self._options.checkpoint_interval
        if due or self._is_full():
            commands += self._checkpoint() or self._persist_if_due()
        return commands

    def _note_holds(self, number: TaskId) -> None:
        intake, longest = self._intakes[number], self._options.max_upstream_wait
        before = intake.overtaken
        self.holds[number] = intake.holds(self._elapsed, longest)
        self.overtaken += intake.overtaken - before

    def ahead(self) -> list[tuple[TopicPartition, Offset, Timestamp]]:
        """Records too far ahead of the clock to move a stream time there; each is reported once."""
        found = [each for task in self.tasks.values() for each in task.ahead]
        for task in self.tasks.values():
            task.ahead.clear()
        return found

    def held(self) -> Mapping[TaskId, tuple[TaskId, int]]:
        """The tasks whose time is held back: by which task upstream, and since how long, in ms."""
        first = ((task, holds[0]) for task, holds in self.holds.items() if holds)
        return {task: (hold.task, self._elapsed - hold.since) for task, hold in first}

    def _idle(self, number: TaskId) -> list[Command]:
        """Has a task say what it holds back, if nothing has come for long."""
        task, timeout = self.tasks[number], self._options.idle_timeout
        silence = 0 if self._has_ended(number) else timeout
        if not timeout or not self._intakes[number].is_idle(self._elapsed, silence):
            return []
        before = task.positions
        commands = self._produce(task.report_held())
        self._checkpoints.moved |= task.positions != before
        return commands

    def _has_ended(self, number: TaskId) -> bool:
        return all(source.topic in self._ended for source in self._own[number])

    def _produce(self, outputs: list[Output], portion: Portion | None = None) -> list[Command]:
        if not outputs:
            return []
        made = (Produce(each.topic, each.records, portion=portion) for each in outputs)
        return [*self._begin(), *made]

    def _begin(self) -> list[Command]:
        begin = not self._checkpoints.begun and self._options.guarantee == "exactly-once"
        self._checkpoints.begun = True
        return [Begin()] if begin else []

    def _checkpoint(self) -> list[Command]:
        """All commands up to the commit, or none where there is nothing new."""
        state = self._checkpoints
        if state.under_way or not self._assigned or not self._is_anything_new():
            return []
        # Only now: what comes after a quiet time, or an adoption, is committed at once.
        state.under_way, state.elapsed = True, self._elapsed
        begin = self._begin()
        reported = [each for task in self.tasks.values() for each in task.report_changes()]
        commands = self._produce(reported)
        for store, overlay in self._overlays().items():
            commands += self._changelog(store, overlay)
        markers = self._markers.of(self.tasks, self._clock) if self._followed else []
        return [*begin, *commands, *markers, SendOffsets(self._moved()), Commit()]

    def _is_anything_new(self) -> bool:
        state = self._checkpoints
        # Stores change without any record when a punctuation by the wall clock returns none.
        return state.moved or state.begun or any(each.changes for each in self._overlays().values())

    def _changelog(self, store: StoreId, overlay: Overlay) -> list[Command]:
        changes = overlay.changes
        if not changes:
            return []
        count = len(changes)
        records: RawBatch = Batch(
            list(changes),
            list(changes.values()),
            [self._clock] * count,
            [Offset(0)] * count,
        )
        topic = self._layout.plan.changelog(store.name)
        return [Produce(topic, records, store.partition, store)]

    def _moved(self) -> dict[TopicPartition, Position]:
        """The positions that differ from the committed ones."""
        committed = self._checkpoints.positions
        positions = (pair for task in self.tasks.values() for pair in task.positions.items())
        return {source: now for source, now in positions if committed.get(source) != now}

    def _committed(self, event: Committed) -> list[Command]:
        for store, overlay in self._overlays().items():
            if overlay.changes:
                overlay.committed(Offset(event.written[store] + 1))
        for task in self.tasks.values():
            task.committed()
            self._checkpoints.positions |= task.positions
        self.bad_records.commit()
        self.bad_records.refusals.committed(self._checkpoints.positions, self._elapsed)
        self._markers.committed()
        self._checkpoints.done += 1
        self._closed_transaction()
        if self._stopping:
            return self._finish()
        return [*self._persist_if_due(), *self._purge()]

    def _persist_if_due(self) -> list[Command]:
        state, options = self._checkpoints, self._options
        due = self._elapsed - state.persisted >= options.persist_interval
        full = self._memory() > options.cache_bytes + options.uncommitted_bytes // 2
        if not due and not full:
            return []
        state.persisted = self._elapsed
        return self._persist()

    def _persist(self) -> list[Command]:
        """Commands that bring the stores up to what is committed."""
        commands: list[Command] = []
        for store, overlay in self._overlays().items():
            if overlay.unsaved:
                commands.append(Persist(store, overlay.unsaved, overlay.position))
            overlay.saved()
        return commands

    def _purge(self) -> list[Command]:
        state = self._checkpoints
        if self._elapsed - state.purged < _PURGE_INTERVAL:
            return []
        state.purged = self._elapsed
        offsets = {
            source: position.offset
            for source, position in state.positions.items()
            if source.topic in self._layout.plan.repartitions
        }
        if not offsets:
            return []
        return [Purge(offsets)]

    def _after_abort(self, then: Callable[[], list[Command]]) -> list[Command]:
        """What is to be done once nothing is uncommitted.

        It follows when that is reported: commands behind an abort that fails would be forgotten.
        """
        if not self._checkpoints.begun:
            return then()
        self._then = then
        return [Abort()]

    def _aborted(self) -> list[Command]:
        self._closed_transaction()
        self.bad_records.undo()
        then, self._then = self._then, None
        if then is not None:
            return then()
        for task in self.tasks.values():
            positions = {source: self.committed[source] for source in self._own[task.id]}
            task.restart(positions)
            self._restart(task.id, positions)
        # Where fresh partitions begin, and what nobody has heard of yet.
        self._checkpoints.moved = bool(self._moved()) or self._markers.is_anything_new(self.tasks)
        return self._finish() if self._stopping else self._fetch()

    def _closed_transaction(self) -> None:
        state = self._checkpoints
        state.begun = state.moved = state.under_way = False

    def _stop(self) -> list[Command]:
        self._stopping = True
        if self._checkpoints.under_way:
            return []  # what comes of it finishes
        # Without an assignment nothing can be committed, and nothing may be left open.
        return self._checkpoint() or self._abort() or self._finish()

    def _abort(self) -> list[Command]:
        return [Abort()] if self._checkpoints.begun else []

    def _finish(self) -> list[Command]:
        return [*self._persist(), *self._close_all(), Finish()]

    def _close_all(self) -> list[Command]:
        self._judged = self.judged
        closed: list[Command] = [CloseTask(task) for task in sorted(self.tasks)]
        self.tasks = {}
        self._intakes = {}
        self.holds = {}
        self._markers = Markers(self._layout)
        self._closed_transaction()
        return closed

    def _overlays(self) -> Mapping[StoreId, Overlay]:
        return {
            StoreId(name, task.id.partition): overlay
            for task in self.tasks.values()
            for name, overlay in task.overlays.items()
        }

    def _memory(self) -> int:
        return sum(task.memory_bytes for task in self.tasks.values())


def _rotated(tasks: Mapping[TaskId, Task], first: int) -> Iterator[tuple[TaskId, Task]]:
    """All tasks, each of them first in its turn."""
    begin = first % max(1, len(tasks))
    items = list(tasks.items())
    yield from items[begin:]
    yield from items[:begin]


@dataclass(frozen=True, slots=True)
class _States(Mapping[TaskId, State]):
    """How far each task is, found out for those that are asked for: mostly that is none."""

    _tasks: Mapping[TaskId, Task]
    _intakes: Mapping[TaskId, Intake]

    def __getitem__(self, task: TaskId) -> State:
        return State(self._tasks[task].time, self._intakes[task].is_at_end)

    def __iter__(self) -> Iterator[TaskId]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


def _from(records: RawBatch, offset: Offset) -> RawBatch:
    """The records from the offset on: those before were fetched before a rewind or rebalance."""
    if not len(records) or records.offsets[0] >= offset:
        return records
    return records.select([each >= offset for each in records.offsets])
