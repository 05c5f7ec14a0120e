"""Words: the ones that a native reader stumbles over, and what to say instead."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACES = ("processor", "tests", "topologies", "docs", "docker", "findings", "*.md")
SUFFIXES = {".py", ".md", ".js", ".html", ".sh", ".txt", ".toml"}

DENIED = {
    r"mend(s|ed|ing)?": "fix",
    r"anew": "again, start over",
    r"of (its|their) own accord": "on its own",
    r"become(s)? of": "happens to",
    r"an own": "a custom one, one of its own",
}
_DENIED = re.compile("|".join(rf"(?<![a-z])({each})(?![a-z])" for each in DENIED), re.IGNORECASE)


def test_denied_words_are_not_used() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for file in _files()
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if _DENIED.search(line)
    ]
    said = "\n".join((*found, *(f"{word} -> {better}" for word, better in DENIED.items())))
    assert not found, said


def _files() -> Iterator[Path]:
    for place in PLACES:
        for found in ROOT.glob(place):
            files = found.rglob("*") if found.is_dir() else (found,)
            yield from (
                file
                for file in files
                if file.suffix in SUFFIXES and file != Path(__file__) and file.is_file()
            )
