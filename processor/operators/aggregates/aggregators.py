"""How the values of one window become one: what windowed steps know of counting and aggregating.

A state is what the store holds, a result what is emitted for it. Knows nothing of windows.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from processor.operators.aggregates.by_key import (
    UNCHANGING,
    Aggregate,
    Count,
    Emit,
    Stamped,
)
from processor.operators.base import AnyBatch, Context
from processor.records import Timestamp
from processor.serdes import Serde, int64


@dataclass(frozen=True)
class Aggregation:
    """Makes one state of many values; `value` is the serde of states."""

    value: Serde[Any]

    @property
    def shown(self) -> Serde[Any]:
        """The serde that reads results where `value` reads states; it is for reading only."""
        return self.value

    @property
    def can_merge(self) -> bool:
        """Whether two states can become one, as sessions need."""
        return True

    @abstractmethod
    def many(
        self,
        held: dict[bytes, Stamped],
        keys: Sequence[bytes],
        batch: AnyBatch,
        context: Context,
        *,
        emitted: bool,
    ) -> tuple[Sequence[Any], AnyBatch]:
        """Brings `held`, the states that the rows' keys have, up to date.

        Returns:
            The result after each row, if they are to be emitted (else anything), and the rows left:
            those that did not fail.
        """

    @abstractmethod
    def add(self, before: Any, value: Any, timestamp: Timestamp) -> Any:
        """The state with one more value; `before` is None where there is none yet."""

    @abstractmethod
    def merge(self, one: Any, other: Any) -> Any:
        """One state of two, of which the first is of earlier records."""

    def result(self, state: Any) -> Any:
        """What is emitted for a state; it shares nothing with it that may change."""
        return self.copy(state)

    def last_result(self, state: Any) -> Any:
        """What is emitted for a state that nobody has any more: it may share with that."""
        return state

    def copy(self, state: Any) -> Any:
        """The state as it is now."""
        if type(state) in UNCHANGING:
            return state
        return self.value.decode(self.value.encode(state))


@dataclass(frozen=True)
class Counting(Aggregation):
    """Counts."""

    value: Serde[Any] = int64

    def many(
        self,
        held: dict[bytes, Stamped],
        keys: Sequence[bytes],
        batch: AnyBatch,
        context: Context,
        *,
        emitted: bool,
    ) -> tuple[Sequence[Any], AnyBatch]:
        """Counts a batch at once."""
        return Count("", _emit(emitted=emitted)).fold(held, keys, batch, context)

    def add(self, before: Any, value: Any, timestamp: Timestamp) -> Any:
        """One more."""
        del value, timestamp
        return 1 if before is None else before + 1

    def merge(self, one: Any, other: Any) -> Any:
        """Their sum."""
        return one + other


@dataclass(frozen=True)
class Adding(Aggregation):
    """Calls a user's functions; a state of None is deleted."""

    start: Callable[[], Any] | None  # None: the first value is the start, as in reduce
    function: Callable[[Any, Any], Any]
    merger: Callable[[Any, Any], Any] | None

    @property
    def can_merge(self) -> bool:
        """Only with a function for it."""
        return self.merger is not None

    def many(
        self,
        held: dict[bytes, Stamped],
        keys: Sequence[bytes],
        batch: AnyBatch,
        context: Context,
        *,
        emitted: bool,
    ) -> tuple[Sequence[Any], AnyBatch]:
        """Calls the function row by row."""
        emit = _emit(emitted=emitted)
        table = Aggregate("", emit, self.start, self.function, self.value)
        return table.fold(held, keys, batch, context)

    def add(self, before: Any, value: Any, timestamp: Timestamp) -> Any:
        """What the function makes of the state and the value."""
        del timestamp
        if before is not None:
            made = self.function(before, value)
        else:
            made = value if self.start is None else self.function(self.start(), value)
        # Other windows and steps see the value as well; the function may change the state.
        return self.copy(made) if made is value else made

    def merge(self, one: Any, other: Any) -> Any:
        """What the function for it makes of both."""
        assert self.merger is not None
        return self.merger(one, other)


def _emit(*, emitted: bool) -> Emit:
    return "change" if emitted else "checkpoint"
