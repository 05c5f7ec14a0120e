"""The reference run of a whole application, and the comparison of everything it wrote with it.

Each task is replayed by itself with the records that were really in its partitions, those of
repartition topics as well: so what a task did is judged apart from the tasks before it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from processor.chaos.compare import Compared, Expected, compare_state, compare_topic
from processor.chaos.outside import Outside
from processor.chaos.replay import RawRecord, TaskResult, replay
from processor.chaos.resets import Reset, joined, pieces
from processor.chaos.rules import Judgement, Rule, Rules, rules
from processor.operators.aggregates.by_key import TableOperator
from processor.options import WorkerOptions
from processor.records import Headers, Partition, RawBatch, TopicPartition
from processor.topology.graph import Step
from processor.topology.plan import Layout, Subtopology, TaskId

OnTask: TypeAlias = Callable[[int, int], None]
"""Called with how many of how many records were replayed."""

State: TypeAlias = Mapping[str, Mapping[Partition, Mapping[bytes, bytes]]]
"""What changelogs say at their end, by store."""

_ERROR = "kproc.error"
_TOPIC = "kproc.topic"


@dataclass(slots=True)
class Reference:
    """What should have come of the input.

    Attributes:
        layout: The plan and the partition counts.
        rules: How it is compared.
        made: What each task makes of its input, and what it makes of it in another order where
            that may differ.
    """

    layout: Layout
    rules: Rules
    made: dict[TaskId, tuple[TaskResult, TaskResult | None]] = field(
        default_factory=dict[TaskId, tuple[TaskResult, TaskResult | None]]
    )

    @property
    def topics(self) -> list[str]:
        """All topics that the application writes, without changelogs."""
        plan = self.layout.plan
        fixed = (*plan.outputs, *plan.repartitions, plan.dead_letters)
        made = (topic for one, _ in self.made.values() for topic in one.outputs)
        return list(dict.fromkeys((*fixed, *made)))

    def compare(self, found: Mapping[TopicPartition, RawBatch], state: State) -> Sequence[Compared]:
        """Compares everything.

        Args:
            found: The committed records of all `topics`.
            state: What the changelogs say.
        """
        topics = [self._compare_topic(topic, found) for topic in self.topics]
        return [*topics, *(self._compare_store(store, state[store]) for store in state)]

    def _compare_topic(self, topic: str, found: Mapping[TopicPartition, RawBatch]) -> Compared:
        logs = {
            source.partition: batch.records()
            for source, batch in found.items()
            if source.topic == topic
        }
        expected = [
            Expected(one.outputs.get(topic, ()), other and other.outputs.get(topic, ()))
            for one, other in self.made.values()
        ]
        if topic != self.layout.plan.dead_letters:
            return compare_topic(topic, self.rules.of_topic(topic), logs, expected)
        letters = {partition: self._letters(log) for partition, log in logs.items()}
        wanted = [
            Expected(self._letters(each.records), each.other and self._letters(each.other))
            for each in expected
        ]
        return compare_topic(topic, Judgement(Rule.SET, _LETTERS), letters, wanted)

    def _letters(self, records: Sequence[RawRecord]) -> list[RawRecord]:
        """Dead letters of records that were read, without their texts: those may name objects.

        A table's change that fails depends on which changes were reported.
        """
        return [
            record._replace(headers=tuple(each for each in record.headers if each[0] != _ERROR))
            for record in records
            if _header(record.headers, _TOPIC) in self.layout.partitions
        ]

    def _compare_store(
        self, store: str, found: Mapping[Partition, Mapping[bytes, bytes]]
    ) -> Compared:
        expected = {
            task.partition: (one.state[store], other and other.state[store])
            for task, (one, other) in self.made.items()
            if store in one.state
        }
        return compare_state(store, self.rules.stores[store], found, expected)


_LETTERS = "the tasks write into one partition, in no order between them"


def make_reference(
    layout: Layout,
    logs: Mapping[TopicPartition, RawBatch],
    unread: frozenset[str],
    options: WorkerOptions,
    outside: Outside,
    on_task: OnTask,
    resets: Sequence[Reset] = (),
) -> Reference:
    """Replays all tasks.

    Args:
        layout: The plan and the partition counts.
        logs: The committed records of all partitions that are read.
        unread: Topics of which some records could not be read back; their readers are left out.
        options: Of the run that it is compared with.
        outside: What the tasks use besides their input.
        on_task: Called with how far it is.
        resets: Those that an operator has made.

    Raises:
        BadRecordError: A record is bad, and the policy is to fail.
    """
    reference = Reference(layout, rules(layout.plan, unread))
    total, done = sum(map(len, logs.values())), 0
    for task in layout.tasks:
        part = layout.plan.subtopologies[task.subtopology]
        own = {each: log for each, log in logs.items() if layout.task_of(each) == task}
        if not unread.intersection(part.topics):
            made = [
                _both(reference, task, piece, options, outside) for piece in pieces(own, resets)
            ]
            others = [other for _, other in made if other is not None]
            first = joined([one for one, _ in made])
            reference.made[task] = first, joined(others) if others else None
        done += sum(map(len, own.values()))
        on_task(done, total)
    return reference


def _both(
    reference: Reference,
    task: TaskId,
    logs: Mapping[TopicPartition, RawBatch],
    options: WorkerOptions,
    outside: Outside,
) -> tuple[TaskResult, TaskResult | None]:
    layout = reference.layout
    part = layout.plan.subtopologies[task.subtopology]
    first = replay(layout, task, logs, options, outside, each=_reports_at_checkpoints(part))
    if part.number not in reference.rules.varied:
        return first, None
    backwards = dict(reversed(list(logs.items())))
    return first, replay(layout, task, backwards, options, outside, each=False)


def _reports_at_checkpoints(part: Subtopology) -> bool:
    operators = [node.operator for node in part.nodes if isinstance(node, Step)]
    return any(isinstance(each, TableOperator) and each.emit == "checkpoint" for each in operators)


def _header(headers: Headers, name: str) -> str:
    return next((data.decode() for each, data in reversed(headers) if each == name and data), "")
