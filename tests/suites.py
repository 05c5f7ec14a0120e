"""Which rows of a table the ordinary run leaves to the long suite."""

from typing import Any

import pytest


def long(*rows: Any) -> list[Any]:
    """Rows for `parametrize` that the long suite alone runs; a tuple is a row of several values."""
    return [
        pytest.param(*(row if isinstance(row, tuple) else (row,)), marks=pytest.mark.long)
        for row in rows
    ]
