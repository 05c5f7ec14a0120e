from pathlib import Path

import pytest

from processor.local.settings_file import unset_environment, write_settings
from processor.settings import Settings, load


def test_a_node_reads_the_same_settings(tmp_path: Path) -> None:
    given = Settings(
        slots=3,
        state_dir=Path("/some where"),
        kafka={"security.protocol": "SSL", "ssl.key.password": 'a"b\\'},
        consumer={"fetch.min.bytes": 5},
    )
    file = tmp_path / "kproc.toml"
    write_settings(given, file)
    assert load(file=file).settings == given
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_others_could_read(tmp_path: Path) -> None:
    file = tmp_path / "kproc.toml"
    file.touch()
    file.chmod(0o644)
    write_settings(Settings(slots=3), file)
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_is_not_set_is_left_open(tmp_path: Path) -> None:
    write_settings(Settings(bootstrap="kafka:9092"), tmp_path / "kproc.toml")
    found = load(file=tmp_path / "kproc.toml").settings
    assert "slots" not in found.model_fields_set
    assert found.bootstrap == "kafka:9092"


def test_settings_of_the_environment_do_not_come_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KPROC_SLOTS", "7")
    assert "KPROC_SLOTS" not in unset_environment()
    assert "PATH" in unset_environment()
