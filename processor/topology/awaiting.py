"""What `map_async` and `enrich` are made of, and what is refused of it."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

from processor.durations import Duration, seconds
from processor.errors import TopologyError
from processor.operators.concurrent import MapAsync
from processor.topology.builder import check_number
from processor.topology.functions import check_arguments, checked_function, described


def awaiting(
    what: str,
    function: Callable[[Any], Awaitable[Any]],
    joiner: Callable[[Any, Any], Any] | None,
    concurrency: int,
    timeout: Duration,
    retries: int,
) -> MapAsync:
    """The operator of `map_async` and `enrich`.

    Raises:
        TopologyError: The function can't be awaited, or a number can't be meant.
    """
    called = getattr(function, "__call__", None)  # noqa: B004 - its kind is asked for
    if not (iscoroutinefunction(function) or iscoroutinefunction(called)):
        raise TopologyError(f"{described(function)} is no async def: use map_values for it")
    check_arguments(what, function, "value")
    if joiner is not None:
        checked_function(f"{what}: joiner", joiner, "value, found")
    check_number("concurrency", concurrency, least=1)
    check_number("retries", retries, least=0)
    return MapAsync(function, joiner, concurrency, seconds(timeout, "timeout"), retries)
