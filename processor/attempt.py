"""Calls a function on every row of a batch at the speed of one `map`, and isolates rows that fail.

Every per-record function of a user, and every serde, is called through here: one place decides
how a poisonous record is kept from its neighbours.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from processor.errors import StateError

R = TypeVar("R")


class Fault(NamedTuple):
    """A row for which the function raised."""

    row: int
    error: Exception


def attempt(function: Callable[..., R], *columns: Sequence[Any]) -> tuple[list[R], list[Fault]]:
    """Calls `function(*row)` once for each row of the columns, in order, also after a failure.

    Returns:
        The results of the rows that succeeded, in order, and the rows that did not. No row is
        called twice: `list.extend` keeps what it got before an exception, and the iterators
        stand after the failed row, so that the next round goes on from there.

    Raises:
        StateError: A store that the function used is of no use any more.
    """
    results: list[R] = []
    faults: list[Fault] = []
    rows = tuple(map(iter, columns))
    while len(results) + len(faults) < len(columns[0]):
        try:
            results.extend(map(function, *rows))
            if len(results) + len(faults) < len(columns[0]):
                # map() takes a StopIteration from the function for the end of its input.
                raise RuntimeError("the function raised StopIteration")  # noqa: TRY301
        except StateError:  # the disk's fault, not the row's
            raise
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises is a fault
            faults.append(Fault(len(results) + len(faults), error))
    return results, faults
