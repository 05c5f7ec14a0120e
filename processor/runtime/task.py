"""Task: one subtopology at work on one partition.

Batches go in, outputs come out; state changes wait in the overlays for the checkpoint. A batch goes
through as a whole. If rows of it fail, all its effects are undone and it goes through again in
parts, until only bad records are left out: each leaves no trace but its dead letter, and the others
meet the state that they would have met one at a time.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from processor.operators.base import (
    NO_TIME,
    AnyBatch,
    Clocked,
    Closing,
    Context,
    Holding,
    Punctuality,
    Rejected,
    Reporting,
    ResultOffset,
    Timed,
    Unattributed,
    closing_of,
    due_of,
)
from processor.records import (
    NO_OFFSET,
    Batch,
    Offset,
    RawBatch,
    Timestamp,
    TopicPartition,
    in_order,
)
from processor.runtime.badrecords import BadRecords, Origin
from processor.runtime.commands import NO_TABLES, Position
from processor.runtime.copies import copied
from processor.runtime.dataflow import Dataflow, Entries, Output
from processor.runtime.progress import Note, Progress, note_text
from processor.runtime.task_batch import TaskBatch
from processor.serdes import auto
from processor.state.keyvalue import EncodedStore
from processor.state.overlay import Overlay
from processor.state.shared import ReadOnlyStore
from processor.topology.graph import Edge, Step
from processor.topology.plan import Subtopology, TaskId


@dataclass(slots=True)
class _Entering:
    """Rows on their way into the dataflow.

    `make` gives the rows with these numbers afresh each time it is asked, as functions may have
    changed what it gave before, and where they enter; the numbers stand for their offsets.
    """

    make: Callable[[Sequence[int]], Entries]
    advance: bool = False
    bad: dict[Offset, Rejected] = field(default_factory=dict[Offset, Rejected])
    noted: list[Rejected] = field(default_factory=list[Rejected])

    def leave_out(self, rejected: Sequence[Rejected]) -> None:
        """Takes these rows for bad; of several failures of one the first counts."""
        for each in rejected:
            self.bad.setdefault(each.offset, each)

    def left_of(self, batch: AnyBatch) -> AnyBatch:
        """The rows that are not taken for bad."""
        return batch.select([offset not in self.bad for offset in batch.offsets])


class Task:
    """One task: its stores, its stream time and how far it has come.

    Args:
        task: Its id.
        part: Its subtopology.
        dataflow: Of that subtopology.
        overlays: By the names of the stores.
        bad_records: The policy.
        start: Where its partitions begin.
        shared: The global tables, by name.
        layout: The fingerprint of the topology.
    """

    def __init__(
        self,
        task: TaskId,
        part: Subtopology,
        dataflow: Dataflow,
        overlays: Mapping[str, Overlay],
        bad_records: BadRecords,
        start: Mapping[TopicPartition, Position],
        shared: Mapping[str, ReadOnlyStore[Any, Any]] = NO_TABLES,
        layout: int = 0,
    ) -> None:
        self.id = task
        self.overlays = overlays
        self.records = 0
        self.judged: Counter[tuple[str, Punctuality]] = Counter()
        """Of how many rows steps have judged whether they are late, and what came of it, as of the
        last checkpoint.
        """
        self._judged: Counter[tuple[str, Punctuality]] = Counter()
        self._dataflow = dataflow
        self._bad_records = bad_records
        limit = dataflow.max_data_bytes
        stores = {spec.name: EncodedStore(spec, overlays[spec.name], limit) for spec in part.stores}
        self._context = Context(
            stores, shared=shared, paired=dataflow.paired, delays=dataflow.delays
        )
        self.ahead: list[tuple[TopicPartition, Offset, Timestamp]] = []
        """Records too far ahead of the clock to move the stream time there, to be reported."""
        self.offsets: dict[TopicPartition, Offset] = {}
        self.notes: Mapping[TopicPartition, Note] = {}
        """Of partitions that other tasks write: what is committed besides the offset."""
        self._texts: dict[TopicPartition, tuple[tuple[Note, Timestamp, Offset], str]] = {}
        self._layout = layout
        self._promised = NO_TIME
        self.restart(start)

    @property
    def time(self) -> Timestamp:
        """Its stream time."""
        return self._context.clock.task_time

    @property
    def positions(self) -> dict[TopicPartition, Position]:
        """How far each partition is processed."""
        now = self._context.clock.task_time
        return {
            source: Position(offset, now, self._note(source, offset))
            for source, offset in self.offsets.items()
        }

    def _note(self, source: TopicPartition, offset: Offset) -> str:
        if (note := self.notes.get(source)) is None:
            return ""
        noted = note, self._context.clock.task_time, offset
        before, text = self._texts.get(source, (None, ""))
        if before != noted:
            text = note_text(*noted, self._layout)
            self._texts[source] = noted, text
        return text

    @property
    def reports_progress(self) -> bool:
        """Whether anything that it writes carries how far it is."""
        return bool(self._dataflow.followed)

    def progress(self, sources: Sequence[TopicPartition]) -> Mapping[str, Progress]:
        """How far it is, for each topic that carries that.

        Args:
            sources: Its partitions, in the order in which their offsets are reported.
        """
        offsets, now = tuple(self.offsets[each] for each in sources), self._context.clock.task_time
        return {
            topic: Progress(max(NO_TIME, Timestamp(now - delay)), offsets)
            for topic, delay in self._dataflow.followed.items()
        }

    @property
    def memory_bytes(self) -> int:
        """About how much memory uncommitted writes and caches use."""
        return sum(overlay.memory_bytes for overlay in self.overlays.values())

    def committed(self) -> None:
        """What has been done so far is part of a checkpoint."""
        self.judged = self._judged.copy()

    def restart(self, start: Mapping[TopicPartition, Position]) -> None:
        """Goes back to where the last checkpoint was, with nothing uncommitted left."""
        for overlay in self.overlays.values():
            overlay.discard()
        self._judged = self.judged.copy()
        self.offsets = {source: position.offset for source, position in start.items()}
        times = (position.stream_time for position in start.values())
        self._context.clock.task_time = self._promised = max(times, default=NO_TIME)
        self._context.resumed = True

    def process(self, batch: TaskBatch) -> list[Output]:
        """Works on records of its partitions.

        Raises:
            BadRecordError: A record is bad, and the policy is to fail.
        """
        entering = _Entering(lambda rows: self._decoded(batch, rows), advance=True)
        self._context.clock.brought = batch.times
        self._context.failures.refused = self._bad_records.refusals.of(batch)
        outputs = self._enter(entering, batch.rows)
        if self._context.clock.ahead:
            self.ahead.append(self._place(batch, self._context.clock.ahead[0]))
        for source, records, _ in batch.slices:
            self.offsets[source] = Offset(records.offsets[-1] + 1)
            self.records += len(records)
        if entering.bad or entering.noted:
            outputs += self._letters(entering, lambda row: self._origin(batch, row))
        return outputs

    def times(self, source: TopicPartition, records: RawBatch) -> Sequence[Timestamp]:
        """The times that records count for; of those that have none, what they were read with."""
        return self._dataflow.times(self._dataflow.sources[source.topic], records, self._context)

    def limit(self, latest: Timestamp | None) -> None:
        """The stream time is moved no further by records; None: by any."""
        self._context.clock.latest = latest

    def tick(self, since: Timestamp, now: Timestamp) -> list[Output]:
        """What follows from the wall clock having gone from `since` to `now`."""
        self._context.clock.now = now
        clocked = self._dataflow.clocked.items()
        return [each for step, operator in clocked for each in self._tick(step, operator, since)]

    def report_changes(self) -> list[Output]:
        """What the tables have held back for the checkpoint; afterwards they hold nothing back."""
        context = self._context
        context.clock.promised = self._promised
        tables = self._dataflow.tables.items()
        outputs = [each for step, operator in tables for each in self._report(step, operator)]
        context.clock.promised, self._promised = None, context.clock.task_time
        return outputs

    def report_held(self) -> list[Output]:
        """What the steps hold back until the stream time goes on, which it does as far as needed.

        How far depends on what they hold alone, and not on the clock: done again after a crash it
        comes out the same.
        """
        outputs: list[Output] = []
        # What steps emit, those downstream may hold back in turn.
        while (until := self._held_until()) > self._context.clock.task_time:
            outputs += self.advance(until)
        return outputs

    def advance(self, until: Timestamp) -> list[Output]:
        """What follows from the stream time going on to there without a record."""
        before, outputs = self._context.clock.task_time, list[Output]()
        for step, operator in self._dataflow.timed.items():
            self._context.clock.task_time = before
            outputs += self._advance(step, operator, until)
        self._context.clock.task_time = until
        return outputs

    def _held_until(self) -> Timestamp:
        held = (self._held_in(step, operator) for step, operator in self._dataflow.held.items())
        return max((time for time in held if time is not None), default=NO_TIME)

    def _held_in(self, step: Step, operator: Holding) -> Timestamp | None:
        self._context.enter_step(step.name)
        until = operator.held_until(self._context)
        return None if until is None else Timestamp(until + self._context.clock.delay)

    def _advance(self, step: Step, operator: Timed, until: Timestamp) -> list[Output]:
        def made() -> AnyBatch | None:
            self._context.clock.enter_time(until)
            return operator.advance(self._context)

        return self._enter_made_by(step, made, at=until)

    def _tick(self, step: Step, operator: Clocked, since: Timestamp) -> list[Output]:
        context = self._context
        return self._enter_made_by(step, lambda: operator.tick(since, context))

    def _enter_made_by(
        self, step: Step, make: Callable[[], AnyBatch | None], at: Timestamp | None = None
    ) -> list[Output]:
        """What follows from the rows that a step makes by itself, at a stream time."""
        context = self._context
        while True:
            context.begin()
            context.enter_step(step.name)
            self._dataflow.on_step(step.name)
            made = make()
            if not context.failures.failed:
                break
            self._undo()
            context.failures.skip |= [context.failures.failed[0]]
        self._accept()
        if at is not None:
            context.clock.task_time = at
        noted = context.failures.noted
        if made is None or not (len(made) or noted):
            return []
        rows = _numbered(made)
        entering = _Entering(lambda some: {Edge(step): copied(rows.take(some))}, noted=noted)
        return self._enter_made(entering, rows, step)

    def _report(self, step: Step, operator: Reporting) -> list[Output]:
        self._context.begin()
        made, noted = self._changes(step, operator), self._context.failures.noted
        if made is None or not (len(made) or noted):
            return []
        first = iter([made])
        again = cache(lambda: self._changes(step, operator) or made)

        def make(rows: Sequence[int]) -> Entries:
            # The first try is with all rows, and mostly the only one: it needs no copy.
            return {Edge(step): next(first, None) or copied(again().take(rows))}

        return self._enter_made(_Entering(make, noted=noted), made, step)

    def _changes(self, step: Step, operator: Reporting) -> AnyBatch | None:
        self._context.enter_step(step.name)
        return operator.changes(self._context)

    def _enter_made(self, entering: _Entering, made: AnyBatch, step: Step) -> list[Output]:
        """Rows that no input record stands for; as dead letters they are written as JSON."""
        self._context.failures.refused = self._bad_records.refusals.of(None)
        outputs = self._enter(entering, range(len(made))) if len(made) else []
        if entering.bad or entering.noted:
            place = TopicPartition(step.name, self.id.partition)

            def origin(row: int) -> Origin:
                (rows,) = entering.make([row]).values()
                self._context.enter_step(step.name)
                raw = _shown_rows(step.operator.ports(rows, self._context)[0])
                return Origin(place, Offset(row), raw, is_made=True)

            outputs += self._letters(entering, origin)
        return outputs

    def _enter(self, entering: _Entering, rows: Sequence[int]) -> list[Output]:
        """Lets rows through the dataflow; those that fail are in `entering.bad` afterwards.

        Where some fail, those whose failure is their own are left out. If that isn't all, the rows
        go in two halves, so that each meets the state that it would meet one by one.
        """
        outputs = self._try(entering, rows)
        if outputs is None and self._leave_out(entering):
            outputs = self._try(entering, rows)
        if outputs is not None:
            return outputs
        if len(rows) == 1:
            return self._enter_row(entering, rows)
        half = len(rows) // 2
        return [*self._enter(entering, rows[:half]), *self._enter(entering, rows[half:])]

    def _leave_out(self, entering: _Entering) -> bool:
        """Leaves out rows that failed before any state was met; whether there are any."""
        stateless = self._dataflow.stateless
        sure = [each for each in self._context.failures.rejected if each.step in stateless]
        entering.leave_out(sure)
        return bool(sure)

    def _enter_row(self, entering: _Entering, row: Sequence[int]) -> list[Output]:
        """A row that has failed once, and the punctuations that it brings.

        A punctuation that fails is left out, and so is a result of a step that fails on its way. If
        the row or an output of a punctuation fails, the row is tried without what it brings, and
        only if it fails again it is a bad one.
        """
        context = self._context
        while True:
            if context.failures.failed:
                context.failures.skip |= [context.failures.failed[0]]
            elif lost := _lost(context.failures.rejected):
                context.failures.lost |= lost
            elif context.failures.punctuated or context.failures.closed:
                first = context.failures.rejected[0]
                context.failures.skip |= dict.fromkeys(context.failures.punctuated, first.error)
                context.failures.lost |= dict.fromkeys(context.failures.closed, first)
            elif context.failures.rejected:
                entering.leave_out(context.failures.rejected[:1])
                context.failures.skip, context.failures.lost = {}, {}
            if (outputs := self._try(entering, row)) is not None:
                return outputs

    def _try(self, entering: _Entering, rows: Sequence[int]) -> list[Output] | None:
        """One try: the outputs, or None if rows or punctuations failed: then it had no effect."""
        context = self._context
        context.begin()
        entries = entering.make(rows)
        entering.leave_out(context.failures.rejected)
        if entering.bad:
            entries = {edge: entering.left_of(batch) for edge, batch in entries.items()}
        context.begin()
        outputs: list[Output] = []
        try:
            outputs = self._dataflow.run(entries, context, advance=entering.advance)
        except Unattributed as error:
            cause = error.__cause__
            failure = cause if isinstance(cause, Exception) else error
            first = min(batch.offsets[0] for batch in entries.values() if len(batch))
            bad = Rejected(first, context.step, "state", failure, error.policy)
            context.failures.rejected.append(bad)
        except BaseException:
            self._undo()
            raise
        if context.failures.rejected or context.failures.failed:
            self._undo()
            return None
        self._accept()
        entering.noted += context.failures.noted
        context.clock.task_time = context.clock.end_task_time
        context.resumed = context.resumed and not entering.advance
        return outputs

    def _accept(self) -> None:
        """Makes what was done part of the next checkpoint; counts what was late or left out."""
        context = self._context
        self._judged += context.failures.judged
        context.failures.judged = Counter()
        for punctuation, error in context.failures.skip.items():
            policy = self._dataflow.policies.get(punctuation.step)
            self._bad_records.punctuation_failed(punctuation.step, error, policy)
        context.failures.skip, context.failures.lost = {}, {}
        for overlay in self.overlays.values():
            overlay.accept()

    def _undo(self) -> None:
        for overlay in self.overlays.values():
            overlay.rollback()

    def _decoded(self, batch: TaskBatch, rows: Sequence[int]) -> Entries:
        """The records with these numbers, which follow each other, at their sources."""
        entries: dict[Edge, AnyBatch] = {}
        for part in batch.slices:
            node = self._dataflow.sources[part.source.topic]
            records = part.between(rows[0], rows[-1])
            if len(records):
                decoded = self._dataflow.decode(node, records, self._context)
                before = entries.get(Edge(node))
                entries[Edge(node)] = decoded if before is None else in_order([before, decoded])
        return entries

    def _place(self, batch: TaskBatch, row: int) -> tuple[TopicPartition, Offset, Timestamp]:
        part = batch.slice_of(row)
        record = part.record(row)
        return part.source, record.offsets[0], record.timestamps[0]

    def _origin(self, batch: TaskBatch, row: int) -> Origin:
        part = batch.slice_of(row)
        record = part.record(row)
        policy = self._dataflow.sources[part.source.topic].on_bad_record
        return Origin(part.source, record.offsets[0], record, policy)

    def _origin_of(self, each: Rejected, origin_of: Callable[[int], Origin]) -> Origin:
        """Where a row is from; a result that a step gave on its own, from that step."""
        closing = closing_of(each.offset)
        if closing is None or each.row is None:
            return origin_of(each.offset)
        rows, row = each.row
        raw = _shown_rows(rows.take([row]))
        place = TopicPartition(closing.step, self.id.partition)
        if each.offset == NO_OFFSET:
            return Origin(place, NO_OFFSET, raw, is_made=True)
        brought_by = origin_of(each.offset)
        return Origin(place, brought_by.offset, raw, brought_by.policy, is_made=True)

    def _letters(self, entering: _Entering, origin_of: Callable[[int], Origin]) -> list[Output]:
        kept: dict[tuple[Offset, str], Output | None] = {}
        left_out = [*entering.bad.values(), *entering.noted]
        for each in sorted(left_out, key=lambda rejected: rejected.offset):
            policy = each.policy or self._dataflow.policies.get(each.step)
            bad, origin = each._replace(policy=policy), self._origin_of(each, origin_of)
            letter = self._bad_records.handle(bad, origin)
            kept.setdefault((each.offset, str(closing_of(each.offset) or each.step)), letter)
        return [letter for letter in kept.values() if letter is not None]


def _lost(rejected: Sequence[Rejected]) -> dict[Closing, Rejected]:
    """The results that failed at the first step where any row did: others may fail due to them."""
    first = [each for each in rejected if each.step == rejected[0].step]
    return {closing: each for each in first if (closing := closing_of(each.offset))}


def _numbered(made: AnyBatch) -> AnyBatch:
    """The rows with their numbers for offsets, which keep when they were due."""
    numbers = [
        Offset(row) if (due := due_of(offset)) is None else ResultOffset.at(Offset(row), due, None)
        for row, offset in enumerate(made.offsets)
    ]
    return Batch(made.keys, made.values, made.timestamps, numbers, made.headers)


def _shown_rows(rows: AnyBatch) -> RawBatch:
    return rows.with_keys(_shown(rows.keys)).with_values(_shown(rows.values))


def _shown(column: Sequence[object]) -> list[bytes | None]:
    """Values as a dead letter shows them: JSON where that is possible."""
    return [None if value is None else _show(value) for value in column]


def _show(value: object) -> bytes:
    try:
        return auto.encode(value)
    except (TypeError, ValueError):
        return repr(value).encode(errors="backslashreplace")
