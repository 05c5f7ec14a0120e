"""The version is pyproject.toml's; what has to repeat it says the same."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import yaml

VERSION = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]


def test_the_package_has_it() -> None:
    assert version("kproc") == VERSION


def test_the_chart_has_it() -> None:
    chart = yaml.safe_load(Path("docker/chart/Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)


def test_the_changelog_dates_it() -> None:
    changelog = Path("CHANGELOG.md").read_text()
    newest, *_ = re.findall(r"^## \[(\d.*)\] - (.+)$", changelog, re.MULTILINE)
    assert newest[0] == VERSION
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", newest[1])


def test_the_pythons_are_named_alike() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    start = "Programming Language :: Python :: 3."
    minors = [int(each[len(start) :]) for each in project["classifiers"] if each.startswith(start)]
    assert project["requires-python"] == f">=3.{minors[0]},<3.{minors[-1] + 1}"
    assert minors == list(range(minors[0], minors[-1] + 1))
