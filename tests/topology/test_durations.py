"""Durations in the language: a text and a timedelta make the same topology."""

import re
from datetime import timedelta
from typing import Any

from processor import JoinWindow, Topology, hopping, session, sliding, tumbling
from processor.durations import Duration
from processor.topology.plan import plan


def _topology(minute: Duration, hour: Duration) -> str:
    topology = Topology("app")
    stream = topology.stream("in", value=dict[str, Any]).group_by_key()
    for number, spec in enumerate(
        (
            tumbling(hour, grace=minute),
            hopping(hour, every=minute),
            sliding(minute, grace=hour),
            session(minute, grace=hour),
        )
    ):
        stream.window(spec, retention="1d", early=minute).count(name=f"counts-{number}").to("out")
    table = topology.table("rates", value=dict[str, Any], ttl=hour)
    orders = topology.stream("orders", value=dict[str, Any])
    paid = orders.join(
        topology.stream("payments", value=dict[str, Any]),
        lambda order, payment: order | payment,
        within=JoinWindow(minute, grace=hour),
        name="paid",
    )
    paid.deduplicate(within=hour).join(table, lambda value, rate: value | rate).to("out")
    return re.sub(r" at 0x\w+", "", repr(plan(topology).subtopologies))


def test_a_timedelta_says_the_same_as_a_text() -> None:
    assert _topology(timedelta(minutes=1), timedelta(hours=1)) == _topology("1m", "1h")
    assert _topology(60, 3600) == _topology("1m", "1h") != _topology("2m", "1h")
