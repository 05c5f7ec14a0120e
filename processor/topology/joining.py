"""The part of the language that joins: what `Stream` and `Table` inherit their joins from.

Each method adds nodes to the builder and returns a new stream or table; nothing is computed here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from processor.operators.aggregates.by_key import Emit
from processor.operators.base import Policy
from processor.operators.joins.views import View
from processor.records import K2, V2, K, V
from processor.serdes import Serde
from processor.state.keyvalue import StoreSpec
from processor.topology.flow import Flow
from processor.topology.joining_steps import (
    Duration,
    How,
    Times,
    foreign,
    stream_join,
    streams_join,
    table_table,
)

if TYPE_CHECKING:
    from processor.topology.joined import JoinedStream
    from processor.topology.stream import Stream
    from processor.topology.table import Table

VO = TypeVar("VO")


class StreamJoins(Generic[K, V]):
    """The joins of a stream."""

    flow: Flow

    @overload
    def join(
        self, other: Table[K, VO], joiner: Callable[[V, VO], V2], *, name: str | None = None
    ) -> Stream[K, V2]: ...
    @overload
    def join(
        self,
        other: Stream[K, VO],
        joiner: Callable[[V, VO], V2],
        *,
        within: Duration | None = None,
        before: Duration | None = None,
        after: Duration | None = None,
        grace: Duration = 0,
        late: Policy | None = None,
        name: str | None = None,
    ) -> JoinedStream[K, V, VO, V2]: ...
    def join(
        self,
        other: Table[K, Any] | Stream[K, Any],
        joiner: Callable[[Any, Any], Any],
        *,
        within: Duration | None = None,
        before: Duration | None = None,
        after: Duration | None = None,
        grace: Duration = 0,
        late: Policy | None = None,
        name: str | None = None,
    ) -> Stream[K, Any]:
        """Joins each record with the value that a table has for its key, or with another stream.

        With a table: `joiner(value, table_value)`. A record whose key is not in the table has no
        result; timestamp and headers are those of the record. The table is met as it is when the
        record is worked on.

        With a stream: `joiner(value, other_value)` for each two records of equal keys whose times
        are close. The result has the later time, and the headers of the record that came later.

        Null values join with nothing. A record without a key is a bad one.

        Args:
            other: A table or a stream; keys must be of the same type, and are brought together.
            joiner: Makes the value of a result.
            within: How far apart the times of two records may be, such as "10s", or seconds.
            before: How much earlier the other's record may be, instead of `within`.
            after: How much later it may be, instead of `within`.
            grace: How much longer to wait for records that are out of order. A record is late when
                the stream time is past all that it could match, and the grace.
            late: What happens to late records, instead of the setting `on_bad_record`. See also
                `JoinedStream.late`.
            name: Of the stores; needed where this stream has no name of its own.
        """
        return stream_join(
            self.flow, other, joiner, name, "inner", Times(within, before, after, grace), late
        )

    @overload
    def left_join(
        self, other: Table[K, VO], joiner: Callable[[V, VO | None], V2], *, name: str | None = None
    ) -> Stream[K, V2]: ...
    @overload
    def left_join(
        self,
        other: Stream[K, VO],
        joiner: Callable[[V, VO | None], V2],
        *,
        within: Duration | None = None,
        before: Duration | None = None,
        after: Duration | None = None,
        grace: Duration = 0,
        late: Policy | None = None,
        name: str | None = None,
    ) -> JoinedStream[K, V, VO, V2]: ...
    def left_join(
        self,
        other: Table[K, Any] | Stream[K, Any],
        joiner: Callable[[Any, Any], Any],
        *,
        within: Duration | None = None,
        before: Duration | None = None,
        after: Duration | None = None,
        grace: Duration = 0,
        late: Policy | None = None,
        name: str | None = None,
    ) -> Stream[K, Any]:
        """As `join`, with a result for each record of this stream: without a match, with None.

        With a table, that is told at once. With a stream it is told once, when the stream time is
        so far that nothing can match the record any more, `before` + `after` + `grace` behind it.
        A record without a key has no match.
        """
        return stream_join(
            self.flow, other, joiner, name, "left", Times(within, before, after, grace), late
        )

    def outer_join(
        self,
        other: Stream[K, VO],
        joiner: Callable[[V | None, VO | None], V2],
        *,
        within: Duration | None = None,
        before: Duration | None = None,
        after: Duration | None = None,
        grace: Duration = 0,
        late: Policy | None = None,
        name: str | None = None,
    ) -> JoinedStream[K, V, VO, V2]:
        """As `left_join`, with a result for each record of both streams."""
        return streams_join(
            self.flow, other, joiner, name, "outer", Times(within, before, after, grace), late
        )


class TableJoins(Generic[K, V]):
    """The joins of a table."""

    flow: Flow
    store: StoreSpec[Any, Any]

    @property
    @abstractmethod
    def view(self) -> View:
        """How a step reads the table's values; for the runtime, no part of the language."""

    @overload
    def join(
        self,
        other: Table[K, VO],
        joiner: Callable[[V, VO], V2 | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]: ...
    @overload
    def join(
        self,
        other: Table[K2, VO],
        joiner: Callable[[V, VO], V2 | None],
        *,
        on: Callable[[V], K2 | None] | str,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]: ...
    def join(
        self,
        other: Table[Any, VO],
        joiner: Callable[[V, VO], V2 | None],
        *,
        on: Callable[[V], Any] | str | None = None,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]:
        """A table of `joiner(value, other)` for the keys that both tables have.

        A value is from the later of the two event times that its parts are from.

        Args:
            other: The table to join with.
            joiner: Makes the value; None deletes the key.
            on: Where it is not the same key: `on(value)`, or the field of that name, is the key
                that the other table has. None joins with nothing.
            name: Of the store; needed where this table has no name of its own.
            emit: Which changes to tell of, see `GroupedStream`.
            value: Type or serde of the value in the store, by default as `joiner` is annotated.
        """
        how = How(joiner, name, emit, value, "inner")
        return table_table(self, other, how) if on is None else foreign(self, other, on, how)

    @overload
    def left_join(
        self,
        other: Table[K, VO],
        joiner: Callable[[V, VO | None], V2 | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]: ...
    @overload
    def left_join(
        self,
        other: Table[K2, VO],
        joiner: Callable[[V, VO | None], V2 | None],
        *,
        on: Callable[[V], K2 | None] | str,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]: ...
    def left_join(
        self,
        other: Table[Any, VO],
        joiner: Callable[[V, VO | None], V2 | None],
        *,
        on: Callable[[V], Any] | str | None = None,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]:
        """As `join`, for all keys of this table: `joiner(value, None)` where the other has none."""
        how = How(joiner, name, emit, value, "left")
        return table_table(self, other, how) if on is None else foreign(self, other, on, how)

    def outer_join(
        self,
        other: Table[K, VO],
        joiner: Callable[[V | None, VO | None], V2 | None],
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        value: type[V2] | Serde[V2] | None = None,
    ) -> Table[K, V2]:
        """As `join`, for all keys that either table has; what the other lacks is None."""
        return table_table(self, other, How(joiner, name, emit, value, "outer"))
