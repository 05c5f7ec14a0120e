"""A backfill behind a repartition on a real Kafka: what its source has in order is never late."""

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress

import polars as pl
import psutil
import pytest

from tests.integration.conftest import App
from tests.integration.test_rescale import Rescale, rescale
from tests.ledger import Row
from tests.suites import long
from topologies.flights import records

__all__ = ["rescale"]

pytestmark = pytest.mark.kafka

PARTITIONS = 4
COUNT = 40_000
STEP = 5_000
"""Milliseconds from record to record: 2.3 days in all."""

FIRST = 1_500_000_000_000
DAY = 86_400_000
BY_DAY = (
    "from processor import tumbling\n"
    "(topology.stream(IN).group_by('other', name='other')\n"
    "    .window(tumbling('1d', grace='1h')).count(name='counts').to(OUT))"
)


def feed(
    app: App, numbers: Iterable[int] = range(COUNT), partitions: int = PARTITIONS
) -> dict[str, int]:
    """Records in the order of their times in each partition; how many each key and day has."""
    rows, expected = [], Counter[str]()
    for number in numbers:
        when, other = FIRST + number * STEP, f"o{number * 7919 % 50}"
        rows.append((number % partitions, f"k{number}", json.dumps({"other": other}), when))
        expected[f"{other} {when // DAY}"] += 1
    app.write(*rows)
    return dict(expected)


def counted(app: App, before: Sequence[Row] = ()) -> dict[str, int]:
    """How many each key and day has by the results that were not there before, one each."""
    found: dict[str, int] = {}
    for row in app.read():
        if row in before:
            continue
        key = json.loads(row.key or b"")
        name = f"{key['key']} {key['start'] // DAY}"
        assert name not in found, f"{name} was emitted twice"
        found[name] = int(row.value or b"")
    return found


@pytest.mark.parametrize("slots", [2, *long(1, 4)])
def test_a_backfill_is_counted_whole_whatever_the_number_of_slots(app: App, slots: int) -> None:
    app.define(BY_DAY)
    app.topics("in", "out", partitions=PARTITIONS)
    expected = feed(app)
    app.run(slots=slots, idle_timeout="1h")
    assert counted(app) == expected
    assert app.read("dead-letters") == []


