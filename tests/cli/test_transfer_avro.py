"""`kproc produce` and `kproc consume` with Avro, with and without a registry."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from processor.cli.schema import register
from processor.cli.transfer import consume, produce
from processor.errors import BadRecordError, SchemaRefused, UsageError
from tests.registry_server import registry_server

pytestmark = pytest.mark.kafka
Run = Callable[..., Result]

app = typer.Typer()
for command in (produce, consume, register):
    app.command()(command)

SCHEMA = Path("schemas/flight.avsc").absolute()
CSV = """carrier,number,tail,origin,destination,departure_delay,arrival_delay,distance,more
UA,1545,,EWR,IAH,2,,1400,x
"""
FLIGHT = {
    "carrier": "UA",
    "number": 1545,
    "tail": None,
    "origin": "EWR",
    "destination": "IAH",
    "departure_delay": 2,
    "arrival_delay": None,
    "distance": 1400,
}


@pytest.fixture
def run(kafka: str) -> Run:
    def call(*arguments: object) -> Result:
        words = [str(each) for each in arguments]
        result = CliRunner(env={"KPROC_BOOTSTRAP": kafka}).invoke(app, words)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def values(run: Run, topic: str, *options: object) -> list[object]:
    output = run("consume", topic, "--until-end", "--format", "json", *options).stdout
    return [json.loads(line)["value"] for line in output.splitlines()]


def test_with_a_schema(run: Run, topic_name: str, tmp_path: Path) -> None:
    file = tmp_path / "flights.csv"
    file.write_text(CSV)
    run("produce", file, "-t", topic_name, "--create", "--key", "carrier", "--avro", SCHEMA)
    assert values(run, topic_name, "--avro", SCHEMA) == [FLIGHT]
    (plain,) = values(run, topic_name)
    assert str(plain).startswith("0x")
    file.write_text(CSV.replace("1545", "many"))
    with pytest.raises(BadRecordError, match="number: 'many' is no int"):
        run("produce", file, "-t", topic_name, "--avro", SCHEMA)


def test_with_a_registry(run: Run, topic_name: str, tmp_path: Path) -> None:
    file = tmp_path / "flights.jsonl"
    file.write_text(json.dumps(FLIGHT))
    with registry_server() as server:
        options = ("-t", topic_name, "--create", "--avro", SCHEMA, "--registry", server.url)
        with pytest.raises(SchemaRefused, match=f"register FILE --subject {topic_name}-value"):
            run("produce", file, *options)
        run("register", SCHEMA, "-s", f"{topic_name}-value", "--registry", server.url)
        run("produce", file, *options)
        assert values(run, topic_name, "--registry", server.url) == [FLIGHT]
        assert values(run, topic_name, "--registry", server.url, "--avro", SCHEMA) == [FLIGHT]
    with pytest.raises(UsageError, match="--registry needs the schema"):
        run("produce", file, "-t", topic_name, "--registry", "http://127.0.0.1:9")
