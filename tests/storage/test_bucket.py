"""A bucket behaves alike wherever it is, and says what to do where it can't be used."""

import sys
from collections.abc import Generator
from pathlib import Path
from threading import Thread

import pytest
from flask import Response
from werkzeug.serving import make_server

from processor.errors import SettingsError, SnapshotError, SnapshotsAway
from processor.storage.bucket import Bucket, hashed, save, sha256
from tests.storage.storage import SECRET, s3


@pytest.fixture(scope="module")
def s3_url() -> Generator[str]:
    with s3() as url:
        yield url


@pytest.fixture(params=["folder", "file", "s3"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, s3_url: str) -> Bucket:
    folder = tmp_path / "to be" / "made"
    name = "".join(filter(str.isalnum, request.node.name))
    places = {"folder": str(folder), "file": folder.as_uri(), "s3": f"{s3_url}/{name}"}
    return Bucket(places[request.param])


def test_objects_are_written_listed_read_and_removed(bucket: Bucket, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 50_000)  # in several parts
    bucket.write("store/0/small", b"first")
    bucket.write("store/0/small", b"second")
    bucket.write("store/0/large", large)
    bucket.write("store/0/below/it", b"")
    assert [(each.name, each.size) for each in bucket.objects("store/0")] == [
        *(("large", large.stat().st_size), ("small", 6))
    ]
    assert all(each.modified > 1_700_000_000_000 for each in bucket.objects("store/0"))
    assert bucket.folders("store") == ["0"]
    assert bucket.folders("store/0") == ["below"]
    assert bucket.read("store/0/small") == b"second"
    pieces: list[int] = []
    again = tmp_path / "again"
    found = save(bucket.chunks("store/0/large"), again, pieces.append)
    assert found == sha256(large) == sha256(again) == hashed([large.read_bytes()])
    assert sum(pieces) == large.stat().st_size
    assert len(pieces) > 1
    bucket.remove(["store/0/small", "store/0/small", "never/there"])
    assert [each.name for each in bucket.objects("store/0")] == ["large"]


def test_what_is_not_there(bucket: Bucket) -> None:
    assert bucket.objects("nowhere") == []
    assert bucket.folders("nowhere") == []
    with pytest.raises(SnapshotError, match=r"nowhere/at-all.*not found") as caught:
        bucket.read("nowhere/at-all")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(SnapshotError, match="not found"):
        list(bucket.chunks("nowhere/at-all"))


def test_a_check_leaves_nothing_behind(bucket: Bucket) -> None:
    bucket.check()
    assert bucket.objects("") == []


def test_a_check_of_a_bucket_that_is_not_there(s3_url: str) -> None:
    del s3_url
    with pytest.raises(SettingsError, match="Check the URL") as caught:
        Bucket("s3://not-there/prefix", patient=False).check()
    assert SECRET not in str(caught.value)


def test_a_check_of_storage_that_does_not_answer(
    s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del s3_url
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(SnapshotsAway, match="HTTP error") as caught:
        Bucket("s3://snapshots/prefix", patient=False).check()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(503, SnapshotsAway), (429, SnapshotsAway), (400, SettingsError), (403, SettingsError)],
)
def test_a_check_of_storage_that_answers_with(
    s3_url: str, monkeypatch: pytest.MonkeyPatch, status: int, kind: type[Exception]
) -> None:
    del s3_url
    server = make_server("127.0.0.1", 0, Response(status=status), threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    with pytest.raises(kind):
        Bucket("s3://snapshots/prefix", patient=False).check()
    server.shutdown()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("/proc/nowhere", "can't be opened"),
        ("file://some/folder", "taken for another machine. Give a folder, file:///folder"),
        ("ftp://somewhere/else", "Give a folder, file:///folder, s3://bucket/prefix"),
    ],
)
def test_what_is_no_bucket(url: str, text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        Bucket(url)


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(SettingsError, match=r"pip install 'kproc\[snapshots\]'"):
        Bucket("/somewhere")
