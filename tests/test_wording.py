import re
import tomllib
from pathlib import Path

import pytest

from processor.wording import adding, several

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 records"), (1, "1 record"), (2, "2 records"), (1200, "1,200 records")],
)
def test_several(count: int, text: str) -> None:
    assert several(count, "record") == text


def test_adding_an_extra() -> None:
    assert adding("parquet") == "uv add kproc --extra parquet, or pip install 'kproc[parquet]'"


def test_errors_name_each_extra_and_no_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    code = "".join(file.read_text() for file in (ROOT / "processor").rglob("*.py"))
    assert set(re.findall(r"adding\('(\w+)'\)", code)) == set(project["optional-dependencies"])
