"""A restore from a local snapshot and from the changelog, and what taking snapshots costs.

    uv run python -m tests.benchmarks.snapshot [--keys 2000000] [--rounds 3] [--seconds 30]

One worker counts by key, four partitions, on a Kafka that is started for it; all in the same run.

Restore: from the start of the worker to all tasks open, with the local state there (warm), and on
an empty disk without and with snapshots. What a restore takes is the difference to the warm start.

Stall: under a steady load of 20,000 records/s, checkpoints every 100 ms: the time between the ends
of two commits, without snapshots and with one of each store every 2 seconds, in turns; and of the
latter those during which a store was being flushed and linked, apart from the others.
"""

import argparse
import os
import random
import shutil
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

from confluent_kafka import Producer

from processor.kafka.progress import Backlog
from processor.loading import load
from processor.local.embedded import EmbeddedKafka
from processor.node.node import worker_spec
from processor.node.setup import prepare
from processor.records import Partition
from processor.runtime.commands import Command, Commit, Event
from processor.settings import Settings
from processor.storage.archive import Archive
from processor.storage.bucket import Bucket
from processor.topology.plan import StoreId, plan
from processor.worker import process as worker
from processor.worker.slot import Slot
from tests import ledger
from tests.crashes.application import WorkerProcess

PARTITIONS = 4
RATE = 20_000
APPLICATION = "snapshot-benchmark"
TOPOLOGY = f"""
from processor import Topology
topology = Topology("{APPLICATION}")
topology.stream("{APPLICATION}-in").group_by_key().count(name="counts").to("{APPLICATION}-out")
"""


class TimedSlot(Slot):
    """A slot that writes down when a commit is done, and between when a store is linked."""

    times: TextIO

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        take = self._stores.checkpoint

        def timed(store: StoreId) -> Any:
            began = time.monotonic()
            taken = take(store)
            self.times.write(f"linked {began} {time.monotonic()}\n")
            return taken

        self._stores.checkpoint = timed

    def carry_out(self, command: Command) -> Event | None:
        event = super().carry_out(command)
        if isinstance(command, Commit):
            self.times.write(f"commit {time.monotonic()}\n")
        return event


