"""Autoscaler: how many nodes an application should have, decided measurement by measurement.

`sizing` says what a load needs; the rules over time are here:

- Up at once, by a factor at most; while a step still settles only if what arrives needs it even
  without the backlog that the step itself makes.
- Down only to the most that was needed in a whole window, and with a rest after each step that is
  longer where moves take long.
- Never down while figures of a slot are missing, or a slot is behind.
- `slack` on both sides of the target keeps small changes from having any effect.

Knows no clock, no Kafka and no processes; the words for its decisions are `explain`'s.
"""

from collections import deque
from typing import Literal

import msgspec

from processor.cluster.load import Load, LoadMeter
from processor.cluster.measure import Measurement
from processor.cluster.sizing import Moves, Sizing, moves_to
from processor.errors import UsageError

_SETTLE = 30.0
"""Seconds more than planned that a step may take before the next one is decided regardless."""
_REST = 60.0
"""Seconds between a step and a step down: several small ones would move more than one large one."""
_WORTH = 3
"""Or this many times as long as the moves of the step down take, if that is longer."""

Why = Literal["up", "down", "stay", "window", "settling", "missing", "unknown", "bounds"]
"""Why a recommendation is as it is: `window` waits for a window to pass, `settling` for the step
before; `missing` would go down if all figures were there; `unknown` has none to go by; `bounds` are
the least and the most that are wanted."""


class Policy(msgspec.Struct, frozen=True):
    """What is wanted. Times are seconds."""

    least: int = 1
    most: int = 1
    target: float = 0.7  # share of the fullest node's cores
    slack: float = 0.2  # of the target: how far above it nothing is done; half of it below
    catch_up: float = 60.0  # in which a backlog should be gone
    window: float = 300.0  # whose highest need a step down goes to
    start: float = 5.0  # until a new node works
    step: float = 4.0  # at most so many times as many nodes at once

    def __post_init__(self) -> None:
        """Refuses what contradicts itself.

        Raises:
            UsageError: The text says what.
        """
        if not 1 <= self.least <= self.most:
            raise UsageError(
                f"the number of nodes can't be between {self.least} and {self.most}: let the least "
                "be 1 or more, and no more than the most"
            )
        if not 0 < self.target <= 1:
            raise UsageError(f"the target is a share of the cores, above 0 to 1: {self.target}")


class Recommendation(msgspec.Struct, frozen=True):
    """How many nodes there should be, and what that follows from."""

    at: float
    nodes: int
    before: int
    needed: int | None  # by the load alone, before all rules
    why: Why
    load: Load
    moves: Moves
    live: int
    slots: int
    window: float = 0.0  # seconds that a step down has still to wait

    @property
    def is_change(self) -> bool:
        """Whether it asks for another number than there is."""
        return self.nodes != self.before


class Autoscaler:
    """Decides, measurement by measurement.

    Args:
        policy: What is wanted.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._meter = LoadMeter()
        self._needs: deque[tuple[float, int]] = deque()
        self._began: float | None = None
        self._changed: float | None = None
        self._settle_by = 0.0

    def advise(self, measurement: Measurement, nodes: int) -> Recommendation:
        """What to do now.

        Args:
            measurement: The latest.
            nodes: How many were ordered last; they need not all live yet.
        """
        now, load = measurement.at, self._meter.note(measurement)
        self._began = now if self._began is None else self._began
        needed = self._needed(load, measurement, nodes)
        settling = self._is_settling(measurement, nodes)
        if not settling:
            known = needed is not None and not load.missing
            self._remember(now, self._with_room(load) if known else nodes)
        wish, why = self._wish(load, measurement, nodes, needed, settling=settling)
        least, most = self.policy.least, self._most(measurement.slots)
        bounded = min(max(wish, least), most)
        if bounded not in {wish, nodes}:
            why = "bounds"
        if bounded > nodes:  # a step up while another settles is needed for a window, too
            self._remember(now, bounded)
        moves = moves_to(load, measurement, nodes, bounded)
        if bounded != nodes:
            self._changed = now
            self._settle_by = now + self.policy.start + moves.seconds + _SETTLE
        return Recommendation(
            now,
            bounded,
            nodes,
            needed,
            why,
            load,
            moves,
            live=len(measurement.nodes),
            slots=measurement.slots,
            window=self._left(now, nodes, moves) if why == "window" else 0.0,
        )

    def _most(self, slots: int) -> int:
        """A node without a slot is of no use."""
        return max(self.policy.least, min(self.policy.most, slots or self.policy.most))

    def _wish(
        self,
        load: Load,
        measurement: Measurement,
        nodes: int,
        needed: int | None,
        *,
        settling: bool,
    ) -> tuple[int, Why]:
        if needed is None:
            return nodes, "missing" if load.missing else "unknown"
        if settling and needed > nodes and load.cost is not None:
            sizing = Sizing(load, self.policy.catch_up)
            needed = min(needed, sizing.nodes_for(self.policy.target, None))
        if needed > nodes:
            return self._step(nodes, needed), "up"
        if settling:
            return nodes, "settling"
        return self._down(load, measurement, nodes)

    def _down(self, load: Load, measurement: Measurement, nodes: int) -> tuple[int, Why]:
        if load.missing:
            return nodes, "missing"
        if self._needs[-1][1] >= nodes:
            return nodes, "stay"
        most = max(need for _, need in self._needs)
        behind = any(each.is_behind for each in load.slots)
        moves = moves_to(load, measurement, nodes, most)
        if behind or most >= nodes or self._left(measurement.at, nodes, moves) > 0:
            return nodes, "window"
        return most, "down"

    def _left(self, now: float, nodes: int, moves: Moves) -> float:
        """Seconds until a step down may be made, as things are."""
        assert self._began is not None
        window = self.policy.window
        needed = [at + window for at, need in self._needs if need >= nodes]
        rest = max(_REST, _WORTH * moves.seconds)
        changed = self._began if self._changed is None else self._changed + rest
        return max([self._began + window, changed, *needed]) - now

    def _step(self, nodes: int, wish: int) -> int:
        return min(wish, max(nodes + 1, int(nodes * self.policy.step)))

    def _is_settling(self, measurement: Measurement, nodes: int) -> bool:
        if measurement.at >= self._settle_by:
            return False
        return len(measurement.nodes) != nodes or not measurement.settled

    def _needed(self, load: Load, measurement: Measurement, nodes: int) -> int | None:
        """Nodes that the load needs; None if it can't be known."""
        if not load.slots:
            return None
        if load.cost is None or not load.cores:
            # Nothing has been processed yet, which is fine if there is nothing to do.
            return None if load.lag or load.arrival or load.missing else self.policy.least
        target = self.policy.target
        sizing = Sizing(load, self.policy.catch_up)
        if nodes and sizing.fits(nodes, target * (1 + self.policy.slack)):
            return min(nodes, sizing.nodes_for(target))
        first = sizing.nodes_for(target, self.policy.start)
        moves = moves_to(load, measurement, nodes, first)
        return sizing.nodes_for(target, self.policy.start + moves.seconds)

    def _with_room(self, load: Load) -> int:
        """Nodes that would do with some room: what a step down goes by."""
        if load.cost is None or not load.cores:
            return self.policy.least
        target = self.policy.target * (1 - self.policy.slack / 2)
        return Sizing(load, self.policy.catch_up).nodes_for(target)

    def _remember(self, now: float, need: int) -> None:
        """What is not known counts as a need of all that there are."""
        self._needs.append((now, need))
        while now - self._needs[0][0] > self.policy.window:
            self._needs.popleft()
