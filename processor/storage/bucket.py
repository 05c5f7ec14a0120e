"""Bucket: object storage by URL, or a folder of this machine, as one small set of operations.

The only module that imports obstore. Credentials are found by obstore where each kind of storage
usually has them: environment variables, or the machine's own identity. Knows nothing of snapshots.
"""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Callable, Generator, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

from processor.errors import SettingsError, SnapshotError, SnapshotsAway
from processor.state.snapshot import Stored
from processor.wording import adding

if TYPE_CHECKING:
    from obstore import ListResult, ObjectMeta
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

_CHUNK = 1 << 20
_PARTS = 4
"""Parts of a large file, of 5 MiB each, that are in memory at once."""
_PASSING = ("HTTP error", " retries, max_retries: ")
"""What obstore says of errors that may pass: it distinguishes them from others in words only."""

_CLIENT_OPTIONS = (
    *("allow_http", "allow_invalid_certificates"),
    *("proxy_url", "proxy_ca_certificate", "proxy_excludes"),
)


class Bucket:
    """A place for objects.

    Args:
        url: `file:///folder`, a folder, `s3://bucket/prefix`, `gs://...` or `az://...`; without
            credentials, for it is shown in errors.
        patient: Whether requests are repeated for minutes, and not just once.

    Raises:
        SettingsError: The URL is malformed, or obstore is not installed.
    """

    def __init__(self, url: str, *, patient: bool = True) -> None:
        self.url = url
        self._store = _opened(url, patient=patient)

    def check(self) -> None:
        """Writes an object, and removes it.

        Raises:
            SnapshotsAway: Storage does not answer.
            SettingsError: It refuses; the text says what to do.
        """
        try:
            probe = f"kproc-probe-{uuid.uuid4().hex}"
            self.write(probe, b"may be removed")
            self.remove([probe])
        except SnapshotsAway:
            raise
        except SnapshotError as error:
            raise SettingsError(
                f"snapshot_url can't be used: {error}. Check the URL, and that the credentials in "
                "the environment may read, write, list and delete there; or set "
                'snapshot_interval = "" and snapshot_url = "" to run without'
            ) from error

    def objects(self, folder: str) -> list[Stored]:
        """The objects right in a folder, and not in those below it, by name.

        Raises:
            SnapshotError: They can't be listed.
        """
        with self._errors(folder):
            found = self._listing(folder)["objects"]
            return sorted(
                Stored(
                    each["path"].rpartition("/")[2],
                    each["size"],
                    int(each["last_modified"].timestamp() * 1000),
                )
                for each in found
            )

    def folders(self, folder: str) -> list[str]:
        """The names of the folders right in a folder.

        Raises:
            SnapshotError: They can't be listed.
        """
        with self._errors(folder):
            found = self._listing(folder)["common_prefixes"]
            return sorted(each.rstrip("/").rpartition("/")[2] for each in found)

    def read(self, path: str) -> bytes:
        """What is in a small object.

        Raises:
            SnapshotError: It can't be read.
        """
        with self._errors(path):
            return bytes(self._store.get(path).bytes())

    def chunks(self, path: str) -> Generator[bytes]:
        """What is in a large object, piece by piece.

        Raises:
            SnapshotError: It can't be read to its end.
        """
        with self._errors(path):
            for chunk in self._store.get(path).stream(min_chunk_size=_CHUNK):
                yield bytes(chunk)

    def write(self, path: str, content: bytes | Path) -> None:
        """Writes an object, from memory or a file; others see all of it or nothing.

        Raises:
            SnapshotError: It can't be written.
        """
        with self._errors(path):
            self._store.put(path, content, max_concurrency=_PARTS)

    def remove(self, paths: Iterable[str]) -> None:
        """Removes objects; what is gone already is no error.

        Raises:
            SnapshotError: One can't be removed.
        """
        for path in paths:
            with self._errors(path), contextlib.suppress(FileNotFoundError):
                self._store.delete(path)

    def _listing(self, folder: str) -> "ListResult[Sequence[ObjectMeta]]":
        # The type of its other form needs a library that is not installed.
        return cast("Any", self._store).list_with_delimiter(folder)

    @contextlib.contextmanager
    def _errors(self, path: str) -> Generator[None]:
        from obstore.exceptions import BaseError  # noqa: PLC0415 - it is there: a store is open

        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            # The first line says what is wrong; what follows is the library's own structures.
            cause = str(error).strip().partition("\n")[0]
            kind = SnapshotsAway if any(each in cause for each in _PASSING) else SnapshotError
            raise kind(f"{self.url}, {path or 'its root'}: {cause}") from error


def save(chunks: Iterable[bytes], file: Path, note: Callable[[int], None]) -> str:
    """Writes a file to disk for good; returns its SHA-256. `note` gets the bytes of each piece.

    Raises:
        OSError: The disk is unusable.
    """
    digest = hashlib.sha256()
    with file.open("wb") as out:
        for chunk in chunks:
            out.write(chunk)
            digest.update(chunk)
            note(len(chunk))
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def hashed(chunks: Iterable[bytes]) -> str:
    """The SHA-256 of what comes in pieces."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def sha256(file: Path) -> str:
    """The hash of a file's content."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _opened(url: str, *, patient: bool) -> "ObjectStore":
    try:
        from obstore.exceptions import BaseError  # noqa: PLC0415 - it need not be installed
        from obstore.store import LocalStore, from_url  # noqa: PLC0415
    except ImportError:
        raise SettingsError(f"snapshots need the library obstore: {adding('snapshots')}") from None
    parts = urlsplit(url)
    try:
        if not parts.scheme:
            return LocalStore(Path(url).expanduser().absolute(), mkdir=True)
        if parts.scheme == "file":
            if parts.netloc not in ("", "localhost"):
                raise ValueError(f"{parts.netloc} is taken for another machine")  # noqa: TRY301
            return LocalStore(unquote(parts.path), mkdir=True)
        client, retries = _client(patient=patient), _retries(patient=patient)
        return from_url(url, client_options=client, retry_config=retries)
    except (BaseError, OSError, ValueError) as error:
        cause = str(error).strip().partition("\n")[0]
        raise SettingsError(
            f"snapshot_url {url} can't be opened: {cause}. Give a folder, file:///folder, "
            "s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
        ) from error


def _client(*, patient: bool) -> "ClientConfig":
    """Options of the client: the variables' ones, which are left alone otherwise, and patience."""
    found = {
        option: os.environ[f"{prefix}_{option.upper()}"]
        for prefix in ("AWS", "AZURE", "GOOGLE")
        for option in _CLIENT_OPTIONS
        if f"{prefix}_{option.upper()}" in os.environ
    }
    # The client's own limit of 30 s is for a whole object, which may be large and far away.
    silence = "30s" if patient else "5s"
    limits = {"timeout": "10m", "read_timeout": silence, "connect_timeout": "5s"}
    return cast("ClientConfig", {**limits, **found})


def _retries(*, patient: bool) -> "RetryConfig":
    if patient:
        return {"max_retries": 10, "retry_timeout": timedelta(minutes=3)}
    return {"max_retries": 1, "retry_timeout": timedelta(seconds=5)}
