"""MapAsync: a step whose function awaits something outside, such as a service or a database.

The calls for a batch run at the same time in one event loop, so many at once as is allowed, and the
batch goes on when all have ended: what they gave is part of the checkpoint like everything else,
and in the order of the records.
"""

import asyncio
import atexit
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from tenacity import AsyncRetrying, stop_after_attempt, wait_exponential_jitter

from processor.attempt import Fault
from processor.errors import StateError
from processor.operators.base import AnyBatch, Context, Operator, Outputs

R = TypeVar("R")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
"""Seconds between two tries: they double, with some chance in it."""


class NoAnswerError(TimeoutError):
    """A call took longer than it may."""


class CallCancelledError(Exception):
    """Something that the call awaited was cancelled."""


@dataclass(frozen=True)
class MapAsync(Operator):
    """Replaces each value by what `await function(value)` gives.

    Args:
        function: The user's.
        join: Makes the new value of the old one and of what was given; None: that is it.
        concurrency: Calls at a time. Those for equal keys are made one after the other.
        timeout: Seconds for one call.
        retries: How often a call that fails is made again.
    """

    function: Callable[[Any], Awaitable[Any]]
    join: Callable[[Any, Any], Any] | None
    concurrency: int
    timeout: float
    retries: int

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: the same rows with other values."""
        results: list[Any] = [None] * len(batch)
        faults: list[Fault] = []
        _complete(self._call_all(_by_key(batch.keys), batch.values, results, faults))
        if faults:
            faults.sort()
            failed = {fault.row for fault in faults}
            results = [each for row, each in enumerate(results) if row not in failed]
            batch = context.reject(batch, faults, "function")
        if self.join is not None:
            results, batch = context.call(self.join, batch, batch.values, results)
        return (batch.with_values(results),)

    async def _call_all(
        self,
        rows: Iterable[Sequence[int]],
        values: Sequence[Any],
        results: list[Any],
        faults: list[Fault],
    ) -> None:
        left = iter(rows)

        async def work() -> None:
            for many in left:
                for row in many:
                    try:
                        results[row] = await self._call(values[row])
                    except StateError:
                        raise
                    except asyncio.CancelledError as error:
                        task = asyncio.current_task()
                        if task is None or task.cancelling():
                            raise
                        cancelled = CallCancelledError("what the call awaited was cancelled")
                        cancelled.__cause__ = error
                        faults.append(Fault(row, cancelled))
                    except Exception as error:  # noqa: BLE001 - whatever a user's function raises
                        faults.append(Fault(row, error))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.concurrency, len(values))):
                group.create_task(work())

    async def _call(self, value: Any) -> Any:
        if not self.retries:
            return await self._in_time(value)
        again = AsyncRetrying(
            stop=stop_after_attempt(1 + self.retries),
            wait=wait_exponential_jitter(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE),
            reraise=True,
        )
        return await again(self._in_time, value)

    async def _in_time(self, value: Any) -> Any:
        limit = asyncio.timeout(self.timeout)
        try:
            async with limit:
                return await self.function(value)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise NoAnswerError(f"no answer in {self.timeout:g} s") from error


def _by_key(keys: Sequence[Any]) -> Iterable[Sequence[int]]:
    """The numbers of the rows, those of equal keys together; rows without a key are apart."""
    rows: dict[Any, list[int]] = {}
    for row, key in enumerate(keys):
        # By their texts: a key need not be hashable.
        rows.setdefault(row if key is None else repr(key), []).append(row)
    return rows.values()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The process's loop: what a user's function holds on to, such as a client, belongs to it."""
    runner = asyncio.Runner()
    atexit.register(runner.close)
    return runner.get_loop()


@cache
def _aside() -> ThreadPoolExecutor:
    """Where the loop runs while another one runs in the thread of the driver."""
    return ThreadPoolExecutor(1, "map_async")


def _complete(calls: Coroutine[Any, Any, R]) -> R:
    try:
        if _is_in_loop():
            return _aside().submit(lambda: _loop().run_until_complete(calls)).result()
        return _loop().run_until_complete(calls)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


def _is_in_loop() -> bool:
    """Whether a loop runs in this thread, as in a notebook or in a test that is a coroutine."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
