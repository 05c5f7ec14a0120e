"""Records, topics, topologies and settings that are wrong: each has its documented outcome."""

import json
import os
import time
from typing import Any

import pytest
from confluent_kafka import IsolationLevel
from confluent_kafka.cimpl import NewPartitions

from tests import ledger
from tests.integration.conftest import App
from tests.suites import long

pytestmark = pytest.mark.kafka

ORDERS = """
from typing import TypedDict
class Order(TypedDict):
    user: str
    amount: int

orders = topology.stream(IN, value=Order)
orders.map_values(lambda order: {"double": order["amount"] * 2}).to(OUT)
orders.group_by_key().count(name="counts").to(APP + "-counts")
"""
GOOD = json.dumps({"user": "u", "amount": 21})
BAD = {
    "malformed": ("k", "{nope"),
    "wrong type": ("k", '{"user": "u", "amount": "many"}'),
    "missing field": ("k", '{"user": "u"}'),
    "not utf-8 key": (b"\xff\xfe", GOOD),
    "null key": (None, GOOD),
    "null value": ("k", None),
}
FAST_REFRESH = "--set=consumer.topic.metadata.refresh.interval.ms=1000"
LIMIT = 1_000_000
_OVERHEAD = 100


def _header(row: ledger.Row, name: str) -> str:
    return (dict(row.headers)[f"kproc.{name}"] or b"").decode()


@pytest.fixture
def orders(app: App) -> App:
    app.define(ORDERS)
    app.topics("in", "out", "counts", partitions=1)
    return app


def test_bad_records_become_dead_letters(orders: App) -> None:
    headers = [("trace", b"1")]
    rows: list[tuple[Any, ...]] = [(0, "k", GOOD, 1000 + n) for n in range(3)]
    for number, (key, value) in enumerate(BAD.values()):
        rows += [(0, key, value, 5000 + number, headers), (0, "k", GOOD, 6000 + number)]
    orders.write(*rows)
    node = orders.run()
    assert orders.latest("counts") == {"k": b"9"}
    assert [row.value for row in orders.read()] == [b'{"double":42}'] * 9
    letters = orders.read("dead-letters")
    assert [(row.key, row.value) for row in letters] == [
        (key.encode() if isinstance(key, str) else key, None if value is None else value.encode())
        for key, value in BAD.values()
    ]
    for number, row in enumerate(letters):
        assert row.headers[0] == ("trace", b"1")
        assert (_header(row, "topic"), _header(row, "partition")) == (orders.input, "0")
        assert _header(row, "offset") == str(3 + 2 * number)
        assert _header(row, "timestamp") == str(row.timestamp) == str(5000 + number)
        assert _header(row, "step")
        assert _header(row, "error")
    reasons = [_header(row, "reason") for row in letters]
    assert reasons == ["decode", "decode", "decode", "decode", "null-key", "function"]
    assert sum(line["count"] for line in node.logged if line["event"] == "bad records") == len(BAD)


def test_dead_letters_are_part_of_the_transaction(orders: App) -> None:
    with orders.start(checkpoint_interval="60s") as node:
        orders.await_first_checkpoint()
        orders.write(*((0, "k", value) for _ in range(20) for value in (GOOD, "{nope")))
        orders.await_written("dead-letters", 20)
        node.kill()
    committed = IsolationLevel.READ_COMMITTED
    letters = f"{orders.name}-dead-letters"
    assert ledger.offsets(orders.kafka, letters, isolation=committed)[0] == 0
    orders.run()
    offsets = [_header(row, "offset") for row in orders.read("dead-letters")]
    assert offsets == [str(number) for number in range(1, 40, 2)]
    assert orders.latest("counts") == {"k": b"20"}


def test_policy_fail_stops_in_front_of_the_record(orders: App) -> None:
    orders.write(*((0, "k", GOOD) for _ in range(5)), (0, "k", "{nope"), (0, "k", GOOD))
    node = orders.run(on_bad_record="fail", expect=4)
    said = node.output.splitlines()[-1]
    assert f"{orders.input}[0] offset 5" in said
    assert "on_bad_record" in said
    committed = ledger.committed(orders.kafka, orders.name, [orders.input])
    assert committed[orders.input, 0] <= 5
    assert len(orders.read()) <= 5
    ledger.await_stable(orders.kafka, [orders.output, f"{orders.name}-counts-changelog"])
    # Again the same; and with another policy it goes on.
    orders.run(on_bad_record="fail", expect=4)
    node = orders.run(on_bad_record="skip")
    assert any(line["event"] == "left out" for line in node.logged), node.output
    assert orders.latest("counts") == {"k": b"6"}
    assert len(orders.read()) == 6
    assert orders.read("dead-letters") == []


