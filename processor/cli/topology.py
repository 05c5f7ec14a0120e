"""`kproc topology`: shows what a file's topology is made of."""

import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

_FileArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="The topology's file; FILE:NAME if it has several; or a module."
    ),
]

_STYLES = (
    (r"^(Topology|Subtopology|Dead letters:).*$", "bold"),
    (r"(?<=  )(topic|repartition topic|store)\b.*$", "dim"),
    (r"[│├└]─*", "dim"),
    (r"(?<=→ )[\w.-]+(?=  )", "cyan"),
    (r"\[[\w.-]+\](?=  )", "yellow"),
)


def topology(
    file: _FileArgument,
    *,
    format: Annotated[  # noqa: A002 - the option's name
        Literal["text", "mermaid"], typer.Option(help="How it is shown.")
    ] = "text",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write; by default the terminal."),
    ] = None,
) -> None:
    """Shows a topology: its subtopologies, steps, stores and topics. Needs no Kafka.

    Many places show Mermaid as a drawing: GitHub, GitLab, Jupyter, https://mermaid.live.

    Example: kproc topology flights.py; kproc topology flights.py --format mermaid -o flights.mmd
    """
    from processor.loading import load  # noqa: PLC0415
    from processor.topology.describe import describe  # noqa: PLC0415
    from processor.topology.drawing import mermaid  # noqa: PLC0415
    from processor.topology.plan import plan  # noqa: PLC0415

    made = plan(load(file))
    shown = {"text": describe, "mermaid": mermaid}[format](made)
    if output is not None:
        _write(output, shown)
    elif format == "text" and sys.stdout.isatty():
        _print_coloured(shown)
    else:
        typer.echo(shown, nl=False)


def _write(path: Path, shown: str) -> None:
    from processor.cli.common import say  # noqa: PLC0415
    from processor.errors import UsageError  # noqa: PLC0415

    try:
        path.write_text(shown, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"can't write {path}: {error.strerror}; choose another --output"
        ) from error
    say(f"Wrote {path}.")


def _print_coloured(shown: str) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    text = Text(shown, end="")
    for pattern, style in _STYLES:
        text.highlight_regex(re.compile(pattern, re.MULTILINE), style)
    Console().print(text, soft_wrap=True)
