"""Avro schemas as a tree of types.

Owns what a schema says. Whether it is one at all, fastavro judges, which is loaded where there is a
schema. Knows nothing of bytes or of Python's types.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from processor.serdes.avro.growth import check_growth
from processor.serdes.avro.tree import (
    BadSchema,
    Collection,
    EnumType,
    Field,
    Fixed,
    Named,
    RecordType,
    Type,
    UnionType,
    UnknownName,
)

_PRIMITIVES: Final = frozenset(
    ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
)
_LARGEST: Final = 1_000_000  # characters of a schema
_DEEPEST: Final = 200  # levels of JSON of a schema; a record in a record is three
_MOST_DIGITS: Final = 1000  # of a decimal

_LOGICAL: Final[Mapping[str, frozenset[str]]] = {
    "bytes": frozenset(("decimal",)),
    "string": frozenset(("uuid",)),
    "int": frozenset(("date", "time-millis")),
    "long": frozenset(
        (
            "time-micros",
            "timestamp-millis",
            "timestamp-micros",
            "local-timestamp-millis",
            "local-timestamp-micros",
        )
    ),
    "fixed": frozenset(("decimal", "uuid")),
}
_UUID_BYTES: Final = 16


class AvroSchema:
    """An Avro schema that was read and found to be one.

    Attributes:
        root: Its type.
        form: The schema as JSON has it.

    Args:
        form: The same; what fastavro notes in it is left out.
        where: What errors call it.
        used: Schemas whose types it uses, each after those that it uses itself.

    Raises:
        BadSchema: It is no schema, too large, or data of it could grow beyond all bounds.
    """

    def __init__(self, form: Any, where: str = "the schema", used: Sequence[Any] = ()) -> None:
        from fastavro.schema import SchemaParseException, UnknownType, parse_schema  # noqa: PLC0415

        named: dict[str, Any] = {}
        parsed: list[Any] = []
        try:
            for each in (*used, form):
                _check_depth(each)
                self.form = _plain(each)
                parsed.append(parse_schema(self.form, named_schemas=named, _write_hint=False))
        except UnknownType as error:
            raise UnknownName(f"{where} is no Avro schema: there is no type {error}") from error
        except (SchemaParseException, RecursionError) as error:
            raise BadSchema(f"{where} is no Avro schema: {_described(error)}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            text = f"{type(error).__name__}: {error}"
            raise BadSchema(f"{where} is no Avro schema: {text}") from error
        self._parsed = parsed[-1]
        read = _Reader(where)
        *_, self.root = map(read.type, parsed)
        check_growth(self.root, where)

    @cached_property
    def text(self) -> str:
        """The schema as JSON, without spaces."""
        return json.dumps(self.form, separators=(",", ":"))

    @cached_property
    def canonical(self) -> str:
        """The parsing canonical form: equal for schemas that read alike."""
        from fastavro.schema import to_parsing_canonical_form  # noqa: PLC0415

        return to_parsing_canonical_form(self._parsed)

    @cached_property
    def fingerprint(self) -> bytes:
        """The CRC-64-AVRO fingerprint as single-object encoding has it, in 8 bytes."""
        from fastavro.schema import fingerprint  # noqa: PLC0415

        return bytes.fromhex(fingerprint(self.canonical, "CRC-64-AVRO"))

    @property
    def name(self) -> str:
        """The full name of a named type; the kind of any other."""
        return self.root.name if isinstance(self.root, Named) else self.root.kind


Source: TypeAlias = AvroSchema | Path | str | Mapping[str, Any] | list[Any]
"""A schema: a file's path, a text of JSON, that JSON as Python has it, or a primitive's name."""


def schema_of_text(text: str, used: Sequence[str] = ()) -> AvroSchema:
    """The schema that a text of JSON has, which may be anybody's; see `AvroSchema`."""
    what = "the schema"
    return AvroSchema(_parsed_json(text, what), what, [_parsed_json(each, what) for each in used])


def schema_of_writer(text: str, used: Sequence[str] = ()) -> AvroSchema:
    """As `schema_of_text`, for reading what was written with it: its defaults say nothing then."""
    what = "the schema"
    forms = [_without_defaults(_parsed_json(each, what)) for each in (*used, text)]
    return AvroSchema(forms[-1], what, forms[:-1])


def read_schema(source: Source) -> AvroSchema:
    """A schema from wherever it is.

    A file may use types of other files beside it, each named after its type: `flights.Airport` is
    in `flights.Airport.avsc`.

    Raises:
        BadSchema: It is missing or invalid.
    """
    if isinstance(source, AvroSchema):
        return source
    if isinstance(source, type):
        raise BadSchema(
            f"{source.__name__} is a type: a schema comes first, as in "
            f'avro("schemas/{source.__name__.lower()}.avsc", {source.__name__})'
        )
    if isinstance(source, str) and source in _PRIMITIVES:
        return AvroSchema(source)
    if isinstance(source, str) and source.lstrip()[:1] in ("{", "[", '"'):
        return schema_of_text(source)
    if isinstance(source, str | Path):
        return _from_file(Path(source))
    return AvroSchema(source)