def test_a_source_has_a_policy_of_its_own(app: App) -> None:
    app.define("topology.stream(IN, on_bad_record='skip').to(OUT)")
    app.topics("in", "out")
    app.write((0, "k", "{nope"), (0, "k", "1"))
    app.run(on_bad_record="fail")
    assert [row.value for row in app.read()] == [b"1"]


def test_records_at_and_over_the_limit(app: App) -> None:
    app.define(
        "topology.stream(IN, value=bytes).to(OUT)\n"
        "topology.stream(IN + '2', value=bytes).group_by_key().reduce("
        "    lambda a, b: a + b, name='joined').to(APP + '-joined')"
    )
    app.topics("in", "in2", "out", "joined", partitions=1, **{"max.message.bytes": "8000000"})
    fits = LIMIT - _OVERHEAD - len("k")
    config = {"message.max.bytes": 8_000_000}
    sizes = [fits, fits + 1, 3 * LIMIT, 10]
    ledger.write(app.kafka, app.input, ((0, "k", b"x" * size) for size in sizes), **config)
    # The state grows past the limit with the third; the fourth still fits to the first two.
    parts = [("s", 400_000), ("s", 400_000), ("s", 400_000), ("s", 100_000), ("t", 2 * LIMIT)]
    rows = ((0, key, b"y" * size) for key, size in parts)
    ledger.write(app.kafka, f"{app.input}2", rows, **config)
    node = app.run()
    assert [len(row.value or b"") for row in app.read()] == [fits, 10]
    assert {key: len(value or b"") for key, value in app.latest("joined").items()} == {"s": 900_000}
    letters = app.read("dead-letters")
    found = sorted((_header(row, "topic"), _header(row, "offset")) for row in letters)
    assert found == [
        (app.input, "1"),
        (app.input, "2"),
        (f"{app.input}2", "2"),
        (f"{app.input}2", "4"),
    ]
    large = [row for row in letters if _header(row, "topic") == app.input]
    assert all("kproc.truncated" in dict(row.headers) for row in large), node.output


def test_a_topic_that_takes_less_than_the_setting(app: App) -> None:
    app.define("topology.stream(IN, value=bytes).to(OUT)")
    app.topics("in")
    app.topics("out", **{"max.message.bytes": "10000"})
    app.write((0, "k", os.urandom(50_000)))
    app.write((0, "k", b"small"))
    app.run()
    assert [row.value for row in app.read()] == [b"small"]
    (letter,) = app.read("dead-letters")
    assert _header(letter, "reason") == "refused"
    assert "max.message.bytes" in _header(letter, "error")


@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
def test_timestamps_that_the_broker_refuses(app: App, guarantee: str) -> None:
    app.define(
        "topology.stream(IN).process(lambda record, _:"
        " [record._replace(timestamp=record.timestamp + 2 * 3600_000)]).to(OUT)"
    )
    app.topics("in", "out")
    app.write((0, "k", "1"))
    app.run(guarantee=guarantee)
    assert app.read() == []
    (letter,) = app.read("dead-letters")
    assert (_header(letter, "reason"), _header(letter, "offset")) == ("timestamp", "0")
    assert "message.timestamp.after.max.ms" in _header(letter, "error")


@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
def test_limits_of_an_output_that_are_changed_meanwhile(app: App, guarantee: str) -> None:
    """Of many records in one batch only those are left out that are refused."""
    app.define("topology.stream(IN, value=bytes).to(OUT)")
    app.topics("in", "out", partitions=1)
    with app.start(guarantee=guarantee) as node:
        app.write((0, "k", b"first"))
        app.await_output(1)
        ledger.configure(app.kafka, app.output, {"max.message.bytes": "5000"})
        values = [
            os.urandom(9000) if number in (50, 51, 180) else b"%d" % number for number in range(300)
        ]
        app.write(*((0, "k", value) for value in values))
        good = [b"first", *(value for value in values if len(value) < 9000)]
        _await_values(app, good)
        assert node.stop() == 0
    found = [row.value for row in app.read()]
    if guarantee == "exactly-once":
        assert found == good
    else:  # a batch behind the one that was refused may have come before all was sent again
        assert {*found} == {*good}
    letters = app.read("dead-letters")
    assert {_header(letter, "offset") for letter in letters} == {"51", "52", "181"}
    if guarantee == "exactly-once":
        assert len(letters) == 3


