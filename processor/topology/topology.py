"""Topology: where a dataflow begins, and what a topology file defines."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, TypeAlias, cast, get_args, overload

from processor.durations import Duration, milliseconds
from processor.errors import TopologyError
from processor.operators.aggregates.by_key import Emit
from processor.operators.event_time import EventTime, InvalidTimestamp, WallClock
from processor.operators.process import Clock, ProcessContext, Punctuator
from processor.records import (
    K2,
    V2,
    K,
    Policy,
    Record,
    Timestamp,
    V,
)
from processor.serdes import (
    Serde,
    for_topic,
    kept_key_serde_for,
    kept_serde_for,
    key_serde_for,
    serde_for,
)
from processor.state.keyvalue import StoreSpec
from processor.topology.builder import Builder, check_choice
from processor.topology.flow import Flow
from processor.topology.form import Form
from processor.topology.functions import checked_function
from processor.topology.global_table import GlobalTable
from processor.topology.graph import (
    Edge,
)
from processor.topology.stream import Stream
from processor.topology.table import Table

EventTimeOf: TypeAlias = str | Callable[[V], int | datetime | str] | WallClock | None
"""What gives a stream's event time; see `Topology.stream`."""


@dataclass(frozen=True)
class SampleData:
    """Records for an empty input topic, for `kproc run --dev` and demonstrations."""

    topic: str
    records: Callable[[], Iterable[Record[Any, Any]]]
    count: int | None
    key: Serde[Any]
    value: Serde[Any]


