"""What rows of files become by their schemas."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from processor.serdes import avro
from processor.serdes.avro.rows import value_of_row
from processor.serdes.avro.schema import read_schema
from tests.serdes.avro_data import LOGICAL

MOMENT = datetime(2013, 1, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schema", "given", "value"),
    [
        ("int", "5", 5),
        ("long", 5.0, 5),
        ("double", "5", 5.0),
        ("float", 5, 5.0),
        ("string", 7, "7"),
        ("string", "", ""),
        ("boolean", "True", True),
        ("boolean", False, False),
        ("bytes", "é", b"\xc3\xa9"),
        (["null", "int"], "", None),
        (["null", "int"], None, None),
        (["null", "int", "string"], "x", "x"),
        (LOGICAL["timestamp-millis"], "2013-01-01T05:00:00", MOMENT),
        (LOGICAL["timestamp-millis"], "2013-01-01T00:00:00-05:00", MOMENT),
        (LOGICAL["timestamp-millis"], 1357016400000, MOMENT),
        (LOGICAL["timestamp-micros"], MOMENT, MOMENT),
        (LOGICAL["date"], "2013-01-01", date(2013, 1, 1)),
        (LOGICAL["date"], 1, date(1970, 1, 2)),
        (LOGICAL["time-micros"], "05:00", time(5)),
        (LOGICAL["decimal"], "1.50", Decimal("1.50")),
        (LOGICAL["decimal"], 1.5, Decimal("1.5")),
        (LOGICAL["uuid"], str(UUID(int=5)), UUID(int=5)),
        ({"type": "array", "items": "int"}, ["1", 2], [1, 2]),
        ({"type": "map", "values": "int"}, {"a": "1"}, {"a": 1}),
    ],
)
def test_text_becomes_what_the_schema_says(schema: Any, given: Any, value: Any) -> None:
    read = read_schema(schema)
    assert value_of_row(read.root, given) == value
    avro(read).encode(value_of_row(read.root, given))


def test_rows_may_have_more_columns_and_fewer() -> None:
    flight = read_schema("schemas/flight.avsc").root
    row = {"carrier": "UA", "number": "5", "unknown": "x", "tail": ""}
    assert value_of_row(flight, row) == {"carrier": "UA", "number": 5, "tail": None}


@pytest.mark.parametrize(
    ("schema", "given", "why"),
    [
        ("int", "five", "'five' is no int"),
        ("int", True, "no int"),
        ("int", 5.5, "no int"),
        ("int", "", "'' is no int"),
        ("boolean", "perhaps", "no boolean"),
        (["null", "int"], "five", "no int"),
        (LOGICAL["date"], "tomorrow", "no date"),
        (LOGICAL["uuid"], "5", "no uuid"),
        ({"type": "array", "items": "int"}, "1", "no array"),
        ({"type": "map", "values": "int"}, "1", "no object"),
    ],
)
def test_what_is_not_what_it_should_be(schema: Any, given: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        value_of_row(read_schema(schema).root, given)
    fields = [{"name": "x", "type": schema}]
    inside = read_schema({"type": "record", "name": "R", "fields": fields})
    with pytest.raises(ValueError, match=f"x: .*{why}"):
        value_of_row(inside.root, {"x": given})