def test_checkpoints_come_while_records_are_refused(app: App) -> None:
    """What is fed meanwhile goes on in batches: one record of it is refused every second or so."""
    app.define("topology.stream(IN, value=bytes).to(OUT)")
    app.topics("in", "out", partitions=1)
    with app.start() as node:
        app.write((0, "k", b"first"))
        app.await_output(1)
        ledger.configure(app.kafka, app.output, {"max.message.bytes": "5000"})
        for number in range(40):
            rows = [(0, "k", b"%d" % (number * 40 + row)) for row in range(40)]
            app.write(*rows, *([(0, "k", os.urandom(9000))] if number % 10 == 5 else []))
            time.sleep(0.1)
        app.await_output(1601)
        assert node.stop() == 0
    assert [row.value for row in app.read()] == [b"first", *(b"%d" % n for n in range(1600))]
    assert len(app.read("dead-letters")) == 4


def _await_values(app: App, values: list[bytes]) -> None:
    deadline = time.monotonic() + 120
    while {row.value for row in app.read()} < set(values):
        assert time.monotonic() < deadline


def test_far_ahead_and_large_in_front_of_internal_topics(app: App) -> None:
    """A repartition topic and a changelog take what the settings allow; older ones are altered."""
    app.define(
        "topology.stream(IN, value=bytes).group_by(lambda value: str(len(value)))"
        ".reduce(lambda a, b: b, name='last').to(APP + '-last')"
    )
    app.topics("in", "last", partitions=1, **{"max.message.bytes": "8000000"})
    settings = {"max_record_bytes": 5_000_000}
    app.run()
    for each in (f"{app.name}-last-changelog", f"{app.name}-dead-letters"):
        ledger.configure(app.kafka, each, {"max.message.bytes": "1000000"})
        ledger.configure(app.kafka, each, {"message.timestamp.after.max.ms": "3600000"})
    ahead = int(time.time() * 1000) + 2 * 3600_000
    # The time of what is written is that of the input: only the last topic may refuse it.
    ledger.configure(app.kafka, app.input, {"message.timestamp.after.max.ms": str(2**63 - 1)})
    ledger.configure(
        app.kafka, f"{app.name}-last", {"message.timestamp.after.max.ms": str(2**63 - 1)}
    )
    rows = [(0, "k", os.urandom(2_000_000)), (0, "k", b"a", ahead)]
    ledger.write(app.kafka, app.input, rows, **{"message.max.bytes": 8_000_000})
    app.run(**settings)
    assert sorted(len(row.value or b"") for row in app.read("last")) == [1, 2_000_000]
    assert app.read("dead-letters") == []


def test_dead_letters_of_any_time(app: App) -> None:
    app.define("topology.stream(IN).to(OUT)")
    app.topics("in", "out", partitions=1, **{"message.timestamp.after.max.ms": str(2**63 - 1)})
    app.write((0, "k", "{nope", int(time.time() * 1000) + 48 * 3600_000))
    app.run()
    (letter,) = app.read("dead-letters")
    assert _header(letter, "reason") == "decode"


def test_many_small_records_for_a_topic_that_takes_small_batches(app: App) -> None:
    app.define("topology.stream(IN, value=bytes).to(OUT)")
    app.topics("in", partitions=1)
    app.topics("out", partitions=1, **{"max.message.bytes": "3000"})
    app.write(*((0, "k", os.urandom(100)) for _ in range(2000)))
    node = app.run()
    assert len(app.read()) == 2000
    assert not [line for line in node.logged if line["event"] == "transaction aborted"]


def test_records_without_a_timestamp(app: App) -> None:
    app.define("topology.stream(IN).to(OUT)")
    app.topics("in", "out", partitions=1)
    app.write((0, "k", "1", -1), (0, "k", "2", 1))
    app.run()
    assert [row.value for row in app.read()] == [b"2"]
    (letter,) = app.read("dead-letters")
    assert (_header(letter, "reason"), _header(letter, "timestamp")) == ("timestamp", "-1")


def test_a_function_that_gives_a_negative_timestamp(app: App) -> None:
    app.define(
        "topology.stream(IN).process(lambda record, _: [record._replace(timestamp=-5)]).to(OUT)"
    )
    app.topics("in", "out", partitions=1)
    app.write((0, "k", "1"))
    app.run()
    (letter,) = app.read("dead-letters")
    assert _header(letter, "offset") == "0"


def test_topics_that_are_missing(app: App) -> None:
    app.define("topology.stream(IN).to(OUT)")
    node = app.run(expect=3)
    assert f"read but not there: {app.input}; written but not there: {app.output}" in node.output
    assert "create_topics" in node.output
    app.run("--create-topics")
    assert len(ledger.offsets(app.kafka, app.input)) == 4


def test_a_chosen_topic_that_is_missing(app: App) -> None:
    app.define(
        "topology.stream(IN).to(lambda record: APP + '-nowhere' if record.value == 3 else OUT)"
    )
    app.topics("in", "out", partitions=1)
    app.write(*((0, "k", value) for value in "234"))
    app.run()
    (letter,) = app.read("dead-letters")
    assert _header(letter, "reason") == "refused"
    assert f"{app.name}-nowhere" in _header(letter, "error")
    assert [row.value for row in app.read()] == [b"2", b"4"]


