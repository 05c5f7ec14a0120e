"""Steps that make a table of a table's changes, so that what was emitted before is taken back.

None of them keeps what it was given. A filter or map gives the old value the same treatment as the
new one, and emits nothing where there was nothing and is nothing.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

from processor.attempt import Fault
from processor.operators.aggregates.by_key import UNCHANGING, Aggregate, Stamped, TableOperator
from processor.operators.base import (
    NO_TIME,
    AnyBatch,
    Context,
    Operator,
    Outputs,
    Unattributed,
)
from processor.operators.changes import NOTHING, Change, ChangeOperator


@dataclass(frozen=True)
class Derived(ChangeOperator):
    """A table whose value of a key is a function of the other table's."""

    of_changes: ClassVar[bool] = True

    @abstractmethod
    def value(self, value: Any) -> Any:
        """The value made of one of the other table's; None: the key is not in the table."""

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """The changes that are left of the other table's."""
        changes, batch = context.call(self._change, batch, batch.values)
        there = [change is not NOTHING for change in changes]
        return self.ports(batch.with_values(changes).select(there), context)

    def _change(self, change: Change) -> Change:
        old = None if change.old is None else self.value(change.old)
        new = None if change.new is None else self.value(change.new)
        return NOTHING if old is None and new is None else Change(old, new)


@dataclass(frozen=True)
class FilterTable(Derived):
    """Keeps the keys whose value the predicate accepts, or with `keep=False` refuses."""

    predicate: Callable[[Any], object]
    keep: bool = True

    def value(self, value: Any) -> Any:
        """The value, if it is kept."""
        return value if bool(self.predicate(value)) == self.keep else None


@dataclass(frozen=True)
class MapTable(Derived):
    """Replaces each value."""

    function: Callable[[Any], Any]

    def value(self, value: Any) -> Any:
        """What the function makes of it."""
        return self.function(value)


@dataclass(frozen=True)
class Regroup(Operator):
    """Sends each change to the groups that the old and the new value belong to.

    Where both belong to the same, they travel together (KIP-904): its aggregate changes once, and
    never shows the one taken back and the other not yet added.
    """

    of_changes: ClassVar[bool] = True

    function: Callable[[Any], Any]

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: changes by their group's key."""
        lists, batch = context.call(self._rows, batch, batch.values)
        rows = list(chain.from_iterable(lists))
        spread = batch.take([row for row, some in enumerate(lists) for _ in some])
        keyed = spread.with_keys([key for key, _ in rows])
        return (keyed.with_values([change for _, change in rows]),)

    def _rows(self, change: Change) -> list[tuple[Any, Change]]:
        old, new = change
        if old is None:
            return [] if new is None else [(self.function(new), change)]
        before = self.function(old)
        if new is None:
            return [(before, change)]
        after = self.function(new)
        if before == after:
            return [(after, change)]
        return [(before, Change(old, None)), (after, Change(None, new))]


@dataclass(frozen=True)
class CountChanges(TableOperator):
    """Counts the keys of a group; 0 where all have left it."""

    def fold(
        self, held: dict[bytes, Stamped], keys: Sequence[bytes], batch: AnyBatch, context: Context
    ) -> tuple[Sequence[Any], AnyBatch]:
        """Counts new values, and takes back old ones."""
        del context
        counts: list[int | None] = []
        for key, (old, new), time in zip(keys, batch.values, batch.timestamps, strict=True):
            before = held.get(key)
            if before is None and new is None:
                counts.append(None)  # nothing there that could be taken back
                continue
            latest, count = before or (NO_TIME, 0)
            count += (new is not None) - (old is not None and before is not None)
            held[key] = max(latest, time), count
            counts.append(count)
        return counts, batch


@dataclass(frozen=True)
class AggregateChanges(Aggregate):
    """Folds the values of a group's keys into one; an old value is taken back first."""

    subtract: Callable[[Any, Any], Any]

    def fold(
        self, held: dict[bytes, Stamped], keys: Sequence[bytes], batch: AnyBatch, context: Context
    ) -> tuple[Sequence[Any], AnyBatch]:
        """Brings the aggregates up to date.

        A new value that can't be added is left out and noted, and what it replaces is taken back
        all the same: the table that the change comes from has gone on to it.
        """
        known = len(context.failures.rejected)
        values, left = super().fold(held, keys, batch, context)
        if len(left) == len(batch):
            return values, left
        del context.failures.rejected[known:]
        held.clear()
        held.update(self.held(context).load(list(dict.fromkeys(keys))))
        return self._half_by_half(held, keys, batch, context)

    def _half_by_half(
        self, held: dict[bytes, Stamped], keys: Sequence[bytes], batch: AnyBatch, context: Context
    ) -> tuple[Sequence[Any], AnyBatch]:
        """Each row as a whole, or where that fails the old value and the new one by themselves."""
        results: list[Any] = []
        failed: dict[int, Exception] = {}
        rejected: list[Fault] = []
        for row, (key, change, time) in enumerate(
            zip(keys, batch.values, batch.timestamps, strict=True)
        ):
            before = held.get(key)
            value, error = self._whole_or_halves(before, change)
            if error is not None and change.old is None:  # nothing of it is to be done
                rejected.append(Fault(row, error))
                continue
            try:
                result = self._copy(value)
            except Exception as unkept:
                if self.emit == "checkpoint":
                    raise Unattributed from unkept
                rejected.append(Fault(row, unkept))
                continue
            results.append(result)
            if error is not None:
                failed[row] = error
            if value is None:
                held.pop(key, None)
            else:
                held[key] = max(NO_TIME if before is None else before[0], time), value
        rows = batch.take(list(failed))
        context.note(rows, list(failed.values()), "function", None)
        return results, context.reject(batch, rejected, "function")

    def _whole_or_halves(
        self, before: Stamped | None, change: Change
    ) -> tuple[Any, Exception | None]:
        """The aggregate after a change, and why a part of it was left out."""
        value = None if before is None else before[1]

        def after(part: Change) -> Any:
            return self._changed(self._copy(value), part)

        try:
            return after(change), None
        except Exception:  # noqa: BLE001, S110 - whatever a user's function raises; its parts say it again
            pass
        failure: Exception | None = None
        for half in (Change(change.old, None), Change(None, change.new)):
            try:
                value = after(half)
            except Exception as error:  # noqa: BLE001 - whatever a user's function raises
                if half.old is None or self._takes(value, half.old):
                    failure = error
        return value, failure

    def _takes(self, value: Any, old: Any) -> bool:
        """Whether a value could have been added; if not, there is nothing to take back."""
        try:
            self._changed(self._copy(value), Change(None, old))
        except Exception:  # noqa: BLE001 - whatever a user's function raises
            return False
        return True

    def begun(self, value: Any) -> Any:
        """What the first change of a group makes."""
        return self._changed(None, value)

    @property
    def grown(self) -> Callable[[Any, Any], Any]:
        """The aggregate after a change of what it is made of."""
        return self._changed

    def _changed(self, held: Any, change: Change) -> Any:
        """The aggregate without the change's old value and with its new one."""
        if change.old is not None and held is not None:
            held = self._apart(self.subtract(held, change.old), change.old)
        if change.new is None:
            return held
        made = super().begun(change.new) if held is None else self.add(held, change.new)
        return self._apart(made, change.new)

    def _apart(self, result: Any, given: Any) -> Any:
        """The result as an object of its own: steps beside this one see what was given, too."""
        if result is given and type(result) not in UNCHANGING:
            return self._copy(result)
        return result
