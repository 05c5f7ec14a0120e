"""Workers that sleep while an operator changes the application, and wake up afterwards."""

import random
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from processor.errors import StateMismatch
from tests import ledger
from tests.integration.conftest import PATIENCE, App
from tests.integration.node_process import NodeProcess
from tests.suites import long

pytestmark = pytest.mark.kafka

# Each task counts its punctuations, so that a stale one gives a number that was there already.
TICKS = """
TICKS = key_value("ticks", key=str, value=int)

def note(record, context):
    context.store(TICKS).put(record.key, 0)

def tick(time, context):
    store = context.store(TICKS)
    for key, count in list(store.items()):
        store.put(key, count + 1)
        yield Record(key, count + 1, time)

wall = every("50ms", tick, clock="wall")
topology.stream(IN).process(note, stores=[TICKS], punctuators=[wall], name="ticking").to(OUT)
"""
PARTITIONS = 6
CHANGES: dict[str, tuple[str, ...]] = {
    "fewer slots": ("rescale", "--slots", "1", "--yes"),
    "more slots": ("rescale", "--slots", "6", "--yes"),
    "reset": ("reset", "--yes"),
}


def ticking(make_app: Callable[[str], App], kafka: str) -> App:
    app = make_app(kafka)
    app.define(TICKS)
    app.settings |= {"session_timeout": "6s", "slots": 3}
    app.topics("in", "out", partitions=PARTITIONS)
    app.write(*((n, f"k{n}", "1") for n in range(PARTITIONS)))
    return app


def fall_asleep(node: NodeProcess) -> None:
    node.process.suspend()
    for worker in node.workers:
        worker.suspend()


def wake_up(node: NodeProcess, chance: random.Random) -> None:
    """Workers first: what they do then nobody keeps them from."""
    for worker in chance.sample(node.workers, len(node.workers)):
        worker.resume()
        time.sleep(chance.choice([0, 0, 0.1]))
    time.sleep(chance.uniform(0.2, 1.2))
    node.process.resume()


def numbers_of(app: App) -> dict[str, list[int]]:
    values = ledger.by_key(app.read())
    return {key: [int(each or b"0") for each in found] for key, found in values.items()}


def await_ticks(app: App, count: int, *, resets: int) -> None:
    """Waits until each key has come so far since it last started over."""
    deadline = time.monotonic() + PATIENCE
    while len(found := numbers_of(app)) < PARTITIONS or not all(
        numbers.count(1) == 1 + resets and numbers[-1] >= count for numbers in found.values()
    ):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def check_ticks(app: App, *, resets: int) -> None:
    """Each key's numbers follow each other, and start over once for each reset."""
    for key, numbers in numbers_of(app).items():
        assert numbers.count(1) == 1 + resets, (key, numbers)
        wanted: list[int] = []
        for number in numbers:
            wanted.append(1 if number == 1 else wanted[-1] + 1)
        assert numbers == wanted, (key, numbers)


@pytest.mark.parametrize(
    ("change", "heir"),
    [
        ("fewer slots", ""),
        ("reset", "beside an heir"),
        *long(("fewer slots", "beside an heir"), ("more slots", ""), ("reset", "")),
        *long(("more slots", "beside an heir")),
    ],
)
def test_who_sleeps_while_the_application_is_changed(
    kafka: str,
    make_app: Callable[[str], App],
    chance: random.Random,
    change: str,
    heir: str,
) -> None:
    app = ticking(make_app, kafka)
    with app.start() as sleeper:
        # Of every key: one whose slot has not begun by then would not begin twice.
        await_ticks(app, 5, resets=0)
        time.sleep(chance.random() / 5)
        fall_asleep(sleeper)
        app.kproc(*CHANGES[change])
        app.settings.pop("slots")
        # What was left open is aborted: nobody waits for it.
        ledger.await_stable(kafka, [f"{app.name}-out", f"{app.name}-ticks-changelog"])
        before = len(app.read())
        resets = int(change == "reset")
        top = max(max(numbers) for numbers in numbers_of(app).values()) * (1 - resets)
        if heir:
            with app.start() as node:
                await_ticks(app, top + 5, resets=resets)
                wake_up(sleeper, chance)
                assert sleeper.wait() == StateMismatch.exit_code, sleeper.output
                await_ticks(app, top + 20, resets=resets)
                assert node.stop() == 0, node.output
        else:
            wake_up(sleeper, chance)
            assert sleeper.wait() == StateMismatch.exit_code, sleeper.output
            ledger.await_stable(kafka, [app.output])
            assert len(app.read()) == before
            with app.start() as node:
                await_ticks(app, top + 5, resets=resets)
                assert node.stop() == 0, node.output
    assert "start this node again" in sleeper.output
    check_ticks(app, resets=resets)


def test_nodes_that_start_at_once_after_a_reset(
    kafka: str, make_app: Callable[[str], App], chance: random.Random
) -> None:
    """Each finds a description without stores; one writes it, and works when others look."""
    app = ticking(make_app, kafka)
    with app.start() as node:
        await_ticks(app, 5, resets=0)
        assert node.stop() == 0, node.output
    app.kproc("reset", "--yes")
    with ExitStack() as stack:
        nodes: list[NodeProcess] = []
        for number in range(3):
            folder = app.folder / f"state-{number}"
            nodes.append(stack.enter_context(app.start("--no-show", state_dir=str(folder))))
            time.sleep(chance.choice([0, 0.2, 0.5]))
        await_ticks(app, 20, resets=1)
        for node in nodes:
            app.await_log(node, "another node")
        for node in nodes:
            node.terminate()
        assert [node.wait() for node in nodes] == [0, 0, 0], [node.output for node in nodes]
    check_ticks(app, resets=1)


def test_who_was_retired_keeps_nobody_from_starting(
    kafka: str, make_app: Callable[[str], App]
) -> None:
    """Its supervisor speaks, and has not heard of the reset yet."""
    app = ticking(make_app, kafka)
    with app.start() as sleeper:
        await_ticks(app, 5, resets=0)
        fall_asleep(sleeper)
        app.kproc("reset", "--yes")
        sleeper.process.resume()
        time.sleep(0.5)
        with app.start() as heir:
            await_ticks(app, 5, resets=1)
            assert sleeper.wait() == StateMismatch.exit_code, sleeper.output
            assert heir.stop() == 0, heir.output
    check_ticks(app, resets=1)
