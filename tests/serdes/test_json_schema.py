"""JSON whose schemas are in a registry."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel

from processor.errors import TopologyError
from processor.serdes import SchemaRegistry, SchemasMissing, json_schema
from processor.serdes.memory_registry import MemoryRegistry
from processor.serdes.registry import BySubject, SchemaText, prefix


@dataclass
class Order:
    user: str
    amount: int


class Model(BaseModel):
    user: str


REGISTRY = SchemaRegistry(auto_register=True, subjects="record")


def test_the_schema_is_the_types_own() -> None:
    memory, serde = MemoryRegistry(), json_schema(Order, registry=REGISTRY)
    data = memory.resolve(lambda: serde.encode(Order("ann", 5)))
    (schema,) = memory.schemas.values()
    (subject,) = memory.subjects
    assert (subject, schema.kind) == ("Order", "JSON")
    assert json.loads(schema.text)["$defs"]["Order"]["required"] == ["user", "amount"]
    assert data[5:] == b'{"user":"ann","amount":5}'
    assert serde.decode(data) == Order("ann", 5)
    with pytest.raises(ValueError, match="missing required field"):
        serde.decode(data[:5] + b"{}")


def test_models_of_pydantic_and_anything() -> None:
    memory, serde = MemoryRegistry(), json_schema(Model, registry=REGISTRY)
    data = memory.resolve(lambda: serde.encode(Model(user="ann")))
    assert serde.decode(data) == Model(user="ann")
    anything = json_schema(registry=SchemaRegistry())
    assert memory.resolve(lambda: anything.decode(data)) == {"user": "ann"}


def test_a_schema_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "order.json"
    path.write_text('{"title": "Mine", "type": "object"}')
    serde = json_schema(schema=path, registry=REGISTRY)
    with pytest.raises(SchemasMissing) as missing:
        serde.encode({})
    (question,) = missing.value.questions
    assert question == BySubject("Mine", SchemaText("JSON", _compact(path)), register=True)
    with pytest.raises(TopologyError, match="can't be read as a JSON Schema"):
        json_schema(schema=tmp_path / "none.json", registry=REGISTRY)


def test_data_of_another_kind_of_schema() -> None:
    memory, serde = MemoryRegistry(), json_schema(Order, registry=REGISTRY)
    known = memory.register("any", SchemaText("AVRO", '"string"')).id
    with pytest.raises(ValueError, match="a schema of AVRO, not a JSON Schema"):
        memory.resolve(lambda: serde.decode(prefix(known) + b"{}"))


def _compact(path: Path) -> str:
    return json.dumps(json.loads(path.read_text()), separators=(",", ":"))
