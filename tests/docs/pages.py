"""The pages of the docs, and the blocks of code in them."""

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests import forks

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TEXTS = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))]
_BLOCK = re.compile(
    r"^( *)```(\w+)(?: title=\"([^\"]+)\")?[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """A block of code; its title is the name of a file that it stands for."""

    language: str
    title: str | None
    text: str


def blocks(page: Path, *languages: str) -> list[Block]:
    """The page's blocks in these languages, in their order."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [
        Block(language, title or None, text)
        for _, language, title, text in found
        if language in languages
    ]


def run_tests(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Has pytest run the files of a folder, without the options and plugins of this run."""
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    options = ("-q", "-p", "no:cacheprovider")
    return forks.run("pytest", *options, str(folder), cwd=folder, env=env, timeout=240)


def name_of(page: Path) -> str:
    """Its path in the repository, for the id of a test."""
    return str(page.relative_to(ROOT))
