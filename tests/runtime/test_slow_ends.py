"""Tasks upstream that have nothing left to read hold nothing up, however slow a broker says so."""

from dataclasses import replace

import pytest

from processor import Topology, tumbling
from processor.operators.base import NO_TIME
from processor.records import Batch, Offset, Partition, RawBatch, Timestamp, TopicPartition
from processor.runtime.commands import (
    Assigned,
    EndsSeen,
    Fetched,
    LookAtEnds,
    Position,
    Produce,
    TaskOpened,
    Tick,
)
from processor.runtime.progress import Progress, marker
from processor.runtime.worker import Worker
from processor.settings import Settings
from processor.state.store import MemoryStore
from processor.topology.plan import TaskId, lay_out, plan

LEFT, RIGHT = (TopicPartition(name, Partition(0)) for name in ("left", "right"))
MOVED_LEFT, MOVED_RIGHT = (
    TopicPartition(f"app-{name}-repartition", Partition(0)) for name in ("l", "r")
)


def merged() -> Topology:
    topology = Topology("app")
    left = topology.stream("left").repartition(name="l")
    both = left.merge(topology.stream("right").repartition(name="r"), name="both")
    windows = both.group_by_key().window(tumbling("10ms"), emit="change")
    windows.count(name="counts").to("out")
    return topology


@pytest.mark.parametrize("takes", [0, 90, 110, 5000])
def test_an_answer_counts_from_when_it_comes(takes: int) -> None:
    layout = lay_out(plan(merged()), {"left": 1, "right": 1})
    own = frozenset({MOVED_LEFT, MOVED_RIGHT})
    reading = {
        topic: TaskId(number, Partition(0))
        for number, part in enumerate(layout.plan.subtopologies)
        for topic in part.topics
    }
    worker = Worker(layout, own, replace(Settings().options.alone(), max_task_idle=0))
    start = Position(Offset(0), Timestamp(-1))
    worker.handle(
        TaskOpened(
            reading[MOVED_LEFT.topic],
            {"counts": MemoryStore()},
            {MOVED_LEFT: start, MOVED_RIGHT: start},
        )
    )
    worker.handle(Assigned(own))
    worker.handle(Tick(Timestamp(1000), 0))

    def progress(topic: str, time: Timestamp, offset: int) -> RawBatch:
        reported = {reading[topic]: Progress(time, (Offset(offset),))}
        return marker(reported, layout.plan.fingerprint, Timestamp(9))

    record = Batch([b"k"], [b"1"], [Timestamp(5)], [Offset(0)])
    assert worker.handle(Fetched(MOVED_LEFT, record)) == []
    said = replace(progress("left", Timestamp(9), 1), offsets=[Offset(1)])
    worker.handle(Fetched(MOVED_LEFT, said))
    worker.handle(Fetched(MOVED_RIGHT, progress("right", NO_TIME, 0)))
    commands = worker.handle(Tick(Timestamp(1200), 200))
    (asked,) = [each for each in commands if isinstance(each, LookAtEnds)]
    assert asked.sources == {RIGHT}
    worker.handle(Tick(Timestamp(1200 + takes), 200 + takes))
    commands = worker.handle(EndsSeen({RIGHT: Offset(0)}, asked.asked_at))
    assert "out" in [each.topic for each in commands if isinstance(each, Produce)]
