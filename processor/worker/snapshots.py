"""Snapshots of the stores at work: taken now and then, beside the worker's loop.

Owns when a snapshot is taken, and its steps:

1. checkpoint: the store is flushed and hard-linked into a folder beside its data; this is all that
   the worker's loop could notice of it;
2. upload: the files that are not in storage yet;
3. publish: the manifest, last, when everything that it refers to is there;
4. prune: snapshots beyond those to be kept, and files that no snapshot has.

Only a primary's tasks at work are looked at: their stores have been at the ends of their
changelogs. A worker that has been replaced without knowing it yet can only add an older snapshot of
the same history, which nobody prefers. What fails is reported, and tried again at the next time.
"""

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

from processor.errors import KprocError
from processor.options import SnapshotOptions
from processor.state import snapshot
from processor.state.keyvalue import StoreSpec
from processor.state.snapshot import FORMAT, File, Manifest
from processor.storage.archive import Archive
from processor.storage.bucket import Bucket, sha256
from processor.topology.plan import Layout, StoreId, TaskId
from processor.worker.channel import Channel
from processor.worker.stores import Checkpoint, StoreOpener, meta_of

_LOOK = 1.0
"""Seconds between two looks at whether a store is due, at most."""

_CLOSE = 0.5
"""Seconds for a snapshot under way to come to an end; else it is left as it is."""


_HASHES = 10_000
"""Hashes of files to remember, most of which RocksDB may have removed since."""


@dataclass(slots=True)
class _Round:
    """What a look has led to."""

    stores: int = 0
    files: int = 0
    bytes: int = 0
    began: float = field(default_factory=time.monotonic)


class _Stopped(Exception):
    """The worker ends; what is uploaded is of use to the next snapshot."""


class Snapshots:
    """Takes snapshots, in a thread once it is started.

    Args:
        options: Where to, and how often.
        id_of: The id of a topic.
        layout: The plan with its partition counts.
        stores: Where the stores are.
        at_work: The tasks whose stores are the committed state.
        channel: For reports.

    Raises:
        SettingsError: The URL of the snapshots is malformed.
    """

    def __init__(
        self,
        options: SnapshotOptions,
        id_of: Callable[[str], str],
        layout: Layout,
        stores: StoreOpener,
        at_work: Callable[[], Iterable[TaskId]],
        channel: Channel,
    ) -> None:
        self._bucket = Bucket(options.url)
        self._kept = options.kept
        self._id_of = id_of
        self._layout = layout
        self._stores = stores
        self._at_work = at_work
        self._channel = channel
        self._interval = options.interval / 1000
        self._ids: dict[str, str] = {}
        self._due: dict[StoreId, float] = {}
        self._hashes: dict[tuple[int, int, int], str] = {}
        self._stopped = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Takes them from now on."""
        self._thread = Thread(target=self._run, name="snapshots", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends them."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_CLOSE)

    def _run(self) -> None:
        while not self._stopped.wait(min(_LOOK, self._interval)):
            round_ = _Round()
            for store, spec in self._due_stores():
                try:
                    archive = Archive(self._bucket, self._layout.plan.application, store)
                    self._look(store, spec, archive, round_)
                except _Stopped:
                    return
                except Exception as error:  # noqa: BLE001 - reported; the next time may do better
                    self._channel.log(
                        "warning", "snapshot failed", store=str(store), cause=_cause(error)
                    )
            if round_.stores:
                self._report(round_)

    def _due_stores(self) -> list[tuple[StoreId, StoreSpec[Any, Any]]]:
        now = time.monotonic()
        parts = self._layout.plan.subtopologies
        at_work = {
            StoreId(spec.name, task.partition): spec
            for task in self._at_work()
            for spec in parts[task.subtopology].stores
        }
        self._due = {store: self._due.get(store, 0.0) for store in at_work}
        return [(store, spec) for store, spec in at_work.items() if self._due[store] <= now]

    def _look(
        self, store: StoreId, spec: StoreSpec[Any, Any], archive: Archive, round_: _Round
    ) -> None:
        """Takes a snapshot of a store, if it has changed since the newest one that there is."""
        first = self._due[store] == 0
        self._due[store] = time.monotonic() + self._interval
        present = archive.manifests()
        identity = self._changelog_id(store)
        age = time.time() - max((each.modified for each in present), default=0) / 1000
        if first and age < self._interval:
            self._due[store] -= age  # whoever took it; restarts bring no more of them
            return
        opened = self._stores.stores.get(store)
        newest = snapshot.newest((each.name for each in present), identity)
        if opened is None or opened.position <= newest:
            return
        checkpoint = self._stores.checkpoint(store)
        if checkpoint is None:
            return
        try:
            manifest = self._manifest(store, spec, checkpoint)
            self._upload(archive, manifest, checkpoint.folder, round_)
        finally:
            shutil.rmtree(checkpoint.folder, ignore_errors=True)
        archive.prune(identity, self._kept)
        round_.stores += 1

    def _manifest(
        self, store: StoreId, spec: StoreSpec[Any, Any], checkpoint: Checkpoint
    ) -> Manifest:
        return Manifest(
            format=FORMAT,
            application=self._layout.plan.application,
            store=store.name,
            partition=store.partition,
            meta=dict(meta_of(spec)),
            changelog=self._layout.plan.changelog(store.name),
            changelog_id=self._changelog_id(store),
            position=checkpoint.position,
            time=checkpoint.time,
            files=tuple(self._file(each) for each in sorted(checkpoint.folder.iterdir())),
        )

    def _upload(self, archive: Archive, manifest: Manifest, folder: Path, round_: _Round) -> None:
        for file in archive.missing(manifest.files):
            if self._stopped.is_set():
                raise _Stopped
            archive.upload(file, folder)
            round_.files += 1
            round_.bytes += file.size
        archive.publish(manifest)

    def _file(self, path: Path) -> File:
        # What RocksDB has written once it never changes, and hard links are the same file.
        found = path.stat()
        known = (found.st_ino, found.st_size, found.st_mtime_ns)
        if known not in self._hashes:
            if self._stopped.is_set():
                raise _Stopped
            if len(self._hashes) >= _HASHES:
                self._hashes.clear()
            self._hashes[known] = sha256(path)
        return File(path.name, found.st_size, self._hashes[known])

    def _changelog_id(self, store: StoreId) -> str:
        topic = self._layout.plan.changelog(store.name)
        if topic not in self._ids:
            self._ids[topic] = self._id_of(topic)
        return self._ids[topic]

    def _report(self, round_: _Round) -> None:
        self._channel.log(
            "info",
            "snapshots taken",
            stores=round_.stores,
            uploaded_files=round_.files,
            uploaded_megabytes=round(round_.bytes / 1e6, 3),
            seconds=round(time.monotonic() - round_.began, 3),
        )


def _cause(error: Exception) -> str:
    return str(error) if isinstance(error, KprocError) else f"{type(error).__name__}: {error}"
