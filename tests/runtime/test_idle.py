"""Windows of a silent input are emitted once, whatever crashes, and in what order it came.

The topology has two inputs whose records are worked on in the order of their timestamps.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from processor import Topology, tumbling
from processor.records import Partition, Record, Timestamp, TopicPartition
from processor.runtime.commands import Begin, Command, Commit, InputEnded, Produce, SendOffsets
from processor.testing import TopologyDriver
from processor.topology.plan import Layout, lay_out, plan
from tests.properties.one_record import Raw
from tests.properties.world import CHECKPOINT_INTERVAL, OPTIONS, Crash, Saved, When, World

IDLE = 10_000
INPUTS = ("a", "b")


def topology() -> Topology:
    made = Topology("app")
    streams = [made.stream(topic, value=bytes) for topic in INPUTS]
    merged = streams[0].merge(streams[1], name="merged")
    merged.group_by_key().window(tumbling(0.01)).count(name="counts").to("out")
    return made


LAYOUT: Layout = lay_out(plan(topology()), dict.fromkeys(INPUTS, 2))


def inputs() -> dict[TopicPartition, list[Raw]]:
    """In each partition of time order, and of both together only in time order none is late."""
    return {
        TopicPartition(topic, Partition(number)): [
            Record(b"key%d" % number, b"v", Timestamp(7 * each + 3 * (topic == "b")))
            for each in range(9)
        ]
        for topic in INPUTS
        for number in range(2)
    }


def expected() -> Counter[tuple[int, int, int]]:
    """Of each partition and window the number of records."""
    counts = Counter(
        (source.partition, record.timestamp // 10 * 10)
        for source, log in inputs().items()
        for record in log
    )
    return Counter((number, start, count) for (number, start), count in counts.items())


def new_world(**options: Any) -> World:
    return World(
        LAYOUT,
        inputs(),
        replace(OPTIONS, max_task_idle=0, idle_timeout=IDLE, **options),
    )


def finish(world: World) -> None:
    """To the end of all input, and twice as long again as it takes to be idle."""
    for _ in range(2 * IDLE // CHECKPOINT_INTERVAL + 20):
        for source in world.sources:
            world.deliver(source, 4)
        world.checkpoint()


def emitted(world: World) -> Counter[tuple[int, int, int]]:
    windows = (
        (json.loads(record.key or b""), json.loads(record.value or b""))
        for log, records in world.outputs().items()
        if log.topic == "out"
        for record in records
    )
    return Counter(
        (int(window["key"].removeprefix("key")), window["start"], count)
        for window, count in windows
    )


def run(world: World, pick: Callable[[list[Saved]], Saved | None]) -> None:
    crashes = 0
    while True:
        try:
            if crashes:
                world.start(pick=pick)
            return finish(world)
        except Crash:
            crashes += 1


def check(world: World) -> None:
    assert emitted(world) == expected()
    assert world.letters() == []
    assert all(not store for store in world.stores().values())


def test_all_windows_are_emitted_and_then_it_is_quiet() -> None:
    world = new_world()
    finish(world)
    check(world)
    commands = len(world.trace)
    finish(world)
    assert len(world.trace) == commands


def test_input_that_has_ended_is_idle_at_once() -> None:
    world = World(LAYOUT, inputs(), replace(new_world().options, idle_timeout=10**9))
    finish(world)
    assert sum(emitted(world).values()) < len(expected())
    world.handle(InputEnded(frozenset({"a"})))  # the other one may go on
    finish(world)
    assert sum(emitted(world).values()) < len(expected())
    assert world.worker.reported == 1
    world.handle(InputEnded(frozenset(INPUTS)))
    assert world.worker.reported == 0
    world.checkpoint()
    check(world)
    assert world.worker.reported == 2


def test_without_the_setting_the_last_windows_stay_open() -> None:
    world = World(LAYOUT, inputs(), OPTIONS)
    finish(world)
    assert sum(emitted(world).values()) < len(expected())


@pytest.mark.parametrize("when", ["before", "after", "fails"])
def test_one_command_goes_wrong(when: When) -> None:
    undisturbed = new_world()
    finish(undisturbed)
    kinds = (Begin, Produce, SendOffsets, Commit) if when == "fails" else (object,)
    for number, command in enumerate(undisturbed.trace):
        if isinstance(command, kinds):
            world = new_world()
            world.interrupt = lambda this, _, wrong=number: when if this == wrong else None
            run(world, lambda saved: saved[0])
            check(world)


@pytest.mark.parametrize("seed", range(20))
def test_many_commands_go_wrong(seed: int) -> None:
    chance = random.Random(seed)

    def interrupt(_: int, __: Command) -> When | None:
        return chance.choice(["before", "after"]) if chance.random() < 0.05 else None

    world = new_world(**({"cache_bytes": 0, "uncommitted_bytes": 300} if seed % 2 else {}))
    world.interrupt = interrupt
    run(world, lambda saved: chance.choice([None, *saved]))
    check(world)


@pytest.mark.parametrize("limit", [0, 300, 700])
def test_checkpoints_come_in_between_when_memory_is_short(limit: int) -> None:
    world = new_world(cache_bytes=0, uncommitted_bytes=limit)
    finish(world)
    check(world)
    for before, after in pairwise(world.trace):
        if isinstance(before, Commit):
            assert not isinstance(after, Produce)


def test_the_driver_lets_input_be_idle() -> None:
    made = topology()
    one = made.stream("c").group_by_key().window(tumbling("1s")).count(name="one")
    two = one.to_stream().key_by(lambda _: "all").group_by_key().window(tumbling("1h"))
    two.count(name="two").to("hours")
    driver = TopologyDriver(made)
    driver.pipe("a", key="ann", value=b"v", timestamp=5)
    driver.pipe("c", key="ann", value=1, timestamp=5)
    assert driver.read("out") == []
    driver.idle()
    assert [value for _, value in driver.read("out")] == [1]
    assert driver.read("hours") == []  # its input has only just come
    driver.idle()
    assert [value for _, value in driver.read("hours")] == [1]
    driver.pipe("a", key="ann", value=b"v", timestamp=5)
    assert driver.bad_records == {("counts", "late"): 1}


def test_rows_without_a_match_are_emitted_when_input_is_idle() -> None:
    made = Topology("app")
    left, right = (made.stream(topic, value=str) for topic in INPUTS)
    left.left_join(right, lambda one, other: f"{one}+{other}", within="1m").to("out")
    driver = TopologyDriver(made)
    driver.pipe("a", key="ann", value="x", timestamp=5)
    assert driver.read("out") == []
    driver.idle()
    assert driver.read("out") == [("ann", "x+None")]
    driver.idle()
    assert driver.read("out") == []


def test_suppressed_changes_are_emitted_when_input_is_idle() -> None:
    made = Topology("app")
    table = (
        made.stream("a", value=str)
        .to_table(name="table")
        .suppress(until="1m", max_records=10, name="calm")
    )
    table.to("out")
    driver = TopologyDriver(made)
    driver.pipe("a", key="ann", value="x", timestamp=5)
    assert driver.read("out") == []
    driver.idle()
    assert driver.read("out") == [("ann", "x")]
