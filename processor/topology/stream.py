"""Stream: the language in which a topology is written, up to where tables begin.

Each method adds nodes to the builder and returns something new; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast, get_args, overload

from processor.durations import Duration
from processor.errors import TopologyError
from processor.operators.aggregates.by_key import Emit
from processor.operators.joins.tables import JoinKind
from processor.operators.process import ProcessContext, Punctuator
from processor.operators.stateless import FlatMap, FlatMapValues, Map, MapValues, Peek
from processor.records import (
    K2,
    V2,
    V3,
    K,
    Policy,
    Record,
    V,
)
from processor.serdes import Serde
from processor.state.keyvalue import StoreSpec
from processor.topology.awaiting import awaiting
from processor.topology.builder import check_choice
from processor.topology.flow import Flow, FromFlow, flow_of
from processor.topology.form import Form
from processor.topology.functions import checked_function, described
from processor.topology.global_table import GlobalTable, global_join
from processor.topology.graph import (
    OnBadRecord,
)
from processor.topology.grouped import GroupedStream
from processor.topology.joining import (
    JoinWindow,
    join_word,
    refuse_window,
    stream_stream,
    stream_table,
)
from processor.topology.keeping import kept
from processor.topology.processing import processed
from processor.topology.steps import (
    deduplicated,
    filtered,
    keyed,
    merged,
    reread,
    split,
    written,
)
from processor.topology.table import Table, checked_table, table_of

VO = TypeVar("VO")
KG = TypeVar("KG")
VG = TypeVar("VG")


@dataclass(frozen=True, eq=False, repr=False)
class Stream(FromFlow, Generic[K, V]):
    """Records on their way: keys of type K, values of type V. Immutable; use it as often as needed.

    A function that raises makes its record a bad one (see `Topology`); what it returns is passed on
    as it is. Null values reach the functions as None.
    """

    def filter(self, predicate: Callable[[V], object], *, name: str | None = None) -> Stream[K, V]:
        """Keeps the records whose value the predicate accepts.

        Example: `orders.filter(lambda order: order.amount > 5)`.
        In Kafka Streams: `KStream#filter`.

        Args:
            predicate: A function of the value.
            name: Of the step, by default made of its kind and a number.

        Returns:
            The stream of the records that are kept.

        Raises:
            TopologyError: A function takes other arguments, or the name is taken or malformed.
        """
        return Stream(filtered(self._flow, "filter", predicate, name, keep=True))

    def filter_not(
        self, predicate: Callable[[V], object], *, name: str | None = None
    ) -> Stream[K, V]:
        """Keeps the records whose value the predicate does not accept.

        Example: `orders.filter_not(is_test)`.
        In Kafka Streams: `KStream#filterNot`.

        Args:
            predicate: A function of the value.
            name: Of the step, by default made of its kind and a number.

        Returns:
            The stream of the records that are kept.

        Raises:
            TopologyError: A function takes other arguments, or the name is taken or malformed.
        """
        return Stream(filtered(self._flow, "filter-not", predicate, name, keep=False))

    def map_values(self, function: Callable[[V], V2], *, name: str | None = None) -> Stream[K, V2]:
        """Replaces each value by `function(value)`; key, timestamp and headers stay.

        Example: `orders.map_values(lambda order: order.amount)`.
        In Kafka Streams: `KStream#mapValues`.

        Args:
            function: Of the value; what it returns is the new one, None a null value.
            name: Of the step, by default made of its kind and a number.

        Returns:
            The stream of the new values.

        Raises:
            TopologyError: A function takes other arguments, or the name is taken or malformed.
        """
        form = Form.returned_by(checked_function("map_values", function, "value"))
        return Stream(self._flow.then("map-values", MapValues(function), name, value=form))

    def map_async(
        self,
        function: Callable[[V], Awaitable[V2]],
        *,
        concurrency: int = 100,
        timeout: Duration = "10s",
        retries: int = 0,
        name: str | None = None,
    ) -> Stream[K, V2]:
        """Replaces each value by `await function(value)`, the calls for many records at a time.

        Records stay in order, and the calls for records of equal keys are made one after the other.
        What a call gave is part of the checkpoint. A crash may repeat the calls since the last one,
        and so may a record that fails in the same batch.

        Example: `orders.map_async(look_up, timeout="2s")`.

        Args:
            function: An `async def`.
            concurrency: How many calls run at a time, at most.
            timeout: For one call: such as "500ms", or seconds; a call without an answer by then has
                failed.
            retries: How often a call that failed is made again, after 0.1 s and then ever longer
                pauses, before its record is a bad one.
            name: Of the step.

        Returns:
            The stream of the new values.

        Raises:
            TopologyError: The function is no `async def` of one argument, or a number is out of
                range.
        """
        operator = awaiting("map_async", function, None, concurrency, timeout, retries)
        form = Form.returned_by(function)
        return Stream(self._flow.then("map-async", operator, name, value=form))

    def enrich(
        self,
        lookup: Callable[[V], Awaitable[V2]],
        joiner: Callable[[V, V2], V3],
        *,
        concurrency: int = 100,
        timeout: Duration = "10s",
        retries: int = 0,
        name: str | None = None,
    ) -> Stream[K, V3]:
        """Replaces each value by `joiner(value, await lookup(value))`; see `map_async`.

        Example: `orders.enrich(find_customer, with_customer)`.

        Args:
            lookup: An `async def` of the value.
            joiner: Makes the new value of the value and what was looked up.
            concurrency: How many calls run at a time, at most.
            timeout: For one call: such as "500ms", or seconds.
            retries: How often a call that failed is made again.
            name: Of the step, by default made of its kind and a number.

        Returns:
            The stream of the new values.

        Raises:
            TopologyError: `lookup` is no `async def`, `joiner` takes other arguments, or a number
                is out of range.
        """
        operator = awaiting("enrich", lookup, joiner, concurrency, timeout, retries)
        form = Form.returned_by(joiner)
        return Stream(self._flow.then("enrich", operator, name, value=form))

    def map(
        self, function: Callable[[K, V], tuple[K2, V2]], *, name: str | None = None
    ) -> Stream[K2, V2]:
        """Replaces each key and value by `function(key, value)`, a pair.

        Example: `orders.map(lambda key, order: (order.customer, order.amount))`.
        In Kafka Streams: `KStream#map`.

        Args:
            function: Of key and value; returns the new key and value.
            name: Of the step, by default made of its kind and a number.

        Returns:
            The stream of the new records; where keys are grouped downstream, they go through a
            repartition topic.

        Raises:
            TopologyError: A function takes other arguments, or the name is taken or malformed.
        """
        key, value = Form.pair_returned_by(checked_function("map", function, "key, value"))
        return Stream(self._flow.then("map", Map(function), name, key=key, value=value))

    def flat_map(
        self, function: Callable[[K, V], Iterable[tuple[K2, V2]]], *, name: str | None = None
    ) -> Stream[K2, V2]:
        """Replaces each record by the pairs that `function(key, value)` gives.

        Example: `orders.flat_map(lambda key, order: [(i.sku, i) for i in order.items])`.
        In Kafka Streams: `KStream#flatMap`.

        Args:
            function: Of key and value; returns or yields pairs, any number of them.
            name: Of the step, by default made of its kind and a number.

        Returns:
            The stream of the new records, in the order given.

        Raises:
            TopologyError: A function takes other arguments, or the name is taken or malformed.
        """
        key, value = Form.pairs_returned_by(checked_function("flat_map", function, "key, value"))
        return Stream(self._flow.then("flat-map", FlatMap(function), name, key=key, value=value))

    def flat_map_values(
        self, function: Callable[[V], Iterable[V2]], *, name: str | None = None
    ) -> Stream[K, V2]:
        """Replaces each value by those that `function(value)` gives.

        Example: `lines.flat_map_values(str.split)`.
        In Kafka Streams: `KStream#flatMapValues`.

        Args:
            function: Of the value; returns or yields the new ones, any number of them.
            name: Of the step, by default made of its kind and a number.

        Returns:
            The stream of the new values, in the order given.

        Raises:
            TopologyError: A function takes other arguments, or the name is taken or malformed.
        """
        operator = FlatMapValues(checked_function("flat_map_values", function, "value"))
        form = Form.each_returned_by(function)
        return Stream(self._flow.then("flat-map-values", operator, name, value=form))

    @overload
    def key_by(self, by: Callable[[V], K2], *, name: str | None = None) -> Stream[K2, V]: ...
    @overload
    def key_by(self, by: str, *, name: str | None = None) -> Stream[Any, V]: ...
    def key_by(self, by: Callable[[V], Any] | str, *, name: str | None = None) -> Stream[Any, V]:
        """Replaces each key by `by(value)`, or by the field of that name.

        Example: `orders.key_by("customer")`.
        In Kafka Streams: `KStream#selectKey`.

        Args:
            by: A function of the value, or the name of a field.
            name: Of the step, by default made of its kind and a number.

        Returns:
            The stream with the new keys; they are repartitioned where keys have to meet.

        Raises:
            TopologyError: A function takes other arguments, or the name is taken or malformed.
        """
        return Stream(keyed(self._flow, by, name))

    @overload
    def group_by(
        self, by: Callable[[V], K2], *, name: str | None = None
    ) -> GroupedStream[K2, V]: ...
    @overload
    def group_by(self, by: str, *, name: str | None = None) -> GroupedStream[Any, V]: ...
    def group_by(
        self, by: Callable[[V], Any] | str, *, name: str | None = None
    ) -> GroupedStream[Any, V]:
        """Groups by `by(value)`, or the field of that name: `key_by`, `group_by_key`.

        Example: `orders.group_by("customer").count()`.
        In Kafka Streams: `KStream#groupBy`.

        Args:
            by: A function of the value, or the name of a field.
            name: Of the step, by default made of its kind and a number.

        Returns:
            The records by the new keys, to be aggregated.

        Raises:
            TopologyError: A function takes other arguments, or the name is taken or malformed.
        """
        return self.key_by(by, name=name).group_by_key()

    def group_by_key(self) -> GroupedStream[K, V]:
        """Groups by the key; if it was changed, the records meet through a repartition topic.

        Example: `orders.group_by_key().count()`.
        In Kafka Streams: `KStream#groupByKey`.

        Returns:
            The records by their keys, to be aggregated.
        """
        return GroupedStream(self._flow)

    def peek(self, function: Callable[[K, V], object], *, name: str | None = None) -> Stream[K, V]:
        """Calls `function(key, value)` for its side effect, which a crash may repeat.

        Example: `orders.peek(lambda key, order: log(order))`.
        In Kafka Streams: `KStream#peek`.

        Args:
            function: Of key and value; what it returns is ignored. A crash or an abort may repeat
                calls.
            name: Of the step, by default made of its kind and a number.

        Returns:
            The same records.

        Raises:
            TopologyError: A function takes other arguments, or the name is taken or malformed.
        """
        called = checked_function("peek", function, "key, value")
        return Stream(self._flow.then("peek", Peek(called), name))

    def for_each(self, function: Callable[[K, V], object], *, name: str | None = None) -> None:
        """As `peek`, at the end of a stream.

        Example: `orders.for_each(lambda key, order: log(order))`.
        In Kafka Streams: `KStream#foreach`.

        Args:
            function: Of key and value; what it returns is ignored. A crash or an abort may repeat
                calls.
            name: Of the step, by default made of its kind and a number.

        Raises:
            TopologyError: A function takes other arguments, or the name is taken or malformed.
        """
        called = checked_function("for_each", function, "key, value")
        self._flow.then("for-each", Peek(called), name)

    def on_bad_record(self, policy: OnBadRecord) -> Stream[K, V]:
        """Sets what happens to records that fail in all downstream steps, up to a merge.

        Example: `orders.on_bad_record("skip").map_values(rate)`.
        In Kafka Streams: `ProcessingExceptionHandler`.

        Args:
            policy: `fail`, `skip` or `dead-letter`, before the source's and that of the settings;
                or a function of the error and the record, as it came to the step, that returns one
                of these, None for what would be without it, or, where the step has no state, a
                `Record` to go on with in its place. It may be called again for the same record.

        Returns:
            The same records.

        Raises:
            TopologyError: There is no such policy, or the function takes other arguments.
        """
        if callable(policy):
            checked_function("on_bad_record", policy, "error, record")
        else:
            check_choice("on_bad_record", policy, get_args(Policy))
        return Stream(replace(self._flow, on_bad_record=policy))

    def print(self, label: str | None = None) -> Stream[K, V]:
        """Prints each record as `label: key → value`.

        Example: `orders.print("order")`.
        In Kafka Streams: `KStream#print`.

        Args:
            label: What stands before each, by default the name of the stream or table.

        Returns:
            The same records.
        """
        shown = label or self._flow.label or self._flow.edge.node.name
        return Stream(self._flow.then("print", Peek(_Printer(shown)), None))

    def split(self, **predicates: Callable[[V], object]) -> dict[str, Stream[K, V]]:
        """Streams by name: `split(big=..., small=...)`, and one for the rest, called `default`.

        Each record goes to the first predicate that accepts its value.

        In Kafka Streams: `KStream#split`.

        Args:
            predicates: Functions of the value, by the names of their streams.

        Returns:
            The streams by their names, in the order given, `default` last.

        Raises:
            TopologyError: A predicate is not a function, or is called `default`.
        """
        if "default" in predicates:
            raise TopologyError("split: the branch for the rest is 'default'; name yours otherwise")
        label = self._flow.label
        flows = split(self._flow, list(predicates), tuple(predicates.values()))
        return {
            name: Stream(replace(flow, label=label and f"{label}-{name}"))
            for name, flow in zip((*predicates, "default"), flows, strict=True)
        }

    def merge(self, *others: Stream[K, V], name: str | None = None) -> Stream[K, V]:
        """The records of this stream and the others; those made of one record stay in order.

        Example: `web.merge(mobile)`.
        In Kafka Streams: `KStream#merge`.

        Args:
            others: Streams with keys and values of the same types.
            name: Of the step, by default made of its kind and a number.

        Returns:
            The stream of all records.

        Raises:
            TopologyError: One is no stream, or is of another topology.
        """
        for other in others:
            if not isinstance(cast("object", other), Stream):
                raise TopologyError(
                    f"merge: give streams, not {described(other)}; a table has its changes as a "
                    "stream, table.to_stream()"
                )
        return Stream(merged([self._flow, *(flow_of(other) for other in others)], name))

    @overload
    def join(
        self,
        other: GlobalTable[KG, VG],
        joiner: Callable[[V, VG], V2],
        *,
        on: Callable[[K, V], KG | None] | str,
        name: str | None = None,
    ) -> Stream[K, V2]: ...
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
        within: Duration | JoinWindow,
        late: Policy | None = None,
        name: str | None = None,
    ) -> JoinedStream[K, V, VO, V2]: ...
    def join(
        self,
        other: Table[K, Any] | GlobalTable[Any, Any] | Stream[K, Any],
        joiner: Callable[[Any, Any], Any],
        *,
        on: Callable[[K, V], Any] | str | None = None,
        within: Duration | JoinWindow | None = None,
        late: Policy | None = None,
        name: str | None = None,
    ) -> Stream[K, Any]:
        """Joins each record with the value that a table has for its key, or with another stream.

        With a table: `joiner(value, table_value)`. A record whose key is not in the table has no
        result; timestamp and headers are those of the record. The table is met as it is when the
        record is worked on.

        With a global table: the same, for the key that `on` gives. The keys and partitions of the
        stream may be any. A record without a key to look up has no result.

        With a stream: `joiner(value, other_value)` for each two records of equal keys whose times
        are close. The result has the later time, and the headers of the record that came later.

        Null values join with nothing. A record without a key is a bad one.

        Example: `orders.join(payments, pair, within="10m")`.
        In Kafka Streams: `KStream#join`.

        Args:
            other: A table or a stream; keys must be of the same type, and are brought together. Or
                a global table.
            joiner: Makes the value of a result.
            on: With a global table: `on(key, value)` gives the key to look up; or it is the field
                of that name.
            within: With a stream: how far apart the times of two records may be, such as "10s", or
                seconds; or a `JoinWindow`.
            late: What happens to late records, instead of the setting `on_bad_record`. See also
                `JoinedStream.late_left`.
            name: Of the stores; needed where this stream has no name of its own.

        Returns:
            The stream of the results; of a join of streams with `late_left` and `late_right`.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        return self._join(other, joiner, on, name, "inner", within, late)

    @overload
    def left_join(
        self,
        other: GlobalTable[KG, VG],
        joiner: Callable[[V, VG | None], V2],
        *,
        on: Callable[[K, V], KG | None] | str,
        name: str | None = None,
    ) -> Stream[K, V2]: ...
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
        within: Duration | JoinWindow,
        late: Policy | None = None,
        name: str | None = None,
    ) -> JoinedStream[K, V, VO, V2]: ...
    def left_join(
        self,
        other: Table[K, Any] | GlobalTable[Any, Any] | Stream[K, Any],
        joiner: Callable[[Any, Any], Any],
        *,
        on: Callable[[K, V], Any] | str | None = None,
        within: Duration | JoinWindow | None = None,
        late: Policy | None = None,
        name: str | None = None,
    ) -> Stream[K, Any]:
        """As `join`, with a result for each record of this stream: without a match, with None.

        With a table, that is emitted at once. With a stream it is emitted once, when the stream
        time is so far that nothing can match the record any more: `before` + `after` + `grace`
        later.
        A record without a key has no match.

        Example: `orders.left_join(customers, with_customer)`.
        In Kafka Streams: `KStream#leftJoin`.

        Args:
            other: As for `join`.
            joiner: Makes the value of a result; its second argument is None where there is no
                match.
            on: As for `join`.
            within: As for `join`: a duration, or a `JoinWindow`.
            late: As for `join`.
            name: Of the stores; needed where this stream has no name of its own.

        Returns:
            The stream of the results.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        return self._join(other, joiner, on, name, "left", within, late)

    def outer_join(
        self,
        other: Stream[K, VO],
        joiner: Callable[[V | None, VO | None], V2],
        *,
        within: Duration | JoinWindow,
        late: Policy | None = None,
        name: str | None = None,
    ) -> JoinedStream[K, V, VO, V2]:
        """As `left_join`, with a result for each record of both streams.

        Example: `orders.outer_join(payments, pair, within="10m")`.
        In Kafka Streams: `KStream#outerJoin`.

        Args:
            other: A stream, as for `join`.
            joiner: Makes the value of a result; the argument without a match is None.
            within: As for `join`: a duration, or a `JoinWindow`.
            late: As for `join`.
            name: Of the stores; needed where this stream has no name of its own.

        Returns:
            The stream of the results.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        if not isinstance(cast("object", other), Stream):
            checked_table(self._flow, other, "outer", "a stream")
            raise TopologyError(
                "outer-join: a stream has no outer join with a table: use left_join"
            )
        return self._join_stream(other, joiner, name, "outer", within, late)

    def _join(
        self,
        other: object,
        joiner: Callable[..., Any],
        on: Callable[[K, V], Any] | str | None,
        name: str | None,
        kind: JoinKind,
        within: Duration | JoinWindow | None,
        late: Policy | None,
    ) -> Stream[K, Any]:
        if isinstance(other, GlobalTable):
            table = cast("GlobalTable[Any, Any]", other)
            refuse_window(kind, within, late)
            return Stream(global_join(self._flow, table, on, joiner, name, left=kind == "left"))
        if on is not None:
            raise TopologyError(
                f"{join_word(kind)}: on= is for global tables, which are joined by any key; other "
                "tables and streams are joined by theirs: put .key_by(...) before"
            )
        if isinstance(other, Stream):
            stream = cast("Stream[K, Any]", other)
            return self._join_stream(stream, joiner, name, kind, within, late)
        table = checked_table(
            self._flow, other, kind, "a stream or a table, such as topology.table(...)"
        )
        refuse_window(kind, within, late)
        return Stream(stream_table(self._flow, table_of(table), joiner, name, kind))

    def _join_stream(
        self,
        other: Stream[K, Any],
        joiner: Callable[..., Any],
        name: str | None,
        kind: JoinKind,
        within: Duration | JoinWindow | None,
        late: Policy | None,
    ) -> JoinedStream[K, Any, Any, Any]:
        made, lates = stream_stream(self._flow, flow_of(other), joiner, name, kind, within, late)
        return JoinedStream(made, lates)

    def repartition(
        self,
        *,
        name: str | None = None,
        partitions: int | None = None,
        key: type[K] | Serde[K] | None = None,
        value: type[V] | Serde[V] | None = None,
    ) -> Stream[K, V]:
        """Sends the records through an internal topic, partitioned by their keys.

        Example: `orders.key_by("customer").repartition(partitions=12)`.
        In Kafka Streams: `KStream#repartition`.

        Args:
            name: Part of the topic's name; needed where the stream has no name of its own.
            partitions: Of the topic; by default as many as the input has.
            key: Type or serde of the keys in the topic, by default as far as it is known.
            value: The same for the values.

        Returns:
            The stream that is read from the internal topic.

        Raises:
            TopologyError: The name is missing, taken or malformed, or a number is out of range.
        """
        name = self._flow.needed(name, "repartition")
        flow = self._flow.repartitioned(name, partitions=partitions, key=key, value=value)
        return Stream(flow)

    def to(
        self,
        topic: str | Callable[[Record[K, V]], str],
        *,
        key: type[Any] | Serde[Any] | None = None,
        value: type[Any] | Serde[Any] | None = None,
    ) -> None:
        """Writes the records to a topic, or to the one that `topic(record)` names.

        Keys and values that are as they were read are written as they were read; others are
        written as text or bytes if they are that, else as JSON, unless a type or serde is given.

        Example: `totals.to("totals")`.
        In Kafka Streams: `KStream#to`.

        Args:
            topic: Its name, which has to be there; or a function of the record that returns one.
            key: Type or serde of the keys, by default as far as it is known.
            value: Type or serde of the values, by default as far as it is known.

        Raises:
            TopologyError: The name is malformed or internal, or a value can't be written so.
        """
        written(self._flow, topic, key, value)

    def through(
        self,
        topic: str,
        *,
        key: type[K] | Serde[K] | None = None,
        value: type[V] | Serde[V] | None = None,
    ) -> Stream[K, V]:
        """Writes the records to a topic of your own and goes on from there.

        Example: `orders.through("checked-orders")`.
        In Kafka Streams: `KStream#to`, then `StreamsBuilder#stream`.

        Args:
            topic: Its name; the topic has to be there.
            key: Type or serde of the keys, by default as far as it is known.
            value: Type or serde of the values, by default as far as it is known.

        Returns:
            The stream that is read from the topic.

        Raises:
            TopologyError: The name is malformed, or the topic is read already.
        """
        return Stream(reread(self._flow, topic, key, value))

    def to_table(
        self,
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        key: type[K] | Serde[K] | None = None,
        value: type[V] | Serde[V] | None = None,
        ttl: Duration | None = None,
        versioned: Duration | None = None,
    ) -> Table[K, V]:
        """The last value of each key; a null value deletes it.

        Example: `updates.to_table(name="customers")`.
        In Kafka Streams: `KStream#toTable`; with `versioned`, a versioned state store (KIP-889).

        Args:
            name: Of the store; needed where the stream has no name of its own.
            emit: Which changes to emit, see `GroupedStream`.
            key: Type or serde of the keys in the store, by default as far as it is known.
            value: The same for the values.
            ttl: Time to live, such as "1d": a value is deleted when the stream time is so far
                behind its own, in effect up to a hundredth more. A record older than that is late.
            versioned: For how long to keep the history of values, such as "1h". A stream is joined
                with the value as of its record's time then, and the latest value is that of the
                highest event time, in whatever order records come. A record older than the history
                is late. Late records are left out and counted.

        Returns:
            The table.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        return Table(*kept(self._flow, name, emit, key, value, ttl, versioned))

    def deduplicate(
        self,
        *,
        within: Duration,
        by: Callable[[V], Any] | str | None = None,
        name: str | None = None,
    ) -> Stream[K, V]:
        """Drops a record if an equal one passed less than `within` of stream time before.

        Example: `orders.deduplicate(within="1h", by="id")`.

        Args:
            within: Such as "10s" or "1d", or seconds.
            by: Equal are records of the same key, and with `by` of the same `by(value)` or field.
            name: Of the store; needed where the stream has no name of its own.

        Returns:
            The stream of the records that pass.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        return Stream(deduplicated(self._flow, within, by, name))

    def process(
        self,
        function: Callable[[Record[K, V], ProcessContext], Iterable[Record[K2, V2]] | None],
        *,
        stores: Sequence[StoreSpec[Any, Any]] = (),
        punctuators: Sequence[Punctuator[K2, V2]] = (),
        name: str | None = None,
    ) -> Stream[K2, V2]:
        """Calls a function with each record, its stores at hand; what it returns is passed on.

        Example: `orders.process(remember, stores=[LAST])`.
        In Kafka Streams: `KStream#process`.

        Args:
            function: Takes a `Record` and a `ProcessContext`, returns records or yields them, or
                returns None. What it wrote to its stores is undone if it raises.
            stores: Stores of this step alone, made with `key_value(...)`.
            punctuators: Functions called as time goes on, see `Punctuator`.
            name: Of the step; needed with stores or punctuators where the stream has no name.

        Returns:
            The stream of what the function and the punctuators return.

        Raises:
            TopologyError: An argument does not fit the others, or the name is missing, taken or
                malformed.
        """
        return Stream(processed(self._flow, function, stores, punctuators, name))


@dataclass(frozen=True, eq=False, repr=False)
class JoinedStream(Stream[K, V2], Generic[K, V, VO, V2]):
    """The results of a join of streams, whose values are of the types V and VO."""

    _late_flows: tuple[Flow, Flow]
    """Where late records of both sides go."""

    def late_left(self) -> Stream[K, V]:
        """The late records of the stream itself; they are no bad records then.

        Returns:
            The stream of them.
        """
        return Stream(self._late_flows[0])

    def late_right(self) -> Stream[K, VO]:
        """The late records of the other stream; they are no bad records then.

        Returns:
            The stream of them.
        """
        return Stream(self._late_flows[1])


@dataclass(frozen=True)
class _Printer:
    label: str

    def __call__(self, key: object, value: object) -> None:
        print(f"{self.label}: {key} → {value}", flush=True)  # noqa: T201 - printing is its purpose
