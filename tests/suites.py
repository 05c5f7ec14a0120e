"""What the ordinary run leaves to the long suite: rows of tables, and examples of properties."""

import os
from typing import Any, Final

import pytest

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
