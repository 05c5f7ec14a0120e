"""Archive: the snapshots of one store of a task, in object storage.

    <application>/<store>/<partition>/manifests/    what each snapshot is made of
    <application>/<store>/<partition>/files/        the files, by their SHA-256

Owns the order in which things are written and removed: files before the manifest that refers to
them, manifests before the files that nobody refers to any more. So what is interrupted anywhere
leaves snapshots that are whole, and some files too many. `state.snapshot` owns the rules.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from processor.errors import SnapshotError
from processor.records import Partition
from processor.state import snapshot
from processor.state.snapshot import File, Manifest, Stored
from processor.storage.bucket import Bucket, hashed, save
from processor.topology.plan import StoreId


class Archive:
    """The snapshots of a store.

    Args:
        bucket: Where they are.
        application: Whose they are.
        store: The store.
    """

    def __init__(self, bucket: Bucket, application: str, store: StoreId) -> None:
        self._bucket = bucket
        folder = f"{application}/{store.name}/{store.partition}"
        self._manifests, self._files = f"{folder}/manifests", f"{folder}/files"

    def manifests(self) -> list[Stored]:
        """The manifests that are there.

        Raises:
            SnapshotError: They can't be listed.
        """
        return self._bucket.objects(self._manifests)

    def files(self) -> list[Stored]:
        """The files that are there.

        Raises:
            SnapshotError: They can't be listed.
        """
        return self._bucket.objects(self._files)

    def read(self, name: str) -> Manifest:
        """A manifest.

        Raises:
            SnapshotError: It can't be read, or is of a newer format.
        """
        return snapshot.decoded(self._bucket.read(f"{self._manifests}/{name}"))

    def fetch(self, file: File, folder: Path, note: Callable[[int], None]) -> None:
        """Downloads a file into a folder, under its name in the store.

        Args:
            file: Which.
            folder: Where to.
            note: Called with the bytes of each piece; what it raises ends the download.

        Raises:
            SnapshotError: It is missing, or not what it was.
            OSError: The disk is unusable.
        """
        if Path(file.name).name != file.name:
            raise SnapshotError(f"its manifest has a file with the name {file.name!r}")
        found = save(self._bucket.chunks(f"{self._files}/{file.sha256}"), folder / file.name, note)
        if found != file.sha256:
            raise SnapshotError(f"its file {file.sha256} is damaged: its content has another hash")

    def damage(self, file: File) -> str | None:
        """What is wrong with a file, None if it is whole; all of it is read.

        Raises:
            SnapshotError: Storage can't be read.
        """
        chunks = self._bucket.chunks(f"{self._files}/{file.sha256}")
        try:
            return None if hashed(chunks) == file.sha256 else "its content has another hash"
        except SnapshotError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return "it is missing"
            raise

    def discard(self, file: File) -> None:
        """Removes a file that is damaged: the next snapshot that has it uploads it again.

        Raises:
            SnapshotError: That fails.
        """
        self._bucket.remove([f"{self._files}/{file.sha256}"])

    def missing(self, files: Iterable[File]) -> list[File]:
        """Which of a snapshot's files have to be uploaded.

        Raises:
            SnapshotError: It can't be found out.
        """
        referenced = self._referenced(self.manifests())
        return snapshot.missing(list(files), self.files(), referenced or (), _now())

    def upload(self, file: File, folder: Path) -> None:
        """Uploads a file of a folder.

        Raises:
            SnapshotError: That fails.
        """
        self._bucket.write(f"{self._files}/{file.sha256}", folder / file.name)

    def publish(self, manifest: Manifest) -> None:
        """Makes a snapshot known, all of whose files are there.

        Raises:
            SnapshotError: That fails.
        """
        self._bucket.write(f"{self._manifests}/{manifest.name}", snapshot.encoded(manifest))

    def prune(self, changelog_id: str, kept: int) -> None:
        """Removes all but the newest snapshots, and the files that no snapshot has.

        Raises:
            SnapshotError: That fails.
        """
        manifests = self.manifests()
        old = snapshot.superseded(manifests, changelog_id, kept, _now())
        self._bucket.remove(f"{self._manifests}/{name}" for name in old)
        referenced = self._referenced(each for each in manifests if each.name not in old)
        if referenced is None:
            return
        unused = snapshot.unreferenced(self.files(), referenced, _now())
        self._bucket.remove(f"{self._files}/{name}" for name in unused)

    def _referenced(self, manifests: Iterable[Stored]) -> set[str] | None:
        """The files that manifests refer to; None if one can't be read, such as a newer kproc's."""
        try:
            found = [self.read(each.name) for each in manifests]
        except SnapshotError:
            return None
        return {file.sha256 for manifest in found for file in manifest.files}


def archives(bucket: Bucket, application: str) -> list[Archive]:
    """Those of all stores of an application.

    Raises:
        SnapshotError: They can't be listed.
    """
    found = [
        StoreId(store, Partition(int(partition)))
        for store in bucket.folders(application)
        for partition in bucket.folders(f"{application}/{store}")
        if partition.isdigit()
    ]
    return [Archive(bucket, application, store) for store in sorted(found)]


def _now() -> int:
    return time.time_ns() // 1_000_000
