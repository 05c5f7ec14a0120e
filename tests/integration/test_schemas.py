"""`kproc run` with a schema registry: one that refuses, one that goes away and comes back."""

import time
from typing import Any

import pytest

from processor.serdes import avro
from processor.serdes.registry import prefix
from tests.integration.conftest import App
from tests.registry_server import RegistryServer, registry_server

pytestmark = pytest.mark.kafka

OLD = {"type": "record", "name": "Order", "fields": [{"name": "amount", "type": "int"}]}
NEW = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "amount", "type": "long"},
        {"name": "user", "type": "string", "default": "?"},
    ],
}
BODY = f"""
from processor import SchemaRegistry, avro
orders = avro({NEW!r}, registry=SchemaRegistry(auto_register=AUTO))
topology.stream(IN, value=orders).to(OUT)
"""


def define(app: App, *, auto_register: bool) -> None:
    app.define(BODY.replace("AUTO", str(auto_register)))
    app.topics("in", "out")


def written(server: RegistryServer, schema: Any, value: Any) -> bytes:
    schema_id = server.register("orders-value", schema)
    return prefix(schema_id) + avro(schema).encode(value)


def use(server: RegistryServer) -> tuple[str, ...]:
    entries = (f"url={server.url}", "max.retries=0", "timeout=2")
    return tuple(word for each in entries for word in ("--set", f"schema_registry.{each}"))


def test_records_wait_for_a_registry_and_none_is_bad(app: App) -> None:
    with registry_server() as server:
        define(app, auto_register=True)
        app.write((0, "a", written(server, NEW, {"amount": 1, "user": "ann"})))
        with app.start(*use(server)) as node:
            app.await_output(1)
            server.fail = 503
            app.write((0, "b", written(server, OLD, {"amount": 2})))
            asked = len(server.asked)
            deadline = time.monotonic() + 120
            while len(server.asked) < asked + 3:  # again and again
                assert time.monotonic() < deadline, node.output
                time.sleep(0.02)
            server.fail = None
            app.await_output(2)
            assert node.stop() == 0
    values = [row.value for row in app.read()]
    assert values == [prefix(1) + b"\x02\x06ann", prefix(1) + b"\x04\x02?"]
    assert server.subjects[f"{app.name}-out-value"] == [1]


def test_a_schema_that_may_not_be_written_ends_the_node_at_the_start(app: App) -> None:
    with registry_server() as server:
        define(app, auto_register=False)
        app.write((0, "b", written(server, OLD, {"amount": 2})), (0, "c", prefix(4711) + b"\x00"))
        node = app.run(*use(server), expect=3)
        assert f"register FILE --subject {app.name}-out-value" in node.output
        known = prefix(server.register(f"{app.name}-out-value", NEW))
        app.run(*use(server))
    assert [row.value for row in app.read()] == [known + b"\x04\x02?"]
    (letter,) = app.read("dead-letters")
    assert b"no schema of id 4711" in (dict(letter.headers)["kproc.error"] or b"")
