"""Words: the ones that a native reader stumbles over, and what to say instead."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = ("processor", "topologies", "docs", "docker", "findings", "*.md")
SUFFIXES = {".py", ".md", ".js", ".html", ".sh", ".txt", ".toml"}

EVERYWHERE = {
    r"mend(s|ed|ing)?": "fix",
    r"anew": "again, start over",
    r"of (its|their) own accord": "on its own",
    r"become(s)? of": "happens to",
    r"an own": "a custom one, one of its own",
    r"(un)?(tell|tells|told|telling)": "emit, report, log, show, say; distinguish for tell apart",
}
IN_THE_PRODUCT = {
    r"portions?": "batch",
    r"foldings?": "aggregation",
    r"marks? that names": "replay marker",
    r"(a|the|several|each) (step|node|table)s? behind": "downstream",
    r"behind (a|an|the|its) (step|node|repartition|topic|source)s?": "downstream of",
    r"once more": "again",
    r"(it|that|which) (is|was) said": "an error says, is reported",
    r"(is|are) none (of (the|those|these)|that)": "is not one of, is invalid",
    r"what there is to [a-z]+": "say what it is: the state, the paths, the records",
}


@pytest.mark.parametrize(
    ("denied", "places"),
    [(EVERYWHERE, (*PRODUCT, "tests")), (IN_THE_PRODUCT, PRODUCT)],
    ids=["everywhere", "product"],
)
def test_denied_words_are_not_used(denied: Mapping[str, str], places: tuple[str, ...]) -> None:
    words = re.compile(rf"(?<![a-z])({'|'.join(denied)})(?![a-z])", re.IGNORECASE)
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for file in _files(places)
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if words.search(line)
    ]
    said = "\n".join((*found, *(f"{word} -> {better}" for word, better in denied.items())))
    assert not found, said


def _files(places: tuple[str, ...]) -> Iterator[Path]:
    for place in places:
        for found in ROOT.glob(place):
            files = found.rglob("*") if found.is_dir() else (found,)
            yield from (
                file
                for file in files
                if file.suffix in SUFFIXES and file != Path(__file__) and file.is_file()
            )
