"""Functions that take long: work between two looks at the clock is bounded by time."""

import random
import time
from collections.abc import Callable

import pytest

from processor.worker.channel import CRASHED
from tests.integration.conftest import App

pytestmark = pytest.mark.kafka

SLOWLY = """
import time

def work(value: Any) -> Any:
    time.sleep({seconds})
    return value

topology.stream(IN).map_values(work, name="work").to(OUT)
"""
SHORT = {"transaction_timeout": "6s", "session_timeout": "6s"}


def _restarts(logged: list[dict[str, object]]) -> list[object]:
    return [line.get("cause") for line in logged if line["event"] == CRASHED]


@pytest.fixture
def app(strict_kafka: str, make_app: Callable[[str], App]) -> App:
    """On a broker that aborts transactions as soon as they take too long."""
    return make_app(strict_kafka)


def test_a_function_of_which_a_batch_would_take_longer_than_a_transaction(
    app: App, chance: random.Random
) -> None:
    """Records of up to 0.8 s, 20 s in all, in transactions that may take 6 s."""
    seconds, partitions = chance.uniform(0.02, 0.8), chance.randint(1, 6)
    count = int(20 / seconds)
    app.define(SLOWLY.format(seconds=seconds))
    app.topics("in", "out", partitions=partitions)
    app.write(*((number % partitions, f"k{number}", str(number)) for number in range(count)))
    node = app.run(**SHORT)
    assert not _restarts(node.logged), node.output
    assert sorted(int(row.value or b"") for row in app.read()) == list(range(count))


def test_records_that_wait_for_others_and_are_released_at_once(app: App) -> None:
    """45,000 of 0.5 ms wait until the other input is known to be at its end."""
    app.define(
        SLOWLY.format(seconds=0.0005)
        .replace("stream(IN)", "stream(IN).merge(topology.stream(IN + '2'))")
        .replace(".to(OUT)", ".group_by_key().count(name='counts', emit='change').to(OUT)")
    )
    app.topics("in", "in2", "out", partitions=1)
    app.write(*((0, "k", "1", 1000 + number) for number in range(45_000)))
    app.write((0, "k", "1", 10), topic=f"{app.input}2")
    with app.start(max_task_idle="3s", **SHORT) as node:
        app.await_output(1)
        assert len(app.read()) < 45_001  # checkpoints come while there is more to do
        app.await_output(45_001, timeout=110)
        assert node.stop() == 0
    assert not _restarts(node.logged), node.output
    assert app.latest() == {"k": b"45001"}


def test_a_call_that_takes_longer_than_all_that_waits(app: App, chance: random.Random) -> None:
    """It is named, tried a few times, and then the node ends."""
    slow = chance.randrange(1, 20)
    app.define(SLOWLY.format(seconds=f"9 if value == {slow} else 0"))
    app.topics("in", "out", partitions=1)
    app.write(*((0, "k", str(number)) for number in range(20)))
    node = app.run(
        "--set=consumer.max.poll.interval.ms=6000", expect=7, checkpoint_interval="20ms", **SHORT
    )
    # Those in front of it are committed as far as a checkpoint came between them and it.
    committed = [row.value for row in app.read()]
    assert committed == [b"%d" % number for number in range(slow)][: len(committed)]
    said = node.output.splitlines()[-1]
    assert "work takes that long" in said
    assert f"{app.input}[0] offset {slow}:" in said
    assert "max.poll.interval.ms" in said


def test_a_stop_during_a_long_call(app: App) -> None:
    app.define(SLOWLY.format(seconds="60 if value == 3 else 0"))
    app.topics("in", "out", partitions=1)
    app.write(*((0, "k", str(number)) for number in range(5)))
    with app.start(drain_timeout="100ms", shutdown_timeout="2s") as node:
        app.await_output(1)
        time.sleep(1)
        assert node.stop() == 8, node.output
    (line,) = (line for line in node.logged if line["event"] == "worker killed")
    assert line["slot"] == 0
    assert "shutdown_timeout (2s)" in node.output.splitlines()[-1]


def test_a_poll_interval_that_is_shorter_than_a_usual_session(app: App) -> None:
    app.define("topology.stream(IN).group_by_key().count(name='counts').to(OUT)")
    app.topics("in", "out", partitions=1)
    app.write((0, "k", "1"))
    app.run("--set=consumer.max.poll.interval.ms=8000")
    assert app.latest() == {"k": b"1"}


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("--set=transaction_timeout=2h", "transaction.max.timeout.ms"),
        ("--set=consumer.max.poll.interval.ms=3000", "group.min.session.timeout.ms"),
    ],
)
def test_durations_that_the_brokers_do_not_allow(app: App, setting: str, named: str) -> None:
    app.define("topology.stream(IN).to(OUT)")
    app.topics("in", "out", partitions=1)
    app.write((0, "k", "1"))
    node = app.run(setting, expect=2)
    assert named in node.output.splitlines()[-1]
    assert not _restarts(node.logged)
