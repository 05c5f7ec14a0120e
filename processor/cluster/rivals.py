"""Nodes of the same application that run it with another number of slots.

They can't share the work: which partitions a slot has depends on the number of slots. Whoever was
first goes on; whoever comes later has to wait until they are surely dead, or else to give up.
"""

from dataclasses import dataclass

from processor.cluster.beats import Beat


@dataclass(frozen=True, slots=True)
class _Rival:
    beat: Beat
    heard: int
    proven: bool  # has beaten after one of us was there: no leftover of a killed application


class Rivals:
    """Those who were in the topic before the first of us, and may live."""

    def __init__(self, failover_timeout: int) -> None:
        self._failover_timeout = failover_timeout
        self._rivals: dict[str, _Rival] = {}

    def __len__(self) -> int:
        return len(self._rivals)

    def hear(self, beat: Beat, time: int, *, first: bool) -> None:
        """Takes in the beat of another number of slots.

        Args:
            beat: What it says.
            time: View time, ms.
            first: Whether none of us lives yet.
        """
        if beat.leaving and not beat.replicas:
            self._rivals.pop(beat.node, None)
        elif first or beat.node in self._rivals:
            self._rivals[beat.node] = _Rival(beat, time, proven=not first)

    def replace(self, node: str) -> None:
        """The node was started again, as one of us."""
        self._rivals.pop(node, None)

    def bury(self, time: int) -> None:
        """Forgets the dead."""
        for node, rival in list(self._rivals.items()):
            if time - rival.heard >= self._failover_timeout:
                del self._rivals[node]

    def proven(self) -> tuple[int, str] | None:
        """Their number of slots, and the name of one that lives for sure and means to stay."""
        for rival in self._rivals.values():
            if rival.proven and not rival.beat.leaving:
                return rival.beat.slots, rival.beat.name or rival.beat.node
        return None
