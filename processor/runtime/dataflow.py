"""Runs batches through the nodes of a subtopology: the engine between sources and sinks.

Nodes are taken in the order of the graph, each once, so that a node with several parents sees
their rows together and in the order of the records they come from: the results are those of one
record at a time, wherever a batch begins and ends. Where rows of several sources may change a store
and read it in another step, as in a join of a stream with a table, they go in as many pieces as
they alternate; where rows of one source may, as in a join with a table made of the same topic, they
go one by one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from processor.attempt import Fault
from processor.operators.base import (
    AnyBatch,
    Clocked,
    Context,
    Holding,
    Operator,
    Outputs,
    Reporting,
    Timed,
    of_parent,
)
from processor.operators.changes import CHANGES, ChangeOperator
from processor.operators.event_time import InvalidTimestampError
from processor.options import TopicLimits
from processor.records import (
    LATEST,
    Headers,
    Offset,
    Policy,
    RawBatch,
    Record,
    Timestamp,
    in_order,
)
from processor.runtime.copies import copied
from processor.runtime.handling import by_number, process, renumbered, with_policy
from processor.runtime.progress import stamped
from processor.serdes import decode_column, encode_column
from processor.topology.builder import check_name
from processor.topology.graph import (
    Edge,
    Node,
    Sink,
    Source,
    Step,
    TopicChoice,
)
from processor.topology.plan import Subtopology

_INVALID = ("the record's timestamp is after the year 9997", "the record has no timestamp")
Kind = TypeVar("Kind", bound=Operator)

_TOPIC_LENGTH = 249  # the broker's own limit


Entries: TypeAlias = Mapping[Edge, AnyBatch]
"""Rows by where they stand: at a source, or after a step whose output they are."""


class OversizedError(ValueError):
    """A record is larger than what the producer may send."""


class RefusedTimeError(ValueError):
    """A record's time is further from the clock than its topic takes."""


_BEFORE, _AFTER = "message.timestamp.before.max.ms", "message.timestamp.after.max.ms"
_REFUSED_TIME = "the time is further from the clock than {} takes, by its setting {}"

NO_LIMITS: Mapping[str, TopicLimits] = MappingProxyType({})


def nobody(_step: str) -> None:
    """Hears of no step."""


@dataclass(frozen=True, slots=True)
class Output:
    """Records for a topic."""

    topic: str
    records: RawBatch


