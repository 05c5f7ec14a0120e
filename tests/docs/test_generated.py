"""What the site says of settings and commands is all that there are."""

import runpy

import pytest

from processor.settings import Settings
from tests.docs.pages import ROOT

MADE = runpy.run_path(str(ROOT / "docs/generated.py"))["on_page_markdown"]


def test_every_setting() -> None:
    table = MADE("before\n\n<!-- settings -->\n\nafter")
    assert table.startswith("before")
    assert [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")] == list(
        Settings.model_fields
    )
    assert "| `checkpoint_interval` | `100ms` |" in table


@pytest.mark.parametrize(
    "part",
    [
        "## kproc run\n",
        "kproc run [OPTIONS] {FILE.py[:NAME]}",
        "| `--until-end` |",
        "| `--create-topics`, `--no-create-topics` |",
        "| `--set NAME=VALUE` |",
        "### kproc dlq replay\n",
    ],
)
def test_commands(part: str) -> None:
    assert part in MADE("<!-- commands -->")


def test_other_pages_stay_as_they_are() -> None:
    assert MADE("# Limits\n") == "# Limits\n"
