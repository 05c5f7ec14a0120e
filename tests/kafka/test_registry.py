"""The registry's client against a registry over HTTP, and serdes that ask it."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from processor import Topology
from processor.errors import (
    PermissionDenied,
    RegistryUnreachable,
    SchemaRefused,
    SettingsError,
)
from processor.kafka.registry import Registry, prepare
from processor.serdes import SchemaRegistry, SchemasMissing, Serde, avro, decode_column
from processor.serdes.avro.schema import read_schema
from processor.serdes.registry import SchemaText, prefix
from processor.topology.plan import plan
from tests.registry_server import RegistryServer, registry_server

OLD = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "int"}]}
NEW = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "user", "type": "string", "default": "?"},
    ],
}
WORSE = {"type": "record", "name": "Order", "fields": [{"name": "user", "type": "string"}]}


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with registry_server() as running:
        yield running


def client(server: RegistryServer, **more: Any) -> Registry:
    fast = {"retries.wait.ms": 1, "max.retries": 1}
    return Registry({"url": server.url, **fast, **more})


def bound(schema: Any, **policy: Any) -> Serde[Any]:
    serde = avro(schema, registry=SchemaRegistry(**policy))
    assert serde.registered is not None
    return serde.registered.bound("orders", "value")


def test_what_one_application_writes_another_reads_with_its_own_schema(
    server: RegistryServer,
) -> None:
    registry = client(server)
    old = registry.asking(bound(OLD, auto_register=True))
    data = old.encode({"id": 5})
    assert data == b"\x00\x00\x00\x00\x01\x0a"
    assert server.subjects == {"orders-value": [1]}
    new = registry.asking(bound(NEW, auto_register=True))
    assert new.decode(data) == {"id": 5, "user": "?"}
    assert new.encode({"id": 5, "user": "ann"})[:5] == prefix(2)
    anybody = registry.asking(avro(registry=SchemaRegistry()))
    assert anybody.decode(new.encode({"id": 6, "user": "bob"})) == {"id": 6, "user": "bob"}


def test_each_schema_is_asked_for_once(server: RegistryServer) -> None:
    data = [prefix(server.register("any", OLD)) + b"\x0a"] * 100
    serde = client(server).asking(bound(NEW))
    assert [serde.decode(each)["id"] for each in data] == [5] * 100
    assert server.asked == ["/schemas/ids/1"]


def test_a_column_asks_for_everything_at_once(server: RegistryServer) -> None:
    first = prefix(server.register("any", OLD)) + b"\x0a"
    second = prefix(server.register("any", NEW)) + b"\x0c\x02x"
    serde = bound(NEW)
    column = [first, second, prefix(99) + b"\x02", None, b"", b"\x00", b"text"]
    with pytest.raises(SchemasMissing) as missing:
        decode_column(serde, column)
    assert [each.id for each in missing.value.questions] == [1, 2, 99]  # type: ignore[union-attr]
    client(server).answer(missing.value)
    values, faults = decode_column(serde, column)
    assert values == [{"id": 5, "user": "?"}, {"id": 6, "user": "x"}, None]
    texts = [str(fault.error) for fault in faults]
    assert "no schema of id 99" in texts[0]
    assert all("does not begin with a zero byte" in text for text in texts[1:])


def test_policies_of_registration(server: RegistryServer) -> None:
    registry = client(server)
    with pytest.raises(SchemaRefused, match="kproc schema register FILE --subject orders-value"):
        registry.asking(bound(OLD)).encode({"id": 5})
    with pytest.raises(SchemaRefused, match="no subject orders-value, whose latest"):
        registry.asking(bound(OLD, use_latest=True)).encode({"id": 5})
    server.register("orders-value", OLD)
    assert registry.asking(bound(OLD)).encode({"id": 5})[:5] == prefix(1)
    server.register("orders-value", NEW)
    latest = registry.asking(bound(OLD, use_latest=True))
    assert latest.encode({"id": 5}) == prefix(2) + b"\x0a\x02?"


@pytest.mark.parametrize(
    ("subjects", "subject"),
    [("topic", "orders-value"), ("record", "Order"), ("topic-record", "orders-Order")],
)
def test_names_of_subjects(server: RegistryServer, subjects: Any, subject: str) -> None:
    client(server).asking(bound(OLD, auto_register=True, subjects=subjects)).encode({"id": 1})
    assert list(server.subjects) == [subject]


def test_an_incompatible_schema_is_refused_with_what_to_do(server: RegistryServer) -> None:
    registry = client(server)
    server.register("orders-value", OLD)
    with pytest.raises(SchemaRefused, match=r"not compatible .* Give new fields defaults"):
        registry.register("orders-value", SchemaText("AVRO", avro_text(WORSE)))
    assert not registry.fits("orders-value", SchemaText("AVRO", avro_text(WORSE)))
    assert registry.fits("orders-value", SchemaText("AVRO", avro_text(NEW)))
    assert registry.fits("new-value", SchemaText("AVRO", avro_text(NEW)))
    assert registry.rule("orders-value") == "BACKWARD"


def avro_text(schema: Any) -> str:
    return read_schema(schema).text


def test_data_of_an_incompatible_schema_is_bad_and_says_why(server: RegistryServer) -> None:
    schema_id = server.register("any", WORSE)
    serde = client(server).asking(bound(OLD))
    with pytest.raises(ValueError, match=rf"schema {schema_id}.*give it a default"):
        serde.decode(prefix(schema_id) + b"\x02x")
    kind = server.register("any", "{}", "JSON")
    with pytest.raises(ValueError, match="a schema of JSON, not of Avro"):
        serde.decode(prefix(kind) + b"{}")
    evil = {"type": "array", "items": "null"}
    with pytest.raises(ValueError, match="fill the memory"):
        serde.decode(prefix(server.register("any", evil)) + b"\xfe\xff\xff\xff\x0f")


def test_schemas_that_use_others(server: RegistryServer) -> None:
    server.register("airport", {"type": "record", "name": "Airport", "fields": []})
    trip = {"type": "record", "name": "Trip", "fields": [{"name": "to", "type": "Airport"}]}
    schema_id = server.register("trip", trip)
    reference = {"name": "Airport", "subject": "airport", "version": 1}
    server.schemas[schema_id]["references"] = [reference]
    serde = client(server).asking(avro(registry=SchemaRegistry()))
    assert serde.decode(prefix(schema_id)) == {"to": {}}


def test_a_registry_that_is_away_makes_no_bad_records() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://user:secret@127.0.0.1:{taken.getsockname()[1]}"
        registry = Registry({"url": url, "max.retries": 0, "timeout": "1"})
        serde = bound(OLD)
        with pytest.raises(SchemasMissing) as missing:
            decode_column(serde, [prefix(1) + b"\x02"])
        with pytest.raises(RegistryUnreachable, match="does not answer") as error:
            registry.answer(missing.value)
    assert "secret" not in str(error.value)
    assert not missing.value.registry.absent


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_registry_that_fails_makes_no_bad_records(server: RegistryServer, status: int) -> None:
    server.fail = status
    with pytest.raises(RegistryUnreachable):
        client(server).asking(bound(OLD)).decode(prefix(1) + b"\x02")


def test_names_and_passwords(server: RegistryServer) -> None:
    server.user = "ann:canary"
    with pytest.raises(PermissionDenied, match=r"basic\.auth\.user\.info"):
        client(server).asking(bound(OLD)).decode(prefix(1))
    allowed = client(server, **{"basic.auth.user.info": "ann:canary"})
    assert allowed.latest("orders-value") is None


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with registry_server(context) as server:
        assert client(server, **{"ssl.ca.location": str(tmp_path / "ca.pem")}).latest("x") is None
        with pytest.raises(RegistryUnreachable):
            client(server).latest("x")


def test_settings_that_are_wrong(server: RegistryServer) -> None:
    with pytest.raises(SettingsError, match=r"set schema_registry\.url"):
        Registry({}).latest("x")
    with pytest.raises(SettingsError, match="nonsense"):
        Registry({"url": server.url, "nonsense": 1}).latest("x")
    with pytest.raises(SettingsError, match="timeout is a number"):
        Registry({"url": server.url, "timeout": "soon"}).latest("x")


def test_a_flood_of_unknown_ids(server: RegistryServer) -> None:
    serde, registry = bound(OLD), client(server)
    column = [prefix(1000 + number) + b"\x02" for number in range(300)]
    asked: list[int] = []
    while len(asked) < 6:
        with pytest.raises(SchemasMissing) as missing:
            decode_column(serde, column)
        asked.append(len(missing.value.questions))
        registry.answer(missing.value)
    values, faults = decode_column(serde, column)
    assert (values, len(faults), asked) == ([], 300, [50] * 6)


def test_sinks_are_ready_before_the_first_record(server: RegistryServer) -> None:
    topology = Topology("orders")
    topology.stream("orders", value=avro(NEW, registry=SchemaRegistry())).to(
        "out", value=avro(NEW, registry=SchemaRegistry(auto_register=True))
    )
    prepare(plan(topology), client(server), pytest.fail)
    assert list(server.subjects) == ["out-value"]
    server.fail = 500
    failures: list[str] = []
    topology.stream("more").to("more-out", value=avro(NEW, registry=SchemaRegistry()))
    prepare(plan(topology), client(server), failures.append)
    assert len(failures) == 1
