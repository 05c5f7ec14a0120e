"""`kproc schema`: types for a schema, and schemas in a registry.

Owns the way from the command line to a schema's file and to the registry, and back.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from processor.cli.common import say, settings_here
from processor.cli.run import ConfigOption, SetOption
from processor.errors import SchemaRefused, TopologyError, UsageError

if TYPE_CHECKING:
    from processor.kafka.registry import Registry
    from processor.serdes.avro.schema import AvroSchema
    from processor.serdes.registry import SchemaKind, SchemaText

_KINDS: Final[dict[str, "SchemaKind"]] = {".avsc": "AVRO", ".json": "JSON", ".proto": "PROTOBUF"}

TYPES_EXAMPLES = """\
Examples:

kproc schema types schemas/flight.avsc   [dim]dataclasses, on the terminal[/]

kproc schema types schemas/flight.avsc --as pydantic -o flight.py

In the topology: [bold]avro("schemas/flight.avsc", Flight)[/]. When the schema changes, write the
types again; the type checker shows what no longer fits.
"""
CHECK_EXAMPLES = """\
Examples:

kproc schema check flight.avsc --against old/flight.avsc   [dim]two files; no registry[/]

kproc schema check flight.avsc --subject flights-value --registry http://localhost:8081

What keeps old and new data readable: give new fields a default; remove only fields that have one;
let int become long and string become \\["null", "string"], never the other way round; keep the old
name of what is renamed in "aliases".

Exit codes: [bold]0[/] it fits · [bold]3[/] it doesn't, or the registry doesn't answer · [bold]2[/]
the command or the schema is wrong
"""
REGISTER_EXAMPLES = """\
Examples:

kproc schema register flight.avsc --subject flights-value --registry http://localhost:8081

kproc schema register flight.avsc -s flights-value   [dim]the registry is in kproc.toml[/]

The values of a topic are under TOPIC-value and its keys under TOPIC-key, unless the topology says
otherwise: SchemaRegistry(subjects=...). What is there already is left alone, and its id is shown.

Exit codes: [bold]0[/] it is registered · [bold]3[/] it is refused, or the registry doesn't answer ·
[bold]2[/] the command or the schema is wrong
"""

FileArgument = Annotated[
    Path, typer.Argument(help="The schema: NAME.avsc, or NAME.json and NAME.proto for a registry.")
]
SubjectOption = Annotated[
    str | None,
    typer.Option("--subject", "-s", metavar="NAME", help="Such as flights-value."),
]
RegistryOption = Annotated[
    str | None,
    typer.Option(
        "--registry", metavar="URL", help="Instead of the setting [bold]schema_registry.url[/]."
    ),
]

app = typer.Typer(no_args_is_help=True)


@app.command(epilog=TYPES_EXAMPLES)
def types(
    file: Annotated[Path, typer.Argument(help="The schema, NAME.avsc.")],
    *,
    form: Annotated[
        Literal["dataclass", "pydantic", "typeddict"],
        typer.Option("--as", help="What records become."),
    ] = "dataclass",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write.")
    ] = None,
) -> None:
    """Writes Python's types for an Avro schema, formatted and typed in full."""
    from processor.serdes.avro.models import model_source  # noqa: PLC0415
    from processor.serdes.avro.schema import read_schema  # noqa: PLC0415

    source = model_source(read_schema(file), form, str(file))
    if output is None:
        typer.echo(source, nl=False)
        return
    try:
        output.write_text(source, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"can't write {output}: {error.strerror}; choose another -o") from error
    say(f"Wrote {output}.")


@app.command(epilog=CHECK_EXAMPLES)
def check(
    file: FileArgument,
    *,
    against: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The schema as it was, to compare with.")
    ] = None,
    subject: SubjectOption = None,
    url: RegistryOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Says whether a changed schema fits: with an older file, or with a subject of the registry."""
    if (against is None) == (subject is None):
        raise UsageError("say what to compare with: --against FILE or --subject NAME")
    if against is not None:
        _compare(file, against)
        return
    _compare_with_subject(file, subject or "", _registry(url, config, sets))


@app.command(epilog=REGISTER_EXAMPLES)
def register(
    file: FileArgument,
    *,
    subject: Annotated[
        str, typer.Option("--subject", "-s", metavar="NAME", help="Such as flights-value.")
    ],
    url: RegistryOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Registers a schema under a subject, if it is compatible with those that are there."""
    answer = _registry(url, config, sets).register(subject, _schema(file))
    say(f"{file} is version {answer.version} of {subject}, with id {answer.id}.")


def _registry(url: str | None, config: Path | None, sets: list[str] | None) -> "Registry":
    from processor.kafka.registry import Registry  # noqa: PLC0415

    found = settings_here(None, config, sets).schema_registry
    return Registry(found if url is None else {**found, "url": url})


def _schema(file: Path) -> "SchemaText":
    from processor.serdes.avro.schema import read_schema  # noqa: PLC0415
    from processor.serdes.registry import SchemaText  # noqa: PLC0415

    kind = _KINDS.get(file.suffix)
    if kind is None:
        raise UsageError(
            f"what kind of schema is {file}? Call it NAME{', NAME'.join(_KINDS)} for Avro, JSON "
            "Schema and Protobuf"
        )
    if kind == "AVRO":
        return SchemaText(kind, read_schema(file).text)
    try:
        return SchemaText(kind, file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}") from error


def _compare(new: Path, old: Path) -> None:
    from processor.serdes.avro.schema import read_schema  # noqa: PLC0415

    after, before = read_schema(new), read_schema(old)
    backward, forward = _problem(before, after), _problem(after, before)
    say(f"Old data with the new schema (BACKWARD): {backward or 'is read'}")
    say(f"New data with the old schema (FORWARD): {forward or 'is read'}")
    if backward:
        raise SchemaRefused(f"{new} can't read what was written with {old}")


def _compare_with_subject(file: Path, subject: str, registry: "Registry") -> None:
    schema = _schema(file)
    latest, rule = registry.latest(subject), registry.rule(subject)
    if latest is None:
        say(f"{subject} is not there yet: any schema fits.")
    elif registry.fits(subject, schema):
        say(f"{file} fits {subject} (version {latest.version}, {rule}).")
    else:
        reasons = "; ".join(_reasons(schema, latest.schema)) if schema.kind == "AVRO" else ""
        raise SchemaRefused(
            f"{file} does not fit {subject}, whose rule is {rule}{': ' if reasons else ''}{reasons}"
        )


def _reasons(new: "SchemaText", old: "SchemaText") -> list[str]:
    from processor.serdes.avro.schema import schema_of_text  # noqa: PLC0415

    try:
        after, before = (schema_of_text(each.text, each.used) for each in (new, old))
    except TopologyError as error:
        return [str(error)]
    return [each for each in (_problem(before, after), _problem(after, before)) if each]


def _problem(written: "AvroSchema", read: "AvroSchema") -> str:
    """Why data of the one can't be read with the other; nothing if it can."""
    from processor.serdes.avro.reader import Incompatible, reader  # noqa: PLC0415

    try:
        reader(written, read, Any)
    except Incompatible as error:
        return str(error)
    return ""
