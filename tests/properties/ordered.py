"""The order across a task's inputs, by the book: head by head, one record at a time."""

from collections import Counter

from processor.operators.process import Process
from processor.records import Timestamp, TopicPartition
from processor.topology.graph import Step
from processor.topology.plan import Layout
from tests.properties.one_record import Bad, Raw, decode
from tests.properties.reference import Reference


class Ordered:
    """Hands records to the reference in the order in which a worker should work on them.

    Records wait as long as one of the task's other inputs has none there and may have some.
    """

    def __init__(self, reference: Reference, layout: Layout) -> None:
        self._reference = reference
        self._layout = layout
        self._fetched: Counter[TopicPartition] = Counter()
        self._ended: set[TopicPartition] = set()

    def restart(self) -> None:
        """All is fetched again."""
        self._fetched.clear()
        self._ended.clear()

    def deliver(self, source: TopicPartition, count: int) -> None:
        """The next records of a partition are there, and perhaps its end."""
        done = self._reference.world.offsets[source]
        fetched = max(self._fetched[source], done)
        end = done + self._reference.unread(source)
        if not self._heeds_order(source):
            self._reference.deliver(source, count)
            return
        if count and fetched < end:
            self._fetched[source] = min(fetched + count, end)
            self._ended.discard(source)
            self._work(source)
        if max(self._fetched[source], done) == end:
            self._ended.add(source)
            self._work(source)

    def _heeds_order(self, source: TopicPartition) -> bool:
        task = self._layout.task_of(source)
        nodes = self._layout.plan.subtopologies[task.subtopology].nodes
        steps = (node for node in nodes if isinstance(node, Step))
        return any(step.stores or isinstance(step.operator, Process) for step in steps)

    def _work(self, source: TopicPartition) -> None:
        task = self._layout.task_of(source)
        sources = [each for each in self._reference.sources if self._layout.task_of(each) == task]
        while True:
            waiting = [each for each in sources if self._waits(each)]
            if not waiting or any(
                each not in waiting and each not in self._ended for each in sources
            ):
                return
            self._reference.deliver(min(waiting, key=lambda each: (self._time(each), each)), 1)

    def _waits(self, source: TopicPartition) -> bool:
        return self._fetched[source] > self._reference.world.offsets[source]

    def _time(self, source: TopicPartition) -> Timestamp:
        """The time that the next record counts for."""
        raw: Raw = self._reference.log(source)[self._reference.world.offsets[source]]
        try:
            return decode(self._reference.source(source.topic), raw).timestamp
        except Bad:
            return raw.timestamp
