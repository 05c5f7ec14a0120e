"""However far apart tasks are, what is behind repartitions comes out as if all input had come in
the order of its times: nothing is late that is not late in its own partition.

Functions that depend on the order of records of one time and key from several partitions are left
out: that order is undefined.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from processor import Topology, session, tumbling
from processor.records import Partition, TopicPartition
from processor.topology.stream import Stream
from tests.properties.fleets import (
    Answer,
    CheckpointOf,
    CrashOf,
    Deliver,
    FailOf,
    Fleet,
    Move,
    RebalanceOf,
    Rescale,
    act,
    by_the_book,
    in_one_partition,
    record,
)
from tests.properties.one_record import Raw
from tests.suites import LONG, examples

COMMON = settings(
    deadline=None,
    derandomize=not LONG,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
FLUSH = "flush"
INPUTS = "a", "b"
Numbers = Stream[str, int]


def key_of(value: int) -> str:
    """Few keys; a negative value closes what is open, and is not compared."""
    return FLUSH if value < 0 else str(value % 3)


def other_key_of(value: int) -> str:
    return FLUSH if value < 0 else f"k{value % 2}"


def by_key(result: Any) -> Numbers:
    return result.to_stream().map(lambda window, total: (window.key, total))


def tumble(stream: Numbers, name: str) -> Numbers:
    windows = stream.group_by(key_of, name=f"{name}-by").window(tumbling("10ms"))
    return by_key(windows.reduce(lambda a, b: a + b, name=name))


def tumble_with_grace(stream: Numbers, name: str) -> Numbers:
    windows = stream.group_by(key_of, name=f"{name}-by").window(tumbling("10ms", grace="5ms"))
    return by_key(windows.reduce(max, name=name))


def early(stream: Numbers, name: str) -> Numbers:
    grouped = stream.group_by(other_key_of, name=f"{name}-by")
    totals = grouped.window(tumbling("10ms"), early="4ms").reduce(max, name=name)
    return totals.final().map(lambda window, total: (window.key, total))


def sessions(stream: Numbers, name: str) -> Numbers:
    windows = stream.group_by(other_key_of, name=f"{name}-by").window(session("4ms"))
    return by_key(windows.reduce(lambda a, b: a + b, name=name))


def once(stream: Numbers, name: str) -> Numbers:
    return stream.repartition(name=f"{name}-all").deduplicate(within="6ms", name=name)


def suppressed(stream: Numbers, name: str) -> Numbers:
    table = stream.group_by(key_of, name=f"{name}-by").reduce(max, name=name, emit="change")
    return table.suppress(until="7ms", max_records=99, name=f"{name}-suppress").to_stream()


def looked_up(stream: Numbers, name: str) -> Numbers:
    """Joined with what a table had for another key at that time."""
    keyed = stream.key_by(other_key_of).repartition(name=f"{name}-table")
    table = keyed.to_table(name=name, emit="change")
    others = stream.key_by(key_of).map_values(doubled).key_by(other_key_of)
    found = others.repartition(name=f"{name}-stream").left_join(table, lambda a, b: a + (b or 0))
    return found.key_by(key_of)


def doubled(value: int) -> int:
    return value * 2


def matched(stream: Numbers, name: str) -> Numbers:
    """Joined with itself by another key, within a time."""
    left = stream.key_by(key_of).repartition(name=f"{name}-left")
    right = stream.key_by(other_key_of).map_values(doubled).key_by(key_of)
    right = right.repartition(name=f"{name}-right")
    return left.left_join(right, lambda a, b: a + (b or 0), within="3ms", name=name)


def thinned(stream: Numbers, name: str) -> Numbers:
    del name
    return stream.filter(lambda value: value < 0 or value % 4 != 1)


def counted(stream: Numbers, name: str) -> Numbers:
    grouped = stream.group_by(key_of, name=f"{name}-by")
    total = grouped.aggregate(
        lambda: 0, lambda so_far, value: so_far + value, name=name, emit="change"
    )
    return total.to_stream()


Step = Callable[[Numbers, str], Numbers]
ONE_BY_ONE: Sequence[Step] = (once, suppressed, looked_up, matched, thinned, counted)
TOGETHER: Sequence[Step] = (tumble, tumble_with_grace, thinned, early)
"""These have results of several keys at one time: what follows must not depend on their order."""


IN_ORDER: frozenset[Step] = frozenset({once, looked_up, counted})
"""What depends on the order of records of one key. A join of streams has results of several keys
at one time, which have one key for the next step: so these are not behind it."""


def is_defined(steps: Sequence[Step]) -> bool:
    """Whether the result does not depend on an order that is undefined."""
    after = steps[steps.index(matched) + 1 :] if matched in steps else ()
    return IN_ORDER.isdisjoint(after)


class Shape(NamedTuple):
    """A topology: steps one behind the other."""

    merged: bool
    steps: tuple[Step, ...]

    @property
    def may_be_late(self) -> bool:
        """Whether it is by the records alone which ones are late.

        Those that are behind count for the time of their task, and so for the same. Behind two
        steps they come from several tasks, in any order.
        """
        return len(self.steps) <= 2 and set(self.steps[:-1]) <= {looked_up, counted}

    def make(self) -> Topology:
        topology = Topology("app")
        stream: Any = topology.stream("a")
        if self.merged:
            stream = stream.merge(topology.stream("b"))
        for number, step in enumerate(self.steps):
            stream = step(stream, f"{step.__name__}-{number}")
        stream.to("out")
        return topology


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    first = draw(st.lists(st.sampled_from(ONE_BY_ONE), max_size=2).filter(is_defined))
    first += draw(st.lists(st.just(sessions), max_size=1))
    then = draw(st.lists(st.sampled_from(TOGETHER), max_size=2))
    return Shape(draw(st.booleans()), (*first, *then, tumble))


@st.composite
def logs(
    draw: st.DrawFn, topics: Sequence[str], partitions: int, shape: Shape
) -> dict[TopicPartition, list[Raw]]:
    """Each partition mostly in the order of its times, which are those of no other.

    Behind two steps what one partition had at one time comes from several tasks, in any order. And
    whether a change is part of what is due in its very millisecond depends on records of others at
    that time: there all times are even, and the wait is odd.
    """
    pace = 2 if suppressed in shape.steps else 1
    found: dict[TopicPartition, list[Raw]] = {}
    sources = [TopicPartition(each, Partition(n)) for each in topics for n in range(partitions)]
    steps = st.integers(-4 if shape.may_be_late else 0, 6)
    for number, source in enumerate(sources):
        time, rows = 10, list[tuple[int, int]]()
        known = set[int]()
        for step, value in draw(st.lists(st.tuples(steps, st.integers(0, 20)), max_size=12)):
            time = max(0, time + step)
            while len(shape.steps) > 2 and time in known:
                time += 1
            known.add(time)
            rows.append((value, pace * (time * len(sources) + number)))
        last = [pace * (1000 * (1 + each) + number) for each in range(6)]
        found[source] = [
            record("x", str(value), when) for value, when in [*rows, *((-1, when) for when in last)]
        ]
    return found


moves = st.lists(
    st.one_of(
        st.builds(Deliver, st.integers(0, 3), st.integers(0, 20), st.integers(1, 8)),
        st.builds(Deliver, st.integers(0, 3), st.integers(0, 20), st.integers(1, 8)),
        st.builds(CheckpointOf, st.integers(0, 3)),
        st.builds(CheckpointOf, st.integers(0, 3)),
        st.builds(Answer, st.integers(0, 3)),
        st.builds(FailOf, st.integers(0, 3), st.integers(0, 12)),
        st.builds(CrashOf, st.integers(0, 3), st.integers(0, 3)),
        st.builds(RebalanceOf, st.integers(0, 3)),
        st.builds(Rescale, st.integers(1, 4)),
    ),
    max_size=40,
)


class Case(NamedTuple):
    """A topology, its input, and how its slots go about it."""

    shape: Shape
    partitions: int
    slots: int
    inputs: dict[TopicPartition, list[Raw]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    shape, partitions = draw(shapes()), draw(st.integers(1, 3))
    topics = INPUTS if shape.merged else INPUTS[:1]
    inputs = draw(logs(topics, partitions, shape))
    return Case(shape, partitions, draw(st.integers(1, 3)), inputs)


def flushed(source: int, *rows: Raw) -> list[Raw]:
    return [*rows, *(record("x", "-1", 1000 * (1 + each) + source) for each in range(6))]


WAITED_FOR_ANOTHER_KEY = Case(
    Shape(merged=False, steps=(suppressed, tumble)),
    partitions=3,
    slots=1,
    inputs={
        TopicPartition("a", Partition(0)): flushed(0),
        TopicPartition("a", Partition(1)): flushed(1),
        TopicPartition("a", Partition(2)): flushed(2, record("x", "0", 32)),
    },
)
LATER_THAN_THE_WAIT = Case(
    Shape(merged=False, steps=(suppressed, tumble)),
    partitions=3,
    slots=1,
    inputs={
        TopicPartition("a", Partition(0)): flushed(0),
        TopicPartition("a", Partition(1)): flushed(1),
        TopicPartition("a", Partition(2)): flushed(
            2, record("x", "0", 32), record("x", "2", 41), record("x", "0", 41)
        ),
    },
)


@pytest.mark.timeout(0)
@settings(COMMON, max_examples=examples(40, 20_000))
@example(WAITED_FOR_ANOTHER_KEY, [])
@example(LATER_THAN_THE_WAIT, [])
@given(cases(), moves)
def test_as_if_all_had_come_in_the_order_of_time(case: Case, history: list[Move]) -> None:
    fleet = Fleet(case.shape.make(), case.partitions, case.slots, case.inputs)
    for move in history:
        act(fleet, move)
    fleet.drain()
    if suppressed in case.shape.steps:
        expected, letters = in_one_partition(case.shape.make, case.inputs)
    else:
        in_order = not case.shape.may_be_late
        expected, letters = by_the_book(case.shape.make, case.inputs, in_order=in_order)
    assert without_flush(fleet.results(frozenset({"out"}))) == without_flush(expected)
    assert fleet.letters() == letters


@pytest.mark.timeout(0)
@settings(COMMON, max_examples=examples(15, 5_000))
@given(cases(), moves, st.sampled_from((2, 7)))
def test_turns_that_are_cut_short_come_to_the_same(
    case: Case, history: list[Move], budget: int
) -> None:
    """However few records are worked on between two looks at the clock, crashes in between too."""
    found: list[Any] = []
    for most in (budget, sys.maxsize):
        fleet = Fleet(case.shape.make(), case.partitions, case.slots, case.inputs, most)
        for move in history:
            act(fleet, move)
        fleet.drain()
        found.append((without_flush(fleet.results(frozenset({"out"}))), fleet.letters()))
    assert found[0] == found[1]


def without_flush(results: Any) -> dict[Any, list[Raw]]:
    return {key: rows for key, rows in results.items() if key[1] != FLUSH.encode()}
