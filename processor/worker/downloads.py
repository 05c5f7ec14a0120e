"""Downloads: stores without local state, restored from snapshots beside everything else.

Owns the threads and the order of attempts: the newest snapshot that fits, then older ones, then
none, which leaves the store to its changelog. Knows nothing of changelogs or tasks.
"""

import contextlib
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from processor.errors import SnapshotError, SnapshotsAway, StoreCorrupt
from processor.records import TopicPartition
from processor.state import snapshot
from processor.state.keyvalue import StoreSpec
from processor.state.snapshot import Manifest, Wanted
from processor.storage.archive import Archive
from processor.storage.bucket import Bucket
from processor.storage.rocksdb import position_in
from processor.topology.plan import StoreId
from processor.worker.channel import Channel, RestoreStatus
from processor.worker.stores import StoreOpener

_STORES, _FILES = 4, 8
"""How many are downloaded at once."""

_AWAY = 60.0
"""Seconds for which storage that did not answer is not asked again: changelogs need it not."""


class _Stopped(Exception):
    """The worker ends; what is half done is done again another time."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A store to be restored."""

    store: StoreId
    spec: StoreSpec[Any, Any]
    wanted: Wanted
    listing: Archive  # gives up soon: a store may not wait for storage that is away
    archive: Archive
    tried: set[str] = field(default_factory=set[str])


class Downloads:
    """Restores stores from snapshots.

    Args:
        url: Where snapshots are.
        application: Whose.
        stores: Puts stores in place.
        channel: To report what is used, and what is not.

    Raises:
        SettingsError: The URL of the snapshots is malformed.
    """

    def __init__(self, url: str, application: str, stores: StoreOpener, channel: Channel) -> None:
        self._application = application
        self._prompt = Bucket(url, patient=False)
        self._bucket = Bucket(url)
        self._away_until = 0.0
        self._stores = stores
        self._channel = channel
        self._jobs = ThreadPoolExecutor(_STORES, "snapshot-stores")
        self._files = ThreadPoolExecutor(_FILES, "snapshot-files")
        self._running: dict[TopicPartition, Future[None]] = {}
        self._lock = Lock()
        self._done = self._total = 0
        self._began = 0.0
        self._stopped = False

    def start(
        self, changelog: TopicPartition, store: StoreId, spec: StoreSpec[Any, Any], wanted: Wanted
    ) -> None:
        """Restores a store, if there is a snapshot; `finished` says when that is over."""
        if not self._running:
            self._done = self._total = 0
            self._began = time.monotonic()
        listing, archive = (
            Archive(bucket, self._application, store) for bucket in (self._prompt, self._bucket)
        )
        job = _Job(store, spec, wanted, listing, archive)
        self._running[changelog] = self._jobs.submit(self._restore, job)

    def runs(self, changelog: TopicPartition) -> bool:
        """Whether the store of this changelog is not done yet."""
        return changelog in self._running

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing under way."""
        return not self._running

    def wait(self, seconds: float) -> None:
        """Waits until something may be finished."""
        wait(list(self._running.values()), seconds)

    def finished(self) -> list[TopicPartition]:
        """The changelogs whose stores were restored, or can't be, since it was last asked.

        Raises:
            StateError: The disk is unusable, or the store does not fit the topology.
        """
        done = [each for each, future in self._running.items() if future.done()]
        for each in done:
            self._running.pop(each).result()
        return done

    def status(self) -> RestoreStatus | None:
        """How far the downloads are, None when there are none."""
        stores = len(self._running)
        if not stores:
            return None
        seconds = time.monotonic() - self._began
        return RestoreStatus(stores, 0, 0, 0, seconds, self._done, self._total)

    def close(self) -> None:
        """Ends the downloads; a request under way is not waited for."""
        self._stopped = True
        self._jobs.shutdown(wait=False, cancel_futures=True)
        self._files.shutdown(wait=False, cancel_futures=True)

    def _restore(self, job: _Job) -> None:
        with contextlib.suppress(_Stopped):
            try:
                while (name := self._next(job)) is not None:
                    job.tried.add(name)
                    try:
                        if self._use(job, job.archive.read(name)):
                            return
                    except SnapshotError as error:
                        self._refuse(job, name, str(error))
            except SnapshotError as error:
                self._refuse(job, "all", str(error))

    def _next(self, job: _Job) -> str | None:
        if time.monotonic() < self._away_until:
            raise SnapshotsAway("object storage did not answer a moment ago")
        try:
            # Listed again each time: meanwhile the primary may have replaced what was there.
            listed = job.listing.manifests()
        except SnapshotsAway:
            self._away_until = time.monotonic() + _AWAY
            raise
        names = snapshot.candidates((each.name for each in listed), job.wanted)
        return next((name for name in names if name not in job.tried), None)

    def _use(self, job: _Job, manifest: Manifest) -> bool:
        now = int(self._stores.clock.now() * 1000)
        cause = snapshot.refusal(manifest, job.wanted, now)
        if cause is not None:
            self._refuse(job, manifest.name, cause)
            return False
        began = time.monotonic()
        self._stores.install(job.spec, job.store, lambda folder: self._fill(folder, job, manifest))
        self._channel.log(
            "info",
            "snapshot restored",
            store=str(job.store),
            position=manifest.position,
            age_s=round((now - manifest.time) / 1000),
            megabytes=round(manifest.size / 1e6, 1),
            seconds=round(time.monotonic() - began, 3),
        )
        return True

    def _fill(self, folder: Path, job: _Job, manifest: Manifest) -> None:
        """Downloads a snapshot's files; all of it or an error."""
        done = [0] * len(manifest.files)  # of each file, for each has its thread

        def fetch(number: int) -> None:
            def note(size: int) -> None:
                if self._stopped:
                    raise _Stopped
                done[number] += size
                self._count(size)

            job.archive.fetch(manifest.files[number], folder, note)

        self._count(0, manifest.size)
        fetches = [self._files.submit(fetch, each) for each in range(len(done))]
        try:
            wait(fetches)
            for each in fetches:
                each.result()
            _check_position(folder, manifest)
        except SnapshotError:
            self._count(-sum(done), -manifest.size)
            raise

    def _count(self, done: int, total: int = 0) -> None:
        with self._lock:
            self._done += done
            self._total += total

    def _refuse(self, job: _Job, name: str, cause: str) -> None:
        self._channel.log(
            "warning", "snapshot not used", store=str(job.store), snapshot=name, cause=cause
        )


def _check_position(folder: Path, manifest: Manifest) -> None:
    try:
        found = position_in(folder)
    except StoreCorrupt as error:
        raise SnapshotError(f"it is no complete store: {error}") from error
    if found != manifest.position:
        raise SnapshotError(f"it is at {found}, and not at {manifest.position} as it says")
