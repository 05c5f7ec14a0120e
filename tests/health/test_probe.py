"""Where a probe looks for the node. What it is answered is shown with the endpoint."""

from pathlib import Path

import pytest

from processor.addresses import Address
from processor.errors import UsageError
from processor.health.probe import ask, configured
from processor.local.embedded import free_port


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KPROC_HTTP", raising=False)
    return tmp_path


def test_a_variable_goes_before_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "kproc.toml").write_text('http = "0.0.0.0:1"\n')
    assert configured() == Address("0.0.0.0", 1)
    monkeypatch.setenv("KPROC_HTTP", ":2")
    assert configured() == Address("127.0.0.1", 2)


@pytest.mark.parametrize("content", [None, "slots = 2\n"])
def test_nothing_says_where(folder: Path, content: str | None) -> None:
    if content is not None:
        (folder / "kproc.toml").write_text(content)
    with pytest.raises(UsageError, match="nothing says where the node listens: set http"):
        configured()


def test_a_malformed_file(folder: Path) -> None:
    (folder / "kproc.toml").write_text("http =\n")
    with pytest.raises(UsageError, match=r"kproc\.toml can't be read"):
        configured()


def test_nobody_listens() -> None:
    answer = ask(Address("127.0.0.1", free_port()), "healthz")
    assert not answer.ok
    assert "does not answer" in answer.text
