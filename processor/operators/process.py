"""The step for everything else: a user's function with stores of its own and a sense of time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar

from processor.operators.base import (
    AnyBatch,
    Clocked,
    Context,
    Outputs,
    Punctuation,
    Timed,
    checked,
)
from processor.records import Batch, K, Offset, Record, Timestamp, V
from processor.state.keyvalue import KeyValueStore, StoreSpec
from processor.state.shared import ReadOnlyStore

Clock: TypeAlias = Literal["stream", "wall"]
"""What drives a punctuation: the stream time of the task, or the clock on the wall."""

K_co = TypeVar("K_co", covariant=True)
V_co = TypeVar("V_co", covariant=True)


class GlobalTableLike(Protocol[K, V]):
    """A global table, as `Topology.global_table` gives it."""

    @property
    def store(self) -> StoreSpec[K, V]:
        """The store that holds it."""
        ...


class ProcessContext:
    """What a function given to `Stream.process` can ask for besides its record."""

    def __init__(self, context: Context, stores: frozenset[str]) -> None:
        self._context = context
        self._stores = stores
        self.stream_time = context.clock.stream_time
        """The highest timestamp of the task so far, this record included, in milliseconds."""

    @property
    def now(self) -> Timestamp:
        """The wall clock, in milliseconds, as of the last turn of the worker's loop."""
        return self._context.clock.now

    def store(self, spec: StoreSpec[K, V]) -> KeyValueStore[K, V]:
        """The store of this task; it has to be among the `stores=` of the step.

        In Kafka Streams: `ProcessorContext#getStateStore`.

        Args:
            spec: What `key_value` gave.

        Returns:
            The store, to be used during this call alone.

        Raises:
            KeyError: The step was not given this store.
        """
        if spec.name not in self._stores:
            raise KeyError(f"this step has no store {spec.name!r}: give it to process(stores=...)")
        return self._context.stores[spec.name].view

    def table(self, table: GlobalTableLike[K, V]) -> ReadOnlyStore[K, V]:
        """What a global table has by now.

        Args:
            table: What `Topology.global_table` gave.

        Returns:
            The table, which can be read only.

        Raises:
            KeyError: The topology does not have it.
        """
        return self._context.shared[table.store.name]


@dataclass(frozen=True)
class Punctuator(Generic[K_co, V_co]):
    """A function called each time a clock enters a new multiple of `every` milliseconds.

    It is given that multiple, and called once even if the clock jumped over several.

    Args:
        every: Milliseconds between two calls.
        function: Takes the multiple, in milliseconds, and a `ProcessContext`; returns records,
            yields them, or returns None.
        clock: `stream`: event time. `wall`: the clock on the wall.
    """

    every: int
    function: Callable[[Timestamp, ProcessContext], Iterable[Record[K_co, V_co]] | None]
    clock: Clock = "stream"

    def due(self, since: Timestamp, now: Timestamp) -> Timestamp | None:
        """The multiple that the clock has entered since then, or None.

        Args:
            since: Where the clock was, milliseconds.
            now: Where it is, milliseconds.

        Returns:
            The multiple, milliseconds.
        """
        time = now // self.every * self.every
        return Timestamp(time) if since >= 0 and since < time <= now else None


@dataclass(frozen=True)
class Process(Timed, Clocked):
    """Calls a function with each record, and punctuators when their time has come.

    A stream-time punctuation comes before the record that brought its time, wherever batches end:
    a replay in other batches does the same.
    """

    heeds_time: ClassVar[bool] = True

    name: str
    function: Callable[[Record[Any, Any], ProcessContext], Iterable[Record[Any, Any]] | None]
    stores: frozenset[str]
    punctuators: tuple[Punctuator[Any, Any], ...] = ()

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: what the function and the punctuators return, in order."""
        run = _Run(self, context)
        times = context.clock.times(batch)
        context.call(run.record, batch, batch.records(), batch.offsets, times)
        return (run.output(),)

    def advance(self, context: Context) -> AnyBatch | None:
        """Punctuations whose time came with records that did not reach this step."""
        run = _Run(self, context)
        run.until(context.clock.end_time)
        return run.output()

    def tick(self, since: Timestamp, context: Context) -> AnyBatch | None:
        """Punctuations by the wall clock."""
        run = _Run(self, context)
        for number, punctuator in enumerate(self.punctuators):
            due = punctuator.due(since, context.clock.now)
            if punctuator.clock == "wall" and due is not None:
                run.punctuate(number, due)
        return run.output()


class _Run:
    """One batch's way through the step: the outputs so far, and how far stream time has come."""

    def __init__(self, step: Process, context: Context) -> None:
        self._step = step
        self._context = context
        self._view = ProcessContext(context, step.stores)
        self._view.stream_time = context.clock.reached.get(step.name, context.clock.stream_time)
        self._by_stream = [
            number for number, p in enumerate(step.punctuators) if p.clock == "stream"
        ]
        self._records: list[Record[Any, Any]] = []
        self._offsets: list[Offset] = []

    def record(self, record: Record[Any, Any], offset: Offset, time: Timestamp) -> None:
        if time > self._view.stream_time:
            self.until(time)
        self._add(self._step.function(record, self._view), offset)

    def until(self, time: Timestamp) -> None:
        """Lets the stream time come to `time`, record by record, with the punctuations on the way.

        Records that do not reach this step count as well: one at a time they would let it pass.
        """
        view = self._view
        if self._by_stream:
            for moment in (*self._context.clock.moments(view.stream_time, time), time):
                for number in self._by_stream:
                    due = self._step.punctuators[number].due(view.stream_time, moment)
                    if due is not None:
                        self.punctuate(number, due)
                view.stream_time = moment
        view.stream_time = self._context.clock.reached[self._step.name] = time

    def punctuate(self, number: int, due: Timestamp) -> None:
        context, punctuation = self._context, Punctuation(self._step.name, number, due)
        if punctuation in context.failures.skip:
            return
        context.failures.punctuated.append(punctuation)
        try:
            outputs = self._step.punctuators[number].function(due, self._view)
            self._add(outputs, context.clock.crossing(due))
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises
            context.failures.failed.append((punctuation, error))

    def _add(self, outputs: Iterable[Record[Any, Any]] | None, offset: Offset) -> None:
        if outputs is not None:
            made = [checked(record) for record in outputs]  # all of them, or it raises
            self._records += made
            self._offsets += [offset] * len(made)

    def output(self) -> AnyBatch:
        records = self._records
        headers = [record.headers for record in records]
        return Batch(
            [record.key for record in records],
            [record.value for record in records],
            [record.timestamp for record in records],
            self._offsets,
            headers if any(headers) else None,
        )
