"""JoinedStream: what a join of two streams gives.

Each method gives a stream of an output that is there; nothing is computed here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from processor.records import V2, K, V
from processor.topology.flow import Flow
from processor.topology.stream import Stream

VO = TypeVar("VO")


@dataclass(frozen=True, eq=False, repr=False)
class JoinedStream(Stream[K, V2], Generic[K, V, VO, V2]):
    """The results of a join of streams, whose values are of the types V and VO."""

    late_flows: tuple[Flow, Flow] = field(kw_only=True)
    """Where late records of both sides go; for the runtime and for tests, no part of the language.
    """

    def late(self) -> Stream[K, V]:
        """The records of the stream itself that came too late; they are no bad records then."""
        return Stream(self.late_flows[0])

    def late_other(self) -> Stream[K, VO]:
        """The records of the other stream that came too late; they are no bad records then."""
        return Stream(self.late_flows[1])
