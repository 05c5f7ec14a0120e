"""Writes Python's types for an Avro schema: dataclasses, pydantic models or TypedDicts.

What is written is formatted, needs no more than the standard library and, if asked for, pydantic,
and is what `avro(SCHEMA, TYPE)` takes.
"""

import json
import keyword
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel

from processor.errors import UsageError
from processor.serdes.avro.logical import logical_of
from processor.serdes.avro.schema import AvroSchema
from processor.serdes.avro.tree import (
    Collection,
    EnumType,
    Field,
    Named,
    RecordType,
    Type,
    UnionType,
)
from processor.serdes.avro.types import class_of

ModelForm: TypeAlias = Literal["dataclass", "pydantic", "typeddict"]

_WIDTH: Final = 100
_INDENT: Final = "    "
_IMPORTS: Final = {
    "date": "datetime",
    "datetime": "datetime",
    "time": "datetime",
    "Decimal": "decimal",
    "UUID": "uuid",
}
_TAKEN: Final = frozenset(dir(BaseModel))


class _Name(NamedTuple):
    """A field's name in Python, and in data."""

    python: str
    data: str


def model_source(schema: AvroSchema, form: ModelForm, origin: str) -> str:
    """The source of a module with the schema's types.

    Args:
        schema: The schema.
        form: What records become.
        origin: Where the schema is from, for the module's docstring.

    Raises:
        UsageError: The schema has no named type, or one that can't be written in this form.
    """
    records = [each for each in _named_in(schema.root, []) if each.kind != "fixed"]
    if not records:
        raise UsageError(f"{origin} has no record and no enum: its values need no types")
    _check_names(records, origin)
    return _Writer(form, [each.short for each in records]).module(records, origin)


def _named_in(type_: Type, found: list[Named]) -> Iterable[Named]:
    """The named types, each after those that it uses, as far as they don't use it."""
    if isinstance(type_, UnionType):
        for each in type_.branches:
            yield from _named_in(each, found)
    elif isinstance(type_, Collection):
        yield from _named_in(type_.items, found)
    elif isinstance(type_, Named) and type_ not in found:
        found.append(type_)
        if isinstance(type_, RecordType):
            for each in type_.fields:
                yield from _named_in(each.type, found)
        yield type_


def _check_names(named: Sequence[Named], origin: str) -> None:
    by_name: dict[str, Named] = {}
    for each in named:
        other = by_name.setdefault(each.short, each)
        if other is not each:
            raise UsageError(
                f"{origin} has {other.name} and {each.name}, which would both be the class "
                f"{each.short}: call one of them otherwise, or write its class yourself"
            )


