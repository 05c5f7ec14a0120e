"""Flow: what was fetched on its way through the tasks, and what they wait for.

Which task works, on how much of what it has, and what has to be asked for before it can go on. A
task's own order of records is the intake's business.
"""

import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from processor.options import WorkerOptions
from processor.records import Offset, RawBatch, Timestamp, TopicPartition
from processor.runtime.alignment import Alignment
from processor.runtime.commands import (
    Command,
    EndsSeen,
    Fetch,
    Fetched,
    LookAtEnds,
    LookAtOthers,
    OthersSeen,
    Pause,
    ReachedEnd,
    Turn,
)
from processor.runtime.cycle import CommitCycle
from processor.runtime.markers import Asked
from processor.runtime.task import Task
from processor.runtime.task_batch import TaskBatch
from processor.runtime.tasks import Now, TaskSet
from processor.runtime.upstream import Hold
from processor.topology.plan import Layout, TaskId

_REPORTED = 16
"""Batches that are remembered, to say what took long."""


class Flow:
    """The records of a slot's tasks.

    Args:
        layout: The plan and the partition counts.
        options: The settings.
        tasks: Who works on them.
        cycle: Commits what they make.
        now: The time.
    """

    def __init__(
        self, layout: Layout, options: WorkerOptions, tasks: TaskSet, cycle: CommitCycle, now: Now
    ) -> None:
        self._options, self._set, self._cycle, self._now = options, tasks, cycle, now
        self.fetched = 0
        """Records that were given to tasks, without those that were given before."""
        self.worked = 0
        """Records that were worked on, those included that were done again."""
        self.batches: deque[TaskBatch] = deque(maxlen=_REPORTED)
        """What was worked on last, since somebody has emptied this."""
        self.overtaken = 0
        """How often tasks went on without some upstream that said nothing for too long."""
        self.ended: frozenset[str] = frozenset()
        """Topics in which nothing more comes."""
        self._holds: dict[TaskId, list[Hold]] = {}
        self._budget = sys.maxsize
        self._is_behind = False
        """Whether something waits since the last turn: then tasks go on in turn, with the tick."""
        self._first = 0
        """Which task goes first: the last to have used up what may be worked on was before it."""
        self._alignment = Alignment(layout, tasks.followed, options.max_lead)
        self._paused: frozenset[TopicPartition] = frozenset()
        self._asked = Asked()

    @property
    def is_exhausted(self) -> bool:
        """Whether as many records were worked on as may be in this turn."""
        return self._budget <= 0

    @property
    def ended_topics_reported(self) -> int:
        """How many topics have ended, if what tasks held back there is reported."""
        ended = (number for number in self._set.tasks if self._has_ended(number))
        reported = all(self._set.intakes[number].is_idle_reported for number in ended)
        return len(self.ended) if reported else 0

    @property
    def held(self) -> Mapping[TaskId, tuple[TaskId, int]]:
        """The tasks whose time is held back: by which task upstream, and since how long, in ms."""
        first = ((task, holds[0]) for task, holds in self._holds.items() if holds)
        return {task: (hold.task, self._now.elapsed - hold.since) for task, hold in first}

    def close(self) -> None:
        """No task is open any more."""
        self._holds = {}

    def fetch(self) -> list[Command]:
        """Has everything fetched again that is not worked on yet."""
        tasks = self._set.tasks
        for number, task in tasks.items():
            self._set.read_from(number, task.positions)
        self._asked.forget()
        self._paused = frozenset()
        offsets = {
            source: tasks[self._set.task_of(source)].offsets[source]
            for source in sorted(self._set.active)
        }
        return [Fetch(offsets)] if offsets else []

    def records(self, event: Fetched) -> list[Command]:
        """What follows from records of one partition."""
        if event.source not in self._set.active:
            return []
        number = self._set.task_of(event.source)
        task, intake = self._set.tasks[number], self._set.intakes[number]
        position = task.offsets[event.source]
        records = _from(event.records, intake.next(event.source, position))
        if not len(records):
            return []
        needs_times = intake.needs_times(event.source)
        times = self._times(task, event.source, records) if needs_times else None
        self.fetched += intake.add(event.source, records, times)
        return [*self._work(number), *self._cycle.checkpoint_if_full()]

    def reached_end(self, event: ReachedEnd) -> list[Command]:
        """What follows from there being nothing more for now."""
        if event.source not in self._set.active:
            return []
        task = self._set.task_of(event.source)
        self._set.intakes[task].end(event.source, event.offset)
        return [*self._work(task), *self._cycle.checkpoint_if_full()]

    def ends_seen(self, event: EndsSeen) -> list[Command]:
        """What follows from tasks upstream having no more to read than that."""
        if not self._asked.is_answered(event.asked_at):
            return []
        commands: list[Command] = []
        for number, intake in self._set.intakes.items():
            intake.look_at(event.ends, self._now.elapsed)
            commands += self._work(number)
        return [*commands, *self._cycle.checkpoint_if_full()]

    def others_seen(self, event: OthersSeen) -> None:
        """Notes how far other slots are."""
        self._alignment.see(event.positions, event.ends)

    def begin_turn(self, turn: Turn) -> None:
        """No more records are worked on than its budget until the next one begins."""
        self._is_behind = self.is_exhausted
        self._first, self._budget = self._first + self.is_exhausted, turn.budget

    def tick(self, since: Timestamp) -> list[Command]:
        """What follows from the time that has passed, and what is to be asked for.

        Args:
            since: The last tick's time on the wall clock.
        """
        self._is_behind = False
        commands: list[Command] = []
        for task in self._set.tasks.values():
            task.limit(self._latest)
        if self._set.assigned:
            for number, task in _rotated(self._set.tasks, self._first):
                commands += self._cycle.produce(task.tick(since, self._now.clock))
                self._note_holds(number)
                commands += self._work(number)
                commands += self._idle(number)
        return [*commands, *self._look_at_ends(), *self._look_at_others()]

    def _times(self, task: Task, source: TopicPartition, records: RawBatch) -> Sequence[Timestamp]:
        times, latest = task.times(source, records), self._latest
        if latest is None or max(times) <= latest:
            return times
        return [min(time, latest) for time in times]

    @property
    def _latest(self) -> Timestamp | None:
        """No record moves a stream time further; None: any does."""
        ahead, clock = self._options.max_time_ahead, self._now.clock
        return Timestamp(clock + ahead) if ahead and clock >= 0 else None

    def _work(self, number: TaskId) -> list[Command]:
        """Has a task work on what it is to work on now, as far as there is memory.

        What a checkpoint commits is what there is when its commands are made: whoever makes them
        does nothing more with the same event.
        """
        commands: list[Command] = []
        intake, task, cycle = self._set.intakes[number], self._set.tasks[number], self._cycle
        if self._is_behind:
            return []
        if self._set.followed and self._alignment.is_ahead(number, self._set.states):
            return []
        for batch in intake.take(self._now.elapsed, self._budget):
            self._count(batch)
            commands += cycle.produce(task.process(batch), batch)
            self._alignment.note(number, task.time, task.records)
            cycle.moved = True
            self._set.weigh([number])
            if cycle.is_full:
                break
        else:
            if not intake.has_more:
                commands += self._advance(task, intake.time())
        offsets, notes = intake.positions(task.offsets), intake.notes()
        if (offsets, notes) != (task.offsets, task.notes):
            task.offsets, task.notes = dict(offsets), notes
            cycle.moved = True
        return commands

    def _count(self, batch: TaskBatch) -> None:
        self.batches.append(batch)
        self.worked += len(batch.rows)
        self._budget -= len(batch.rows)

    def _advance(self, task: Task, until: Timestamp) -> list[Command]:
        """Has the stream time of a task go on without a record, where all upstream are further."""
        if until <= task.time:
            return []
        self._cycle.moved = True
        return self._cycle.produce(task.advance(until))

    def _idle(self, number: TaskId) -> list[Command]:
        """Has a task emit what it holds back, if nothing has come for long."""
        task, timeout = self._set.tasks[number], self._options.idle_timeout
        silence = 0 if self._has_ended(number) else timeout
        if not timeout or not self._set.intakes[number].is_idle(self._now.elapsed, silence):
            return []
        before = task.positions
        commands = self._cycle.produce(task.report_held())
        self._cycle.moved |= task.positions != before
        return commands

    def _has_ended(self, number: TaskId) -> bool:
        sources = self._set.own[number]
        return bool(self.ended) and all(source.topic in self.ended for source in sources)

    def _note_holds(self, number: TaskId) -> None:
        if not self._set.followed:
            return
        intake, longest = self._set.intakes[number], self._options.max_upstream_wait
        before = intake.overtaken
        self._holds[number] = intake.holds(self._now.elapsed, longest)
        self.overtaken += intake.overtaken - before

    def _look_at_ends(self) -> list[Command]:
        """Asks whether tasks upstream have more to read, where something waits for that."""
        is_followed = self._set.assigned and self._set.followed
        if not is_followed or not self._asked.may_ask(self._now.elapsed):
            return []
        sources = frozenset(each for intake in self._set.intakes.values() for each in intake.ask())
        if not sources:
            return []
        self._asked.ask(self._now.elapsed)
        return [LookAtEnds(sources, self._now.elapsed)]

    def _look_at_others(self) -> list[Command]:
        """Asks how far other slots are, and has nothing more fetched of what waits for them."""
        commands: list[Command] = []
        if self._set.followed and (
            sources := self._alignment.ask(self._now.elapsed, self._set.states)
        ):
            commands.append(LookAtOthers(sources))
        surplus = (intake.surplus(self._paused) for intake in self._set.intakes.values())
        paused = frozenset[TopicPartition]().union(*surplus)
        if paused != self._paused:
            self._paused = paused
            commands.append(Pause(paused))
        return commands


def _rotated(tasks: Mapping[TaskId, Task], first: int) -> Iterator[tuple[TaskId, Task]]:
    """All tasks, each of them first in its turn."""
    begin = first % max(1, len(tasks))
    items = list(tasks.items())
    yield from items[begin:]
    yield from items[:begin]


def _from(records: RawBatch, offset: Offset) -> RawBatch:
    """The records from the offset on: those before were fetched before a rewind or rebalance."""
    if not len(records) or records.offsets[0] >= offset:
        return records
    return records.select([each >= offset for each in records.offsets])
