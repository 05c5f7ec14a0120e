"""Windows that depend on the time alone: a batch is folded by key and window at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import add, gt, not_
from typing import NamedTuple

from processor.operators.aggregates.by_key import emitted_times
from processor.operators.base import AnyBatch, Context, Outputs
from processor.operators.windows.early import Changed
from processor.operators.windows.kinds import Aligned, Span
from processor.operators.windows.windowed import LateError, WindowStep
from processor.records import LATEST
from processor.serdes.base import decoded
from processor.serdes.windowed import span_bytes


@dataclass(frozen=True)
class AlignedStep(WindowStep):
    """Windows that depend on the time alone: a batch is folded by key and window at once."""

    windows: Aligned

    def fold(
        self, keys: Sequence[bytes], batch: AnyBatch, context: Context, changed: Changed | None
    ) -> Outputs:
        """The changes, if all are emitted, and the late rows."""
        placed = self._placed(keys, batch, context)
        emitted = self.emit == "change"
        rows = placed.rows
        if emitted:
            rows = rows.with_keys(decoded(self.spec(context).key, placed.keys))
        distinct = list(dict.fromkeys(placed.keys))
        held = self.states(context).load(distinct)
        known = dict(held) if emitted or changed is not None else {}
        results, rows = self.aggregation.many(held, placed.keys, rows, context, emitted=emitted)
        self.save(context, distinct, held)
        if changed is not None:
            changed.mark(distinct, known, held)
        if not emitted:
            return rows.select(()), placed.late
        times = emitted_times(known, results, self.spec(context), rows)
        return rows.with_values(results).with_timestamps(times), placed.late

    def _placed(self, keys: Sequence[bytes], batch: AnyBatch, context: Context) -> "_Placed":
        granule, delay = self.windows.granule, self.windows.delay
        slots = [time // granule for time in batch.timestamps]
        spans = {slot: self.windows.spans(slot * granule) for slot in set(slots)}
        if all(len(each) == 1 for each in spans.values()):
            return self._placed_once(
                keys, batch, slots, {s: each[0] for s, each in spans.items()}, context
            )
        times = context.clock.times(batch)
        opened = [
            [span for span in spans[slot] if span.end + delay > now]
            for slot, now in zip(slots, times, strict=True)
        ]
        late = self.late_rows(batch, [not each for each in opened], times, context)
        missed = [0 < len(each) < len(spans[s]) for s, each in zip(slots, opened, strict=True)]
        if any(missed):
            partly = batch.select(missed)
            context.judge("partly-late", len(partly))
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
        if min(closes.values(), default=LATEST) <= context.clock.end_time:
            times = context.clock.times(batch)
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
