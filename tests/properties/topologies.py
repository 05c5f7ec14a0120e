"""Random topologies, random input and random histories, for Hypothesis.

Values are small numbers, lists, dicts, texts and null; on some of them each function raises or
gives what no serde takes. Functions are pure, except that some change what they are given in place.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from hypothesis import strategies as st

from processor import Topology, every, key_value
from processor.operators.process import ProcessContext, Punctuator
from processor.records import Headers, Partition, Record, Timestamp, TopicPartition
from processor.topology.graph import Node, Step
from processor.topology.plan import Layout, lay_out, plan
from processor.topology.stream import Stream
from tests.properties.one_record import Raw
from tests.properties.policies import on_errors

AnyStream = Stream[Any, Any]
AnyRecord = Record[Any, Any]


class Poison(Exception):
    """Raised by functions on some values."""


def weigh(value: Any) -> int:
    """A number for every value."""
    match value:
        case None:
            return 1
        case bool() | int():
            return abs(int(value))
        case str():
            return len(value)
        case dict():
            return sum(map(weigh, value.values()))
        case list():
            return sum(map(weigh, value))
        case _:
            return 0


class NoJson:
    """What no serde takes."""

    def __repr__(self) -> str:
        return "NoJson"


class Fn:
    """Functions that differ by a number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.number})"

    def poison(self, value: Any) -> None:
        if weigh(value) % 11 == self.number % 11:
            raise Poison(f"{self!r} on {value!r}")


class Accepts(Fn):
    def __call__(self, value: Any) -> object:
        self.poison(value)
        return weigh(value) % 3 != self.number % 3


class NewValue(Fn):
    def __call__(self, value: Any) -> Any:
        self.poison(value)
        weight = weigh(value) + self.number
        if isinstance(value, dict):
            value["m"] = weight  # in place, as users do
            return value
        made = [weight % 17, None, f"v{weight % 5}", {"n": weight % 7}, [weight % 3], NoJson()]
        return made[weight % len(made)]


class Time(Fn):
    def __call__(self, value: Any) -> int:
        self.poison(value)
        return weigh(value) * 3 - self.number // 6


class NewKey(Fn):
    def __call__(self, value: Any) -> Any:
        self.poison(value)
        weight = weigh(value) + self.number
        made = [
            f"k{weight % 3}",
            weight % 3,
            None,
            (weight % 2, "a"),
            ("b",),
            {1},
            float(weight % 2),
        ]
        return made[weight % len(made)]


class NewPair(Fn):
    def __call__(self, key: Any, value: Any) -> tuple[Any, Any]:
        self.poison(value)
        return (key if self.number % 2 else f"k{weigh(value) % 3}"), NewValue(self.number)(value)


class Answer(NewValue):
    async def __call__(self, value: Any) -> Any:
        for _ in range(weigh(value) % 3):  # not in the order of the calls
            await asyncio.sleep(0)
        return super().__call__(value)


class Values(Fn):
    def __call__(self, value: Any) -> Iterator[Any]:
        for number in range((weigh(value) + self.number) % 4):
            yield weigh(value) + number
            self.poison(weigh(value) + number)


class Pairs(Fn):
    def __call__(self, key: Any, value: Any) -> list[tuple[Any, Any]]:
        return [(key if each % 2 else f"k{each % 3}", each) for each in Values(self.number)(value)]


class Joined(Fn):
    def __call__(self, value: Any, found: Any) -> Any:
        self.poison(value)
        return [weigh(value), found]


class Looks(Fn):
    def __call__(self, key: Any, value: Any) -> None:
        self.poison((value, key)[0])


class Adds(Fn):
    """Also changes the aggregate in place, deletes, and makes what can't be kept."""

    def __call__(self, so_far: Any, value: Any) -> Any:
        self.poison(value)
        if isinstance(so_far, NoJson):
            return so_far  # only what an aggregate is at the end of a batch has to be kept
        weight = weigh(value) + weigh(so_far)
        if weight % 13 == self.number % 13:
            return None
        if weight % 19 == self.number % 19:
            return NoJson()
        if isinstance(so_far, dict):
            so_far["n"] = weight % 23
            return so_far
        if isinstance(so_far, list):
            so_far.append(weight % 5)
            return so_far[-3:]
        return value if weight % 5 == 0 else weight % 29


class Topic(Fn):
    def __call__(self, record: AnyRecord) -> str:
        self.poison(record.value)
        return f"chosen-{(weigh(record.value) + self.number) % 2}"


