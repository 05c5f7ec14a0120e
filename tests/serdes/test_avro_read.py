"""Reading Avro: as fastavro reads it, by the rules of resolution, and bounded whatever comes."""

import io
import tracemalloc
from dataclasses import dataclass
from typing import Any

import pytest
from fastavro import schemaless_reader, schemaless_writer
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from processor.serdes.avro.decoding import UnreadableError
from processor.serdes.avro.reader import Incompatible, reader
from processor.serdes.avro.schema import read_schema
from processor.serdes.avro.writer import writer
from tests.serdes.avro_data import schemas, values


def _field(kind: Any) -> dict[str, Any]:
    return kind if isinstance(kind, dict) and "default" in kind else {"type": kind}


def record(name: str = "R", /, **fields: Any) -> dict[str, Any]:
    return {
        "type": "record",
        "name": name,
        "fields": [
            {
                "name": each,
                **(kind if isinstance(kind, dict) and "default" in kind else {"type": kind}),
            }
            for each, kind in fields.items()
        ],
    }


def written(schema: Any, value: Any) -> bytes:
    return writer(read_schema(schema), Any)(value, b"")


def resolved(old: Any, new: Any, value: Any) -> Any:
    return reader(read_schema(old), read_schema(new), Any)(written(old, value))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_as_fastavro_reads_and_writes(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    value = data.draw(values(schema))
    out = io.BytesIO()
    try:
        schemaless_writer(out, schema, value)
    except ValueError:  # such as for "" in a union of a date and text
        reject()
    own = read_schema(schema)
    made = writer(own, Any)(value, b"")
    assert len(made) == len(out.getvalue())  # maps are in an order of their own
    assert schemaless_reader(io.BytesIO(made), schema, None) == schemaless_reader(
        io.BytesIO(out.getvalue()), schema, None
    )
    assert reader(own, None, Any)(out.getvalue()) == schemaless_reader(
        io.BytesIO(out.getvalue()), schema, None
    )


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_is_no_data_raises_a_value_error_and_nothing_else(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    own = read_schema(schema)
    read, write = reader(own, None, Any), writer(own, Any)
    noise = data.draw(st.binary(max_size=60))
    cut = write(data.draw(values(schema)), b"")
    cut = cut[: data.draw(st.integers(0, len(cut)))] + noise
    for each in (noise, cut):
        try:
            read(each)
        except (ValueError, OverflowError):
            continue


LONG = bytes([0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01])  # 2**63 - 1
LEAST = bytes([0xFF] * 9 + [0x01])  # -2**63
TREE = record("Tree", left=["null", "Tree"], right=["null", "Tree"])
LIST = record("L", n={"type": "array", "items": "L"})
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}


@pytest.mark.parametrize(
    ("schema", "data", "why"),
    [
        ("string", LONG, "bytes are announced"),
        ("bytes", LONG, "bytes are announced"),
        ("bytes", LEAST, "bytes are announced"),
        ("string", b"\x01", "-1 bytes are announced"),
        ({"type": "array", "items": "int"}, LONG + b"\x00" * 100, "items in 100 bytes"),
        ({"type": "array", "items": "int"}, LEAST + LONG, "a block of"),
        ({"type": "array", "items": "int"}, LEAST + b"\x08" + b"\x00" * 9, "items in 9 bytes"),
        ({"type": "map", "values": "null"}, LONG + b"\x00" * 100, "items in 100 bytes"),
        ({"type": "map", "values": "null"}, b"\x0d\x01", "a block of -1 bytes"),
        (TREE, b"\x02" * 100_000, "nested too deeply"),
        (LIST, b"\x02" * 100_000, "nested too deeply"),
        (DECIMAL, bytes([0x80, 0x89, 0x7A]) + b"\x7f" * 1_000_000, "no decimal of 20 digits"),
        (DECIMAL, b"\x12" + b"\x7f" * 9, "more than 20 digits"),
        ("long", b"\xff" * 1_000_000, "more than 64 bits"),
        ("long", b"\xff" * 9 + b"\x7f", "more than 64 bits"),
        ("int", b"\xfe\xff\xff\xff\x7f", "out of the range of int"),
        ("int", b"\x80", "ends too early"),
        ("double", b"\x00" * 7, "ends too early"),
        ("boolean", b"\x02", "a boolean is 0 or 1"),
        (["null", "int"], b"\x04", "has no number 2"),
        (["null", "int"], b"\x01", "has no number -1"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, b"\x01", "no symbol number -1"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, LONG, "no symbol number"),
        ("int", b"\x02\x02", "1 bytes follow"),
        ("string", b"\x02\xff", "codec can't decode"),
        ({"type": "long", "logicalType": "time-micros"}, LONG, "no time of a day"),
        ({"type": "string", "logicalType": "uuid"}, b"\x02x", "badly formed"),
    ],
)
def test_payloads_that_mean_harm_are_bad_records(schema: Any, data: bytes, why: str) -> None:
    read = reader(read_schema(schema), None, Any)
    tracemalloc.start()
    with pytest.raises(ValueError, match=why):
        read(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000 + 2 * len(data)


def test_moments_that_python_has_not() -> None:
    read = reader(read_schema({"type": "long", "logicalType": "timestamp-millis"}), None, Any)
    with pytest.raises(OverflowError):
        read(LONG)


def test_fields_come_and_go() -> None:
    old = record(a="int", gone={"type": "array", "items": "string"}, b="string")
    new = record(b="string", c={"type": ["null", "int"], "default": None}, a="long")
    assert resolved(old, new, {"a": 1, "gone": ["x"], "b": "y"}) == {"a": 1, "b": "y", "c": None}


def test_defaults_are_values_of_their_types_and_nobody_elses() -> None:
    new = record(
        a="int",
        day={"type": {"type": "int", "logicalType": "date"}, "default": 1},
        tags={"type": {"type": "array", "items": "string"}, "default": []},
        raw={"type": "bytes", "default": "\u00ff"},
        inner={"type": record("Inner", x={"type": "int", "default": 7}), "default": {}},
    )
    read = reader(read_schema(record(a="int")), read_schema(new), Any)
    first, second = read(b"\x02"), read(b"\x02")
    assert str(first["day"]) == "1970-01-02"
    assert first["raw"] == b"\xff"
    assert first["inner"] == {"x": 7}
    first["tags"].append("mine")
    assert second["tags"] == []


def test_renamed_fields_and_records_are_known_by_their_aliases() -> None:
    new = {
        "type": "record",
        "name": "New",
        "aliases": ["R"],
        "fields": [{"name": "amount", "aliases": ["sum"], "type": "int"}],
    }
    inside = record("Outer", of=record(sum="int"))
    assert resolved(inside, record("Outer", of=new), {"of": {"sum": 5}}) == {"of": {"amount": 5}}


@pytest.mark.parametrize(
    ("old", "new", "value", "becomes"),
    [
        ("int", "long", 5, 5),
        ("int", "double", 5, 5.0),
        ("long", "float", 5, 5.0),
        ("float", "double", 0.5, 0.5),
        ("string", "bytes", "é", b"\xc3\xa9"),
        ("bytes", "string", b"\xc3\xa9", "é"),
        ("int", ["null", "int"], 5, 5),
        ("int", ["null", "double", "int"], 5, 5),
        (["null", "int"], "int", 5, 5),
        (["null", "int"], ["int", "null"], None, None),
        (["int", "string"], ["string", "long"], 5, 5),
        ({"type": "array", "items": "int"}, {"type": "array", "items": "long"}, [1], [1]),
        (
            {"type": "map", "values": "int"},
            {"type": "map", "values": "float"},
            {"a": 1},
            {"a": 1.0},
        ),
    ],
)
def test_types_become_others(old: Any, new: Any, value: Any, becomes: Any) -> None:
    got = resolved(old, new, value)
    assert (got, type(got)) == (becomes, type(becomes))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("long", "int", "written as long and can't be read as int"),
        ("string", "int", "written as string"),
        (record(a="int"), record(a="int", b="int"), "give it a default"),
        (record(a="int"), record("Other", a="int"), "record R and can't be read as record Other"),
        (["null", "string"], "int", "none of what union can hold"),
        ("int", ["null", "string"], "the reader's union does not have"),
        (
            {"type": "fixed", "name": "F", "size": 2},
            {"type": "fixed", "name": "F", "size": 3},
            "fixed F",
        ),
        (DECIMAL, {**DECIMAL, "scale": 3}, "decimal"),
    ],
)
def test_what_can_never_be_read_is_said_at_once(old: Any, new: Any, why: str) -> None:
    with pytest.raises(Incompatible, match=why):
        reader(read_schema(old), read_schema(new), Any)


def test_what_can_mostly_be_read_fails_with_the_record_that_can_not() -> None:
    with pytest.raises(UnreadableError, match="written as null"):
        resolved(["null", "int"], "int", None)
    old = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
    with pytest.raises(UnreadableError, match="does not have B"):
        resolved(old, {**old, "symbols": ["A"]}, "B")
    assert resolved(old, {**old, "symbols": ["A"], "default": "A"}, "B") == "A"


@dataclass
class Node:
    value: int
    next: "Node | None"


def test_recursion_into_models() -> None:
    schema = read_schema(record("Node", value="int", next=["null", "Node"]))
    chain = Node(1, Node(2, None))
    data = writer(schema, Node)(chain, b"")
    assert reader(schema, None, Node)(data) == chain
    endless = Node(1, None)
    endless.next = endless
    with pytest.raises(ValueError, match="part of itself"):
        writer(schema, Node)(endless, b"")
