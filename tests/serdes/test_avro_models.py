"""The types that are written for a schema: formatted, typed, and what `avro` takes."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from processor.errors import UsageError
from processor.serdes import avro
from processor.serdes.avro.models import ModelForm, model_source
from processor.serdes.avro.schema import read_schema

SUIT = {"type": "enum", "name": "Suit", "symbols": ["SPADES", "None"], "doc": 'Of "cards".'}
WIDE = {
    "type": "record",
    "name": "Wide",
    "namespace": "test",
    "doc": "A record with one of everything that there is in Avro, and with a text about it that "
    "is longer than a line of the module has room for.",
    "fields": [
        {"name": "suit", "type": SUIT, "default": "None", "doc": "The suit."},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 4}},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
        {"name": "counts", "type": {"type": "map", "values": "long"}, "default": {}},
        {"name": "raw", "type": {"type": "fixed", "name": "Raw", "size": 2}},
        {"name": "next", "type": ["null", "Wide"], "default": None},
        {"name": "several", "type": ["null", "int", "string", {"type": "array", "items": "Suit"}]},
        {"name": "ratio", "type": "double", "default": 1},
        {"name": "note", "type": "string", "default": 'a "note"'},
        {
            "name": "inner",
            "type": {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "int"}]},
        },
    ],
}
FORMS = get_args(ModelForm)


def written(schema: Any, form: ModelForm, folder: Path) -> Path:
    path = folder / f"{form}_models.py"
    path.write_text(model_source(read_schema(schema), form, "wide.avsc"))
    return path


def loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_fits_its_schema(form: ModelForm, tmp_path: Path) -> None:
    wide = loaded(written(WIDE, form, tmp_path)).Wide
    serde, untyped = avro(WIDE, wide), avro(WIDE)
    value = {
        "suit": "SPADES",
        "raw": b"ab",
        "several": ["SPADES"],
        "inner": {"x": 1},
        "next": None,
        "tags": ["a"],
    }
    other = dict.fromkeys(("at", "day", "id", "price"))
    data = untyped.encode({**value, **{name: _zero(name) for name in other}})
    assert serde.encode(serde.decode(data)) == data
    assert "suit" in serde.name or serde.name.startswith("avro(test.Wide as Wide")


def _zero(name: str) -> Any:
    fields: Any = {each["name"]: each["type"] for each in WIDE["fields"]}  # type: ignore[index]
    raw = {
        "at": b"\x00",
        "day": b"\x00",
        "id": b"\x48" + b"0" * 8 + b"-0000" * 3 + b"-" + b"0" * 12,
    }
    return avro(fields[name]).decode(raw.get(name, b"\x02\x00"))


def test_what_is_written_is_formatted_and_typed(tmp_path: Path) -> None:
    flights = read_schema("schemas/flight.avsc")
    for form in FORMS:
        written(WIDE, form, tmp_path)
        (tmp_path / f"{form}_flight.py").write_text(model_source(flights, form, "flight.avsc"))
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.11"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    for command in (
        ["ruff", "format", "--check", "--isolated", "--line-length", "100", "."],
        ["ruff", "check", "--isolated", "--line-length", "100", "--select", "E,F,I,UP,D2,W,N", "."],
        ["pyright", "--pythonpath", sys.executable, "."],
    ):
        tool = Path(sys.executable).parent / command[0]
        done = subprocess.run(
            [str(tool), *command[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def test_names_that_python_has_already(tmp_path: Path) -> None:
    schema = {
        "type": "record",
        "name": "Odd",
        "fields": [{"name": "class", "type": "int"}, {"name": "json", "type": "string"}],
    }
    with pytest.raises(UsageError, match="use --as pydantic"):
        model_source(read_schema(schema), "dataclass", "odd.avsc")
    for form in ("pydantic", "typeddict"):
        odd = loaded(written(schema, form, tmp_path)).Odd  # type: ignore[arg-type]
        serde = avro(schema, odd)
        assert serde.encode(serde.decode(b"\x02\x02x")) == b"\x02\x02x"


def test_what_has_no_types_of_its_own() -> None:
    with pytest.raises(UsageError, match="has no record"):
        model_source(read_schema("string"), "dataclass", "text.avsc")
    twice = {
        "type": "record",
        "name": "a.Same",
        "fields": [{"name": "x", "type": {"type": "record", "name": "b.Same", "fields": []}}],
    }
    with pytest.raises(UsageError, match="which would both be the class Same"):
        model_source(read_schema(twice), "dataclass", "twice.avsc")
