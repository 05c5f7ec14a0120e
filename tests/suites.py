"""What the ordinary run leaves to the long suite: rows of tables, and examples of properties.

And which tests stay together when a run's processes share them out.
"""

import os
from typing import Any, Final

import pytest

_ALONE = (
    *("crashes/test_commands", "integration/test_security", "storage/test_bucket"),
    *("topologies/test_flights", "topologies/test_flights_joined", "topologies/test_sessions"),
    "worker/test_snapshots",
)
_THREE_BROKERS = (
    *("crashes/test_brokers_away", "crashes/test_unclean"),
    *("integration/test_durability", "kafka/test_offsets"),
)
TOGETHER: Final = {
    **{f"tests/{file}.py": file for file in _ALONE},
    **{f"tests/{file}.py": "three brokers" for file in _THREE_BROKERS},
}
"""Files whose tests share what is expensive, or go on where the one before has ended; by whom."""

LONG: Final = "KPROC_LONG" in os.environ


def examples(ordinary: int, long: int) -> int:
    """How many examples a property tries: in the ordinary run, and with KPROC_LONG."""
    return long if LONG else ordinary


def long(*rows: Any) -> list[Any]:
    """Rows for `parametrize` that the long suite alone runs; a tuple is a row of several values."""
    return [
        pytest.param(*(row if isinstance(row, tuple) else (row,)), marks=pytest.mark.long)
        for row in rows
    ]
