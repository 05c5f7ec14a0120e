"""Task: one subtopology at work on one partition.

Batches go in, outputs come out; state changes wait in the overlays for the checkpoint. A batch goes
through as a whole. If rows of it fail, all its effects are undone and it goes through again without
them, so that a bad record leaves no trace but its dead letter.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from processor.operators.base import AnyBatch, Context, Rejected, Unattributed
from processor.records import Offset, RawBatch, Timestamp, TopicPartition
from processor.runtime.badrecords import BadRecords
from processor.runtime.commands import Position
from processor.runtime.dataflow import Dataflow, Output
from processor.serdes import auto
from processor.state.keyvalue import KeyValueStore
from processor.state.overlay import Overlay
from processor.topology.graph import Edge, Policy, Step
from processor.topology.plan import Subtopology, TaskId

_WHOLE_TRIES = 2
"""A batch with bad records goes through as a whole this often, then row by row."""


@dataclass(slots=True)
class _Entering:
    """Rows on their way into the dataflow at one place.

    `make` gives the rows with these numbers (None: all) afresh each time it is asked, as functions
    may have changed what it gave before.
    """

    entry: Edge
    make: Callable[[Sequence[int] | None], AnyBatch]
    advance: bool = False
    bad: dict[Offset, Rejected] = field(default_factory=dict[Offset, Rejected])


class Task:
    """One task: its stores, its stream time and how far it has come.

    Args:
        task: Its id.
        part: Its subtopology.
        dataflow: Of that subtopology.
        overlays: By the names of the stores.
        bad_records: The policy.
        start: Where its partitions begin.
    """

    def __init__(
        self,
        task: TaskId,
        part: Subtopology,
        dataflow: Dataflow,
        overlays: Mapping[str, Overlay],
        bad_records: BadRecords,
        start: Mapping[TopicPartition, Position],
    ) -> None:
        self.id = task
        self.overlays = overlays
        self.records = 0
        self._dataflow = dataflow
        self._bad_records = bad_records
        stores = {spec.name: KeyValueStore(spec, overlays[spec.name]) for spec in part.stores}
        self._context = Context(stores)
        self.offsets: dict[TopicPartition, Offset] = {}
        self.restart(start)

    @property
    def positions(self) -> dict[TopicPartition, Position]:
        """How far each partition is processed."""
        now = self._context.stream_time
        return {source: Position(offset, now) for source, offset in self.offsets.items()}

    @property
    def memory_bytes(self) -> int:
        """About how much memory uncommitted writes and caches use."""
        return sum(overlay.memory_bytes for overlay in self.overlays.values())

    def restart(self, start: Mapping[TopicPartition, Position]) -> None:
        """Goes back to where the last checkpoint was, with nothing uncommitted left."""
        for overlay in self.overlays.values():
            overlay.discard()
        self.offsets = {source: position.offset for source, position in start.items()}
        times = (position.stream_time for position in start.values())
        self._context.stream_time = max(times, default=Timestamp(-1))

    def process(self, source: TopicPartition, records: RawBatch) -> list[Output]:
        """Works on records of one partition.

        Raises:
            BadRecordError: A record is bad, and the policy is to fail.
        """
        node = self._dataflow.sources[source.topic]

        def make(rows: Sequence[int] | None) -> AnyBatch:
            chosen = records if rows is None else records.take(rows)
            return self._dataflow.decode(node, chosen, self._context)

        entering = _Entering(Edge(node), make, advance=True)
        outputs = self._enter(entering, len(records))
        self.offsets[source] = Offset(records.offsets[-1] + 1)
        self.records += len(records)
        if entering.bad:
            outputs += self._letters(entering, records, source, node.on_bad_record)
        return outputs

    def tick(self, since: Timestamp, now: Timestamp) -> list[Output]:
        """What follows from the wall clock having gone from `since` to `now`."""
        self._context.now = now
        return [each for step in self._dataflow.clocked for each in self._tick(step, since)]

    def tell_changes(self) -> list[Output]:
        """What the tables have held back for the checkpoint; afterwards they hold nothing back."""
        return [each for step in self._dataflow.tables for each in self._tell(step)]

    def committed(self) -> None:
        """Takes everything so far as committed and stored."""
        for overlay in self.overlays.values():
            overlay.committed()

    def _tick(self, step: Step, since: Timestamp) -> list[Output]:
        context = self._context
        context.begin()
        context.step = step.name
        made = step.operator.tick(since, context)
        if context.skipped:
            self._undo()
            self._skip()
            return self._tick(step, since)
        self._accept()
        context.skip = frozenset()
        if made is None or not len(made):
            return []
        rows = made.numbered()
        entering = _Entering(
            Edge(step), lambda some: deepcopy(rows if some is None else rows.take(some))
        )
        return self._enter_made(entering, rows, step)

    def _tell(self, step: Step) -> list[Output]:
        if not (made := step.operator.changes(self._context)):
            return []

        def make(rows: Sequence[int] | None) -> AnyBatch:
            fresh = step.operator.changes(self._context) or made
            return fresh if rows is None else fresh.take(rows)

        return self._enter_made(_Entering(Edge(step), make), made, step)

    def _enter_made(self, entering: _Entering, made: AnyBatch, step: Step) -> list[Output]:
        """Rows that no input record stands for; as dead letters they are written as JSON."""
        outputs = self._enter(entering, len(made))
        if entering.bad:
            made = entering.make([int(offset) for offset in entering.bad])
            raw = made.with_keys(_shown(made.keys)).with_values(_shown(made.values))
            origin = TopicPartition(step.name, self.id.partition)
            outputs += self._letters(entering, raw, origin, None)
        return outputs

    def _enter(self, entering: _Entering, count: int) -> list[Output]:
        """Lets rows through the dataflow; those that fail are in `entering.bad` afterwards."""
        for _ in range(_WHOLE_TRIES):
            try:
                outputs = self._try(entering, None)
            except Unattributed:
                break
            if outputs is not None:
                return outputs
        return [each for row in range(count) for each in self._enter_row(entering, row)]

    def _enter_row(self, entering: _Entering, row: int) -> list[Output]:
        while True:
            try:
                outputs = self._try(entering, [row])
            except Unattributed as error:
                cause = error.__cause__
                failure = cause if isinstance(cause, Exception) else error
                offset = entering.make([row]).offsets[0]
                step = self._context.step
                entering.bad[offset] = Rejected(offset, step, "state", failure)
                return []
            if outputs is not None:
                return outputs

    def _try(self, entering: _Entering, rows: Sequence[int] | None) -> list[Output] | None:
        """One try: the outputs, or None if rows or punctuations failed, which are then left out.

        Raises:
            Unattributed: It is not known which row failed. As with None, all effects are undone.
        """
        context = self._context
        context.begin()
        batch = entering.make(rows)
        entering.bad |= {each.offset: each for each in context.rejected}
        if entering.bad:
            batch = batch.select([offset not in entering.bad for offset in batch.offsets])
        context.begin()
        try:
            outputs = self._dataflow.run(entering.entry, batch, context, advance=entering.advance)
        except BaseException:
            self._undo()
            raise
        if context.rejected or context.skipped:
            self._undo()
            entering.bad |= {each.offset: each for each in context.rejected}
            self._skip()
            return None
        self._accept()
        context.stream_time = context.end_time
        context.skip = frozenset()
        return outputs

    def _skip(self) -> None:
        """Leaves out, and counts, the punctuations that failed."""
        for step, number, time, error in self._context.skipped:
            self._context.skip |= {(step, number, time)}
            self._bad_records.punctuation_failed(step, error)

    def _accept(self) -> None:
        for overlay in self.overlays.values():
            overlay.accept()

    def _undo(self) -> None:
        for overlay in self.overlays.values():
            overlay.rollback()

    def _letters(
        self,
        entering: _Entering,
        records: RawBatch,
        source: TopicPartition,
        policy: Policy | None,
    ) -> list[Output]:
        row_of = {offset: row for row, offset in enumerate(records.offsets)}
        letters = (
            self._bad_records.handle(bad, records.take([row_of[offset]]), source, policy)
            for offset, bad in sorted(entering.bad.items())
        )
        return [letter for letter in letters if letter is not None]


def _shown(column: Sequence[object]) -> list[bytes | None]:
    """Values as a dead letter shows them: JSON where that is possible."""
    return [None if value is None else _show(value) for value in column]


def _show(value: object) -> bytes:
    try:
        return auto.encode(value)
    except (TypeError, ValueError):
        return repr(value).encode(errors="backslashreplace")