class Dataflow:
    """The nodes of one subtopology, ready to run batches for any of its tasks.

    Args:
        part: The subtopology.
        max_record_bytes: Larger records are refused by the broker, so they are bad records here.
        reserved: Topics that no choice of a user's function may name.
        followed: Topics in which records carry the stream time that they count for.
        limits: Of the topics that refuse some records.
        on_step: Called with the name of each node that begins to work, and "" when none does.
    """

    def __init__(
        self,
        part: Subtopology,
        max_record_bytes: int,
        reserved: frozenset[str] = frozenset(),
        followed: frozenset[str] = frozenset(),
        limits: Mapping[str, TopicLimits] = NO_LIMITS,
        on_step: Callable[[str], None] = nobody,
    ) -> None:
        self.on_step = on_step
        self._limits = limits
        self._nodes = part.nodes
        read = {edge for node in part.nodes for edge in node.parents}
        self._ports_read = {
            node: frozenset(edge.port for edge in read if edge.node is node) for node in part.nodes
        }
        self._copies = _copies(part.nodes)
        self._max_record_bytes = max_record_bytes
        self._reserved = reserved
        self.max_data_bytes = max_record_bytes - record_bytes(None, None)
        """Of a record's key and value together."""
        self.sources = {topic: source for source in part.sources for topic in source.topics}
        self.tables = _steps_of(part, Reporting)
        self.clocked = _steps_of(part, Clocked)
        self.paired = frozenset(
            edge.node.name
            for node in self._nodes
            for edge in node.parents
            if edge.port == CHANGES and _makes_table(edge.node)
        )
        """The tables whose changes are read, by the names of their steps."""
        self.delays = _behind(part.nodes, lambda operator: operator.longest_wait)
        """How far the stream time of steps is behind that of the task, by their names."""
        sinks = [node for node in part.nodes if isinstance(node, Sink)]
        lags = _behind(part.nodes, lambda operator: operator.longest_lag)
        self.followed: Mapping[str, int] = {
            node.topic: lags[node.name]
            for node in sinks
            if isinstance(node.topic, str) and node.topic in followed
        }
        """How far what is written to such a topic may be behind the stream time of the task."""
        self.timed = _steps_of(part, Timed)
        self._apart: dict[frozenset[Node], bool] = {}
        self.held = _steps_of(part, Holding)
        self.stateless = frozenset(node.name for node in takewhile(self._is_stateless, self._nodes))
        """The nodes before the first with state: what a row meets there depends on it alone."""
        steps = [node for node in part.nodes if isinstance(node, Step)]
        self.policies: Mapping[str, Policy] = {
            step.name: step.on_bad_record
            for step in steps
            if step.on_bad_record is not None and not callable(step.on_bad_record)
        }
        """Of the steps that have one of their own, and no handler."""

    @property
    def heeds_order(self) -> bool:
        """Whether results depend on the order in which records of several partitions come."""
        return len(self.stateless) < len(self._nodes)

    def _is_stateless(self, node: Node) -> bool:
        return not isinstance(node, Step) or not (node.stores or node in self.timed)

    def _is_apart(self, entered: frozenset[Node]) -> bool:
        """Whether rows that enter there may change a store that others of them read elsewhere."""
        if (known := self._apart.get(entered)) is None:
            known = self._apart[entered] = self._meet(entered)
        return known

    def _meet(self, entered: frozenset[Node]) -> bool:
        with_time = self.timed if any(isinstance(node, Source) for node in entered) else ()
        met = set(entered)
        for node in self._nodes:
            if node in with_time or any(edge.node in met for edge in node.parents):
                met.add(node)
        steps = [node for node in met if isinstance(node, Step)]
        changed = {spec.name for step in steps if step not in entered for spec in step.stores}
        return any(
            read.store in changed and step.parents[read.parent].node in met
            for step in steps
            for read in step.reads
        )

    def decode(self, source: Source, records: RawBatch, context: Context) -> AnyBatch:
        """The records with keys and values from their bytes; those that fail are rejected."""
        context.enter_step(source.name)
        self.on_step(source.name)
        batch = records
        if source.time is None:
            batch = self._with_times(batch, context)
        keys, faults = decode_column(source.key, batch.keys)
        batch = context.reject(batch, faults, "decode") if faults else batch
        values, bad = decode_column(source.value, batch.values)
        decoded = batch.with_keys(keys)
        if bad:
            decoded = context.reject(decoded, bad, "decode")
        rows = decoded.with_values(values)
        return rows if source.time is None else source.time.apply(rows, context)

    def _with_times(self, batch: RawBatch, context: Context) -> RawBatch:
        """The records with a timestamp that can be an event time."""
        times = batch.timestamps
        if min(times, default=0) >= 0 and max(times, default=0) < LATEST:
            return batch
        faults = [
            Fault(row, InvalidTimestampError(_INVALID[time < 0]))
            for row, time in enumerate(times)
            if not 0 <= time < LATEST
        ]
        return context.reject(batch, faults, "timestamp")

    def times(self, source: Source, records: RawBatch, context: Context) -> Sequence[Timestamp]:
        """The event times of records as far as they have one, otherwise their own timestamps."""
        if source.time is None:
            return records.timestamps
        known = len(context.failures.rejected)
        numbered = records.numbered()
        decoded = self.decode(source, numbered, context)
        del context.failures.rejected[known:]
        times = list(records.timestamps)
        for row, time in zip(decoded.offsets, decoded.timestamps, strict=True):
            times[row] = time
        return times

    def run(self, entries: Entries, context: Context, *, advance: bool) -> list[Output]:
        """What the sinks are given when rows come out of where they stand.

        Args:
            entries: Decoded rows.
            context: Of the task; has the rows that were rejected afterwards.
            advance: Whether the rows let the stream time go on.
        """
        pieces = self._pieces(entries)
        if len(pieces) == 1:
            return _joined(self._pass(entries, context, advance=advance))
        outputs: list[Output] = []
        before = context.clock.task_time
        try:
            for piece in pieces:
                outputs += self._pass(piece, context, advance=advance)
                context.clock.task_time = context.clock.end_task_time
        finally:  # what time it is afterwards is the task's to decide
            context.clock.task_time = before
            context.clock.enter(entries.values(), advance=advance)
        return _joined(outputs)

    def _pieces(self, entries: Entries) -> Sequence[Entries]:
        """The rows as they go through: all at once, unless some would meet what later ones do."""
        if not self._is_apart(frozenset(edge.node for edge in entries)):
            return [entries]
        if len(entries) == 1:
            ((edge, batch),) = entries.items()
            return [{edge: batch.take([row])} for row in range(len(batch))] or [entries]
        return [piece for run in _runs(entries) for piece in self._pieces(run)]

    def _pass(self, entries: Entries, context: Context, *, advance: bool) -> list[Output]:
        context.clock.enter(entries.values(), advance=advance)
        flows: dict[Edge, AnyBatch] = {}
        for edge, batch in entries.items():
            flows |= self._from_entry(edge, batch, context)
        outputs: list[Output] = []
        for node in self._nodes:
            inputs = _inputs(node, flows, self._copies[node])
            self.on_step(node.name)
            if isinstance(node, Step):
                flows |= _from(node, self._step(node, inputs, context, advance=advance))
            elif isinstance(node, Sink) and inputs:
                outputs += self._sink(node, in_order(inputs), context)
        self.on_step("")
        return outputs

    def _from_entry(self, entry: Edge, batch: AnyBatch, context: Context) -> Entries:
        if not isinstance(entry.node, Step):
            return {entry: batch}
        context.enter_step(entry.node.name)
        return _from(entry.node, entry.node.operator.ports(batch, context))

    def _step(
        self, node: Step, inputs: list[AnyBatch], context: Context, *, advance: bool
    ) -> Outputs:
        context.enter_step(node.name)
        context.ports_read = self._ports_read[node]
        made: Outputs = ()
        if inputs:
            simple = self._is_stateless(node)
            made = process(node, in_order(inputs), context, is_stateless=simple)
        if advance and (timed := self.timed.get(node)) is not None:
            later = timed.advance(context)
            if later is not None and len(later):
                ports = node.operator.ports(later, context)
                made = (*map(_before, made, ports), *made[len(ports) :]) if made else ports
        return made

    def _sink(self, node: Sink, batch: AnyBatch, context: Context) -> list[Output]:
        context.enter_step(node.name)
        outputs = self._written(node, batch, context)
        if not isinstance(node.topic, str) or (lag := self.followed.get(node.topic)) is None:
            return outputs
        made = (output.records for output in outputs)
        return [Output(node.topic, stamped(rows, context.clock.places(rows, lag))) for rows in made]

    def _written(self, node: Sink, batch: AnyBatch, context: Context) -> list[Output]:
        def work(rows: AnyBatch) -> list[Output]:
            return self._encode(node, rows, context, batch.offsets)

        def add(made: list[Output], fixed: AnyBatch) -> list[Output]:
            return _joined([*made, *work(fixed)])

        if not callable(node.on_bad_record):
            return with_policy(
                node.on_bad_record, batch, context, lambda rows: self._encode(node, rows, context)
            )
        made = by_number(node.on_bad_record, batch, context, work, add)
        return [Output(each.topic, renumbered(each.records, batch.offsets)) for each in made]

    def _encode(
        self,
        sink: Sink,
        batch: AnyBatch,
        context: Context,
        offsets: Sequence[Offset] | None = None,
    ) -> list[Output]:
        """The rows as they are written.

        Args:
            sink: Where.
            batch: The rows.
            context: Of the task.
            offsets: If rows go by their numbers, the offsets that these stand for.
        """
        if isinstance(sink.topic, str):
            raw = self._bytes(sink, batch, context)
            return [Output(sink.topic, self._taken(sink.topic, raw, context, offsets))]
        topics, batch = context.call(_chosen_by(sink.topic, self._reserved), batch, batch.records())
        chosen = {topic: [each == topic for each in topics] for topic in dict.fromkeys(topics)}
        made = {
            topic: self._bytes(sink, batch.select(mask), context) for topic, mask in chosen.items()
        }
        return [
            Output(topic, self._taken(topic, raw, context, offsets)) for topic, raw in made.items()
        ]

    def _taken(
        self, topic: str, raw: RawBatch, context: Context, offsets: Sequence[Offset] | None
    ) -> RawBatch:
        """The records without those that the topic is known to refuse."""
        if (limits := self._limits.get(topic)) is not None and len(raw):
            raw = _within(limits, topic, raw, context)
        if (refused := context.failures.refused) is None or not len(raw):
            return raw
        numbers = raw.offsets if offsets is None else [offsets[each] for each in raw.offsets]
        faults = refused.faults(topic, raw, numbers)
        return context.reject(raw, faults, "refused") if faults else raw

    def _bytes(self, sink: Sink, batch: AnyBatch, context: Context) -> RawBatch:
        keys, faults = encode_column(sink.key, batch.keys)
        batch = context.reject(batch, faults, "serialize") if faults else batch
        values, faults = encode_column(sink.value, batch.values)
        raw: RawBatch = batch.with_keys(keys)
        if faults:
            raw = context.reject(raw, faults, "serialize")
        return self._sized(raw.with_values(values), context)

    def _sized(self, raw: RawBatch, context: Context) -> RawBatch:
        """The records that are not too large; each is measured only where one might be."""
        limit = self._max_record_bytes
        if raw.headers is None and record_bytes(_longest(raw.keys), _longest(raw.values)) <= limit:
            return raw
        headers = raw.headers or ((),) * len(raw)
        sizes = map(record_bytes, raw.keys, raw.values, headers)
        faults = [
            Fault(row, OversizedError(f"the record has {size} bytes, of {limit} that may be sent"))
            for row, size in enumerate(sizes)
            if size > limit
        ]
        return context.reject(raw, faults, "too-large") if faults else raw


