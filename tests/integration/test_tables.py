"""Tables of tables and versioned tables on a real Kafka, with a worker that is killed midway."""

import json
from random import Random

import pytest

from tests import ledger
from tests.integration.conftest import App

pytestmark = pytest.mark.kafka

TABLES = """
users = topology.stream(IN).to_table(name="users").filter(lambda value: value % 3 > 0)
groups = users.group_by(lambda value: f"g{value % 5}", name="groups")
groups.reduce(lambda total, one: total + one, lambda total, one: total - one, name="sums").to(OUT)
prices = topology.table(APP + "-prices", versioned="1h", name="prices")
orders = topology.stream(APP + "-orders")
orders.join(prices, lambda order, price: [order, price]).to(APP + "-joined")
"""
KEYS, RECORDS = 30, 4000


@pytest.fixture
def tables(app: App) -> App:
    app.define(TABLES)
    app.topics("in", "out", "prices", "orders", "joined", partitions=2)
    return app


def test_sums_are_exact_after_a_kill(tables: App) -> None:
    random = Random(7)
    users = [(number % KEYS, random.choice([None, *range(100)])) for number in range(RECORDS)]
    rows = [(key % 2, f"u{key}", None if value is None else f"{value}") for key, value in users]
    tables.write(*rows[: RECORDS // 2])
    with tables.start("--no-show", checkpoint_interval="5ms") as node:
        tables.await_output(1)
        tables.write(*rows[RECORDS // 2 :])
        tables.await_written("out", 5)
        node.kill()
    tables.run()
    expected = dict.fromkeys((f"g{group}" for group in range(5)), 0)
    for value in dict(users).values():
        if value is not None and value % 3:
            expected[f"g{value % 5}"] += value
    found = {key: json.loads(value) for key, value in tables.latest().items() if value is not None}
    assert {group: found.get(group, 0) for group in expected} == expected


def test_history_is_there_after_a_kill_and_a_lost_disk(tables: App) -> None:
    prices = [(0, "k", f"{time}", time * 1000) for time in (5, 3, 9, 1, 7)]
    tables.write(*prices[:3], topic=f"{tables.name}-prices")
    with tables.start("--no-show") as node:
        tables.write((0, "k", "0", 9000), topic=f"{tables.name}-orders")
        tables.await_log(node, "worker running")
        tables.await_written("prices-changelog", 1)
        node.kill()
    tables.write(*prices[3:], topic=f"{tables.name}-prices")
    tables.run()
    tables.write(
        *((0, "k", f"{time}", time * 1000) for time in range(1, 11)), topic=f"{tables.name}-orders"
    )
    tables.run(state_store="memory")  # restores all from the changelogs
    found = [json.loads(value or b"") for value in ledger.by_key(tables.read("joined"))["k"]]
    joined = {order: price for order, price in found if order}
    assert joined == {1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 6: 5, 7: 7, 8: 7, 9: 9, 10: 9}
