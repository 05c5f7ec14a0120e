"""`kproc snapshots` as a user runs it, on snapshots in a folder."""

import json
import sys
import time
from pathlib import Path

import pytest

from processor.cli.main import main
from processor.records import Offset, Partition
from processor.state.snapshot import FORMAT, File, Manifest
from processor.storage.archive import Archive
from processor.storage.bucket import Bucket, sha256
from processor.topology.plan import StoreId


def put(folder: Path, partition: int, position: int, content: bytes) -> None:
    """A snapshot of one file."""
    file = folder / "some-file"
    file.write_bytes(content)
    made = Manifest(
        format=FORMAT,
        application="orders",
        store="totals",
        partition=partition,
        meta={},
        changelog="orders-totals-changelog",
        changelog_id="0a",
        position=Offset(position),
        time=time.time_ns() // 1_000_000 - 3 * 3_600_000,
        files=(File(file.name, len(content), sha256(file)),),
    )
    archive = Archive(
        Bucket(str(folder / "storage")), "orders", StoreId("totals", Partition(partition))
    )
    archive.upload(made.files[0], folder)
    archive.publish(made)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    put(tmp_path, 0, 1000, b"a" * 2_500_000)
    put(tmp_path, 0, 2000, b"b")
    put(tmp_path, 10, 7, b"c")
    (tmp_path / "topology.py").write_text(
        "from processor import Topology\ntopology = Topology('orders')"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["kproc", "snapshots", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_list(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KPROC_SNAPSHOT_URL", str(folder / "storage"))
    monkeypatch.setenv("KPROC_SNAPSHOT_INTERVAL", "5m")
    assert run(monkeypatch, "list", "topology.py") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["store", "partition", "position", "age", "files", "MB"],
        ["totals", "0", "2,000", "3", "h", "1", "0.0"],
        ["totals", "0", "1,000", "3", "h", "1", "2.5"],
        ["totals", "10", "7", "3", "h", "1", "0.0"],
    ]
    assert run(monkeypatch, "list", "-a", "orders", "--json") == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["store"], first["position"], first["bytes"]) == ("totals", 2000, 1)
    assert run(monkeypatch, "list", "-a", "another") == 0
    assert "There are no snapshots yet." in capsys.readouterr().err


def test_damage_is_found_and_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("-a", "orders", "--url", str(folder / "storage"))
    assert run(monkeypatch, "verify", *options) == 0
    assert "3 files read, 0 uses of damaged ones." in capsys.readouterr().err
    (damaged,) = folder.glob("storage/orders/*/10/files/*")
    damaged.write_bytes(b"d")
    assert run(monkeypatch, "verify", *options, "--repair") == 5
    shown = capsys.readouterr().err
    assert f"totals[10] at 7: some-file is stored as {damaged.name}: its content" in shown
    assert not damaged.exists()
    assert run(monkeypatch, "verify", *options) == 5
    assert "it is missing" in capsys.readouterr().err


def test_it_has_to_be_known_where_and_what(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "list", "-a", "orders") == 2
    assert "set snapshot_url, or give --url" in capsys.readouterr().err
    assert run(monkeypatch, "list", "-a", "orders", "--url", "s3://me:secret@bucket") == 2
    shown = capsys.readouterr().err
    assert "must not hold credentials" in shown
    assert "secret@" not in shown
    assert run(monkeypatch, "list", "--url", str(folder)) == 2
    assert "--application and its name" in capsys.readouterr().err
