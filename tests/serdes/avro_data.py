"""Random schemas, and values of them, for comparison with fastavro."""

from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

LOGICAL: dict[str, Any] = {
    "date": {"type": "int", "logicalType": "date"},
    "time-millis": {"type": "int", "logicalType": "time-millis"},
    "time-micros": {"type": "long", "logicalType": "time-micros"},
    "timestamp-millis": {"type": "long", "logicalType": "timestamp-millis"},
    "timestamp-micros": {"type": "long", "logicalType": "timestamp-micros"},
    "uuid": {"type": "string", "logicalType": "uuid"},
    "decimal": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3},
}
_MILLIS = st.integers(0, 86_399_999)
_NAIVE = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(max_size=80),
    "string": st.text(max_size=80),
    "date": st.dates(),
    "time-millis": _MILLIS.map(
        lambda ms: time(ms // 3600000, ms // 60000 % 60, ms // 1000 % 60, ms % 1000 * 1000)
    ),
    "time-micros": st.times(),
    "timestamp-millis": _NAIVE.map(
        lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
    ),
    "timestamp-micros": _NAIVE.map(lambda moment: moment.replace(tzinfo=UTC)),
    "uuid": st.uuids(),
    "decimal": st.integers(-(10**9) + 1, 10**9 - 1).map(lambda number: Decimal(number).scaleb(-3)),
}


def _kind(schema: Any) -> str:
    kind = schema if isinstance(schema, str) else schema["type"]
    return "number" if kind in ("int", "long", "float", "double") else str(kind)


@st.composite
def schemas(draw: st.DrawFn, depth: int = 3) -> Any:
    """A schema whose named types have names of their own."""
    numbers = iter(range(1000))

    def make(left: int, *, in_union: bool = False) -> Any:  # noqa: PLR0911 - a table
        plain = [*list(_VALUES)[:8], *LOGICAL, "enum", "fixed"]
        nested = ["array", "map", "record"] + ([] if in_union else ["union"])
        kind = draw(st.sampled_from(plain + (nested if left else [])))
        name = f"T{next(numbers)}"
        match kind:
            case "enum":
                return {"type": "enum", "name": name, "symbols": ["A", "B", "C"]}
            case "fixed":
                return {"type": "fixed", "name": name, "size": draw(st.integers(1, 9))}
            case "array":
                items = make(left - 1)
                return {"type": "array", "items": "int" if items == "null" else items}
            case "map":
                return {"type": "map", "values": make(left - 1)}
            case "record":
                count = draw(st.integers(1, 4))
                fields = [{"name": f"f{row}", "type": make(left - 1)} for row in range(count)]
                return {"type": "record", "name": name, "fields": fields}
            case "union":
                made = [make(left - 1, in_union=True) for _ in range(draw(st.integers(1, 3)))]
                # One of each class of values: a value then shows which branch it is of.
                branches = {_kind(each): each for each in made}
                if "enum" in branches or "fixed" in branches:
                    branches.pop("string", None)
                    branches.pop("bytes", None)
                if "record" in branches:
                    branches.pop("map", None)
                return list(branches.values())
            case _:
                return LOGICAL.get(kind, kind)

    return {
        "type": "record",
        "name": "Root",
        "fields": [{"name": f"r{row}", "type": make(depth)} for row in range(3)],
    }


def values(schema: Any) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - a table
    """Values of a schema."""
    if isinstance(schema, list):
        return st.one_of(*map(values, schema))
    if isinstance(schema, str):
        return _VALUES[schema]
    match schema["type"]:
        case "record":
            return st.fixed_dictionaries(
                {each["name"]: values(each["type"]) for each in schema["fields"]}
            )
        case "array":
            return st.lists(values(schema["items"]), max_size=4)
        case "map":
            return st.dictionaries(st.text(max_size=5), values(schema["values"]), max_size=4)
        case "enum":
            return st.sampled_from(schema["symbols"])
        case "fixed":
            return st.binary(min_size=schema["size"], max_size=schema["size"])
        case kind:
            return _VALUES[schema.get("logicalType", kind)]
