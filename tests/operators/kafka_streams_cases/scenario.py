"""Cases of Kafka Streams' own tests as tables: what is written, and what is emitted then.

    left  a:A0@0 b:B0@0      ->
    right a:a0@5             -> a:A0+a0@5      || a:A0+null@0 a:A0+a0@5

Each line names a topic and records as key:value@time; behind the arrow is what they make kproc
emit, and behind the bars what they make Kafka Streams emit where that is something else. `-` is a
missing key, `null` a missing value, and `a[0,10)` the key of a window.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from processor import Record, Timestamp, Topology, Windowed
from processor.testing import TopologyDriver


class Line(NamedTuple):
    topic: str
    records: list[Record[str | None, str | None]]
    kproc: list[str]
    kafka: list[str]


@dataclass(frozen=True)
class Case:
    """A case of a test of Kafka Streams'.

    Args:
        of: Its class and its name there.
        make: Writes the topology; what it emits goes to the topic out.
        steps: The table.
        differs: Why kproc emits something else, where it does.
    """

    of: str
    make: Callable[[Topology], None]
    steps: str
    differs: str = ""

    @property
    def lines(self) -> Iterator[Line]:
        for text in filter(None, map(str.strip, self.steps.splitlines())):
            written, _, expected = text.partition("->")
            kproc, bars, kafka = expected.partition("||")
            topic, *records = written.split()
            ours = kproc.split()
            theirs = kafka.split() if bars else ours
            yield Line(topic, [_record(each) for each in records], ours, theirs)

    def check(self, *, together: bool = False) -> None:
        """Runs it, with the records of each line one by one, or in one batch."""
        topology = Topology("app")
        self.make(topology)
        driver = TopologyDriver(topology)
        for line in self.lines:
            batches = [line.records] if together else [[record] for record in line.records]
            emitted: list[str] = []
            for batch in batches:
                driver.pipe(line.topic, *batch)
                emitted += map(shown, driver.read_records("out"))
            assert emitted == line.kproc, line
        assert bool(self.differs) == any(line.kproc != line.kafka for line in self.lines)


def _record(text: str) -> Record[str | None, str | None]:
    rest, _, time = text.rpartition("@")
    key, _, value = rest.partition(":")
    missing = {"-": None}.get(key, key), {"null": None}.get(value, value)
    return Record(*missing, Timestamp(int(time)))


def shown(record: Record[Any, Any]) -> str:
    value = "null" if record.value is None else record.value
    return f"{_key(record.key)}:{value}@{record.timestamp}"


def _key(key: Any) -> str:
    if isinstance(key, Windowed):
        return f"{key.key}[{key.start},{key.end})"
    return "-" if key is None else str(key)


def plus(left: Any, right: Any) -> str:
    """What Kafka Streams' tests join with."""
    return "+".join("null" if each is None else str(each) for each in (left, right))
