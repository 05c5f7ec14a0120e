"""What `map_async` and `enrich` are made of, and what is refused of it."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

from processor.durations import seconds
from processor.errors import TopologyError
from processor.operators.concurrent import MapAsync


def awaiting(
    function: Callable[[Any], Awaitable[Any]],
    joiner: Callable[[Any, Any], Any] | None,
    concurrency: int,
    timeout: str | float,
    retries: int,
) -> MapAsync:
    """The operator of `map_async` and `enrich`.

    Raises:
        TopologyError: The function can't be awaited, or a number can't be meant.
    """
    called = getattr(function, "__call__", None)  # noqa: B004 - its kind is asked for
    if not (iscoroutinefunction(function) or iscoroutinefunction(called)):
        raise TopologyError(
            f"{getattr(function, '__name__', function)} is no async def: use map_values for it"
        )
    if concurrency < 1 or retries < 0:
        raise TopologyError("concurrency is at least 1, and retries at least 0")
    return MapAsync(function, joiner, concurrency, seconds(timeout, "timeout"), retries)
