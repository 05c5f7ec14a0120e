"""Random joins in random topologies, for Hypothesis."""

from typing import Any

from hypothesis import strategies as st

from processor import JoinedStream, JoinWindow, Stream, Table
from processor.errors import TopologyError
from processor.topology.flow import flow_of
from tests.properties.topologies import (
    Adds,
    AnyStream,
    Fn,
    Looks,
    Maker,
    Making,
    NewKey,
    NewPair,
    NewValue,
    NoJson,
    weigh,
)

AnyTable = Table[Any, Any]


class Joins(Fn):
    """A joiner; it also changes what it is given in place."""

    def __call__(self, value: Any, other: Any) -> Any:
        self.poison([value, other])
        if isinstance(value, dict):
            value["seen"] = weigh(other)
        if isinstance(other, dict):
            other["joined"] = self.number
            return other
        if self.number % 3 == 0:
            return [value, other]
        made = NewValue(self.number)(value if other is None else other)
        # Only what a table has at the end of a batch has to be kept.
        return None if isinstance(made, NoJson) else made


def both(value: Any, other: Any) -> str:
    """Never fails: results without a record that brought them fail in a test of their own."""
    return f"{value} {other}"


def _kind(making: Making, *kinds: str) -> str:
    return making.draw(st.sampled_from(kinds))


def _table(making: Making, stream: AnyStream) -> AnyTable:
    return stream.to_table(name=making.name(), emit=making.emit())


def _own(making: Making, stream: AnyStream) -> AnyStream:
    """The stream, so that a repartition of it has a name of its own."""
    if not flow_of(stream).rekeyed:
        return stream
    return stream.peek(Looks(making.number()), name=making.name())


def _stream_table(making: Making, stream: AnyStream) -> list[AnyStream]:
    table, stream = _table(making, making.stream()), _own(making, stream)
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


def _stream_stream(making: Making, stream: AnyStream) -> list[AnyStream]:
    method = _kind(making, "join", "left_join", "outer_join")
    times: dict[str, Any] = {
        side: making.draw(st.sampled_from([0, 0.005, 0.02]))
        for side in ("before", "after", "grace")
    }
    late = making.draw(st.sampled_from([None, None, "skip", "dead-letter"]))
    joiner = Joins(making.number()) if method == "join" else both
    name = making.name()
    stream, other = _own(making, stream), _own(making, making.stream())
    try:
        made: JoinedStream[Any, Any, Any, Any] = getattr(stream, method)(
            other, joiner, name=name, late=late, within=JoinWindow(**times)
        )
    except TopologyError:  # keys with other bytes
        return []
    lates = [made.late_left(), made.late_right()][: making.draw(st.integers(0, 2))]
    if method == "join":
        return [made, *lates]
    made.to("out-0")
    return lates


def _foreign_key(making: Making, stream: AnyStream) -> list[AnyStream]:
    left, right = _table(making, stream), _table(making, making.stream())
    if making.draw(st.booleans()):
        right = left
    method, on = _kind(making, "join", "left_join"), NewKey(making.number())
    made: AnyTable = getattr(left, method)(
        right, Joins(making.number()), on=on, name=making.name(), emit=making.emit()
    )
    return [left.to_stream(), made.to_stream()]


def _cogroup(making: Making, stream: AnyStream) -> list[AnyStream]:
    one, other = _own(making, stream), _own(making, making.stream())
    cogrouped = one.group_by_key().cogroup(Adds(making.number()))
    cogrouped = cogrouped.cogroup(other.group_by_key(), Adds(making.number()))
    try:
        made = cogrouped.aggregate(dict, name=making.name(), emit=making.emit())
    except TopologyError:  # keys with other bytes
        return []
    return [made.to_stream()]


class Finds(Fn):
    """The key to look up: that of the record, or one of its value."""

    def __call__(self, key: Any, value: Any) -> Any:
        return key if self.number % 3 == 0 else NewKey(self.number)(value)


def _global(making: Making, stream: AnyStream) -> list[AnyStream]:
    table = vars(making).get("global_table")
    if table is None:
        table = making.topology.global_table("globals", name="globals")
        vars(making)["global_table"] = table
    by, joiner = Finds(making.number()), Joins(making.number())
    method = getattr(stream, _kind(making, "join", "left_join"))
    return [method(table, joiner, on=by, name=making.name())]


STEPS: list[Maker] = [_stream_table, _table_table, _stream_stream, _foreign_key, _cogroup, _global]
