"""How far an application is and what it has used, from the broker and the process tree only."""

import time
from collections.abc import Iterable, Iterator
from math import nan
from typing import NamedTuple

import psutil
from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests import ledger

WARM = 0.2
INTERVAL = 0.1
LIMIT = 900.0  # seconds
_INTERNAL = ("-repartition", "-topic")  # what kproc and Kafka Streams call what they pass through


class Point(NamedTuple):
    """How much input was committed at a time, in seconds, and the core-seconds so far."""

    at: float
    done: int
    cpu: float


class Stretch(NamedTuple):
    """From a part of the input on to the end of all work; `nan` if all was done at once.

    Args:
        seconds: How long that took.
        rate: Records of the input a second.
        cpu: Core-seconds per million of them.
    """

    seconds: float
    rate: float
    cpu: float


class Progress:
    """What a group has committed of its input, and of the topics that it passes records through."""

    def __init__(self, kafka: str, group: str, inputs: Iterable[str]) -> None:
        self._kafka, self._group, self._inputs = kafka, group, tuple(inputs)
        settings = {"bootstrap.servers": kafka, "group.id": group, "log_level": 0}
        self._consumer = Consumer({**settings, "isolation.level": "read_uncommitted"})

    def done(self) -> int:
        """How many records of the input are committed."""
        return sum(self._committed(self._inputs).values())

    def is_at_end(self) -> bool:
        """Whether all topics are processed; a transaction's marker may be left behind.

        What is written to an internal topic is there when the input that it is made of is
        committed; so the ends are asked for last.
        """
        topics = ledger.admin(self._kafka).list_topics(timeout=30).topics
        own = (each for each in topics if each.startswith(f"{self._group}-"))
        internal = [each for each in own if each.endswith(_INTERNAL)]
        committed = self._committed((*self._inputs, *internal))
        ends = {
            (topic, partition): end
            for topic in (*self._inputs, *internal)
            for partition, end in ledger.offsets(self._kafka, topic).items()
        }
        return all(ends[each] - committed[each] <= (each[0] in internal) for each in ends)

    def _committed(self, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        asked = [
            TopicPartition(topic, each)
            for topic in topics
            for each in range(len(self._consumer.list_topics(topic, 30).topics[topic].partitions))
        ]
        try:
            found = self._consumer.committed(asked, 30)
        except KafkaException:  # while the broker makes up its mind who coordinates the group
            return {(each.topic, each.partition): 0 for each in asked}
        return {(each.topic, each.partition): max(0, each.offset) for each in found}


def watch(process: psutil.Popen, progress: Progress, wanted: int) -> Iterator[Point]:
    """Each time that more was committed, and at last when all is done.

    Raises:
        RuntimeError: the process has ended before, or the time is up.
    """
    last, began = -1, time.monotonic()
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with code {process.returncode}")
        if time.monotonic() - began > LIMIT:
            raise RuntimeError(f"it is not done in {LIMIT:.0f} s: {last} of {wanted} records")
        point = Point(time.monotonic(), progress.done(), used(process))
        if point.done > last or point.done >= wanted:
            last = point.done
            yield point
        if point.done >= wanted and progress.is_at_end():
            return
        time.sleep(INTERVAL)


def used(process: psutil.Popen) -> float:
    """Core-seconds of a process and its children."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            total += sum(each.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return total


def stretch(points: list[Point]) -> Stretch:
    """Without the start: from the first commit past a fifth of the input."""
    last = points[-1]
    warm = next(point for point in points if point.done >= WARM * last.done)
    done, seconds, cpu = last.done - warm.done, last.at - warm.at, last.cpu - warm.cpu
    if not (done and cpu):
        return Stretch(seconds, nan, nan)
    return Stretch(seconds, done / seconds, cpu / done * 1e6)
