"""How fast something grows."""

from collections import deque
from dataclasses import dataclass, field

_WINDOW = 5.0
"""Seconds that a rate is taken over."""


@dataclass(slots=True)
class Rate:
    """How fast a total grows, over the last seconds."""

    _points: deque[tuple[float, float]] = field(default_factory=deque[tuple[float, float]])

    def note(self, now: float, total: float) -> None:
        """The total is so much now."""
        self._points.append((now, total))
        while len(self._points) > 2 and self._points[1][0] <= now - _WINDOW:  # noqa: PLR2004 - both ends
            self._points.popleft()

    @property
    def per_second(self) -> float:
        """What was added in a second."""
        if not self._points:
            return 0.0
        (began, first), (ended, last) = self._points[0], self._points[-1]
        return (last - first) / (ended - began) if ended > began else 0.0
