"""Values of a record that goes several ways: each way has its own, so that none shows in another.

What a step changes in place is so its own business. Values that nobody can change are shared.
"""

from typing import Any

from processor.records import Batch
from processor.serdes.copies import are_fixed, copy_of


def copied(batch: Batch[Any, Any]) -> Batch[Any, Any]:
    """The same rows with values of their own; what refuses to be copied is shared."""
    if are_fixed(batch.values):
        return batch
    return batch.with_values(list(map(copy_of, batch.values)))
