"""Crashes and failures at every command: nothing is lost, nothing doubled, order is kept.

A history of batches runs in a world in memory, once for each command that it consists of and for
each way in which that command can go wrong. Each time the disk has kept some state that it once
had. In the end everything that is committed must be as the reference has it, which never fails.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from processor import Topology, every, key_value
from processor.operators.process import ProcessContext
from processor.records import Partition, Record, Timestamp, TopicPartition
from processor.runtime.commands import (
    Assigned,
    Begin,
    Command,
    Commit,
    Fetch,
    Finish,
    Lost,
    OpenTask,
    Persist,
    Produce,
    Revoked,
    SendOffsets,
    Stop,
)
from processor.testing.memory import partition_of
from processor.topology.plan import Layout, lay_out, plan
from tests.properties.one_record import Raw
from tests.properties.reference import Reference
from tests.properties.world import CHECKPOINT_INTERVAL, OPTIONS, Crash, Saved, When, World
from tests.suites import long

PARTITIONS = 2
BATCH = 3
FAILABLE = (Produce, SendOffsets, Commit)
"""The commands that a client may refuse in a way that aborting fixes."""

Pick = Callable[[list[Saved]], Saved | None]
DISKS: dict[str, Pick] = {
    "nothing": lambda _: None,
    "the first state": lambda saved: saved[0],
    "the last but one": lambda saved: saved[-2:][0],
    "all": lambda saved: saved[-1],
}


def topology() -> Topology:
    """Of everything that the commit cycle has to do with something.

    What it gives depends on the order of each partition only, not on how partitions interleave, so
    that it has one right result. Sums are kept by input partition, and by key behind a repartition.
    """
    made = Topology("app")
    stream = made.stream("in")
    stream.map_values(refuse_thirteen, name="check").to("copies")
    stream.group_by_key().reduce(lambda a, b: a + b, name="sums").to("sums")
    stream.group_by(parity, name="parity").count(emit="change").to("counts")
    stream.deduplicate(within="5ms", name="seen").to("fresh")
    stream.process(remember, stores=[LAST], punctuators=[every("10ms", sweep)], name="last").to(
        lambda record: f"chosen-{record.key}"
    )
    return made


LAST = key_value("last-store", key=str, value=int)


def refuse_thirteen(value: int) -> int:
    if value == 13:
        raise ValueError("13")
    return value


def parity(value: int) -> str:
    return "even" if value % 2 == 0 else "odd"


def remember(record: Record[str, int], context: ProcessContext) -> list[Record[str, Any]]:
    store = context.store(LAST)
    before = store.get(record.key)
    store.put(record.key, record.value)
    return [record._replace(value=[before, record.value])]


def sweep(time: Timestamp, context: ProcessContext) -> list[Record[str, Any]]:
    store = context.store(LAST)
    gone = [key for key, value in store.items() if value % 3 == 0]
    for key in gone:
        store.delete(key)
    return [Record("swept", gone, time)]


def inputs() -> dict[TopicPartition, list[Raw]]:
    logs: dict[TopicPartition, list[Raw]] = {}
    for number in range(PARTITIONS):
        keys = [key for key in (b"a", b"b", b"c", b"d", b"e") if partition_of(key, 2) == number]
        logs[TopicPartition("in", Partition(number))] = [
            Record(
                keys[each % len(keys)], b"%d" % (each * 2 + number), Timestamp(each * 3 + number)
            )
            for each in range(8)
        ]
    return logs


LAYOUT: Layout = lay_out(plan(topology()), {"in": PARTITIONS})


def turn(world: World | Reference) -> None:
    """A few records of each partition, then a checkpoint."""
    for source in world.sources:
        world.deliver(source, BATCH)
    world.checkpoint()


def finish(world: World | Reference) -> None:
    turn(world)
    while any(world.unread(source) for source in world.sources):
        turn(world)


def expected() -> Reference:
    reference = Reference(LAYOUT, inputs(), partition_of)
    finish(reference)
    return reference


REFERENCE = expected()


def new_world(**options: Any) -> World:
    return World(
        LAYOUT,
        inputs(),
        replace(OPTIONS, **options),
    )


def check(world: World) -> None:
    """Everything committed is as it has to be."""
    assert not any(log.open for log in world.kafka.logs.values())
    assert world.stores() == REFERENCE.stores()
    assert world.replayed() == REFERENCE.stores()
    assert by_key(world.outputs()) == by_key(REFERENCE.outputs())
    assert sorted(world.letters(), key=str) == sorted(REFERENCE.letters(), key=str)


def by_key(
    outputs: dict[TopicPartition, list[Raw]],
) -> dict[tuple[TopicPartition, bytes | None], list[Raw]]:
    """What is promised of a topic: of each key all records in order.

    Of a table that emits at checkpoints the last; of records that come from several partitions all
    of them, in no order between these.
    """
    found: dict[tuple[TopicPartition, bytes | None], list[Raw]] = {}
    for log, records in outputs.items():
        for record in records:
            found.setdefault((log, record.key), []).append(record)
    for (log, key), records in found.items():
        if log.topic == "sums":
            found[log, key] = records[-1:]
        elif log.topic in {"counts", "app-parity-repartition", "chosen-swept"}:
            found[log, key] = sorted(each._replace(timestamp=Timestamp(0)) for each in records)
    return found


def run(world: World, pick: Pick) -> int:
    """To the end, with a new process after each crash; how many there were."""
    crashes = 0
    while True:
        try:
            if crashes:
                world.start(pick=pick)
            finish(world)
        except Crash:
            crashes += 1
        else:
            return crashes


def length(**options: Any) -> int:
    """How many commands an undisturbed history has."""
    world = new_world(**options)
    finish(world)
    check(world)
    return len(world.trace)


def at(number: int, when: When, *others: int) -> Callable[[int, Command], When | None]:
    """Lets one command go wrong, or some."""

    def interrupt(this: int, command: Command) -> When | None:
        wrong = this in (number, *others) and (when != "fails" or isinstance(command, FAILABLE))
        return when if wrong else None

    return interrupt


WRONG = [
    *(("before", "nothing"), ("before", "all"), ("after", "the first state"), ("fails", "all")),
    *long(("before", "the first state"), ("before", "the last but one")),
    *long(("after", "nothing"), ("after", "the last but one"), ("after", "all")),
]
"""Where nothing crashes, it makes no difference what the disk would have kept."""


def test_the_history_has_every_kind_of_command_and_bad_records() -> None:
    world = new_world()
    finish(world)
    kinds = {type(command) for command in world.trace}
    assert {Begin, Produce, SendOffsets, Commit, Persist, OpenTask, Fetch} <= kinds
    assert world.worker.checkpoints > 3
    assert any(letter.reason == "function" for letter in world.letters())
    assert all(world.stores().values())


@pytest.mark.parametrize(("when", "disk"), WRONG)
def test_one_command_goes_wrong(when: When, disk: str) -> None:
    for number in range(length()):
        world = new_world()
        world.interrupt = at(number, when)
        run(world, DISKS[disk])
        check(world)


@pytest.mark.parametrize(("when", "disk"), WRONG)
def test_one_command_goes_wrong_while_stores_are_rarely_written(when: When, disk: str) -> None:
    for number in range(length()):
        world = new_world(persist_interval=3 * CHECKPOINT_INTERVAL)
        world.interrupt = at(number, when)
        run(world, DISKS[disk])
        world.interrupt = lambda _n, _c: None
        world.handle(Stop())
        check(world)


@pytest.mark.parametrize("number", range(0, 60, 7))
def test_the_process_started_after_a_crash_crashes_at_each_command_too(number: int) -> None:
    for second in range(number + 1, number + 12):
        world = new_world()
        world.interrupt = at(number, "before", second)
        run(world, DISKS["the last but one"])
        check(world)


@pytest.mark.parametrize("seed", range(60))
def test_many_commands_go_wrong(seed: int) -> None:
    chance = random.Random(seed)

    def interrupt(_: int, command: Command) -> When | None:
        if chance.random() > 0.06:
            return None
        return chance.choice(
            ["before", "after", "fails" if isinstance(command, FAILABLE) else "after"]
        )

    world = new_world()
    world.interrupt = interrupt
    run(world, lambda saved: chance.choice([None, *saved]))
    check(world)


@pytest.mark.parametrize("seed", range(10))
def test_small_memory_changes_nothing(seed: int) -> None:
    chance = random.Random(seed)
    world = new_world(cache_bytes=0, uncommitted_bytes=chance.choice([0, 500, 2000]))
    world.interrupt = lambda _n, _c: "before" if chance.random() < 0.02 else None
    run(world, DISKS["nothing"])
    check(world)


@pytest.mark.parametrize("when", ["before", "after"])
def test_at_least_once_loses_nothing_and_keeps_the_order(when: When) -> None:
    right = {name: log for name, log in REFERENCE.outputs().items() if name.topic == "copies"}
    for number in range(length(guarantee="at-least-once")):
        world = new_world(guarantee="at-least-once")
        world.interrupt = at(number, when)
        run(world, DISKS["all"])
        for name, log in right.items():
            assert list(dict.fromkeys(world.outputs()[name])) == log


@pytest.mark.parametrize("number", range(5))
def test_stop_and_start_again(number: int) -> None:
    world = new_world()
    for _ in range(number):
        turn(world)
    for source in world.sources:
        world.deliver(source, 1)
    world.handle(Stop())
    assert world.finished == Finish()
    assert world.trace[-1] == Finish()
    assert not any(log.open for log in world.kafka.logs.values())
    world.start(pick=DISKS["all"])
    finish(world)
    check(world)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("event", [Revoked(), Lost()])
def test_the_group_takes_the_partitions_and_gives_them_again(
    event: Revoked | Lost, number: int
) -> None:
    world = new_world()
    for _ in range(number):
        turn(world)
    for source in world.sources:
        world.deliver(source, 1)
    world.handle(event)
    turn(world)
    world.handle(Assigned(world.own))
    finish(world)
    check(world)


def test_policy_fail_commits_nothing_of_the_record() -> None:
    world = new_world(on_bad_record="fail")
    while world.finished is None:
        turn(world)
    assert isinstance(world.finished, Finish)
    assert "13" in str(world.finished.error)
    assert world.letters() == []
    assert not any(log.open for log in world.kafka.logs.values())
    source = TopicPartition("in", Partition(1))
    assert world.kafka.positions[source].offset <= 6
    copies = [log for name, log in world.outputs().items() if name.topic == "copies"]
    assert all(record.value != b"13" for log in copies for record in log)