def test_an_input_topic_that_is_deleted(app: App) -> None:
    app.define("topology.stream(IN).to(OUT)")
    app.topics("in", "out")
    with app.start(FAST_REFRESH) as node:
        app.write((0, "k", "1"))
        app.await_output(1)
        ledger.admin(app.kafka).delete_topics([app.input])[app.input].result(30)
        assert node.wait() == 3, node.output
        assert f"{app.input} was deleted while" in node.output.splitlines()[-1]


def test_an_input_topic_that_grows(app: App) -> None:
    app.define("topology.stream(IN).to(OUT)")
    app.topics("in", "out")
    with app.start(FAST_REFRESH) as node:
        app.write((0, "k", "1"))
        app.await_output(1)
        grown = ledger.admin(app.kafka).create_partitions([NewPartitions(app.input, 3)])
        grown[app.input].result(30)
        assert node.wait() == 3, node.output
        assert "has got more partitions" in node.output.splitlines()[-1]
    app.write((2, "k", "1"))
    app.run()
    assert len(app.read()) == 2


@pytest.mark.parametrize(
    ("partitions", "config", "said"),
    [
        (3, {"cleanup.policy": "compact"}, "has 3 partitions, but the topology needs 2"),
        (2, {"cleanup.policy": "delete"}, "cleanup.policy=delete, but must have compact"),
    ],
)
def test_internal_topics_that_do_not_fit(
    app: App, partitions: int, config: dict[str, str], said: str
) -> None:
    app.define("topology.stream(IN).group_by_key().count(name='counts').to(OUT)")
    app.topics("in", "out")
    app.topics("counts-changelog", partitions=partitions, **config)
    node = app.run(expect=3)
    assert f"{app.name}-counts-changelog has" in node.output
    assert said in node.output
    assert not ledger.exists(app.kafka, f"{app.name}-dead-letters")


def test_inputs_that_are_not_copartitioned(app: App) -> None:
    app.define(
        "one, two = topology.stream(IN), topology.stream(IN + '2')\n"
        "one.merge(two).group_by_key().count(name='counts').to(OUT)"
    )
    app.topics("in", "out")
    app.topics("in2", partitions=3)
    node = app.run(expect=3)
    assert f"{app.input} has 2, {app.input}2 has 3" in node.output


def test_input_that_retention_has_deleted(app: App) -> None:
    app.define("topology.stream(IN).to(OUT)")
    app.topics("in", "out", partitions=1)
    app.write((0, "k", "1"))
    app.run()
    app.write(*((0, "k", "1") for _ in range(10)))
    position = ledger.ClientPartition(app.input, 0, 5)
    for deleted in ledger.admin(app.kafka).delete_records([position]).values():
        deleted.result(30)
    node = app.run(expect=5)
    assert "retention has deleted records" in node.output


def test_no_broker(app: App) -> None:
    app.define("topology.stream(IN).to(OUT)")
    node = app.run("--bootstrap=127.0.0.1:1", expect=3, startup_timeout="2s")
    assert "127.0.0.1:1" in node.output


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("topology.stream(IN).to(", "SyntaxError"),
        ("topology.stream('no good name!').to(OUT)", "no good name!"),
        *long(
            ("1 / 0", "ZeroDivisionError"),
            ("", "reads no topic"),
            (
                "topology.stream(IN).group_by_key().count(name='in').to(APP + '-in-changelog')",
                "internal",
            ),
            ("del topology", "opology"),
        ),
    ],
)
def test_topologies_that_are_wrong(app: App, body: str, said: str) -> None:
    app.define(body)
    # Before any connection: there is no broker at this address.
    node = app.run("--bootstrap=127.0.0.1:1", expect=2)
    assert said in node.output
    assert "Traceback" not in node.output


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("checkpoint_intervall=1s", "did you mean checkpoint_interval"),
        ("kafka.no.such.thing=1", "no.such.thing"),
        *long(
            ("checkpoint_interval=soon", "checkpoint_interval"),
            ("slots=0", "slots"),
            ("kafka.group.id=mine", "group.id can't be set"),
            ("consumer.session.timeout.ms=often", "session.timeout.ms"),
        ),
    ],
)
def test_settings_that_are_wrong(app: App, setting: str, said: str) -> None:
    app.define("topology.stream(IN).to(OUT)")
    node = app.run("--bootstrap=127.0.0.1:1", f"--set={setting}", expect=2)
    assert said in node.output
    assert "Traceback" not in node.output
