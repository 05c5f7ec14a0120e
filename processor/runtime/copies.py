"""Values of a record that goes several ways: each way has its own, so that none shows in another.

What a step changes in place is so its own business. Values that nobody can change are shared.
"""

from collections.abc import Sequence
from typing import Any

from processor.operators.columns.lazy import LazyValues, made_of
from processor.records import Batch
from processor.serdes.copies import are_fixed, copy_of


def copied(batch: Batch[Any, Any]) -> Batch[Any, Any]:
    """The same rows with values of their own; what refuses to be copied is shared."""
    if columns := made_of(batch.values):
        # Whoever looks at them first makes the dicts, which are then those of all who look.
        own = {name: _apart(column) for name, column in columns.items()}
        return batch.with_values(LazyValues(own))
    values = _apart(batch.values)
    return batch if values is batch.values else batch.with_values(values)


def _apart(values: Sequence[Any]) -> Sequence[Any]:
    """Values of which nothing that can be changed is in these."""
    return values if are_fixed(values) else list(map(copy_of, values))
