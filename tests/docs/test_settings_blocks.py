"""Each TOML block of the docs is a kproc.toml that settings are read from; YAML can be parsed."""

import tomllib
from typing import Any

import pytest
import yaml

from processor.errors import SettingsError
from processor.settings import load
from tests.docs.pages import TEXTS, Block, blocks, name_of


def found(*languages: str) -> list[Any]:
    return [
        pytest.param(block, id=name_of(page))
        for page in TEXTS
        for block in blocks(page, *languages)
    ]


@pytest.mark.parametrize("block", found("toml"))
def test_toml(block: Block) -> None:
    load(tomllib.loads(block.text), None, None)


@pytest.mark.parametrize("block", found("yaml"))
def test_yaml(block: Block) -> None:
    assert list(yaml.safe_load_all(block.text))


def test_a_setting_that_does_not_exist_is_found() -> None:
    with pytest.raises(SettingsError, match="slotz"):
        load({"slotz": 4}, None, None)
