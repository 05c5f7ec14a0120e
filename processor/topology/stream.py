"""Stream: the language in which a topology is written, up to where tables begin.

Each method adds nodes to the builder and returns a new stream; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, cast, get_args, overload

from processor.durations import milliseconds
from processor.errors import TopologyError
from processor.operators.aggregates.by_key import Emit
from processor.operators.columns.steps import KeyByColumn, is_expression
from processor.operators.deduplicate import Deduplicate
from processor.operators.process import ProcessContext, Punctuator
from processor.operators.stateless import (
    FlatMap,
    FlatMapValues,
    KeyBy,
    Map,
    MapValues,
    Merge,
    Peek,
    Split,
)
from processor.records import K2, V2, V3, K, Record, V
from processor.serdes import Serde, bytes_serde, int64, key_json
from processor.state.keyvalue import StoreSpec
from processor.topology.awaiting import awaiting
from processor.topology.builder import check_choice
from processor.topology.column_steps import ColumnSteps
from processor.topology.flow import Flow, FromFlow
from processor.topology.form import Form
from processor.topology.functions import checked_function, getter, told
from processor.topology.global_table import GlobalJoins
from processor.topology.graph import Edge, OnError, Policy
from processor.topology.joining import StreamJoins
from processor.topology.keeping import kept
from processor.topology.processing import processed
from processor.topology.table import GroupedStream, Table

if TYPE_CHECKING:
    from polars import Expr


@dataclass(frozen=True, eq=False, repr=False)
class Stream(FromFlow, ColumnSteps[K, V], StreamJoins[K, V], GlobalJoins[K, V], Generic[K, V]):
    """Records on their way: keys of type K, values of type V. Immutable; use it as often as needed.

    A function that raises makes its record a bad one (see `Topology`); what it returns is passed on
    as it is. Null values reach the functions as None.
    """

    flow: Flow
    """What is known here; for the runtime and for tests, no part of the language."""

    def map_values(self, function: Callable[[V], V2], *, name: str | None = None) -> Stream[K, V2]:
        """Replaces each value by `function(value)`; key, timestamp and headers stay."""
        form = Form.returned_by(checked_function("map_values", function, "value"))
        return Stream(self.flow.then("map-values", MapValues(function), name, value=form))

    def map_async(
        self,
        function: Callable[[V], Awaitable[V2]],
        *,
        concurrency: int = 100,
        timeout: str | float = "10s",
        retries: int = 0,
        name: str | None = None,
    ) -> Stream[K, V2]:
        """Replaces each value by `await function(value)`, the calls for many records at a time.

        Records stay in order, and the calls for records of equal keys are made one after the other.
        What a call gave is part of the checkpoint. A crash may repeat the calls since the last one,
        and so may a record that fails in the same batch.

        Args:
            function: An `async def`.
            concurrency: How many calls run at a time, at most.
            timeout: For one call, such as "500ms"; a call without an answer by then has failed.
            retries: How often a call that failed is made again, after 0.1 s and then ever longer
                pauses, before its record is a bad one.
            name: Of the step.
        """
        operator = awaiting("map_async", function, None, concurrency, timeout, retries)
        form = Form.returned_by(function)
        return Stream(self.flow.then("map-async", operator, name, value=form))

    def enrich(
        self,
        lookup: Callable[[V], Awaitable[V2]],
        joiner: Callable[[V, V2], V3],
        *,
        concurrency: int = 100,
        timeout: str | float = "10s",
        retries: int = 0,
        name: str | None = None,
    ) -> Stream[K, V3]:
        """Replaces each value by `joiner(value, await lookup(value))`; see `map_async`."""
        operator = awaiting("enrich", lookup, joiner, concurrency, timeout, retries)
        form = Form.returned_by(joiner)
        return Stream(self.flow.then("enrich", operator, name, value=form))

    def map(
        self, function: Callable[[K, V], tuple[K2, V2]], *, name: str | None = None
    ) -> Stream[K2, V2]:
        """Replaces each key and value by `function(key, value)`, a pair."""
        key, value = Form.pair_returned_by(checked_function("map", function, "key, value"))
        return Stream(self.flow.then("map", Map(function), name, key=key, value=value))

    def flat_map(
        self, function: Callable[[K, V], Iterable[tuple[K2, V2]]], *, name: str | None = None
    ) -> Stream[K2, V2]:
        """Replaces each record by the pairs that `function(key, value)` gives."""
        key, value = Form.pairs_returned_by(checked_function("flat_map", function, "key, value"))
        return Stream(self.flow.then("flat-map", FlatMap(function), name, key=key, value=value))

    def flat_map_values(
        self, function: Callable[[V], Iterable[V2]], *, name: str | None = None
    ) -> Stream[K, V2]:
        """Replaces each value by those that `function(value)` gives."""
        operator = FlatMapValues(checked_function("flat_map_values", function, "value"))
        form = Form.each_returned_by(function)
        return Stream(self.flow.then("flat-map-values", operator, name, value=form))

    @overload
    def key_by(self, by: Callable[[V], K2], *, name: str | None = None) -> Stream[K2, V]: ...
    @overload
    def key_by(self, by: str | Expr, *, name: str | None = None) -> Stream[Any, V]: ...
    def key_by(
        self, by: Callable[[V], Any] | str | Expr, *, name: str | None = None
    ) -> Stream[Any, V]:
        """Replaces each key by `by(value)`, by the field of that name or by a column."""
        if is_expression(by) and by.meta.is_column():
            by = by.meta.output_name()
        if is_expression(by):
            from processor.topology import columnar  # noqa: PLC0415 - where Polars is wanted

            columns = columnar.columns(self.flow.value, [by], "key_by")
            operator, (form,) = KeyByColumn(columns), columnar.forms(columns)
        else:
            function, form = getter("key_by", self.flow.value, by)
            operator = KeyBy(function)
        keyed = self.flow.then("key-by", operator, name, key=form)
        return Stream(replace(keyed, label=self.flow.grouped_by(by, name)))

    @overload
    def group_by(
        self, by: Callable[[V], K2], *, name: str | None = None
    ) -> GroupedStream[K2, V]: ...
    @overload
    def group_by(self, by: str | Expr, *, name: str | None = None) -> GroupedStream[Any, V]: ...
    def group_by(
        self, by: Callable[[V], Any] | str | Expr, *, name: str | None = None
    ) -> GroupedStream[Any, V]:
        """Groups by `by(value)`, the field of that name or a column: `key_by`, `group_by_key`."""
        return self.key_by(by, name=name).group_by_key()

    def group_by_key(self) -> GroupedStream[K, V]:
        """Groups by the key; if it was changed, the records meet through a repartition topic."""
        return GroupedStream(self.flow)

    def peek(self, function: Callable[[K, V], object], *, name: str | None = None) -> Stream[K, V]:
        """Calls `function(key, value)` for its side effect, which a crash may repeat."""
        called = checked_function("peek", function, "key, value")
        return Stream(self.flow.then("peek", Peek(called), name))

    def for_each(self, function: Callable[[K, V], object], *, name: str | None = None) -> None:
        """As `peek`, at the end of a stream."""
        called = checked_function("for_each", function, "key, value")
        self.flow.then("for-each", Peek(called), name)

    def on_error(self, policy: OnError) -> Stream[K, V]:
        """Says what happens to records that fail in the steps from here on; up to a merge.

        Args:
            policy: `fail`, `skip` or `dead-letter`, before the source's and that of the settings;
                or a function of the error and the record, as it came to the step, that returns
                one of these, None for what would be without it, or, where the step has no state,
                a `Record` to go on with in its place. It may be called again for the same record.
        """
        if callable(policy):
            checked_function("on_error", policy, "error, record")
        else:
            check_choice("on_error", policy, get_args(Policy))
        return Stream(replace(self.flow, on_error=policy))

    def print(self, label: str | None = None) -> Stream[K, V]:
        """Prints each record as `label: key → value`."""
        shown = label or self.flow.label or self.flow.edge.node.name
        return Stream(self.flow.then("print", Peek(_Printer(shown)), None))

    def branch(self, *predicates: Callable[[V], object]) -> tuple[Stream[K, V], ...]:
        """One stream for each predicate, and a last one for the rest.

        Each record goes to the first predicate that accepts its value.
        """
        names = [str(number) for number, _ in enumerate(predicates, 1)]
        return tuple(Stream(replace(flow, label=None)) for flow in self._split(names, predicates))

    def split(self, **predicates: Callable[[V], object]) -> dict[str, Stream[K, V]]:
        """As `branch`, with names: `split(big=..., small=...)`; the rest is called `default`."""
        if "default" in predicates:
            raise TopologyError("split: the branch for the rest is 'default'; name yours otherwise")
        label = self.flow.label
        flows = self._split(list(predicates), tuple(predicates.values()))
        return {
            name: Stream(replace(flow, label=label and f"{label}-{name}"))
            for name, flow in zip((*predicates, "default"), flows, strict=True)
        }

    def _split(
        self, names: list[str], predicates: tuple[Callable[[V], object], ...]
    ) -> Iterator[Flow]:
        for predicate in predicates:
            checked_function("a branch", predicate, "value")
        outputs = (*names, "default")
        builder = self.flow.builder
        node = builder.step(
            "split",
            (self.flow.edge,),
            Split(predicates),
            outputs=outputs,
            on_error=self.flow.on_error,
        )
        return (replace(self.flow, edge=Edge(node, port)) for port, _ in enumerate(outputs))

    def merge(self, *others: Stream[K, V], name: str | None = None) -> Stream[K, V]:
        """The records of this stream and the others; those made of one record stay in order."""
        for other in others:
            if not isinstance(cast("object", other), Stream):
                raise TopologyError(
                    f"merge: give streams, not {told(other)}; a table has its changes as a stream, "
                    "table.to_stream()"
                )
        flows = (self.flow, *(other.flow for other in others))
        if any(flow.builder is not self.flow.builder for flow in flows):
            raise TopologyError("merge: the streams belong to different topologies; use one")
        edges = tuple(flow.edge for flow in flows)
        node = self.flow.builder.step("merge", edges, Merge(), name=name)
        settled = (flow.key for flow in flows if not flow.rekeyed)
        written = {key.placed_key("the key of a merge").name for key in settled}
        return Stream(
            Flow(
                self.flow.builder,
                Edge(node),
                Form.common(flow.key for flow in flows),
                Form.common(flow.value for flow in flows),
                name,
                len(written) > 1 or any(flow.rekeyed for flow in flows),
            )
        )

    def repartition(
        self,
        *,
        name: str | None = None,
        partitions: int | None = None,
        key: type[K] | Serde[K] | None = None,
        value: type[V] | Serde[V] | None = None,
    ) -> Stream[K, V]:
        """Sends the records through an internal topic, partitioned by their keys.

        Args:
            name: Part of the topic's name; needed where the stream has no name of its own.
            partitions: Of the topic; by default as many as the input has.
            key: Type or serde of the keys in the topic, by default as far as it is known.
            value: The same for the values.
        """
        name = self.flow.needed(name, "repartition")
        flow = self.flow.repartitioned(name, partitions=partitions, key=key, value=value)
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
        """
        if isinstance(topic, str):
            what = topic
        else:
            what, topic = "the chosen topic", checked_function("to without a name", topic, "record")
        key_serde = self.flow.key.written_key(key, f"the key of {what}")
        value_serde = self.flow.value.written_value(value, f"the value of {what}")
        flow = self.flow
        flow.builder.sink(flow.edge, topic, key_serde, value_serde, flow.on_error)

    def through(
        self,
        topic: str,
        *,
        key: type[K] | Serde[K] | None = None,
        value: type[V] | Serde[V] | None = None,
    ) -> Stream[K, V]:
        """Writes the records to a topic of your own and goes on from there."""
        flow = self.flow
        key_serde = flow.key.through_key(key, f"the key of {topic}")
        value_serde = flow.value.through_value(value, f"the value of {topic}")
        flow.builder.sink(flow.edge, topic, key_serde, value_serde, flow.on_error)
        source = flow.builder.source((topic,), key_serde, value_serde, None)
        key_form, value_form = Form(flow.key.type, key_serde), Form(flow.value.type, value_serde)
        return Stream(Flow(flow.builder, Edge(source), key_form, value_form, topic))

    def to_table(
        self,
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        key: type[K] | Serde[K] | None = None,
        value: type[V] | Serde[V] | None = None,
        ttl: str | float | None = None,
        versioned: str | float | None = None,
    ) -> Table[K, V]:
        """The last value of each key; a null value deletes it.

        Args:
            name: Of the store; needed where the stream has no name of its own.
            emit: Which changes to tell of, see `GroupedStream`.
            key: Type or serde of the keys in the store, by default as far as it is known.
            value: The same for the values.
            ttl: Time to live, such as "1d": a value is deleted when the stream time is so far
                behind its own, in effect up to a hundredth more. A record older than that is late.
            versioned: For how long to keep the history of values, such as "1h". A stream is joined
                with the value as of its record's time then, and the latest value is that of the
                highest event time, in whatever order records come. A record older than the history
                is late. Late records are left out and counted.
        """
        return kept(self.flow, name, emit, key, value, ttl, versioned)

    def deduplicate(
        self,
        *,
        within: str | float,
        by: Callable[[V], Any] | str | None = None,
        name: str | None = None,
    ) -> Stream[K, V]:
        """Drops a record if an equal one passed less than `within` of stream time before.

        Args:
            within: Such as "10s" or "1d", or seconds.
            by: Equal are records of the same key, and with `by` of the same `by(value)` or field.
            name: Of the store; needed where the stream has no name of its own.
        """
        name = self.flow.needed(name, "deduplicate", "seen")
        flow = self.flow.partitioned_by_key(name)
        key_serde = flow.key.kept_key(None, f"the key of {name}")
        value = self.flow.value
        identity = None if by is None else _Identity(getter("deduplicate: by", value, by)[0])
        span = milliseconds(within, f"within of {name}")
        operator = Deduplicate(name, span, identity, key_serde)
        spec = StoreSpec(name, bytes_serde, int64)
        return Stream(flow.then("deduplicate", operator, name, stores=(spec,)))

    def process(
        self,
        function: Callable[[Record[K, V], ProcessContext], Iterable[Record[K2, V2]] | None],
        *,
        stores: Sequence[StoreSpec[Any, Any]] = (),
        punctuators: Sequence[Punctuator[K2, V2]] = (),
        name: str | None = None,
    ) -> Stream[K2, V2]:
        """Calls a function with each record, its stores at hand; what it returns is passed on.

        Args:
            function: Takes a `Record` and a `ProcessContext`, returns records or yields them, or
                returns None. What it wrote to its stores is undone if it raises.
            stores: Stores of this step alone, made with `key_value(...)`.
            punctuators: Functions called as time goes on, see `Punctuator`.
            name: Of the step; needed with stores or punctuators where the stream has no name.
        """
        return Stream(processed(self.flow, function, stores, punctuators, name))


@dataclass(frozen=True)
class _Printer:
    label: str

    def __call__(self, key: object, value: object) -> None:
        print(f"{self.label}: {key} → {value}", flush=True)  # noqa: T201 - printing is its purpose


@dataclass(frozen=True)
class _Identity:
    by: Callable[[Any], Any]

    def __call__(self, value: Any) -> bytes:
        return key_json.encode(self.by(value))