class Counts(Fn):
    """A function for `process` with a store: counts, deletes, looks around, and fails late."""

    def __init__(self, number: int, store: Any) -> None:
        super().__init__(number)
        self.store = store

    def __call__(self, record: AnyRecord, context: ProcessContext) -> Iterable[AnyRecord] | None:
        store = context.store(self.store)
        name = f"{record.key}"
        store.put(name, (store.get(name) or 0) + 1)
        weight = weigh(record.value) + self.number
        if weight % 5 == 0:
            store.delete(f"k{weight % 3}")
        self.poison(record.value)
        if weight % 3 == 0:
            return None
        seen = [f"{key}={value}" for key, value in store.items(reverse=weight % 2 == 0)]
        return self.outputs(record, seen, context.stream_time)

    def outputs(self, record: AnyRecord, seen: list[str], time: int) -> Iterator[AnyRecord]:
        yield record
        self.poison(time)
        yield record._replace(value=[*seen, time])


class Punctuates(Fn):
    def __init__(self, number: int, store: Any) -> None:
        super().__init__(number)
        self.store = store

    def __call__(self, time: Timestamp, context: ProcessContext) -> list[AnyRecord]:
        store = context.store(self.store)
        store.put("punctuated", (store.get("punctuated") or 0) + 1)
        self.poison(time)
        if "k0" in store:
            store.delete("k0")
        value = NoJson() if time % 7 == self.number % 7 else [time, context.stream_time]
        return [Record("k1", value, time), Record(None, len(list(store.items())), time)]


class Case(NamedTuple):
    """A topology on a number of partitions, and what is in its input topics."""

    layout: Layout
    inputs: dict[TopicPartition, list[Raw]]

    def __repr__(self) -> str:
        nodes = [node for part in self.layout.plan.subtopologies for node in part.nodes]
        lines = [f"  {source}: {rows}" for source, rows in self.inputs.items()]
        return "\n".join(["Case", *map(_shown, nodes), *lines, ""])


def _shown(node: Node) -> str:
    parents = ", ".join(f"{edge.node.name}.{edge.port}" for edge in node.parents)
    what = node.operator if isinstance(node, Step) else getattr(node, "topic", "")
    return f"  {node.name}({parents}): {what}"


INPUTS = ("in-a", "in-b", "in-c")


