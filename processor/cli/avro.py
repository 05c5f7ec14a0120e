"""Avro in `kproc produce` and `kproc consume`: rows to bytes, and bytes to JSON for people."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

AvroOption = Annotated[
    Path | None,
    typer.Option("--avro", metavar="FILE.avsc", help="Values are Avro with this schema."),
]
RegistryOption = Annotated[
    str | None,
    typer.Option(
        "--registry",
        metavar="URL",
        help="Values have the id of their schema in this registry before them.",
    ),
]


def row_encoder(schema: Path, topic: str, url: str | None) -> Callable[[Any], bytes]:
    """A function that makes Avro of a row; with a registry its schema has to be there.

    Raises:
        KprocError: The schema is invalid, or not in the registry.
    """
    from processor.kafka.registry import Registry  # noqa: PLC0415
    from processor.serdes import SchemaRegistry, avro, for_topic  # noqa: PLC0415
    from processor.serdes.avro.rows import value_of_row  # noqa: PLC0415
    from processor.serdes.avro.schema import read_schema  # noqa: PLC0415

    own = read_schema(schema)
    if url is None:
        encode = avro(own).encode
    else:
        serde = for_topic(avro(own, registry=SchemaRegistry()), topic, "value")
        encode = Registry(_settings(url)).asking(serde).encode

    def encode_row(row: Any) -> bytes:
        return encode(value_of_row(own.root, row))

    return encode_row


def json_decoder(schema: Path | None, url: str | None) -> Callable[[bytes], bytes]:
    """A function that shows Avro as JSON; everything else stays as it is.

    Raises:
        KprocError: The schema is invalid.
    """
    from processor.kafka.registry import Registry  # noqa: PLC0415
    from processor.serdes import SchemaRegistry, avro, json  # noqa: PLC0415

    if url is None:
        serde = avro(schema or "")
    else:
        policy = SchemaRegistry()
        made = avro(registry=policy) if schema is None else avro(schema, registry=policy)
        serde = Registry(_settings(url)).asking(made)

    def decode(data: bytes) -> bytes:
        try:
            return json.encode(serde.decode(data))
        except (ValueError, TypeError, ArithmeticError):
            return data

    return decode


def _settings(url: str) -> dict[str, Any]:
    from processor.cli.common import settings_here  # noqa: PLC0415

    return {**settings_here(None, None, None).schema_registry, "url": url}
