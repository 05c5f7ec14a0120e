"""Steps that keep one state per key and window, and tell of windows as they change or close.

A window closes when the stream time reaches its end and the delay of its kind, at the record that
brings that time and before it; a record that comes for a closed window is late. Both are judged
record by record, wherever batches end. The keys of the store begin with the window's end, so that
what closes is read in one range, and only where something may close.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from operator import add, gt, not_
from typing import Any, Literal, NamedTuple, TypeAlias

from processor.attempt import Fault
from processor.operators.aggregate import Stamped, stamped, told_times
from processor.operators.base import (
    AnyBatch,
    Closing,
    Context,
    Made,
    Operator,
    Outputs,
    Policy,
    Unattributed,
    encoded_keys,
)
from processor.operators.folding import Folding
from processor.operators.windows import Aligned, Span, Windows
from processor.records import LATEST, Batch, Offset, Timestamp
from processor.serdes import Serde
from processor.serdes.windowed import Windowed, span_bytes, until
from processor.state.keyvalue import KeyValueStore, StoreSpec

WindowEmit: TypeAlias = Literal["close", "change", "checkpoint"]
"""When a window is told of: once, when it closes; at every change; the last one at a checkpoint."""

States: TypeAlias = KeyValueStore[Windowed[Any], Stamped]


class LateError(ValueError):
    """A record came after all windows that have its time had closed."""


class NoWindowError(ValueError):
    """A record's time is beyond all calendars."""


class Change(NamedTuple):
    """What a row has made of a window, and the highest time in there; None: it is no more."""

    window: Windowed[Any]
    result: Any
    row: int
    time: Timestamp