class Benchmark:
    """The application, with and without snapshots."""

    def __init__(self, kafka: str, folder: Path, keys: int) -> None:
        self.kafka, self.folder, self.keys = kafka, folder, keys
        self.file = folder / "topology.py"
        self.file.write_text(TOPOLOGY)
        ledger.create(kafka, {f"{APPLICATION}-{each}": PARTITIONS for each in ("in", "out")})
        self.plan = plan(load(str(self.file)))
        self.settings = Settings(
            bootstrap=kafka, slots=1, replication_factor=1, state_dir=folder / "state"
        )
        self.layout = prepare(self.plan, self.settings)

    def start(self, interval: str = "", **env: str) -> WorkerProcess:
        url = str(self.folder / "snapshots") if interval else ""
        settings = self.settings.model_copy(
            update={"snapshot_interval": interval, "snapshot_url": url}
        )
        spec = worker_spec(str(self.file), self.layout, settings, 0)
        return WorkerProcess(spec, env, "tests.benchmarks.snapshot" if env else worker.__name__)

    def build(self) -> None:
        """Counts every key once, and takes a snapshot of it."""
        self.feed(range(self.keys))
        process = self.start()
        backlog = Backlog(self.settings.clients.kafka, self.layout)
        while not backlog.look():
            time.sleep(0.1)
        time.sleep(2)  # for the last state to be persisted
        assert process.stop() == 0, process.failure
        began = time.monotonic()
        process = self.start("1h")
        while not all(archive.manifests() for archive in self.archives()):
            time.sleep(0.01)
        taken = process.await_log("snapshots taken", 60)
        print(f"first snapshots: {time.monotonic() - began:.2f} s from the start; {taken}")
        assert process.stop() == 0, process.failure

    def archives(self) -> list[Archive]:
        bucket = Bucket(str(self.folder / "snapshots"))
        stores = (StoreId("counts", Partition(each)) for each in range(PARTITIONS))
        return [Archive(bucket, APPLICATION, store) for store in stores]

    def feed(self, keys: Any, per_second: float | None = None) -> None:
        producer = Producer({"bootstrap.servers": self.kafka, "linger.ms": 5})
        began = time.monotonic()
        for number, key in enumerate(keys):
            spread = key * 7919 % self.keys
            topic = f"{APPLICATION}-in"
            ledger.produce(producer, topic, spread % PARTITIONS, f"key-{spread:012d}", "1")
            if per_second and number % 200 == 0:
                producer.poll(0)
                time.sleep(max(0, began + number / per_second - time.monotonic()))
        producer.flush(60)

    def open_seconds(self, interval: str = "") -> float:
        """From the start to all tasks open."""
        began = time.monotonic()
        process = self.start(interval)
        process.await_log("adopted", 300)
        seconds = time.monotonic() - began
        assert len(process.logged("snapshot restored")) == (PARTITIONS if interval else 0)
        assert process.stop() == 0, process.failure
        return seconds

    def lose_disk(self) -> None:
        shutil.rmtree(self.settings.state_dir)

    def restores(self, rounds: int) -> None:
        warm, log, snap = [], [], []
        for _ in range(rounds):
            warm.append(self.open_seconds())
            self.lose_disk()
            log.append(self.open_seconds())
            self.lose_disk()
            snap.append(self.open_seconds("1h"))
            print(f"warm {warm[-1]:.2f}  changelog {log[-1]:.2f}  snapshot {snap[-1]:.2f}")
        start, long, short = map(statistics.median, (warm, log, snap))
        print(
            f"medians: warm start {start:.2f} s; cold start from the changelog {long:.2f} s, from "
            f"snapshots {short:.2f} s (x{long / short:.1f}); the restore alone {long - start:.2f} "
            f"and {short - start:.2f} s (x{(long - start) / max(0.01, short - start):.1f})"
        )

    def stall(self, seconds: float) -> None:
        chance = random.Random(1)
        for interval in ("", "2s", "", "2s"):
            times = self.folder / "times"
            times.unlink(missing_ok=True)
            process = self.start(interval, COMMIT_TIMES=str(times))
            process.await_log("adopted", 300)
            keys = (chance.randrange(self.keys) for _ in range(int(seconds * RATE)))
            self.feed(keys, RATE)
            taken = process.logged("snapshots taken")
            assert process.stop() == 0, process.failure
            _print_gaps(times, interval, taken)


def _print_gaps(times: Path, interval: str, taken: list[Any]) -> None:
    lines = [line.split() for line in times.read_text().splitlines()]
    ends = [float(each[1]) for each in lines if each[0] == "commit"]
    linked = [(float(each[1]), float(each[2])) for each in lines if each[0] == "linked"]
    during: list[float] = []
    others: list[float] = []
    for began, ended in pairwise(ends):
        meets = any(first < ended and began < last for first, last in linked)
        (during if meets else others).append(ended - began)
    print(f"{len(taken)} rounds of snapshots:" if interval else "no snapshots:")
    print("   between commits", _spread(others))
    if during:
        print("   the same while a store is linked", _spread(during))
        print("   to flush and link a store", _spread([last - first for first, last in linked]))
        print("   the last round:", dict(taken[-1]))


def _spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    median, p95 = statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
    return f"{len(ordered)}: median {median:.3f} s, p95 {p95:.3f} s, most {ordered[-1]:.3f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30)
    arguments: Any = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kproc-", dir=Path.cwd()))
    try:
        with EmbeddedKafka.start(folder / "kafka", port=0) as kafka:
            benchmark = Benchmark(kafka.bootstrap, folder, arguments.keys)
            benchmark.build()
            benchmark.restores(arguments.rounds)
            benchmark.stall(arguments.seconds)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    if "COMMIT_TIMES" in os.environ:
        with Path(os.environ["COMMIT_TIMES"]).open("w", buffering=1) as TimedSlot.times:
            worker.Slot = TimedSlot
            os._exit(worker.main())
    main()
