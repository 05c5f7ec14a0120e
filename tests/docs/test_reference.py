"""The reference has every public name, once."""

import re

import processor
from processor import errors
from tests.docs.pages import ROOT

ENTRY = re.compile(r"^::: processor\.(\w+)$", re.MULTILINE)
ELSEWHERE = {"errors", *vars(errors)}  # a page for all of a module


def test_every_name_is_there_once() -> None:
    pages = (ROOT / "docs/reference").glob("*.md")
    named = [name for page in pages for name in ENTRY.findall(page.read_text(encoding="utf-8"))]
    assert sorted(set(named) - ELSEWHERE) == sorted(set(processor.__all__) - ELSEWHERE)
    assert len(named) == len(set(named))
