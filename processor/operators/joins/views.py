"""How a step reads the table that another step keeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from processor.operators.aggregates.by_key import Stamped
from processor.operators.base import Context
from processor.operators.tables.derived import Derived
from processor.operators.tables.versioned import Kept
from processor.records import Timestamp
from processor.state.keyvalue import EncodedStore


@dataclass(frozen=True)
class View:
    """A table as it is now, or was at a time: of a store's values, what filters and maps leave."""

    store: str
    steps: tuple[Derived, ...] = ()
    kept: Kept | None = None
    """The history, of a versioned table."""

    def read(
        self, keys: Sequence[bytes], times: Sequence[Timestamp], context: Context
    ) -> list[Stamped | None]:
        """What the store has for each encoded key, as of the time where there is a history."""
        store: EncodedStore[Any, Stamped] = context.stores[self.store]
        latest = store.read(keys)
        return latest if self.kept is None else self.kept.as_of(latest, keys, times, context)

    def value(self, value: Any) -> Any:
        """What the table has for a value in the store; None: nothing."""
        for step in self.steps:
            if value is not None:
                value = step.value(value)
        return value
