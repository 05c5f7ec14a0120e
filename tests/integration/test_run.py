"""`kproc run` from start to end on a real Kafka."""

import json
import time

import pytest
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.native.client import missing
from tests import ledger
from tests.integration.conftest import App

pytestmark = pytest.mark.kafka

COUNTS = "topology.stream(IN).group_by_key().count(name='counts').to(OUT)"
COPY = "topology.stream(IN).to(OUT)"
UNUSED = "native plane is not used"


def test_a_node_says_that_it_does_without_the_native_plane(app: App) -> None:
    app.define(COPY)
    app.topics("in", "out", partitions=1)
    said = [line for line in app.run(native="auto").logged if line["event"] == UNUSED]
    assert bool(said) == bool(missing())


def test_headers_timestamps_and_tombstones_survive(app: App, *, native: bool) -> None:
    app.define("topology.stream(IN, IN + '2', value=bytes).to(OUT)")
    app.topics("in", "in2", "out", partitions=1)
    headers = [("a", b"1"), ("a", b"2"), ("none", None), ("raw", b"\xff\x00")]
    app.write((0, "k", b"v", 1_000_000, headers), (0, "k", None, 2_000_000))
    app.write((0, None, b"no key", 3_000_000), topic=f"{app.input}2")
    app.run(native="on" if native else "off")
    rows = {row.timestamp: row for row in app.read()}
    assert rows[1_000_000].headers == tuple(headers)
    assert (rows[1_000_000].key, rows[1_000_000].value) == (b"k", b"v")
    assert (rows[2_000_000].key, rows[2_000_000].value) == (b"k", None)
    assert (rows[3_000_000].key, rows[3_000_000].value) == (None, b"no key")
    assert len(rows) == 3


def test_records_choose_their_topics(app: App) -> None:
    app.define("topology.stream(IN).to(lambda record: f'{APP}-{record.value[\"to\"]}')")
    app.topics("in", "a", "b")
    app.write(*((n % 2, f"k{n}", json.dumps({"to": "ab"[n % 3 % 2]})) for n in range(30)))
    app.run()
    found = {name: {row.key for row in app.read(name)} for name in "ab"}
    assert found == {
        "a": {f"k{n}".encode() for n in range(30) if n % 3 != 1},
        "b": {f"k{n}".encode() for n in range(30) if n % 3 == 1},
    }


def test_until_end_goes_through_chained_repartitions(app: App) -> None:
    app.define(
        "stream = topology.stream(IN)\n"
        "for step in ('one', 'two', 'three'):\n"
        "    stream = stream.map(lambda k, v: (k + 'x', v)).repartition(name=step)\n"
        "stream.group_by_key().count(name='counts').to(OUT)"
    )
    app.topics("in", "out")
    app.write(*((n % 2, f"k{n % 7}", "1") for n in range(700)))
    app.run(slots=2)
    assert app.latest() == {f"k{n}xxx": b"100" for n in range(7)}
    # And again: only what is new is worked on, and the end is still found.
    app.write(*((n % 2, f"k{n % 7}", "1") for n in range(70)))
    app.run(slots=2)
    assert app.latest() == {f"k{n}xxx": b"110" for n in range(7)}


def test_repartition_topics_are_purged(app: App) -> None:
    app.define("topology.stream(IN).key_by('u').repartition(name='users').to(OUT)")
    app.topics("in", "out")
    topic = f"{app.name}-users-repartition"
    value = json.dumps({"u": "someone"})
    app.write(*((n % 2, "k", value) for n in range(100)))
    app.run()
    ends = ledger.offsets(app.kafka, topic)
    # A worker purges after its first commit, then after one every half minute.
    with app.start() as node:
        deadline = time.monotonic() + 120
        while any(first < ends[each] for each, first in _firsts(app, topic).items()):
            assert time.monotonic() < deadline, "nothing is purged"
            app.write((0, "k", value))
            time.sleep(0.1)
        assert node.stop() == 0


def _firsts(app: App, topic: str) -> dict[int, int]:
    return ledger.offsets(app.kafka, topic, OffsetSpec.earliest())


@pytest.mark.parametrize(("slots", "partitions"), [(3, 4), (3, 2)])
def test_slots_and_partitions_need_not_divide(app: App, slots: int, partitions: int) -> None:
    app.define(COUNTS)
    app.topics("in", "out", partitions=partitions)
    app.write(*((n % partitions, f"k{n % partitions}", "1") for n in range(400)))
    app.run(slots=slots)
    assert app.latest() == {f"k{n}": b"%d" % (400 // partitions) for n in range(partitions)}


def test_sigterm_commits_and_exits_with_0(app: App) -> None:
    app.define(
        "stream = topology.stream(IN)\n"
        "stream.to(f'{APP}-copies')\n"
        "stream.group_by_key().count(name='counts').to(OUT)"
    )
    app.topics("in", "out", "copies")
    with app.start(slots=2, checkpoint_interval="30s") as node:
        app.await_first_checkpoint()
        # Without the stop, the next one would come half a minute later.
        app.write(*((n % 2, f"k{n % 2}", "1") for n in range(100)))
        app.await_written("copies", 100)
        assert node.stop() == 0
    assert app.latest() == {"k0": b"50", "k1": b"50"}
    ledger.await_stable(app.kafka, [app.input, app.output, f"{app.name}-counts-changelog"])
    ledger.check_processed(app.kafka, app.name, [app.input])


def test_the_same_application_starts_again_at_once(app: App) -> None:
    """A static member keeps its place: nobody waits for its session to time out."""
    app.define(COUNTS)
    app.topics("in", "out")
    times: list[float] = []
    for number in range(1, 4):
        began = time.monotonic()
        # Who waited for that could not be done within the minute that the test waits.
        with app.start(slots=2, session_timeout="4m") as node:
            app.write((0, "k", "1"))
            app.await_output(number)
            times.append(time.monotonic() - began)
            assert node.stop() == 0
    print(f"start to first committed output: {', '.join(f'{each:.2f} s' for each in times)}")


def test_a_killed_worker_is_replaced(app: App) -> None:
    app.define(COUNTS)
    app.topics("in", "out")
    gaps: list[float] = []
    with app.start(slots=1) as node:
        app.write((0, "k", "1"))
        app.await_output(1)
        for number in (2, 3):
            node.worker_of(0).kill()
            killed = time.monotonic()
            app.write((0, "k", "1"))
            app.await_output(number)
            gaps.append(time.monotonic() - killed)
        assert node.stop() == 0
    print(f"kill -9 to next committed output: {', '.join(f'{each:.2f} s' for each in gaps)}")
    assert app.latest() == {"k": b"3"}
