"""Joins on a real Kafka, killed in between: each match once, whatever memory and disk lose."""

import json
import shutil

import pytest

from tests import ledger
from tests.integration.conftest import App

pytestmark = pytest.mark.kafka

JOINS = """
pair = lambda left, right: [left, right]
left, right = topology.stream(IN), topology.stream(APP + '-right')
left.outer_join(right, pair, within=1, name='streams').to(APP + '-streams')
table, names = topology.table(APP + '-table'), topology.table(APP + '-names')
left.join(table, pair).to(APP + '-looked-up')
table.left_join(names, pair, on='name', name='named').to(APP + '-named')
"""
KEYS = [f"k{number}" for number in range(20)]


def write(app: App, topic: str, *rows: tuple[str, object, int]) -> None:
    """Writes (key, value, timestamp), each where its key belongs."""
    sent = [(-1, key, json.dumps(value), timestamp) for key, value, timestamp in rows]
    ledger.write(app.kafka, f"{app.name}-{topic}", sent, partitioner="murmur2_random")


def test_a_kill_between_both_sides(app: App) -> None:
    app.define(JOINS)
    app.topics("in", "right", "table", "streams", "looked-up", "named")
    app.topics("names", partitions=3)
    write(app, "table", *((key, {"name": f"n{n % 4}"}, 500) for n, key in enumerate(KEYS)))
    write(app, "in", *((key, 1, 1000) for key in KEYS))
    with app.start() as node:
        app.await_output(len(KEYS), "looked-up")
        app.await_output(len(KEYS), "named")
        node.kill()
    shutil.rmtree(app.folder / "state", ignore_errors=True)
    with app.start() as node:
        write(app, "right", *((key, 2, 1500) for key in KEYS[:15]))
        app.await_output(15, "streams")
        node.kill()
    write(app, "names", *((f"n{number}", f"N{number}", 600) for number in range(3)))
    for partition in range(2):
        app.write((partition, "end", "0", 100_000))
    app.run()
    streams = ledger.by_key(app.read("streams"))
    assert streams == {key: [b"[1,2]"] for key in KEYS[:15]} | {
        key: [b"[1,null]"] for key in KEYS[15:]
    }
    looked_up = {
        key: [json.loads(value or b"") for value in values]
        for key, values in ledger.by_key(app.read("looked-up")).items()
    }
    assert looked_up == {key: [[1, {"name": f"n{n % 4}"}]] for n, key in enumerate(KEYS)}
    named = {key: json.loads(value or b"") for key, value in app.latest("named").items()}
    assert named == {
        key: [{"name": f"n{n % 4}"}, f"N{n % 4}" if n % 4 < 3 else None]
        for n, key in enumerate(KEYS)
    }


@pytest.mark.parametrize("how", ["merge", "left_join"])
def test_an_input_that_is_empty_holds_up_no_other(app: App, how: str) -> None:
    app.define(f"""
by_name = lambda topic: topology.stream(topic).key_by('name', name='by-name-' + topic)
left, right = by_name(IN), by_name(APP + '-right')
merged = left.merge(right)
joined = left.left_join(right, lambda left, right: left, within=0, name='joined')
{{'merge': merged, 'left_join': joined}}[{how!r}].to(APP + '-out')
""")
    app.topics("in", "right", "out")
    write(app, "in", *((key, {"name": key}, 1000) for key in KEYS))
    for partition in range(2):
        app.write((partition, "end", '{"name": "end"}', 100_000))
    app.run(idle_timeout="100ms")
    found = ledger.by_key(app.read("out"))
    assert {key.strip('"') for key in found} == {*KEYS, "end"}