def _within(limits: TopicLimits, topic: str, raw: RawBatch, context: Context) -> RawBatch:
    """The records that are within the limits; each is looked at only where one might not be."""
    if record_bytes(_longest(raw.keys), _longest(raw.values)) > limits.bytes:
        headers = raw.headers or ((),) * len(raw)
        sizes = map(record_bytes, raw.keys, raw.values, headers)
        faults = [
            Fault(row, OversizedError(f"{size} bytes; {topic} takes {limits.bytes}"))
            for row, size in enumerate(sizes)
            if size > limits.bytes
        ]
        raw = context.reject(raw, faults, "too-large") if faults else raw
    times, first, last = (
        raw.timestamps,
        context.clock.now - limits.before,
        context.clock.now + limits.after,
    )
    is_late = first > 0 and min(times, default=last) < first
    if context.clock.now < 0 or not (is_late or max(times, default=0) > last):
        return raw
    faults = [
        Fault(
            row, RefusedTimeError(_REFUSED_TIME.format(topic, _BEFORE if time < first else _AFTER))
        )
        for row, time in enumerate(times)
        if not first <= time <= last
    ]
    return context.reject(raw, faults, "timestamp")


def _runs(entries: Entries) -> Iterator[Entries]:
    """The rows in order, as many at once as stand at the same place."""
    rows = sorted(
        (offset, number, row)
        for number, batch in enumerate(entries.values())
        for row, offset in enumerate(batch.offsets)
    )
    edges = list(entries)
    for number, run in groupby(rows, lambda each: each[1]):
        yield {edges[number]: entries[edges[number]].take([row for _, _, row in run])}