class Topology:
    """A dataflow under a name: the application's, and so that of its group, topics and state.

    A record that can't be decoded, or for which a step fails, is a bad record. By policy it stops
    the worker (`fail`), is dropped (`skip`) or goes to the topic `<name>-dead-letters`
    (`dead-letter`, the default); it is counted each time, and leaves no other trace: no output and
    no change of state.

    Args:
        name: Of the application.
        settings: Defaults of this topology for any setting of `kproc config`; a kproc.toml, the
            environment and the command line go before them.
    """

    def __init__(self, name: str, *, settings: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.settings: Mapping[str, Any] = dict(settings or {})
        self._builder = Builder(name)
        self.samples: list[SampleData] = []

    def __repr__(self) -> str:
        return f"Topology({self.name!r}, {len(self._builder.nodes)} nodes)"

    @overload
    def stream(
        self,
        *topics: str,
        on_bad_record: Policy | None = None,
        timestamp: EventTimeOf[Any] = None,
        on_invalid_timestamp: InvalidTimestamp = "reject",
    ) -> Stream[str, Any]: ...
    @overload
    def stream(
        self,
        *topics: str,
        value: type[V] | Serde[V],
        on_bad_record: Policy | None = None,
        timestamp: EventTimeOf[V] = None,
        on_invalid_timestamp: InvalidTimestamp = "reject",
    ) -> Stream[str, V]: ...
    @overload
    def stream(
        self,
        *topics: str,
        key: type[K] | Serde[K],
        on_bad_record: Policy | None = None,
        timestamp: EventTimeOf[Any] = None,
        on_invalid_timestamp: InvalidTimestamp = "reject",
    ) -> Stream[K, Any]: ...
    @overload
    def stream(
        self,
        *topics: str,
        key: type[K] | Serde[K],
        value: type[V] | Serde[V],
        on_bad_record: Policy | None = None,
        timestamp: EventTimeOf[V] = None,
        on_invalid_timestamp: InvalidTimestamp = "reject",
    ) -> Stream[K, V]: ...
    def stream(
        self,
        *topics: str,
        key: Any = str,
        value: Any = Any,
        on_bad_record: Policy | None = None,
        timestamp: EventTimeOf[Any] = None,
        on_invalid_timestamp: InvalidTimestamp = "reject",
    ) -> Stream[Any, Any]:
        """The records of one or several topics.

        Example: `topology.stream("orders", value=Order)`.
        In Kafka Streams: `StreamsBuilder#stream`; for `timestamp`, `TimestampExtractor`.

        Args:
            topics: Their names; several are read as one stream, in no order between them.
            key: Type or serde of the keys; by default text.
            value: Type or serde of the values: bytes, str, int, float (as Kafka's serializers write
                them), a pydantic model, dataclass, msgspec Struct or TypedDict (JSON); by default
                any JSON.
            on_bad_record: For what can't be decoded, instead of the setting of that name.
            timestamp: The event time, by default the record's timestamp: a field's name, or a
                function of the value that gives milliseconds since 1970, a datetime with a time
                zone or its text in ISO 8601, or `wall_clock`. Records without a value keep theirs.
            on_invalid_timestamp: For a value that gives no such time: `reject`, which makes it a
                bad record, or `record-time`, which takes the record's timestamp.

        Returns:
            The stream of the records.

        Raises:
            TopologyError: No topic, a malformed name, or a topic that is read already otherwise.
        """
        return self._source(topics, key, value, on_bad_record, timestamp, on_invalid_timestamp)

    @overload
    def table(
        self,
        topic: str,
        *,
        name: str | None = None,
        emit: Emit = "checkpoint",
        ttl: Duration | None = None,
        versioned: Duration | None = None,
    ) -> Table[str, Any]: ...
    @overload
    def table(
        self,
        topic: str,
        *,
        value: type[V] | Serde[V],
        name: str | None = None,
        emit: Emit = "checkpoint",
        ttl: Duration | None = None,
        versioned: Duration | None = None,
    ) -> Table[str, V]: ...
    @overload
    def table(
        self,
        topic: str,
        *,
        key: type[K] | Serde[K],
        name: str | None = None,
        emit: Emit = "checkpoint",
        ttl: Duration | None = None,
        versioned: Duration | None = None,
    ) -> Table[K, Any]: ...
    @overload
    def table(
        self,
        topic: str,
        *,
        key: type[K] | Serde[K],
        value: type[V] | Serde[V],
        name: str | None = None,
        emit: Emit = "checkpoint",
        ttl: Duration | None = None,
        versioned: Duration | None = None,
    ) -> Table[K, V]: ...
    def table(
        self,
        topic: str,
        *,
        key: Any = str,
        value: Any = Any,
        name: str | None = None,
        emit: Emit = "checkpoint",
        ttl: Duration | None = None,
        versioned: Duration | None = None,
    ) -> Table[Any, Any]:
        """The last value of each key of a topic; a null value deletes it.

        See `stream` for the topic, and `Stream.to_table` for the table.

        Example: `topology.table("customers", value=Customer)`.
        In Kafka Streams: `StreamsBuilder#table`.

        Args:
            topic: Its name; the topic should be compacted.
            key: Type or serde of the keys; by default text.
            value: Type or serde of the values; by default any JSON.
            name: Of the store, by default made of the topic's.
            emit: Which changes to emit, see `GroupedStream`.
            ttl: Time to live, a duration, see `Stream.to_table`.
            versioned: For how long to keep the history of values, a duration, see
                `Stream.to_table`.

        Returns:
            The table.

        Raises:
            TopologyError: A malformed or taken name, or a topic that is read already.
        """
        source = self._source((topic,), key, value, None)
        return source.to_table(name=name, emit=emit, ttl=ttl, versioned=versioned)

    @overload
    def global_table(self, topic: str, *, name: str | None = None) -> GlobalTable[str, Any]: ...
    @overload
    def global_table(
        self, topic: str, *, value: type[V] | Serde[V], name: str | None = None
    ) -> GlobalTable[str, V]: ...
    @overload
    def global_table(
        self, topic: str, *, key: type[K] | Serde[K], name: str | None = None
    ) -> GlobalTable[K, Any]: ...
    @overload
    def global_table(
        self,
        topic: str,
        *,
        key: type[K] | Serde[K],
        value: type[V] | Serde[V],
        name: str | None = None,
    ) -> GlobalTable[K, V]: ...
    def global_table(
        self, topic: str, *, key: Any = str, value: Any = Any, name: str | None = None
    ) -> GlobalTable[Any, Any]:
        """The last value of each key of a topic, all of it in every worker; see `GlobalTable`.

        A record of the topic that has no key, or can't be decoded, is left out and reported in the
        log.

        Example: `topology.global_table("countries", value=Country)`.
        In Kafka Streams: `StreamsBuilder#globalTable`.

        Args:
            topic: Its name; the topic should be compacted.
            key: Type or serde of the keys, as for `stream`.
            value: Type or serde of the values, as for `stream`.
            name: Of the store, by default made of the topic's.

        Returns:
            The global table.

        Raises:
            TopologyError: A malformed or taken name, or a topic that is read already.
        """
        key_serde = key_serde_for(key, what=f"the key of {topic}")
        value_serde = serde_for(value, what=f"the value of {topic}")
        store = StoreSpec(f"{topic}-global" if name is None else name, key_serde, value_serde)
        self._builder.global_table(topic, store)
        return GlobalTable(self._builder, topic, store)

    def sample_data(
        self,
        topic: str,
        records: Callable[[], Iterable[Record[Any, Any]]],
        *,
        count: int | None = None,
        key: Any = str,
        value: Any = Any,
    ) -> None:
        """Records that `kproc run --dev` writes to the topic if it is empty, all or none.

        Args:
            topic: The input topic.
            records: Called when they are needed.
            count: How many there are, for the progress bar.
            key: Type or serde of the keys.
            value: Type or serde of the values.

        Raises:
            TopologyError: A type has no serde.
        """
        key_serde = for_topic(key_serde_for(key, what=f"the key of {topic}"), topic, "key")
        value_serde = for_topic(serde_for(value, what=f"the value of {topic}"), topic, "value")
        self.samples.append(SampleData(topic, records, count, key_serde, value_serde))

    def _source(
        self,
        topics: tuple[str, ...],
        key: Any,
        value: Any,
        policy: Policy | None,
        timestamp: EventTimeOf[Any] = None,
        invalid: InvalidTimestamp = "reject",
    ) -> Stream[Any, Any]:
        what = ", ".join(map(str, topics))
        first = topics[0] if topics else ""
        key_serde = for_topic(key_serde_for(key, what=f"the key of {what}"), first, "key")
        value_serde = for_topic(serde_for(value, what=f"the value of {what}"), first, "value")
        key_form, value_form = Form(_known(key), key_serde), Form(_known(value), value_serde)
        check_choice("on_invalid_timestamp", invalid, get_args(InvalidTimestamp))
        time = None if timestamp is None else _event_time(timestamp, value_form, invalid)
        source = self._builder.source(topics, key_serde, value_serde, policy, time)
        return Stream(
            Flow(self._builder, Edge(source), key_form, value_form, "-".join(topics), Stream)
        )


builder_of: Callable[[Topology], Builder] = attrgetter("_builder")
"""What has the nodes of a topology; users see the language alone."""


def key_value(name: str, *, key: type[K] | Serde[K], value: type[V] | Serde[V]) -> StoreSpec[K, V]:
    """A key-value store for `Stream.process`, kept in RocksDB and its changelog topic.

    Example: `key_value("last-order", key=str, value=Order)`.
    In Kafka Streams: `Stores#keyValueStoreBuilder`.

    Args:
        name: Unique in the application, and stable: state is found again by it.
        key: Type or serde of the keys.
        value: Type or serde of the values.

    Returns:
        The store, to be given to `Stream.process` and `ProcessContext.store`.

    Raises:
        TopologyError: A type has no serde.
    """
    key_serde: Serde[K] = kept_key_serde_for(key, what=f"the key of store {name}")
    value_serde: Serde[V] = kept_serde_for(value, what=f"the value of store {name}")
    return StoreSpec(name, key_serde, value_serde)


def every(
    interval: Duration,
    function: Callable[[Timestamp, ProcessContext], Iterable[Record[K2, V2]] | None],
    *,
    clock: Clock = "stream",
) -> Punctuator[K2, V2]:
    """A punctuator for `Stream.process`: calls a function as time goes on.

    Example: `every("1m", sweep, clock="wall")`.
    In Kafka Streams: `ProcessorContext#schedule`.

    Args:
        interval: Such as "10s", or seconds; the function is called when the clock enters a multiple
            of it.
        function: Takes that multiple, in milliseconds, and a `ProcessContext`.
        clock: `stream`: event time, the same in every replay. `wall`: the clock on the wall.

    Returns:
        The punctuator.

    Raises:
        UsageError: The interval is malformed.
        TopologyError: There is no such clock, or the function takes other arguments.
    """
    check_choice("clock", clock, get_args(Clock))
    checked_function("every", function, "time, context")
    return Punctuator(milliseconds(interval, "the interval of every()"), function, clock)


def _known(annotation: Any) -> Any:
    if isinstance(annotation, Serde):
        return cast("Serde[Any]", annotation).type
    return None if annotation is Any else annotation


def _event_time(given: Any, form: Form, invalid: InvalidTimestamp) -> EventTime:
    if isinstance(given, str):
        return EventTime(given, form.field(given)[0], invalid)
    if not (callable(given) or isinstance(given, WallClock)):
        raise TopologyError(
            f"timestamp={given!r}: give a field's name, a function of the value, or wall_clock"
        )
    return EventTime(given, given, invalid)
