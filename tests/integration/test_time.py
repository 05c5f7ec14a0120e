"""Order across inputs and windows of silent inputs, on a real Kafka."""

import json

import pytest

from tests.integration.conftest import App

pytestmark = pytest.mark.kafka


def test_records_of_two_inputs_meet_in_the_order_of_their_timestamps(app: App) -> None:
    app.define(
        "prices = topology.table(f'{APP}-prices', value=int)\n"
        "(topology.stream(IN, value=int)\n"
        "    .left_join(prices, lambda amount, price: [amount, price])\n"
        "    .to(OUT, value=list[Any]))"
    )
    app.topics("in", "prices", "out", partitions=1)
    numbers = range(0, 300, 3)
    binary = (number.to_bytes(8, "big") for number in numbers)
    app.write(*((0, "k", data, 10 + number) for number, data in zip(numbers, binary, strict=True)))
    # A price before every third of them; the topic is written, and so may be read, after the other.
    prices = [(0, "k", number.to_bytes(8, "big"), 9 + number) for number in range(0, 300, 9)]
    app.write(*prices, topic=f"{app.name}-prices")
    app.run()
    found = [json.loads(row.value or b"") for row in app.read()]
    assert found == [[number, number // 9 * 9] for number in numbers]


def test_what_is_left_open_at_the_end_of_the_input_is_reported(app: App) -> None:
    """Stage by stage: the results of the first windows are input of the second ones."""
    app.define(
        "from processor import tumbling\n"
        "most = (topology.stream(IN).group_by_key().window(tumbling('1h')).count(name='counts')\n"
        "    .to_stream().map(lambda window, count: (window.start, count), name='by-time')\n"
        "    .group_by_key().window(tumbling('1h')).aggregate(int, max, name='most', value=int))\n"
        "most.to(OUT)"
    )
    app.topics("in", "out", partitions=2)
    app.write((0, "a", "1", 1000), (0, "a", "1", 2000), (1, "b", "1", 3000))
    app.run()
    assert app.read() == []
    app.run(idle_timeout="1h")
    assert [row.value for row in app.read()] == [b"2"]
    assert app.read("dead-letters") == []


def test_a_silent_input_closes_its_windows(app: App) -> None:
    app.define(
        "from processor import tumbling\n"
        "windows = topology.stream(IN).group_by_key().window(tumbling('1h'))\n"
        "windows.count(name='counts').to(OUT)"
    )
    app.topics("in", "out", partitions=2)
    app.write((0, "a", "1", 1000), (0, "a", "1", 2000), (1, "b", "1", 3000))
    with app.start(idle_timeout="200ms") as node:
        app.await_output(2)
        assert node.stop() == 0
    found = {json.loads(row.key or b"")["key"]: row.value for row in app.read()}
    assert found == {"a": b"2", "b": b"1"}
    # What is committed says so: nothing is emitted again, and what comes now is late.
    app.write((0, "a", "1", 2500))
    with app.start(idle_timeout="200ms") as node:
        app.await_output(1, "dead-letters")
        assert node.stop() == 0
    assert len(app.read()) == 2
