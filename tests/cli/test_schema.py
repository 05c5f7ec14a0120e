"""`kproc schema` as a user runs it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from processor.cli.schema import app
from processor.errors import RegistryUnreachable, SchemaRefused, UsageError
from tests.registry_server import RegistryServer, registry_server

OLD = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "int"}]}
NEW = {**OLD, "fields": [*OLD["fields"], {"name": "user", "type": "string"}]}  # type: ignore[misc]
BETTER = {**OLD, "fields": [*OLD["fields"], {"name": "user", "type": "string", "default": ""}]}  # type: ignore[misc]


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with registry_server() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, schema in (("old", OLD), ("new", NEW), ("better", BETTER)):
        (tmp_path / f"{name}.avsc").write_text(json.dumps(schema))
    return tmp_path


def run(*words: Any, **variables: str) -> Result:
    result = CliRunner(env=variables).invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_types_to_the_terminal_and_to_a_file(folder: Path) -> None:
    assert "class Order:\n" in run("types", "old.avsc").stdout
    result = run("types", "old.avsc", "--as", "typeddict", "-o", "order.py")
    assert (result.stdout, result.stderr) == ("", "Wrote order.py.\n")
    assert "class Order(TypedDict):" in (folder / "order.py").read_text()
    with pytest.raises(UsageError, match="can't write no/such"):
        run("types", "old.avsc", "-o", "no/such/folder.py")


def test_two_files_are_compared(folder: Path) -> None:
    shown = run("check", "better.avsc", "--against", "old.avsc").stderr
    assert "BACKWARD): is read\n" in shown
    assert "FORWARD): is read\n" in shown
    with pytest.raises(SchemaRefused, match=r"new\.avsc can't read what was written with old"):
        run("check", "new.avsc", "--against", "old.avsc")
    with pytest.raises(UsageError, match="--against FILE or --subject"):
        run("check", "new.avsc")


def test_registering_and_checking(folder: Path, server: RegistryServer) -> None:
    at = ("--subject", "orders-value", "--registry", server.url)
    assert "not there yet" in run("check", "old.avsc", *at).stderr
    assert "is version 1 of orders-value, with id 1." in run("register", "old.avsc", *at).stderr
    assert "is version 1 of orders-value, with id 1." in run("register", "old.avsc", *at).stderr
    assert "fits orders-value (version 1, BACKWARD)" in run("check", "better.avsc", *at).stderr
    with pytest.raises(SchemaRefused, match=r"rule is BACKWARD.*wants a field 'user'"):
        run("check", "new.avsc", *at)
    with pytest.raises(SchemaRefused, match="not compatible"):
        run("register", "new.avsc", *at)
    assert "is version 2" in run("register", "better.avsc", *at).stderr


def test_the_registry_is_found_in_the_settings(folder: Path, server: RegistryServer) -> None:
    server.user = "ann:canary"
    (folder / "kproc.toml").write_text(f'[schema_registry]\nurl = "{server.url}"\n')
    variables = {"KPROC_SCHEMA_REGISTRY__BASIC_AUTH_USER_INFO": "ann:canary"}
    assert "with id 1" in run("register", "old.avsc", "-s", "orders-value", **variables).stderr
    assert server.subjects == {"orders-value": [1]}


def test_other_kinds_of_schemas(folder: Path, server: RegistryServer) -> None:
    (folder / "order.json").write_text('{"type": "object"}')
    (folder / "order.proto").write_text('syntax = "proto3"; message Order {}')
    for number, name in enumerate(("order.json", "order.proto"), 1):
        shown = run("register", name, "-s", name, "--registry", server.url).stderr
        assert f"with id {number}" in shown
    assert [each["schemaType"] for each in server.schemas.values()] == ["JSON", "PROTOBUF"]
    with pytest.raises(UsageError, match=r"what kind of schema is order\.py"):
        run("register", "order.py", "-s", "x", "--registry", server.url)


def test_a_registry_that_is_away(folder: Path) -> None:
    options = ("--registry", "http://127.0.0.1:9", "--set", "schema_registry.max.retries=0")
    with pytest.raises(RegistryUnreachable, match="does not answer"):
        run("register", "old.avsc", "-s", "orders-value", *options)