class Making:
    """A topology while it is made: every stream so far can be used again."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.topology = Topology("app")
        self.streams: list[AnyStream] = []
        self.names = 0

    def name(self) -> str:
        self.names += 1
        return f"s{self.names}"

    def number(self) -> int:
        return self.draw(st.integers(0, 18))

    def emit(self) -> Any:
        return self.draw(st.sampled_from(["checkpoint", "change"]))

    def stream(self) -> AnyStream:
        return self.draw(st.sampled_from(self.streams))

    def add(self) -> None:
        step = self.draw(st.sampled_from(STEPS))
        made = step(self, self.stream())
        self.streams += made

    def sinks(self) -> None:
        for stream in self.streams[-4:]:
            topic = self.draw(st.sampled_from(["out-0", "out-1", "chosen-1", None]))
            stream.to(Topic(self.number()) if topic is None else topic)


Maker = Callable[[Making, AnyStream], list[AnyStream]]
STEPS: list[Maker] = [
    lambda m, s: [s.on_bad_record(m.draw(on_errors()))],
    lambda m, s: [s.filter(Accepts(m.number()), name=m.name())],
    lambda m, s: [s.filter_not(Accepts(m.number()), name=m.name())],
    lambda m, s: [s.map(NewPair(m.number()), name=m.name())],
    lambda m, s: [s.map_values(NewValue(m.number()), name=m.name())],
    lambda m, s: [s.flat_map(Pairs(m.number()), name=m.name())],
    lambda m, s: [s.flat_map_values(Values(m.number()), name=m.name())],
    lambda m, s: [s.key_by(NewKey(m.number()), name=m.name())],
    lambda m, s: [s.map_async(Answer(m.number()), concurrency=2, name=m.name())],
    lambda m, s: [s.enrich(Answer(m.number()), Joined(m.number()), name=m.name())],
    lambda m, s: [s.peek(Looks(m.number()), name=m.name())],
    lambda m, s: list(s.split(a=Accepts(m.number()), b=Accepts(m.number())).values()),
    lambda m, s: list(s.split(big=Accepts(m.number())).values()),
    lambda m, s: [s.merge(m.stream(), name=m.name())],
    lambda m, s: [s.repartition(name=m.name())],
    lambda m, s: [s.deduplicate(within=0.01, name=m.name())],
    lambda m, s: [s.deduplicate(within=0.02, by=NewValue(m.number()), name=m.name())],
    lambda m, s: [_process(m, s)],
    lambda m, s: [s.group_by_key().count(name=m.name(), emit=m.emit()).to_stream()],
    lambda m, s: [
        s.group_by_key().reduce(Adds(m.number()), name=m.name(), emit=m.emit()).to_stream()
    ],
    lambda m, s: [
        s.group_by_key().aggregate(dict, Adds(m.number()), name=m.name(), emit=m.emit()).to_stream()
    ],
    lambda m, s: [s.group_by(NewKey(m.number()), name=m.name()).count(emit=m.emit()).to_stream()],
    lambda m, s: [s.to_table(name=m.name(), emit=m.emit()).to_stream()],
]


def _process(making: Making, stream: AnyStream) -> AnyStream:
    name = making.name()
    store = key_value(f"{name}-store", key=str, value=int)
    punctuators: list[Punctuator[Any, Any]] = [
        every(
            making.draw(st.sampled_from([0.007, 0.01, 0.02])),
            Punctuates(making.number(), store),
            clock=clock,
        )
        for clock in making.draw(st.lists(st.sampled_from(["stream", "wall"]), max_size=2))
    ]
    return stream.process(
        Counts(making.number(), store), stores=[store], punctuators=punctuators, name=name
    )


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    making = Making(draw)
    stream = (
        making.topology.stream("in-a", "in-b")
        if draw(st.booleans())
        else making.topology.stream(
            "in-a",
            timestamp=draw(st.sampled_from([None, Time(making.number())])),
            on_invalid_timestamp=draw(st.sampled_from(["reject", "record-time"])),
        )
    )
    making.streams.append(stream)
    if draw(st.booleans()):
        making.streams.append(making.topology.table("in-c", emit=making.emit()).to_stream())
    for _ in range(draw(st.integers(1, 6))):
        making.add()
    making.sinks()
    return making.topology


def records() -> st.SearchStrategy[Raw]:
    values = [b"%d" % number for number in range(24)]
    values += [b'"a"', b'{"n":3}', b'{"n":8}', b"[1,2]", b"{", b"null"]
    headers: list[Headers] = [(), (), (("h", b"1"),), (("h", None), ("h", b"2"))]
    return st.builds(
        Record,
        st.sampled_from([b"k0", b"k0", b"k1", b"k2", None, b"\xff"]),
        st.one_of(st.sampled_from(values), st.none()),
        st.integers(-1, 60).map(Timestamp),
        st.sampled_from(headers),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    made = plan(draw(topologies()))
    partitions = draw(st.integers(1, 2))
    layout = lay_out(made, dict.fromkeys(made.inputs, partitions))
    inputs = {
        TopicPartition(topic, Partition(number)): draw(st.lists(records(), max_size=12))
        for topic in made.inputs
        for number in range(partitions)
    }
    return Case(layout, inputs)


class Deliver(NamedTuple):
    source: int
    count: int


class TickOn(NamedTuple):
    by: int


class Checkpoint(NamedTuple):
    """The checkpoint at which nothing goes wrong."""


class FailingCheckpoint(NamedTuple):
    """Its n-th last command fails, and the transaction is aborted."""

    from_end: int


class CrashNow(NamedTuple):
    """Any of the states that the disk had may be the one that is left of it."""

    disk: int


class Rebalance(NamedTuple):
    """The group takes the partitions back and gives them again."""


Action = Deliver | TickOn | Checkpoint | FailingCheckpoint | CrashNow | Rebalance


class Pipe(NamedTuple):
    """Records written to one of the input topics at once."""

    topic: int
    records: list[Raw]


class Restart(NamedTuple):
    """The driver goes on from the last checkpoint."""


def scripts() -> st.SearchStrategy[list[Pipe | TickOn | Checkpoint | Restart]]:
    """What a test may do with a driver."""
    return st.lists(
        st.one_of(
            st.builds(Pipe, st.integers(0, 2), st.lists(records(), max_size=6)),
            st.builds(TickOn, st.integers(1, 30)),
            st.just(Checkpoint()),
            st.just(Restart()),
        ),
        max_size=10,
    )


def histories() -> st.SearchStrategy[list[Action]]:
    return st.lists(
        st.one_of(
            st.builds(Deliver, st.integers(0, 11), st.integers(1, 8)),
            st.builds(Deliver, st.integers(0, 11), st.just(100)),
            st.builds(TickOn, st.integers(1, 30)),
            st.just(Checkpoint()),
            st.builds(FailingCheckpoint, st.integers(0, 3)),
            st.builds(CrashNow, st.integers(0, 3)),
            st.just(Rebalance()),
        ),
        max_size=14,
    )
