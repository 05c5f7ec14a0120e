"""Golden files: texts that people read, kept as they were found to be good."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parent / "golden"


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compares a text with the golden file of that name; KPROC_GOLDEN=write writes the file."""

    def compare(name: str, text: str) -> None:
        file = _FOLDER / name
        if os.environ.get("KPROC_GOLDEN") == "write":
            file.write_text(text, encoding="utf-8")
        assert text == file.read_text(encoding="utf-8")

    return compare
