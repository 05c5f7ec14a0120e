"""The page on the installation names each extra, and the Pythons that there are."""

import re
import tomllib

from tests.docs.pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGE = (ROOT / "docs/install.md").read_text(encoding="utf-8")


def test_extras() -> None:
    named = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(named) == sorted(PROJECT["optional-dependencies"])


def test_pythons() -> None:
    first, last = re.findall(r"3\.\d+", PROJECT["requires-python"])
    minor = int(last.removeprefix("3.")) - 1
    assert f"Python {first} to 3.{minor}" in PAGE
