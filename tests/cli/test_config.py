"""`kproc config` as a user runs it."""

import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from processor.cli.main import app
from processor.native.client import missing
from processor.settings import Settings

CANARY = "canary-7f3a"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def config(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["config", *arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.stdout


def lines(output: str) -> dict[str, str]:
    return {line.split()[0]: line for line in output.splitlines()}


def test_shows_every_setting_with_origin_and_meaning(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "orders.py").write_text(
        "from processor import Topology\n"
        "topology = Topology('orders', settings={'partitions': 8})\n"
        "topology.stream('orders').to('out')\n"
    )
    (folder / "kproc.toml").write_text('[kafka]\nsecurity.protocol = "SSL"\n')
    monkeypatch.setenv("KPROC_SLOTS", "3")
    shown = lines(config("orders.py", "--set", "flush_interval=5s"))
    assert set(Settings.model_fields) <= set(shown)
    assert shown["slots"].split()[1:3] == ["3", "environment"]
    assert shown["partitions"].split()[1:3] == ["8", "topology"]
    assert shown["kafka.security.protocol"].split()[1:3] == ["SSL", "kproc.toml"]
    assert shown["flush_interval"].split()[1:4] == ["5s", "command", "line"]
    assert shown["max_batch"].split()[1:3] == ["20000", "default"]
    assert "Records worked on at once" in shown["max_batch"]


def test_says_whether_the_native_plane_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    turned_off = lines(config("--set", "native=off"))["native"]
    assert "off (not used: it is turned off)" in " ".join(turned_off.split())
    why = missing()
    assert ("auto (not used:" if why else "auto (used)") in lines(config())["native"]
    monkeypatch.setitem(sys.modules, "processor.native.plane", None)
    missing.cache_clear()
    try:
        assert "auto (not used: kproc's extension is not built" in " ".join(config().split())
    finally:
        missing.cache_clear()


def test_as_toml_it_is_read_back_to_the_same(folder: Path) -> None:
    (folder / "kproc.toml").write_text(
        f'slots = 3\n[kafka]\nsecurity.protocol = "SSL"\nsasl.password = "{CANARY}"\n'
    )
    text = config("--format", "toml")
    assert tomllib.loads(text) == {
        "slots": 3,
        "kafka": {"security.protocol": "SSL"},
        "consumer": {},
        "producer": {},
        "schema_registry": {},
    }
    assert '# "sasl.password" = "********"  # kproc.toml, hidden' in text
    assert '\n# bootstrap = "127.0.0.1:9092"\n' in text
    commented = text.replace("\n# ", "\n#").splitlines()
    assert all(not line or line[0] in '#["' or "=" in line for line in commented)


@pytest.mark.parametrize("form", ["table", "toml"])
def test_no_secret_is_shown(form: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "kproc.toml").write_text(
        f'[kafka]\nsasl.password = "{CANARY}1"\na.url = "https://me:{CANARY}5@host"\n'
    )
    monkeypatch.setenv("KPROC_PRODUCER__SSL_KEY_PASSWORD", f"{CANARY}2")
    monkeypatch.setenv("KPROC_CONSUMER", f'{{"sasl.oauthbearer.client.secret": "{CANARY}3"}}')
    output = config("--format", form, "--set", f"kafka.ssl.key.password={CANARY}4")
    assert output.count("********") == 5
    assert CANARY not in output
