"""How long each step of an adoption took: fence, catch up, join. Reads a clock and nothing else."""

import time
from collections.abc import Mapping
from typing import Literal, TypeAlias

Step: TypeAlias = Literal["fenced", "caught up", "joined"]


class Adoption:
    """The steps of taking a slot over, as they are done.

    `fenced`: predecessors can't commit any more. Then, at the same time, `caught up`: all tasks are
    open, and `joined`: the group has given the slot its partitions. Without transactions it is by
    joining that predecessors are fenced.
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
        asked = min(done["fenced"], done["joined"])
        spans = {
            "fence_s": done["fenced"] - began,
            "catch_up_s": done["caught up"] - done["fenced"],
            "join_s": done["joined"] - (asked if asked < done["joined"] else began),
            "total_s": max(done.values()) - began,
        }
        return {name: round(span, 3) for name, span in spans.items()}