def test_a_worker_is_killed_again_and_again_in_the_middle(app: App) -> None:
    seed = int(os.environ.get("KPROC_SEED", "0"))
    chance = random.Random(seed)
    app.define(BY_DAY)
    app.topics("in", "out", partitions=PARTITIONS)
    expected = feed(app)
    app.settings |= {"idle_timeout": "1h", "slots": 2, "max_batch": 500, "max_lead": 2000}
    with app.start("--until-end", "--no-show") as node:
        app.await_written("other-repartition", COUNT // 20)
        for _ in range(4):
            with suppress(psutil.NoSuchProcess):  # the next one has not been started yet
                node.worker_of(chance.randrange(2)).kill()
            time.sleep(chance.random())
        assert node.wait() == 0, node.output[-3000:]
    assert counted(app) == expected, f"KPROC_SEED={seed}"
    assert app.read("dead-letters") == []


def test_slots_change_between_two_halves(app: App, rescale: Rescale) -> None:
    app.define(BY_DAY)
    app.topics("in", "out", partitions=PARTITIONS)
    expected = feed(app)
    del app.settings["slots"]
    with app.start(slots=1, max_batch=500) as node:
        app.await_written("other-repartition", COUNT // 4)
        assert node.stop() == 0
    rescale("--slots", "3", "--yes")
    app.run(idle_timeout="1h")
    assert counted(app) == expected
    assert app.read("dead-letters") == []


def test_an_input_gets_more_partitions_between_two_halves(app: App, rescale: Rescale) -> None:
    app.define(
        "from processor import tumbling\n"
        "others = topology.stream(IN).key_by('other').repartition(partitions=4, name='other')\n"
        "(others.group_by_key().window(tumbling('1d', grace='1h')).count(name='counts').to(OUT))"
    )
    app.topics("in", "out", partitions=PARTITIONS)
    expected = Counter(feed(app, range(COUNT // 2)))
    app.run(slots=2)
    rescale("--partitions", f"{app.input}={PARTITIONS + 2}", "--yes")
    expected.update(feed(app, range(COUNT // 2, COUNT), PARTITIONS + 2))
    app.run(slots=2, idle_timeout="1h")
    assert counted(app) == expected
    assert app.read("dead-letters") == []


def test_all_is_done_again_after_a_reset_in_the_middle(app: App) -> None:
    app.define(BY_DAY)
    app.topics("in", "out", partitions=PARTITIONS)
    expected = feed(app)
    with app.start(slots=2, max_batch=500, session_timeout="6s") as node:
        app.await_written("other-repartition", COUNT // 4)
        assert node.stop() == 0
    before = app.read()
    app.kproc("reset", "--yes", "--set=session_timeout=6s")
    app.run(slots=2, idle_timeout="1h")
    assert counted(app, before) == expected
    assert app.read("dead-letters") == []


def test_sums_of_joined_streams_are_whole(app: App) -> None:
    """Orders with their payments, by user and day: through three repartitions."""
    app.define(
        "from processor import tumbling\n"
        "payments = topology.stream(f'{APP}-payments')\n"
        "orders = topology.stream(IN)\n"
        "paid = orders.join(payments, lambda order, paid: {**order, **paid}, within='1h',\n"
        "    name='paid')\n"
        "(paid.group_by('user', name='user').window(tumbling('1d')).count(name='sums').to(OUT))"
    )
    app.topics("in", "payments", "out", partitions=PARTITIONS)
    orders, payments, expected = [], [], Counter[str]()
    for number in range(COUNT // 4):
        when, user = FIRST + number * 4 * STEP, f"u{number * 7919 % 40}"
        partition, key = number % PARTITIONS, f"k{number}"
        orders.append((partition, key, json.dumps({"user": user}), when))
        payments.append((partition, key, json.dumps({"paid": 1}), when + 1000))
        expected[f"{user} {(when + 1000) // DAY}"] += 1
    app.write(*orders)
    app.write(*payments, topic=f"{app.name}-payments")
    app.run(slots=2, idle_timeout="1h")
    assert counted(app) == expected
    assert app.read("dead-letters") == []


def test_flights_by_hour_are_as_polars_has_them(app: App) -> None:
    """A year of flights at once: those of each carrier and hour, and of these sums by hour."""
    app.define(
        "from processor import tumbling\n"
        "by_carrier = topology.stream(IN, value=str).group_by(lambda each: each, name='carrier')\n"
        "counts = by_carrier.window(tumbling('1h')).count(name='by-carrier').to_stream()\n"
        "hours = counts.map(lambda window, count: (window.start // 3_600_000 % 24, count))\n"
        "(hours.group_by_key().window(tumbling('1h')).reduce(lambda a, b: a + b, name='by-hour')\n"
        "    .to(OUT))"
    )
    app.topics("in", "out", partitions=PARTITIONS)
    flights = sorted(records(), key=lambda record: record.timestamp)
    rows = [
        (number % PARTITIONS, "", each.value.carrier, each.timestamp)
        for number, each in enumerate(flights)
    ]
    app.write(*rows)
    app.run(slots=2, idle_timeout="1h")
    found: dict[int, int] = {}
    for row in app.read():
        key = json.loads(row.key or b"")
        assert key["start"] not in found
        found[key["start"]] = int(row.value or b"")
    frame = pl.DataFrame({"time": [row[3] for row in rows]})
    by_hour = frame.group_by(pl.col("time") // 3_600_000 * 3_600_000).len()
    assert found == dict(by_hour.iter_rows())
    assert app.read("dead-letters") == []
