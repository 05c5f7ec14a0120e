"""The examples of docs/guides/schemas.md run as they stand there."""

import tomllib
from pathlib import Path
from typing import Any

from processor import Topology, avro, tumbling
from processor.settings import Settings
from processor.topology.flow import flow_of
from tests.docs.pages import ROOT, blocks, run_tests

PAGE = ROOT / "docs/guides/schemas.md"


def test_its_topology_passes_its_tests(tmp_path: Path) -> None:
    topology, tests, _ = blocks(PAGE, "python")
    (tmp_path / "orders.py").write_text(topology.text)
    (tmp_path / "test_orders.py").write_text(tests.text)
    done = run_tests(tmp_path)
    assert "1 passed" in done.stdout, done.stdout


def test_its_topology_with_a_registry() -> None:
    found: dict[str, Any] = {}
    exec(blocks(PAGE, "python")[2].text, found)
    assert flow_of(found["flights"]).value.read.name == "registry-avro(kproc.flights.Flight)"


def test_its_settings() -> None:
    (block,) = blocks(PAGE, "toml")
    settings = Settings(**tomllib.loads(block.text))
    assert settings.schema_registry["url"] == "https://registry:8081"
    assert "PASSWORD" not in repr(settings)


def test_what_keeps_its_serde() -> None:
    found: dict[str, Any] = {}
    exec(blocks(PAGE, "python")[0].text, found)
    stream: Any = Topology("app").stream("in", value=avro(found["SCHEMA"], found["Order"]))
    table = stream.to_table(name="table")
    kept = [
        stream.filter(bool),
        stream.deduplicate(within="1s", name="seen"),
        stream.key_by("user"),
        stream.group_by_key().window(tumbling("1s")).count(name="windows").late(),
    ]
    made = [
        stream.map_values(lambda value: value),
        stream.flat_map(lambda key, value: [(key, value)]),
        stream.process(lambda record, context: [record], name="each"),
        stream.group_by_key().reduce(max, name="reduced"),
        table,
        table.suppress(until="1s", max_records=2, name="last"),
    ]
    assert [flow_of(each).value.read is flow_of(stream).value.read for each in kept] == [True] * 4
    assert [flow_of(each).value.read for each in made] == [None] * 6
