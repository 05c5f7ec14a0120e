"""How long each step of an adoption took: fence, catch up, join. Reads a clock and nothing else."""

import time
from collections.abc import Mapping
from typing import Literal, TypeAlias

Step: TypeAlias = Literal["fenced", "caught up", "joined"]


class Adoption:
    """The steps of taking a slot over, as they are done.

    `fenced`: predecessors can't commit any more. `caught up`: all tasks are open. `joined`: the
    group has given the slot its partitions; it is asked for them before all else.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._done: dict[Step, float] = {}

    def has(self, step: Step) -> bool:
        """Whether this step is done."""
        return step in self._done

    def note(self, step: Step) -> None:
        """Notes that a step is done."""
        self._done[step] = time.monotonic()

    @property
    def is_complete(self) -> bool:
        """Whether all steps are done."""
        return len(self._done) == 3  # noqa: PLR2004 - the steps

    def seconds(self) -> Mapping[str, float]:
        """The seconds of each step, and of all, for they overlap; when it is complete."""
        done, began = self._done, self._began
        spans = {
            "fence_s": done["fenced"] - began,
            "catch_up_s": done["caught up"] - done["fenced"],
            "join_s": done["joined"] - began,
            "total_s": max(done.values()) - began,
        }
        return {name: round(span, 3) for name, span in spans.items()}
