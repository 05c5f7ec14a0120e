"""TaskSet: the tasks of a slot that are open, each with what it is yet to work on."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from processor.operators.base import Punctuality
from processor.options import WorkerOptions
from processor.records import Timestamp, TopicPartition
from processor.runtime.alignment import State
from processor.runtime.badrecords import BadRecords
from processor.runtime.commands import CloseTask, OpenTask, Position, TaskOpened
from processor.runtime.dataflow import Dataflow, nobody
from processor.runtime.intake import Intake
from processor.runtime.progress import read_note
from processor.runtime.task import Task
from processor.runtime.upstream import Upstream
from processor.state.overlay import Overlay
from processor.topology.plan import Layout, StoreId, TaskId


@dataclass(slots=True)
class Now:
    """The time as of the last tick: on the wall, and since any moment, both in milliseconds."""

    clock: Timestamp = field(default=Timestamp(-1))
    elapsed: int = 0


class TaskSet:
    """The tasks of a slot.

    Args:
        layout: The plan and the partition counts.
        own: The slot's partitions.
        options: The settings.
        bad_records: The policy.
        on_step: Called with the name of each step that begins to work, and "" when none does.
    """

    def __init__(
        self,
        layout: Layout,
        own: frozenset[TopicPartition],
        options: WorkerOptions,
        bad_records: BadRecords,
        on_step: Callable[[str], None] = nobody,
    ) -> None:
        self._layout = layout
        self._options = options
        self._bad_records = bad_records
        self.own: dict[TaskId, set[TopicPartition]] = {}
        """The partitions of all tasks of the slot, open or not."""
        for source in own:
            self.own.setdefault(layout.task_of(source), set()).add(source)
        plan = layout.plan
        self.followed = plan.followed if options.follows_progress else frozenset[str]()
        """The topics that carry the progress of those that write them."""
        self._writers = {
            topic: {task: layout.sources_of(task) for task in layout.writers(topic)}
            for topic in self.followed
        }
        limit = options.max_record_bytes
        self._dataflows = {
            part.number: Dataflow(
                part, limit, plan.internal, self.followed, options.limits, on_step
            )
            for part in plan.subtopologies
        }
        self.tasks: dict[TaskId, Task] = {}
        self.intakes: dict[TaskId, Intake] = {}
        self.starts: dict[TopicPartition, Position] = {}
        """Where the partitions of tasks that were opened began."""
        self._assigned: frozenset[TopicPartition] = frozenset()
        self._active: frozenset[TopicPartition] | None = None
        self._bytes: dict[TaskId, int] = {}
        self.memory_bytes = 0
        """About what the overlays take: by what each task took when it was weighed last."""
        self._judged: Counter[tuple[str, Punctuality]] = Counter()

    @property
    def are_all_open(self) -> bool:
        """Whether all tasks of the slot are open."""
        return self.tasks.keys() == self.own.keys()

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """What the group gave."""
        return self._assigned

    @assigned.setter
    def assigned(self, partitions: frozenset[TopicPartition]) -> None:
        self._assigned, self._active = partitions, None

    @property
    def active(self) -> frozenset[TopicPartition]:
        """The partitions at work: those that the group gave and whose tasks are open."""
        if self._active is None:
            opened = (source for task in self.tasks for source in self.own[task])
            self._active = self._assigned.intersection(opened)
        return self._active

    @property
    def judged(self) -> Counter[tuple[str, Punctuality]]:
        """Of how many committed records steps have judged whether they are late, and what came."""
        return sum((task.judged for task in self.tasks.values()), self._judged.copy())

    @property
    def states(self) -> Mapping[TaskId, State]:
        """How far each open task is."""
        return _States(self.tasks, self.intakes)

    @property
    def overlays(self) -> Mapping[StoreId, Overlay]:
        """What the stores of all open tasks hold beside the disk."""
        return {
            StoreId(name, task.id.partition): overlay
            for task in self.tasks.values()
            for name, overlay in task.overlays.items()
        }

    def weigh(self, tasks: Iterable[TaskId]) -> None:
        """Finds out how much the overlays of these tasks take now.

        To look at all tasks for each batch would cost more with each partition of a slot.
        """
        for number in tasks:
            found = self.tasks[number].memory_bytes
            self.memory_bytes += found - self._bytes.get(number, 0)
            self._bytes[number] = found

    def task_of(self, source: TopicPartition) -> TaskId:
        """The task that a partition belongs to."""
        return self._layout.task_of(source)

    def to_open(self) -> list[OpenTask]:
        """Commands that open all tasks of the slot."""
        return [OpenTask(task) for task in sorted(self.own)]

    def open(self, event: TaskOpened) -> Task:
        """Takes in a task whose stores are open."""
        own = self.own[event.task]
        start = {source: position for source, position in event.start.items() if source in own}
        part = self._layout.plan.subtopologies[event.task.subtopology]
        task = self.tasks[event.task] = Task(
            event.task,
            part,
            self._dataflows[part.number],
            {name: Overlay(store, self._cache_bytes) for name, store in event.stores.items()},
            self._bad_records,
            start,
            event.shared,
            self._layout.plan.fingerprint,
        )
        self._active = None
        self.read_from(event.task, start)
        self.starts |= start
        return task

    @property
    def _cache_bytes(self) -> int:
        """Of one store's overlay."""
        stores = sum(len(part.stores) for part in self._layout.plan.subtopologies)
        return self._options.cache_bytes // max(1, stores * len(self.own))

    def read_from(self, task: TaskId, positions: Mapping[TopicPartition, Position]) -> None:
        """Begins to read again from these positions."""
        dataflow = self._dataflows[task.subtopology]
        upstream = {
            source: self._upstream(source, position)
            for source, position in positions.items()
            if source.topic in self.followed
        }
        heeds_order = bool(dataflow.heeds_order or upstream or dataflow.followed)
        ordered = self._options.max_task_idle if heeds_order else None
        intake = self.intakes[task] = Intake(frozenset(self.own[task]), ordered, upstream)
        self.tasks[task].notes = intake.notes()

    def rewind(self, committed: Mapping[TopicPartition, Position]) -> None:
        """Has all tasks go back to what is committed."""
        for number, task in self.tasks.items():
            positions = {source: committed[source] for source in self.own[number]}
            task.restart(positions)
            self.read_from(number, positions)

    def close(self) -> list[CloseTask]:
        """Lets go of all tasks; commands that close their stores."""
        self._judged = self.judged
        closed = [CloseTask(task) for task in sorted(self.tasks)]
        self.tasks, self.intakes = {}, {}
        self._active, self._bytes, self.memory_bytes = None, {}, 0
        return closed

    def _upstream(self, source: TopicPartition, position: Position) -> Upstream:
        time, offset, layout = position.stream_time, position.offset, self._layout.plan.fingerprint
        note = read_note(position.note, time, offset, layout)
        return Upstream(source, self._writers[source.topic], layout, offset, note)


@dataclass(frozen=True, slots=True)
class _States(Mapping[TaskId, State]):
    """How far each task is, found out for those that are asked for, mostly for none."""

    _tasks: Mapping[TaskId, Task]
    _intakes: Mapping[TaskId, Intake]

    def __getitem__(self, task: TaskId) -> State:
        return State(self._tasks[task].time, self._intakes[task].is_at_end)

    def __iter__(self) -> Iterator[TaskId]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)
