import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from processor.errors import StateError, StoreCorrupt, StoreLocked
from processor.records import Offset
from processor.storage.rocksdb import RocksResources
from processor.storage.state_dir import (
    FORMAT,
    destroy,
    has_store,
    install_store,
    open_store,
    store_directory,
)

META = {"key": "text", "value": "int64"}

HOLDER = """
import sys
from pathlib import Path
from processor.storage.rocksdb import RocksResources
from processor.storage.state_dir import open_store
store = open_store(Path(sys.argv[1]), {"key": "text", "value": "int64"}, RocksResources())
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def resources() -> Iterator[RocksResources]:
    shared = RocksResources()
    yield shared
    shared.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return store_directory(tmp_path, "order-totals", "totals", 3)


def written(directory: Path, resources: RocksResources) -> None:
    store = open_store(directory, META, resources)
    store.write({b"a": b"1"}, Offset(4))
    store.close()


def contents(directory: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in directory.rglob("*") if file.is_file()}


def test_a_store_lies_under_its_application_and_name(directory: Path, tmp_path: Path) -> None:
    assert directory == tmp_path / "order-totals" / "totals" / "3"


def test_a_new_store_reports_what_it_holds(directory: Path, resources: RocksResources) -> None:
    written(directory, resources)
    meta = json.loads((directory / "store.json").read_bytes())
    assert meta == {"format": FORMAT, "key": "text", "value": "int64"}
    store = open_store(directory, META, resources)
    assert (store.position, store.get_many([b"a"])) == (4, [b"1"])
    store.close()


def test_another_serde_is_refused_and_nothing_changed(
    directory: Path, resources: RocksResources
) -> None:
    written(directory, resources)
    before = contents(directory)
    with pytest.raises(StateError) as caught:
        open_store(directory, {"key": "text", "value": "json(Order)"}, resources)
    assert str(caught.value) == (
        f"the store {directory} does not fit the topology: value is 'int64' and should be"
        " 'json(Order)'. Nothing was changed. Go back to the topology that wrote it, or give the"
        " store another name to start over"
    )
    assert contents(directory) == before
    open_store(directory, META, resources).close()


def test_an_older_format_is_rebuilt(directory: Path, resources: RocksResources) -> None:
    written(directory, resources)
    (directory / "store.json").write_text(json.dumps({"format": FORMAT - 1, **META}))
    with pytest.raises(StoreCorrupt, match="from an older kproc"):
        open_store(directory, META, resources)


def test_a_newer_format_is_refused(directory: Path, resources: RocksResources) -> None:
    written(directory, resources)
    (directory / "store.json").write_text(json.dumps({"format": FORMAT + 1, **META}))
    with pytest.raises(StateError, match=f"format is {FORMAT + 1} and should be {FORMAT}"):
        open_store(directory, META, resources)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_an_unreadable_meta_is_corrupt(
    directory: Path, resources: RocksResources, content: bytes
) -> None:
    written(directory, resources)
    (directory / "store.json").write_bytes(content)
    with pytest.raises(StoreCorrupt, match="drop the store"):
        open_store(directory, META, resources)


def test_data_without_meta_is_corrupt(directory: Path, resources: RocksResources) -> None:
    written(directory, resources)
    (directory / "store.json").unlink()
    with pytest.raises(StoreCorrupt, match="drop it"):
        open_store(directory, META, resources)


def test_an_open_store_is_locked_and_names_its_process(
    directory: Path, resources: RocksResources
) -> None:
    store = open_store(directory, META, resources)
    for act in (lambda: open_store(directory, META, resources), lambda: destroy(directory)):
        with pytest.raises(StoreLocked, match=f"is open in process {os.getpid()}: wait"):
            act()
    store.write({b"a": b"1"}, Offset(1))
    store.close()
    open_store(directory, META, resources).close()


def test_the_lock_ends_with_its_process(directory: Path, resources: RocksResources) -> None:
    command = [sys.executable, "-c", HOLDER, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"open\n"
        before = contents(directory)
        with pytest.raises(StoreLocked, match=f"process {holder.pid}"):
            open_store(directory, META, resources)
        assert contents(directory) == before
        holder.send_signal(signal.SIGKILL)
    open_store(directory, META, resources).close()


def test_a_failed_open_gives_the_lock_back(directory: Path, resources: RocksResources) -> None:
    written(directory, resources)
    (directory / "data" / "CURRENT").unlink()
    for _ in range(2):
        with pytest.raises(StoreCorrupt):
            open_store(directory, META, resources)
    destroy(directory)
    store = open_store(directory, META, resources)
    assert (store.position, list(store.scan())) == (0, [])
    store.close()


def test_a_destroyed_store_may_get_another_meta(directory: Path, resources: RocksResources) -> None:
    destroy(directory)
    written(directory, resources)
    destroy(directory)
    destroy(directory)
    store = open_store(directory, {"key": "bytes", "value": "bytes"}, resources)
    assert store.position == 0
    store.close()


def test_a_folder_that_can_not_be_used_is_named(tmp_path: Path, resources: RocksResources) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateError, match=r"file/totals can't be used: Not a directory\. Let"):
        open_store(tmp_path / "file" / "totals", META, resources)
    with pytest.raises(StateError, match="can't be used"):
        open_store(Path("/proc/kproc/totals"), META, resources)


def test_a_store_from_elsewhere_is_installed_whole(
    directory: Path, tmp_path: Path, resources: RocksResources
) -> None:
    elsewhere = tmp_path / "elsewhere"
    written(elsewhere, resources)
    # What a process has left that died on the way.
    (directory / "download").mkdir(parents=True)
    (directory / "download" / "half").write_bytes(b"done")
    install_store(
        directory,
        META,
        lambda folder: shutil.copytree(elsewhere / "data", folder, dirs_exist_ok=True),
    )
    assert sorted(each.name for each in directory.iterdir()) == ["data", "lock", "store.json"]
    store = open_store(directory, META, resources)
    assert (store.position, list(store.scan())) == (4, [(b"a", b"1")])
    with pytest.raises(StoreLocked):
        install_store(directory, META, lambda _: None)
    store.close()


def test_what_fails_on_the_way_leaves_no_store(directory: Path, resources: RocksResources) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_bytes(b"done")
        raise StateError("no more")

    with pytest.raises(StateError, match="no more"):
        install_store(directory, META, fail)
    assert not has_store(directory)
    assert sorted(each.name for each in directory.iterdir()) == ["lock", "store.json"]
    with pytest.raises(StateError, match="does not fit the topology"):
        install_store(directory, {**META, "value": "text"}, fail)
    written(directory, resources)
    assert has_store(directory)