@dataclass(frozen=True)
class WindowStep(Operator):
    """What the windowed steps share: keys, late records, and what follows from stream time.

    Args:
        store: Its name.
        windows: The kind.
        folding: How values become one.
        key: Serde of the keys.
        emit: When windows are told of.
        late: What becomes of late records; None: as of others that are bad.
        kept: How long after its end a window stays in the store, milliseconds.
    """

    store: str
    windows: Windows
    folding: Folding
    key: Serde[Any]
    emit: WindowEmit
    late: Policy | None
    kept: int

    @cached_property
    def _stamped(self) -> Serde[Stamped]:
        return stamped(self.folding.value)

    def spec(self, context: Context) -> StoreSpec[Windowed[Any], Stamped]:
        """The store's, as others read it: with results."""
        return context.stores[self.store].spec

    def states(self, context: Context) -> States:
        """The store with the states in it, of which others read the results."""
        return context.stores[self.store].holding(self._stamped)

    def accepted(self, batch: AnyBatch, context: Context) -> tuple[Sequence[bytes], AnyBatch]:
        """The rows' keys as bytes; rows without one, or beyond all calendars, are rejected."""
        keys, batch = encoded_keys(self.key, batch, context)
        if max(batch.timestamps, default=0) < LATEST:
            return keys, batch
        error = NoWindowError("the record's timestamp is after the year 9997: no window has it")
        bad = [Fault(row, error) for row, time in enumerate(batch.timestamps) if time >= LATEST]
        keys = list(compress(keys, (time < LATEST for time in batch.timestamps)))
        return keys, context.reject(batch, bad, "timestamp")

    def told(self, batch: AnyBatch, changes: Iterable[Change]) -> AnyBatch:
        """The changes as rows."""
        changes = list(changes)
        rows = batch.take([change.row for change in changes])
        rows = rows.with_values([change.result for change in changes])
        rows = rows.with_timestamps([change.time for change in changes])
        return rows.with_keys([change.window for change in changes])

    def late_rows(
        self, batch: AnyBatch, mask: Sequence[bool], times: Sequence[Timestamp], context: Context
    ) -> AnyBatch:
        """The rows that are late, which are noted; `times` has the stream time at each row."""
        late = batch.select(mask)
        errors = [
            LateError(
                f"the record is {now - time} ms behind the stream time: the windows that have its "
                f"time ({self.windows}) were closed"
            )
            for time, now in zip(late.timestamps, compress(times, mask), strict=True)
        ]
        context.note(late, errors, "late", "skip" if context.late_is_read else self.late)
        return late

    def save(self, context: Context, keys: Iterable[bytes], held: dict[bytes, Stamped]) -> None:
        """Writes what the keys hold now."""
        try:
            self.states(context).save(keys, held)
        except Exception as error:
            raise Unattributed from error

    # Stream time

    def advance(self, context: Context) -> AnyBatch | None:
        """The results of windows that have closed; what is kept no longer leaves the store.

        Where changes are told at checkpoints, the last ones of windows that leave before.
        """
        closes = self.emit == "close"
        due = self._between(context, self.windows.delay) if closes else {}
        rows = self._results(context, due, self.windows.delay) if due else None
        expired = due
        if not closes or self.kept > self.windows.delay:
            expired = self._between(context, self.kept)
        if self.emit == "checkpoint" and self._any_end(context, self.kept):
            changed = self.states(context).changed(*self._range(context, self.kept))
            rows = self._results(context, changed, self.kept) if changed else None
        if expired:
            self.forget(list(expired), context)
            self.states(context).save(expired, {})
        return rows

    def held_until(self, context: Context) -> Timestamp | None:
        """When the last window closes that is open now."""
        newest = None if self.emit != "close" else self.states(context).last()
        if newest is None:
            return None
        return Timestamp(self.spec(context).key.decode(newest).end + self.windows.delay)

    def _between(self, context: Context, delay: int) -> dict[bytes, Stamped]:
        """The windows for which the stream time has come to `delay` after their end."""
        if not self._any_end(context, delay):
            return {}
        return dict(self.states(context).scan(*self._range(context, delay)))

    def _any_end(self, context: Context, delay: int) -> bool:
        """Whether the stream time may have come to `delay` after the end of any window."""
        since, to = context.stream_time - delay, context.end_time - delay
        return self._may_be_behind(context, delay) or self.windows.ends_in(since, to)

    def _range(self, context: Context, delay: int) -> tuple[bytes, bytes]:
        """The keys of the windows for which this pass comes to `delay` after their end."""
        behind = self._may_be_behind(context, delay)
        first = b"" if behind else until(context.stream_time - delay + 1)
        return first, until(context.end_time - delay + 1)

    def _may_be_behind(self, context: Context, delay: int) -> bool:
        """Whether windows may be there that an earlier run has left, as its grace was longer.

        Of those that are kept after they have closed nobody knows whether they were told.
        """
        return context.resumed and delay == self.kept

    def forget(self, keys: Sequence[bytes], context: Context) -> None:
        """Does what a kind needs besides when windows leave the store."""

    def _results(
        self, context: Context, windows: Mapping[bytes, Stamped | None], delay: int
    ) -> AnyBatch:
        """Windows as rows at the records that brought their time, without those that are lost."""
        keys = list(map(self.spec(context).key.decode, windows))
        crossing = {end: context.crossing(Timestamp(end + delay)) for _, _, end in keys}
        closings = [Closing(context.step, key) for key in windows]
        offsets = [
            Made.at(crossing[window.end], closing)
            for window, closing in zip(keys, closings, strict=True)
        ]
        times = [
            Timestamp(max(0, window.end - 1)) if held is None else held[0]
            for window, held in zip(keys, windows.values(), strict=True)
        ]
        result = self.folding.result
        values = [None if held is None else result(held[1]) for held in windows.values()]
        rows: AnyBatch = Batch(keys, values, times, offsets)
        context.closed += [closing for closing in closings if closing not in context.lost]
        if context.lost:
            note_lost(rows, closings, context)
            return rows.select([closing not in context.lost for closing in closings])
        return rows

    def changes(self, context: Context) -> AnyBatch | None:
        """The last change of each window since the last checkpoint."""
        if self.emit != "checkpoint":
            return None
        gone = context.stream_time - self.kept
        changed = [
            (window, held)
            for window, held in context.stores[self.store].changes()
            if held is not None or window.end > gone
        ]
        return Batch(
            [window for window, _ in changed],
            [None if held is None else held[1] for _, held in changed],
            [context.stream_time if held is None else held[0] for _, held in changed],
            [Offset(row) for row in range(len(changed))],
        )