def _copies(nodes: Sequence[Node]) -> Mapping[Node, frozenset[Edge]]:
    """The outputs of which each step gets copies: all but the last who reads them."""
    last = {_source_of(edge): node for node in nodes for edge in node.parents}
    return {
        node: frozenset(
            edge
            for edge in node.parents
            if isinstance(node, Step) and last[_source_of(edge)] is not node
        )
        for node in nodes
    }


def _source_of(edge: Edge) -> Node | Edge:
    """Where the values are from: both outputs of a table have the same ones."""
    return edge.node if _makes_table(edge.node) else edge


def _inputs(node: Node, flows: Mapping[Edge, AnyBatch], copies: frozenset[Edge]) -> list[AnyBatch]:
    """The rows of each parent that has any."""
    inputs = [
        (number, copied(rows) if edge in copies or edge in node.parents[:number] else rows)
        for number, edge in enumerate(node.parents)
        if (rows := flows.get(edge)) is not None
    ]
    if isinstance(node, Step) and node.operator.sided:
        return [of_parent(number, rows) for number, rows in inputs]
    return [rows for _, rows in inputs]


def _makes_table(node: Node) -> bool:
    return isinstance(node, Step) and isinstance(node.operator, ChangeOperator)


def _from(node: Node, made: Outputs) -> dict[Edge, AnyBatch]:
    return {Edge(node, port): rows for port, rows in enumerate(made) if len(rows)}


