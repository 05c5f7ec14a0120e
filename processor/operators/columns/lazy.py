"""Dicts that are made of columns when somebody looks at them.

Knows nothing of expressions: what evaluates them reads the columns, steps pass them on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress, repeat
from operator import setitem
from typing import Any


class LazyValues(Sequence[Any]):
    """Dicts that are made of columns when somebody looks at them; columns are read without that.

    Steps in a row pass columns on like this. Once made it is the dicts that count, which functions
    may change in place; the rows that a filter leaves are the same dicts.
    """

    def __init__(
        self,
        columns: Mapping[str, Sequence[Any]],
        whole: tuple[LazyValues, Sequence[object]] | None = None,
    ) -> None:
        self.columns = columns
        self._whole = whole  # what these rows are some of, and of which the mask is true
        self._values: list[Any] | None = None

    @property
    def is_made(self) -> bool:
        """Whether somebody has looked at the dicts."""
        return self._values is not None or (self._whole is not None and self._whole[0].is_made)

    def select(self, mask: Sequence[object]) -> LazyValues:
        """The rows for which the mask is true."""
        columns = {name: list(compress(column, mask)) for name, column in self.columns.items()}
        return LazyValues(columns, (self, mask))

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._all())

    def __getitem__(self, index: Any) -> Any:
        return self._all()[index]

    def _all(self) -> list[Any]:
        if self._values is None and self._whole is not None:
            whole, mask = self._whole
            self._values = list(compress(whole, mask))
        elif self._values is None:
            self._values = [{} for _ in range(len(self))]
            fill(self._values, self.columns, self.columns.values())
        return self._values


def made_of(values: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
    """The columns that values will be made of; none where they are what counts themselves."""
    if not isinstance(values, LazyValues) or values.is_made:
        return {}
    return values.columns


def fill(
    values: Sequence[dict[str, Any]], names: Iterable[str], columns: Iterable[Sequence[Any]]
) -> None:
    """Sets items of all dicts, column by column."""
    for name, column in zip(names, columns, strict=True):
        deque(map(setitem, values, repeat(name), column), maxlen=0)
