"""Standstill: that a worker's loop does not move on, for how long, and what it is at.

Owns what is seen of one thread from another, by the stack that Python keeps anyway: nothing is
counted on the way of a record. A function that holds the interpreter's lock lets no other thread
look: then the supervisor has the stack written by a signal (`faulthandler`), which needs no lock.
"""

import re
import sys
import threading
import time
from asyncio import BaseEventLoop
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, cast

import msgspec

from processor.attempt import attempt
from processor.records import Batch
from processor.runtime.handling import by_number
from processor.runtime.task_batch import TaskBatch

_OURS = f"{Path(__file__).parents[1]}/"
_OUTSIDE = tuple(f"{_OURS}{room}/" for room in ("kafka", "storage", "worker"))
"""Where brokers, disks and registries are waited for."""

_FRAMES = sys._current_frames  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - documented

_LOOPS_TURN = BaseEventLoop._run_once.__code__  # noqa: SLF001 # pyright: ignore[reportPrivateUsage, reportUnknownMemberType, reportUnknownVariableType, reportAttributeAccessIssue]
"""What `map_async` waits in. Each of its calls has a time-out."""

_LONGEST_LOOK = 1.0
"""Seconds that count between two looks: the process itself may have been suspended meanwhile."""

_DUMPED = re.compile(r'  File "(.*)", line (\d+) in (.*)')
"""A line of the stack as `faulthandler` writes it, the innermost call first."""


class Standstill(msgspec.Struct, frozen=True):
    """What a loop is at that has not moved on for too long.

    Attributes:
        text: Names the function, its file and line, and the record where that is known.
        culprit: What is the same each time that the same record stops the same function.
        in_function: Whether it is a function of the topology. What else waits, for brokers or the
            disk, has a time-out of its own or goes on by itself.
    """

    text: str
    culprit: str
    in_function: bool


class Place(NamedTuple):
    """Where a function is."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.function} ({self.file}, line {self.line})"


class _Whereabouts(NamedTuple):
    """The record that is worked on, or else those among which it is; empty where not known."""

    record: str = ""
    among: str = ""


class Watch:
    """Sees for how long a loop has not moved on: neither turned nor gone on to another record.

    Made by the loop's thread. One other thread looks, again and again.

    Args:
        limit: Seconds after which the loop counts as standing still; None: it never does.
        clock: Seconds, of a clock that only goes forward.
    """

    def __init__(self, limit: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._thread = threading.get_ident()
        self._turns: int = 0
        self._turns_seen: int = 0
        self._seen: object = None
        self._looked = clock()
        self.age = 0.0
        """Seconds since it last moved on, as of the last look."""

    def turned(self) -> None:
        """The loop has come round."""
        self._turns += 1

    def look(self) -> Standstill | None:
        """Looks again; what the loop is at if it stands still."""
        now = self._clock()
        passed, self._looked = min(now - self._looked, _LONGEST_LOOK), now
        turns = self._turns
        if turns != self._turns_seen:
            self._turns_seen, self._seen, self.age = turns, None, 0.0
            return None
        stack = _stack(_FRAMES().get(self._thread))
        seen = _rows_done(stack), _calls(stack)
        moved = self._seen is not None and seen != self._seen
        self.age = 0.0 if moved else self.age + passed
        self._seen = seen
        if self._limit is None or self.age < self._limit or not stack:
            return None
        return _standstill(stack)


def dumped(text: str) -> Standstill | None:
    """What the stack says that `faulthandler` has written; None if it has written none."""
    found = [Place(each[1], int(each[2]), each[3]) for each in _DUMPED.finditer(text)]
    return _explained(found[::-1], _Whereabouts()) if found else None


def _stack(frame: FrameType | None) -> list[FrameType]:
    """The calls under way, the outermost first."""
    stack: list[FrameType] = []
    while frame is not None:
        stack.append(frame)
        frame = frame.f_back
    return stack[::-1]


def _rows_done(stack: Sequence[FrameType]) -> list[int]:
    """How many rows each call of a function on a batch is through with."""
    return [_row(frame) for frame in stack if frame.f_code is attempt.__code__]


def _calls(stack: Sequence[FrameType]) -> list[FrameType]:
    """Calls of which others follow with the next record: of a function, of its event loop's turns.

    By what each call keeps, not by where that is in memory: that of the next one may be there, too.
    """
    out = (called for frame, called in pairwise(stack) if _is_ours(frame) > _is_ours(called))
    return [*islice(out, 1), *(frame for frame in stack if frame.f_code is _LOOPS_TURN)]


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_OURS)


def _row(frame: FrameType) -> int:
    """The row that `attempt` is at: it is past what it has results of."""
    known = frame.f_locals
    return len(known.get("results", ())) + len(known.get("faults", ()))


def _standstill(stack: Sequence[FrameType]) -> Standstill:
    places = [Place(each.f_code.co_filename, each.f_lineno, _name(each)) for each in stack]
    return _explained(places, _record(stack))


def _name(frame: FrameType) -> str:
    """A function without a frame of its own, as those written in C, has that of its caller."""
    if frame.f_code is attempt.__code__:
        function: Any = frame.f_locals["function"]
        return str(getattr(function, "__qualname__", "a function"))
    return frame.f_code.co_qualname


def _explained(places: Sequence[Place], at: _Whereabouts) -> Standstill:
    """Finds in a stack, the outermost call first, the call that leads out of kproc."""
    caller = function = places[-1]
    for before, place in pairwise(places):
        if before.file.startswith(_OURS) and not place.file.startswith(_OURS):
            caller, function = before, place
    innermost = places[-1]
    inside = "" if innermost == function else f", in {innermost}"
    record = f", at {at.record}" if at.record else ""
    among = f", at one of {at.among}" if at.among else ""
    return Standstill(
        text=f"{function}{inside}{record or among}",
        culprit=f"{function.function} ({function.file}){record}",
        in_function=not caller.file.startswith(_OUTSIDE),
    )


def _record(stack: Sequence[FrameType]) -> _Whereabouts:
    number: int | None = None
    rows: int | None = None  # that the function is called on, until it is known which they are
    # A look at what belongs to others might run code of theirs.
    for frame in filter(_is_ours, reversed(stack)):
        known = frame.f_locals
        if frame.f_code is attempt.__code__:
            number, rows = _row(frame), len(known["columns"][0])
        elif rows is not None and (batch := next(_batches(known, rows), None)) is not None:
            number, rows = _offset(batch, number), None
        elif frame.f_code is by_number.__code__:
            number = _offset(known["rows"], number)
        for batch in known.values():
            if isinstance(batch, TaskBatch):
                return _of_batch(batch, number if rows is None else None)
    return _Whereabouts()


def _batches(known: dict[str, Any], rows: int) -> Iterator[Batch[Any, Any]]:
    found = (cast("Batch[Any, Any]", each) for each in known.values() if isinstance(each, Batch))
    return (each for each in found if len(each) == rows)


def _offset(batch: Batch[Any, Any], row: int | None) -> int | None:
    """The number that a row goes by; None: the function is through with the last one."""
    return batch.offsets[row] if row is not None and row < len(batch) else None


def _of_batch(batch: TaskBatch, number: int | None) -> _Whereabouts:
    if number is not None and number in batch.rows:
        part = batch.slice_of(number)
        return _Whereabouts(f"{part.source} offset {part.record(number).offsets[0]}")
    parts = [
        f"{part.source} offsets {part.records.offsets[0]} to {part.records.offsets[-1]}"
        for part in batch.slices
        if len(part.records)
    ]
    return _Whereabouts(among=", ".join(parts))
