"""Completions of the shell."""

from collections.abc import Iterator
from pathlib import Path

import typer

from processor.errors import KprocError

_PATIENCE = 2.0
"""Seconds that a completion may take."""


def topology_files(incomplete: str) -> Iterator[str]:
    """Python files and folders that begin so."""
    folder, _, start = incomplete.rpartition("/")
    before = f"{folder}/" if "/" in incomplete else ""
    for path in sorted(Path(before or ".").glob(f"{start}*")):
        if path.suffix == ".py" and not path.name.startswith("__"):
            yield f"{before}{path.name}"
        elif path.is_dir() and not path.name.startswith((".", "__")):
            yield f"{before}{path.name}/"


def applications(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Names of applications that begin so, if the Kafka to ask is known and answers soon."""
    from processor.cli.common import settings_here  # noqa: PLC0415
    from processor.node import observing  # noqa: PLC0415 - only where it is needed
    from processor.node.node import client_settings  # noqa: PLC0415

    try:
        bootstrap = context.params.get("bootstrap")
        settings = settings_here(None, None, None, bootstrap=bootstrap)
        found = observing.applications(client_settings(settings), _PATIENCE)
    except KprocError:  # a completion has nowhere to tell it
        return
    yield from (name for name in found if name.startswith(incomplete))
