"""Random joins in random topologies, for Hypothesis."""

from typing import Any

from hypothesis import strategies as st

from processor import Stream, Table
from processor.errors import TopologyError
from tests.properties.topologies import AnyStream, Fn, Maker, Making, NewPair, NewValue

AnyTable = Table[Any, Any]


class Joins(Fn):
    """A joiner; it also changes what it is given in place."""

    def __call__(self, value: Any, other: Any) -> Any:
        self.poison([value, other])
        if isinstance(other, dict):
            other["joined"] = self.number
            return other
        if self.number % 3 == 0:
            return [value, other]
        return NewValue(self.number)(value if other is None else other)


def _kind(making: Making, *kinds: str) -> str:
    return making.draw(st.sampled_from(kinds))


def _table(making: Making, stream: AnyStream) -> AnyTable:
    return stream.to_table(name=making.name(), emit=making.emit())


def _stream_table(making: Making, stream: AnyStream) -> list[AnyStream]:
    table = _table(making, making.stream())
    method = _kind(making, "join", "left_join")
    joiner, name = Joins(making.number()), making.name()
    try:
        made: Stream[Any, Any] = getattr(stream, method)(table, joiner, name=name)
    except TopologyError:  # keys with other bytes
        keyed = stream.map(NewPair(making.number()), name=making.name())
        made = getattr(keyed, method)(table, joiner, name=name)
    return [table.to_stream(), made]


def _table_table(making: Making, stream: AnyStream) -> list[AnyStream]:
    left, right = _table(making, stream), _table(making, making.stream())
    method = _kind(making, "join", "left_join", "outer_join")
    try:
        made: AnyTable = getattr(left, method)(
            right, Joins(making.number()), name=making.name(), emit=making.emit()
        )
    except TopologyError:  # keys with other bytes
        return [left.to_stream()]
    return [left.to_stream(), made.to_stream()]


STEPS: list[Maker] = [_stream_table, _table_table]
