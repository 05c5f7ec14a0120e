"""Every Python block of the docs runs as it stands, one after the other.

A block with a title is a file that later ones import; test_*.py is run by pytest. What the results
of a page's topology are is for the page's own tests.
"""

from pathlib import Path

import pytest

from processor import Topology
from processor.testing import TopologyDriver
from tests.docs.pages import ROOT, TEXTS, blocks, name_of, run_tests

WITH_PYTHON = [page for page in TEXTS if blocks(page, "python")]
WITH_TESTS = [
    page
    for page in WITH_PYTHON
    if any((block.title or "").startswith("test_") for block in blocks(page, "python"))
]


def write_files(page: Path, folder: Path) -> list[str]:
    """The blocks with titles, as the files that they stand for."""
    titled = [block for block in blocks(page, "python", "csv", "toml") if block.title]
    for block in titled:
        assert block.title
        (folder / block.title).write_text(block.text, encoding="utf-8")
    return [block.title for block in titled if block.title]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_blocks_run_and_make_topologies(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # pages name files of the repository
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks(page, "python"):
        if not (block.title or "").startswith("test_"):
            exec(compile(block.text, f"{name_of(page)}:{block.title or ''}", "exec"), names)
    topology = names.get("topology")
    if isinstance(topology, Topology):
        TopologyDriver(topology)


@pytest.mark.parametrize("page", WITH_TESTS, ids=name_of)
def test_tests_pass(page: Path, tmp_path: Path) -> None:
    write_files(page, tmp_path)
    done = run_tests(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
