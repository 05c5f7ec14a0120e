"""The end of a chaos run: reads back all that was written, and has it judged.

Everything is read from Kafka as any other reader of committed records would see it.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, IsolationLevel
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.chaos.log_reader import LogReader
from processor.chaos.outside import Outside, tables_of
from processor.chaos.reference import OnTask, make_reference
from processor.chaos.resets import Reset, without_marks
from processor.chaos.verdict import Verdict
from processor.errors import KafkaError
from processor.kafka.clients import (
    COMMON,
    ClientConfig,
    admin_client,
    committed,
    partitions_of,
    topics_of,
)
from processor.kafka.progress import list_offsets, partitions
from processor.kafka.registry import Registry
from processor.options import WorkerOptions
from processor.records import Offset, Partition, RawBatch, TopicPartition
from processor.runtime.progress import without_progress
from processor.topology.plan import Layout

_PATIENCE = 30.0


class Inspection:
    """Judges what an application has done, once it has stopped.

    Args:
        client: librdkafka settings.
        layout: The plan and the partition counts.
        recorder: Has read the repartition topics from their beginning.
        options: Of the run.
        registry: Knows the schemas.
    """

    def __init__(
        self,
        client: ClientConfig,
        layout: Layout,
        recorder: LogReader,
        options: WorkerOptions,
        registry: Registry,
    ) -> None:
        self._client = client
        self._layout = layout
        self._recorder = recorder
        self._options = options
        self._registry = registry
        self._admin: Any = admin_client(client)

    def judge(
        self, written: Mapping[str, int], on_task: OnTask, resets: Sequence[Reset] = ()
    ) -> Verdict:
        """The verdict.

        Args:
            written: How many records each input topic was given.
            on_task: Called with how far the reference run is.
            resets: Those that an operator has made.

        Raises:
            KprocError: Records can't be read back.
        """
        layout, plan = self._layout, self._layout.plan
        fixed = dict.fromkeys((*plan.inputs, *plan.outputs, plan.dead_letters))
        changelogs = {
            plan.changelog(spec.name): spec.name
            for part in plan.subtopologies
            for spec in part.stores
        }
        problems = list(self._open_transactions((*fixed, *plan.repartitions, *changelogs)))
        if problems:
            return Verdict(problems, ())  # what comes after them can't be read
        logs = self._read(fixed)
        self._recorder.read_until(self._ends(plan.repartitions))
        repartitioned = {
            source: without_marks(source, log, resets)
            for source, log in self._recorder.logs().items()
        }
        read = {
            source: log for source, log in (logs | repartitioned).items() if self._is_read(source)
        }
        notes = list(_uncounted(logs, written))
        problems += self._unprocessed(read)
        unread = frozenset(self._recorder.unread)
        outside = Outside(tables_of(plan, self._read(plan.tables)), self._registry.answer)
        reference = make_reference(layout, read, unread, self._options, outside, on_task, resets)
        found = logs | {source: without_progress(log) for source, log in repartitioned.items()}
        found |= self._read(self._existing(set(reference.topics) - {each.topic for each in found}))
        state: dict[str, dict[Partition, Mapping[bytes, bytes]]] = {}
        # An operator may have deleted what they began with; they have to be whole all the same.
        begins = list_offsets(self._admin, self._partitions(changelogs), OffsetSpec.earliest())
        for source, log in self._read(changelogs, begins).items():
            state.setdefault(changelogs[source.topic], {})[source.partition] = _state(log)
        return Verdict(problems, reference.compare(found, state), notes)

    def _is_read(self, source: TopicPartition) -> bool:
        return source.topic in self._layout.partitions

    def _existing(self, topics: Iterable[str]) -> list[str]:
        there = topics_of(self._client, self._admin, _PATIENCE)
        return [topic for topic in topics if topic in there]

    def _partitions(self, topics: Iterable[str]) -> list[TopicPartition]:
        counts = {topic: partitions_of(self._client, topic, self._admin) for topic in topics}
        return partitions(counts)

    def _ends(self, topics: Iterable[str]) -> dict[TopicPartition, Offset]:
        return list_offsets(self._admin, self._partitions(topics), OffsetSpec.latest())

    def _read(
        self, topics: Iterable[str], begins: Mapping[TopicPartition, Offset] | None = None
    ) -> dict[TopicPartition, RawBatch]:
        ends = self._ends(topics)
        reader = LogReader(self._client, ends, begins=begins or {})
        try:
            reader.read_until(ends)
        finally:
            reader.close()
        if reader.unread:
            raise KafkaError(
                f"records of {', '.join(sorted(reader.unread))} were deleted before they could be "
                "read back, so that nothing can be checked: set retention.ms=-1 for the topics"
            )
        return reader.logs()

    def _open_transactions(self, topics: Iterable[str]) -> Iterable[str]:
        """Topics whose last stable offset is not their end; the marker of a commit takes a moment.

        A transaction that nobody ends is aborted by the broker after its timeout.
        """
        sources = self._partitions(topics)
        deadline = time.monotonic() + _PATIENCE
        while left := [each for each, end in self._stable(sources) if end]:
            if time.monotonic() > deadline:
                return [f"{source}: a transaction was left open" for source in left]
            time.sleep(0.1)
        return []

    def _stable(self, sources: Sequence[TopicPartition]) -> Iterable[tuple[TopicPartition, int]]:
        """By how much the last stable offset of each partition is behind its end."""
        ends = list_offsets(self._admin, sources, OffsetSpec.latest())
        committed_only = IsolationLevel.READ_COMMITTED
        stable = list_offsets(self._admin, sources, OffsetSpec.latest(), committed_only)
        return [(source, ends[source] - stable[source]) for source in sources]

    def _unprocessed(self, logs: Mapping[TopicPartition, RawBatch]) -> Iterable[str]:
        """Records after what the group has committed; markers may be there."""
        group = {"group.id": self._layout.plan.application, "isolation.level": "read_committed"}
        member = Consumer({**COMMON, **self._client, **group})
        try:
            found = committed(member, logs)
        finally:
            member.close()
        for source, each in found.items():
            done = max(0, each.offset)
            left = sum(offset >= done for offset in logs[source].offsets)
            if left:
                yield f"{source}: {left} records are not processed, those from offset {done} on"


def _uncounted(
    logs: Mapping[TopicPartition, RawBatch], written: Mapping[str, int]
) -> Iterable[str]:
    for topic, count in written.items():
        there = sum(len(log) for source, log in logs.items() if source.topic == topic)
        if there != count:
            yield (
                f"{topic} holds {there} records, but {count} were written and acknowledged: the "
                "broker lost some, or somebody else writes there; what is there was compared"
            )


def _state(log: RawBatch) -> Mapping[bytes, bytes]:
    last = {key: value for key, value in zip(log.keys, log.values, strict=True) if key is not None}
    return {key: value for key, value in last.items() if value is not None}
