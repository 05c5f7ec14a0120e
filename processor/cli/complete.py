"""Completions that commands offer to the shell."""

from collections.abc import Iterator
from pathlib import Path


def topology_files(incomplete: str) -> Iterator[str]:
    """Python files and folders that begin so."""
    folder, _, start = incomplete.rpartition("/")
    before = f"{folder}/" if "/" in incomplete else ""
    for path in sorted(Path(before or ".").glob(f"{start}*")):
        if path.suffix == ".py" and not path.name.startswith("__"):
            yield f"{before}{path.name}"
        elif path.is_dir() and not path.name.startswith((".", "__")):
            yield f"{before}{path.name}/"