class _Writer:
    """Writes one module; knows which classes are there already, and what is to be imported."""

    def __init__(self, form: ModelForm, classes: Sequence[str]) -> None:
        self._form = form
        self._later = set(classes)
        self._imports: set[tuple[str, str]] = set()

    def module(self, named: Sequence[Named], origin: str) -> str:
        parts: list[str] = []
        for each in named:
            is_enum = isinstance(each, EnumType)
            parts.append(self._enum(each) if is_enum else self._record(each))
            self._later.discard(each.short)
        doc = f'"""Types of {origin}, written by `kproc schema types`."""'
        return "\n\n\n".join([f"{doc}\n\n{self._import_lines()}", *parts]) + "\n"

    def _import_lines(self) -> str:
        modules = sorted({module for module, _ in self._imports})
        groups = [[each for each in modules if each != "pydantic"], ["pydantic"]]
        lines = [
            [self._import(module) for module in group if module in modules] for group in groups
        ]
        return "\n\n".join("\n".join(group) for group in lines if group)

    def _import(self, module: str) -> str:
        names = sorted(name for each, name in self._imports if each == module)
        return f"from {module} import {', '.join(names)}"

    def _use(self, module: str, name: str) -> str:
        self._imports.add((module, name))
        return name

    def _enum(self, enum: EnumType) -> str:
        base = self._use("enum", "StrEnum")
        members = [f"{_INDENT}{_python_name(each)} = {_quoted(each)}" for each in enum.symbols]
        return "\n".join([f"class {enum.short}({base}):", *_docstring(enum), *members])

    def _record(self, record: Named) -> str:
        assert isinstance(record, RecordType)
        if self._form == "typeddict":
            return self._typed_dict(record)
        names = [self._name(record, each) for each in record.fields]
        defaults = [self._default(each) for each in record.fields]
        fields = [
            line
            for each, name, default in zip(record.fields, names, defaults, strict=True)
            for line in self._field(each, name, default)
        ]
        lines = [self._head(record, defaults), *_docstring(record), *fields]
        return "\n".join(lines if fields or record.doc else [*lines, f"{_INDENT}pass"])

    def _head(self, record: RecordType, defaults: Sequence[str | None]) -> str:
        if self._form == "pydantic":
            return f"class {record.short}({self._use('pydantic', 'BaseModel')}):"
        decorator = self._use("dataclasses", "dataclass")
        given = [default is not None for default in defaults]
        # After a default there may be no field without one, unless all are given by name.
        by_name = ", kw_only=True" if given != sorted(given) else ""
        return f"@{decorator}(slots=True{by_name})\nclass {record.short}:"

    def _name(self, record: RecordType, field: Field) -> _Name:
        if self._form == "pydantic":
            name = f"{field.name.lstrip('_')}_" if _is_taken(field.name) else field.name
            return _Name(_python_name(name), field.name)
        if keyword.iskeyword(field.name):
            raise UsageError(
                f"{record.name} has a field {field.name!r}, which no dataclass can have: use "
                "--as pydantic, or --as typeddict"
            )
        return _Name(field.name, field.name)

    def _field(self, field: Field, name: _Name, default: str | None) -> list[str]:
        line = f"{_INDENT}{name.python}: {self._annotation(field.type)}"
        if name.python != name.data:
            options = [*([f"default={default}"] if default else []), f"alias={_quoted(name.data)}"]
            if default and default.startswith("field("):
                options[0] = default.removeprefix("field(").removesuffix(")")
            line += f" = {self._use('pydantic', 'Field')}({', '.join(options)})"
        elif default and self._form == "pydantic" and default.startswith("field("):
            line += f" = {self._use('pydantic', 'Field')}({default.removeprefix('field(')}"
        elif default:
            line += f" = {default}"
        return [line, *_doc_lines(field.doc)]

    def _typed_dict(self, record: RecordType) -> str:
        base = self._use("typing", "TypedDict")
        if any(keyword.iskeyword(each.name) for each in record.fields):
            entries = ", ".join(
                f"{_quoted(each.name)}: {self._annotation(each.type)}" for each in record.fields
            )
            return f"{record.short} = {base}({_quoted(record.short)}, {{{entries}}})"
        fields = [
            line
            for each in record.fields
            for line in (
                f"{_INDENT}{each.name}: {self._annotation(each.type)}",
                *_doc_lines(each.doc),
            )
        ]
        lines = [f"class {record.short}({base}):", *_docstring(record), *fields]
        return "\n".join(lines if fields or record.doc else [*lines, f"{_INDENT}pass"])

    def _annotation(self, type_: Type) -> str:
        text = self._type(type_)
        words = set(text.replace("[", " ").replace("]", " ").replace(",", " ").split())
        return f'"{text}"' if words & self._later else text

    def _type(self, type_: Type) -> str:
        if isinstance(type_, UnionType):
            parts = dict.fromkeys(map(self._type, type_.branches))
            return " | ".join(sorted(parts, key=lambda part: part == "None")) or "None"
        if isinstance(type_, Collection):
            items = self._type(type_.items)
            return f"list[{items}]" if type_.kind == "array" else f"dict[str, {items}]"
        if isinstance(type_, Named) and type_.kind != "fixed":
            return type_.short
        if type_.kind == "null":
            return "None"
        name = class_of(type_).__name__
        return self._use(_IMPORTS[name], name) if name in _IMPORTS else name

    def _default(self, field: Field) -> str | None:
        """The field's default in Python, where it can simply be written."""
        if not field.has_default:
            return None
        value: Any = field.default
        type_ = field.type
        if isinstance(type_, UnionType) and type_.branches:
            nulls = [each for each in type_.branches if each.kind == "null"]
            type_ = nulls[0] if field.default is None and nulls else type_.branches[0]
        if value in ([], {}) and isinstance(type_, Collection):
            if self._form == "dataclass":
                self._use("dataclasses", "field")
            return f"field(default_factory={self._type(type_)})"
        if isinstance(type_, EnumType):
            return f"{type_.short}.{_python_name(value)}"
        if logical_of(type_) is not None or type_.kind not in _SIMPLE:
            return None
        return _literal(float(value) if type_.kind in ("float", "double") else value)


_SIMPLE: Final = frozenset(("null", "boolean", "int", "long", "float", "double", "string"))


def _is_taken(name: str) -> bool:
    return name in _TAKEN or name.startswith(("_", "model_"))


def _python_name(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name


def _literal(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    double = json.dumps(text, ensure_ascii=False)
    return repr(text) if '"' in text and "'" not in text else double


def _docstring(named: Named) -> list[str]:
    lines, summary = _doc_lines(named.doc), f"{named.name} of the schema."
    if len(lines) == 1:
        return [*lines, ""]
    head = f'{_INDENT}"""{summary}'
    if not lines:
        return [f'{head}"""', ""]
    return [head, "", lines[0].replace('"""', "", 1), *lines[1:], ""]


def _doc_lines(doc: str) -> list[str]:
    """A docstring; one line if it fits there."""
    text = " ".join(doc.replace("\\", "\\\\").replace('"""', "'''").split())
    if not text:
        return []
    if text.endswith('"'):
        text += " "
    if len(text) <= _WIDTH - len(_INDENT) - 6:
        return [f'{_INDENT}"""{text}"""']
    first, *more = textwrap.wrap(text, _WIDTH - len(_INDENT) - 3)
    return [f'{_INDENT}"""{first}', *(f"{_INDENT}{line}" for line in more), f'{_INDENT}"""']