def note_lost(rows: AnyBatch, closings: Sequence[Closing], context: Context) -> None:
    """Notes the rows that failed on their way in an earlier try."""
    for row, closing in enumerate(closings):
        if closing in context.lost:
            rejected = context.lost[closing]._replace(offset=rows.offsets[row], row=(rows, row))
            context.noted.append(rejected)


@dataclass(frozen=True)
class AlignedStep(WindowStep):
    """Windows that depend on the time alone: a batch is folded by key and window at once."""

    windows: Aligned

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """The changes, if all are told, and the late rows."""
        keys, batch = self.accepted(batch, context)
        placed = self._placed(keys, batch, context)
        told = self.emit == "change"
        rows = placed.rows
        if told:
            rows = rows.with_keys(list(map(self.spec(context).key.decode, placed.keys)))
        distinct = list(dict.fromkeys(placed.keys))
        held = self.states(context).load(distinct)
        known = dict(held) if told else {}
        results, rows = self.folding.many(held, placed.keys, rows, context, told=told)
        self.save(context, distinct, held)
        if not told:
            return rows.select(()), placed.late
        times = told_times(known, results, self.spec(context), rows)
        return rows.with_values(results).with_timestamps(times), placed.late

    def _placed(self, keys: Sequence[bytes], batch: AnyBatch, context: Context) -> "_Placed":
        granule, delay = self.windows.granule, self.windows.delay
        slots = [time // granule for time in batch.timestamps]
        spans = {slot: self.windows.spans(slot * granule) for slot in set(slots)}
        if all(len(each) == 1 for each in spans.values()):
            return self._placed_once(
                keys, batch, slots, {s: each[0] for s, each in spans.items()}, context
            )
        times = context.times(batch)
        opened = [
            [span for span in spans[slot] if span.end + delay > now]
            for slot, now in zip(slots, times, strict=True)
        ]
        late = self.late_rows(batch, [not each for each in opened], times, context)
        missed = [0 < len(each) < len(spans[s]) for s, each in zip(slots, opened, strict=True)]
        if any(missed):
            partly = batch.select(missed)
            context.note(partly, [_PARTLY] * len(partly), "partly-late", "skip")
        prefixes = {span: span_bytes(*span) for each in spans.values() for span in each}
        made = [
            prefixes[span] + key for key, each in zip(keys, opened, strict=True) for span in each
        ]
        rows = [row for row, each in enumerate(opened) for _ in each]
        return _Placed(made, batch.take(rows), late)

    def _placed_once(
        self,
        keys: Sequence[bytes],
        batch: AnyBatch,
        slots: Sequence[int],
        spans: Mapping[int, Span],
        context: Context,
    ) -> "_Placed":
        """Where each time is in one window."""
        closes = {slot: span.end + self.windows.delay for slot, span in spans.items()}
        late = batch.select(())
        if min(closes.values(), default=LATEST) <= context.end_time:
            times = context.times(batch)
            taken = list(map(gt, map(closes.__getitem__, slots), times))
            if not all(taken):
                late = self.late_rows(batch, list(map(not_, taken)), times, context)
                batch, keys = batch.select(taken), list(compress(keys, taken))
                slots = list(compress(slots, taken))
        prefixes = {slot: span_bytes(*span) for slot, span in spans.items()}
        made = list(map(add, map(prefixes.__getitem__, slots), keys))
        return _Placed(made, batch, late)


_PARTLY = LateError("some of the windows that have the record's time were closed")


class _Placed(NamedTuple):
    """Rows by the windows that take them."""

    keys: Sequence[bytes]
    rows: AnyBatch
    late: AnyBatch
