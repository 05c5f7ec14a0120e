"""The application under test with snapshots, in a folder as a rule, and disks that are lost."""

import shutil
import time
from pathlib import Path

from processor.records import Partition
from processor.storage.archive import Archive
from processor.storage.bucket import Bucket
from processor.topology.plan import StoreId
from tests.crashes.application import Application, WorkerProcess
from tests.crashes.expected import PARTITIONS, STORES

DEADLINE = 120.0
NUMBER = PARTITIONS * len(STORES)


class Snapshotted(Application):
    """The job of the crash tests, with snapshots in a folder."""

    def __init__(
        self,
        kafka: str,
        name: str,
        folder: Path,
        *,
        seed: int = 7,
        kept: int = 3,
        url: str | None = None,
    ) -> None:
        self.storage = folder / "snapshots"
        super().__init__(
            *(kafka, name, folder, seed),
            snapshots_kept=kept,
            snapshot_url=url or self.storage.as_uri(),
            snapshot_interval="100ms",
            persist_interval="50ms",
        )

    def archives(self) -> list[Archive]:
        bucket = Bucket(self.settings.snapshot_url)
        return [
            Archive(bucket, self.name, StoreId(store, Partition(each)))
            for store in STORES
            for each in range(PARTITIONS)
        ]

    def newest(self) -> list[str]:
        """The newest manifest of each store that has one."""
        names = ([each.name for each in archive.manifests()] for archive in self.archives())
        return [max(found) for found in names if found]

    def await_snapshots(self, worker: WorkerProcess, than: list[str] | None = None) -> None:
        """Waits until every store has a snapshot, a newer one than `than` if that is given."""
        before = than or [""] * NUMBER
        deadline = time.monotonic() + DEADLINE
        while True:
            found = self.newest()
            if len(found) == NUMBER and all(a > b for a, b in zip(found, before, strict=True)):
                return
            assert worker.process.poll() is None, worker.failure
            assert time.monotonic() < deadline, (found, worker.reports[-5:])
            time.sleep(0.05)

    def lose_disk(self) -> None:
        shutil.rmtree(self.settings.state_dir, ignore_errors=True)

    def restored(self) -> WorkerProcess:
        """Processes everything on an empty disk, and checks it; the worker that did."""
        self.lose_disk()
        self.feed.write(30)
        worker = self.worker()
        self.drain(worker)
        worker.await_tasks(len(self.layout.tasks))
        assert worker.stop() == 0, worker.failure
        self.check()
        return worker
