"""Which schemas are taken, and that the others are refused with a reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from processor.serdes.avro.schema import read_schema, schema_of_text
from processor.serdes.avro.tree import BadSchema, RecordType, UnionType


def record(*fields: Any, name: str = "R", **more: Any) -> dict[str, Any]:
    made = [{"name": f"f{row}", "type": each} for row, each in enumerate(fields)]
    return {"type": "record", "name": name, "fields": made, **more}


def test_a_file_a_text_and_a_dict_are_the_same_schema() -> None:
    path = Path("schemas/flight.avsc")
    made = [read_schema(path), read_schema(str(path)), read_schema(path.read_text())]
    made.append(read_schema(json.loads(path.read_text())))
    assert {each.canonical for each in made} == {made[0].canonical}
    assert {each.name for each in made} == {"kproc.flights.Flight"}
    root = made[0].root
    assert isinstance(root, RecordType)
    assert root.short == "Flight"
    assert isinstance(root.fields[2].type, UnionType)


def test_the_fingerprint_is_the_specified_one() -> None:
    # Of the specification's own tests: the CRC-64-AVRO of "int", little end first.
    assert read_schema('"int"').fingerprint == (0x7275D51A3F395C8F).to_bytes(8, "little")


def test_types_of_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "test.Airport.avsc").write_text(
        json.dumps(record("string", name="Airport", namespace="test"))
    )
    trip = record("test.Airport", "test.Airport", name="Trip", namespace="test")
    (tmp_path / "trip.avsc").write_text(json.dumps(trip))
    root = read_schema(tmp_path / "trip.avsc").root
    assert isinstance(root, RecordType)
    assert root.fields[0].type is root.fields[1].type
    (tmp_path / "test.Airport.avsc").unlink()
    with pytest.raises(BadSchema, match="neither in it nor in a file beside it"):
        read_schema(tmp_path / "trip.avsc")


def test_used_schemas_are_known() -> None:
    airport = json.dumps(record("string", name="Airport", namespace="test"))
    trip = json.dumps(record("Airport", name="Trip", namespace="test"))
    root = schema_of_text(trip, [airport]).root
    assert isinstance(root, RecordType)
    assert root.fields[0].type.kind == "record"


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("no/such/file.avsc", "there is no schema file no/such/file.avsc"),
        (dict, "dict is a type: a schema comes first"),
        ('{"type": ', "is no JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('"' + "x" * 2_000_000 + '"', "more than 1,000,000 characters"),
        ({"type": "rcord"}, "is no Avro schema"),
        ({"no": "type"}, "is no Avro schema: KeyError"),
        (record("Unknown"), "there is no type Unknown"),
        ({"type": "record", "name": "R"}, None),
        (record({"type": "bytes", "logicalType": "decimal", "precision": 10**9}), "precision"),
        (record({"type": "bytes", "logicalType": "decimal"}), "precision 0"),
        (record({"type": "array", "items": "null"}), "items of an array"),
        (record({"type": "array", "items": record(name="Empty")}), "items of an array"),
        (record({"type": "map", "values": record(*["null"] * 30, name="E")}), "items of a map"),
        (record(*["null"] * 2000), "a record of it"),
        (record("R"), "part of itself"),
        (record(*["null"] * 20, ["null", "R"]), "part of itself"),
        (record({"type": "map", "values": "null"}), None),
        (record("int", ["null", "R"]), None),
        (record({"type": "array", "items": "R"}), None),
    ],
)
def test_what_is_no_schema_or_could_fill_the_memory(schema: Any, why: str | None) -> None:
    if why is None:
        read_schema(schema)
    else:
        with pytest.raises(BadSchema, match=why):
            read_schema(schema)


def test_few_names_that_stand_for_a_million_values() -> None:
    """Thirty records, each twice in the next: a name in the schema, a billion nulls in the data."""
    inner: Any = record("null", "null", name="R0")
    for level in range(1, 30):
        inner = record(inner, f"R{level - 1}", name=f"R{level}")
    with pytest.raises(BadSchema, match="a record of it"):
        read_schema(inner)


def test_what_fastavro_notes_is_no_pass() -> None:
    with pytest.raises(BadSchema):
        read_schema({"type": "nonsense", "__fastavro_parsed": True, "__named_schemas": {}})