def _from_file(path: Path) -> AvroSchema:
    if not path.is_file():
        raise BadSchema(f"there is no schema file {path} (seen from {Path.cwd()})")
    form = _parsed_json(path.read_text(encoding="utf-8"), str(path))
    try:
        return AvroSchema(form, str(path))
    except UnknownName:
        return AvroSchema(_with_neighbours(path), str(path))


def _with_neighbours(path: Path) -> Any:
    """The schema with the types of other files put in where they are used first."""
    from fastavro.schema import load_schema  # noqa: PLC0415

    try:
        return load_schema(str(path), _write_hint=False)
    except Exception as error:
        raise BadSchema(
            f"{path} uses a type that is neither in it nor in a file beside it, named after the "
            f"type: {error}"
        ) from error


def _plain(form: Any) -> Any:
    """JSON without what fastavro notes in it."""
    if isinstance(form, dict):
        entries = cast("dict[str, Any]", form).items()
        return {name: _plain(each) for name, each in entries if not name.startswith("__")}
    if isinstance(form, list):
        return [_plain(each) for each in cast("list[Any]", form)]
    return form


def _without_defaults(form: Any) -> Any:
    """The schema without the defaults of its fields, which need not fit their types."""
    if isinstance(form, list):
        return [_without_defaults(each) for each in cast("list[Any]", form)]
    if not isinstance(form, dict):
        return form
    entries = {name: _without_defaults(each) for name, each in cast("dict[str, Any]", form).items()}
    fields = entries.get("fields")
    if isinstance(fields, list):
        for field in cast("list[Any]", fields):
            if isinstance(field, dict):
                cast("dict[str, Any]", field).pop("default", None)
    return entries


def _parsed_json(text: str, where: str) -> Any:
    if len(text) > _LARGEST:
        raise BadSchema(f"{where} has more than {_LARGEST:,} characters")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadSchema(f"{where} is no JSON: {_described(error)}") from error


def _described(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _check_depth(form: Any, left: int = _DEEPEST) -> None:
    if left < 0:
        raise RecursionError
    if isinstance(form, dict):
        for each in cast("dict[str, Any]", form).values():
            _check_depth(each, left - 1)
    elif isinstance(form, list):
        for each in cast("list[Any]", form):
            _check_depth(each, left - 1)


class _Reader:
    """Makes types of a schema in which every name is a full one."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._named: dict[str, Named] = {}

    def type(self, form: Any) -> Type:
        if isinstance(form, list):
            branches = tuple(map(self.type, cast("list[Any]", form)))
            return UnionType("union", branches=branches)
        if isinstance(form, str):
            return self._named.get(form) or Type(form)
        return self._complex(form)

    def _complex(self, form: Mapping[str, Any]) -> Type:
        match form["type"]:
            case "array" | "map" as kind:
                items = form["items" if kind == "array" else "values"]
                return Collection(kind, items=self.type(items))
            case "record" | "error":
                return self._record(form)
            case "enum":
                symbols, default = tuple(form["symbols"]), form.get("default")
                named = EnumType("enum", **_naming(form), symbols=symbols, default=default)
                return self._keep(named)
            case "fixed":
                logical = self._logical(form, "fixed")
                return self._keep(Fixed("fixed", **logical, **_naming(form), size=form["size"]))
            case kind:
                return Type(kind, **self._logical(form, kind))

    def _record(self, form: Mapping[str, Any]) -> Type:
        record = self._keep(RecordType("record", **_naming(form)))
        assert isinstance(record, RecordType)
        for each in form["fields"]:
            record.fields.append(
                Field(
                    each["name"],
                    self.type(each["type"]),
                    "default" in each,
                    each.get("default"),
                    frozenset(each.get("aliases", ())),
                    each.get("doc") or "",
                )
            )
        return record

    def _keep(self, named: Named) -> Named:
        self._named[named.name] = named
        return named

    def _logical(self, form: Mapping[str, Any], kind: str) -> dict[str, Any]:
        logical = form.get("logicalType")
        if logical not in _LOGICAL.get(kind, ()):
            return {}
        if logical == "uuid" and kind == "fixed" and form["size"] != _UUID_BYTES:
            return {}
        if logical != "decimal":
            return {"logical": logical}
        precision, scale = form.get("precision", 0), form.get("scale", 0)
        if not 0 < precision <= _MOST_DIGITS or not 0 <= scale <= precision:
            raise BadSchema(
                f"{self._where} has a decimal of precision {precision} and scale {scale}: the "
                f"precision has to be 1 to {_MOST_DIGITS}, and the scale no more than that"
            )
        return {"logical": logical, "precision": precision, "scale": scale}


def _naming(form: Mapping[str, Any]) -> dict[str, Any]:
    namespace = form["name"].rpartition(".")[0]
    aliases = {
        alias if "." in alias or not namespace else f"{namespace}.{alias}"
        for alias in form.get("aliases", ())
    }
    return {"name": form["name"], "aliases": frozenset(aliases), "doc": form.get("doc") or ""}