def _before(made: AnyBatch, later: AnyBatch) -> AnyBatch:
    """What time brings comes before what the record brings that has let it pass."""
    return in_order([later, made])


def _chosen_by(choice: TopicChoice, reserved: frozenset[str]) -> TopicChoice:
    """The user's choice, or an error where it can't be a topic of the user's."""
    known: set[str] = set()

    def choose(record: Record[Any, Any]) -> str:
        topic = choice(record)
        if topic not in known:
            check_name("topic", topic, _TOPIC_LENGTH)
            if topic in reserved:
                raise ValueError(f"topic {topic!r} is an internal one of the application")
            known.add(topic)
        return topic

    return choose


def _longest(column: Sequence[bytes | None]) -> bytes:
    return max(filter(None, column), key=len, default=b"")


def record_bytes(key: bytes | None, value: bytes | None, headers: Headers = ()) -> int:
    """The record's size as the producer counts it, with its overhead rounded up."""
    named = sum(len(name) + len(data or b"") + 10 for name, data in headers)
    return len(key or b"") + len(value or b"") + named + 100


def _joined(outputs: list[Output]) -> list[Output]:
    """One output for each topic, in the order of the records."""
    topics: dict[str, list[RawBatch]] = {}
    for output in outputs:
        if len(output.records):
            topics.setdefault(output.topic, []).append(output.records)
    return [Output(topic, in_order(batches)) for topic, batches in topics.items()]


def _behind(nodes: Sequence[Node], of_step: Callable[[Operator], int]) -> Mapping[str, int]:
    """What all steps on any way to a node add up to at most, by the names of the nodes."""
    found: dict[str, int] = {}
    for node in nodes:
        ways = (found[each.node.name] + _of(each.node, of_step) for each in node.parents)
        found[node.name] = max(ways, default=0)
    return found


def _of(node: Node, of_step: Callable[[Operator], int]) -> int:
    return of_step(node.operator) if isinstance(node, Step) else 0


def _steps_of(part: Subtopology, kind: type[Kind]) -> Mapping[Step, Kind]:
    """The steps of a kind, in the order of the graph, with their operators."""
    steps = (node for node in part.nodes if isinstance(node, Step))
    return {step: step.operator for step in steps if isinstance(step.operator, kind)}
